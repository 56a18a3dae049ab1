#!/usr/bin/env python3
"""Dependencies point daemon -> policy -> common and tools -> policy, common; nothing upward. Each
third-party library is included in one place (libjpeg in another, to measure against). policy/ opens no file, reads
no clock, takes no lock."""
import os
import re
import sys

ROOT = sys.argv[1]
MAY_USE = {
    "common": {"common"},
    "policy": {"policy", "common"},
    "daemon": {"daemon", "policy", "common"},
    "tools": {"tools", "policy", "common"},
}
HOME = {
    "uv.h": r"daemon/.*",
    "systemd/sd-daemon.h": r"daemon/daemon\.c",
    "sqlite3.h": r"daemon/store_internal\.h",
    "seccomp.h": r"daemon/sandbox\.c",
    "jpeglib.h": r"(common/codec/jpeg|tools/lab/peer)\.c",
    "jerror.h": r"common/codec/jpeg\.c",
    "png.h": r"common/codec/png\.c",
    "cblas.h": r"common/net/gemm\.c",
    "ini.h": r"common/config\.c",
    "jansson.h": r"(common/(control/varlink\.h|net/(model|onnx)\.c)|daemon/(json|hooks)\.h)",
}
FORBIDDEN_IN_POLICY = r"\b(fopen|open|openat|clock_\w+|time|gettimeofday|pthread_\w+|read|write|rand|random)\s*\("

failures = 0


def fail(path, line, what):
    global failures
    failures += 1
    print(f"{path}:{line}: {what}")


checked = 0
for top in MAY_USE:
    for folder, _, files in os.walk(os.path.join(ROOT, top)):
        for name in files:
            if not name.endswith((".c", ".h")):
                continue
            path = os.path.relpath(os.path.join(folder, name), ROOT)
            checked += 1
            with open(os.path.join(ROOT, path), encoding="utf-8") as f:
                lines = f.read().split("\n")
            if len(lines) > 850:
                fail(path, len(lines), "longer than 850 lines: split it by topic")
            for n, line in enumerate(lines, 1):
                if len(line.expandtabs(8)) > 112:
                    fail(path, n, "line longer than 112 columns")
                m = re.match(r'#include ["<]([^">]+)[">]', line)
                if m:
                    header = m.group(1)
                    room = header.split("/")[0]
                    if room in MAY_USE and room not in MAY_USE[top]:
                        fail(path, n, f"{top}/ must not use {header}")
                    if header in HOME and not re.fullmatch(HOME[header], path):
                        fail(path, n, f"{header} belongs to {HOME[header]}")
                if top == "policy" and re.search(FORBIDDEN_IN_POLICY, line) and not line.lstrip().startswith(("*", "/*")):
                    fail(path, n, "policy/ opens no file, reads no clock and takes no lock")

print(f"{checked} files checked, {failures} findings")
sys.exit(failures > 0 or checked < 50)
