#!/usr/bin/env python3
"""Broken and hostile captures: each ends in quarantine with a reason, and nothing else suffers."""
import os
import random
import socket
import struct
import time
import zlib

from harness import Daemon, check, children, finish, picture, png, process_file

d = Daemon({"Spool": {"MaxFileSize": "1M", "MaxPixels": "1M"}, "Store": {"MaxUse": "32M"}}).start()
good = picture(0, 1)
bad = {
    "truncated.png": good[: len(good) // 2],
    "empty.jpg": b"",
    "text.jpg": b"this is no picture",
    "gif.gif": b"GIF89a" + b"\0" * 100,
    "head-only.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "bomb.png": png(1, 1, lambda x, y: (0, 0, 0)).replace(b"\0\0\0\1\0\0\0\1", b"\0\0\xff\xff\0\0\xff\xff", 1),
    "huge.ppm": b"P6 60000 60000 255\n" + b"x" * 100,
    "name\nwith\x1bcontrol\xff.jpg".encode("latin-1"): b"junk of its own",
}
for name, data in bad.items():
    path = os.path.join(os.fsencode(d.spool), name if isinstance(name, bytes) else name.encode())
    with open(path, "wb") as f:
        f.write(data)
with open(os.path.join(d.spool, "too-large.jpg"), "wb") as f:
    f.write(b"\xff\xd8" + b"\0" * (1 << 20))
os.symlink("/etc/passwd", os.path.join(d.spool, "link.jpg"))
os.mkfifo(os.path.join(d.spool, "fifo.jpg"))
s = socket.socket(socket.AF_UNIX)
s.bind(os.path.join(d.spool, "socket.jpg"))
n_bad = len(bad) + 3
d.drop("stripes/fine.png", good)
# too-large fits the quarantine (an eighth of 32M): it is kept there
n_bad += 1
d.wait_for(lambda: d.sum() == n_bad + 1, 30, "all of them to be dealt with")
c = d.status()["captures"]
check(c["quarantined"] == n_bad and c["stored"] == 1, f"captures {c}")
kept = os.listdir(os.path.join(d.store, "quarantine"))
reasons = [k for k in kept if k.endswith(".reason")]
check(len(reasons) == n_bad, f"a reason each: {kept}")
text = ""
for r in reasons:
    with open(os.path.join(d.store, "quarantine", r), encoding="utf-8", errors="replace") as f:
        text += f.read()
for word in ("symbolic link", "fifo", "socket", "MaxFileSize", "MaxPixels", "neither JPEG", "empty file"):
    check(word in text, f"a reason says '{word}'")
check(os.path.exists("/etc/passwd"), "the link's target was left alone")
check(b"\x1b" not in open(d.log, "rb").read(), "no control characters reach the log")
check(not d.spool_files(), "the spool is empty")

# A worker killed again and again costs captures another try, not the daemon. Nor is the picture to blame, when that is
# what the kernel does for want of memory.
for i in range(200):
    d.drop(f"blobs/{i}.png", picture(1, 100 + i))
    if i % 20 == 0:
        for pid in d.in_role("worker"):
            os.kill(pid, 9)
d.wait_for(lambda: d.sum() == n_bad + 201, 60, "all captures in spite of dying workers")
d.drop("blobs/long.pgm", b"P5 1000 1000 255\n" + random.Random(1).randbytes(1000000))
until = time.monotonic() + 5
while time.monotonic() < until and d.sum() < n_bad + 202:
    for pid in d.in_role("worker"):
        os.kill(pid, 9)
    time.sleep(0.005)
check(d.sum() == n_bad + 201, "it takes longer than its workers live")
d.wait_for(lambda: d.sum() == n_bad + 202, 30, "it to be dealt with")
c = d.status()["captures"]
check(c["quarantined"] == n_bad and c["stored"] == 202, f"all are stored: {c}")

# Workers that stop answering are noticed in the end; here: the daemon stays responsive.
for pid in d.in_role("worker"):
    os.kill(pid, 19)
start = time.monotonic()
d.status()
check(time.monotonic() - start < 2, "status answers while workers hang")
for pid in d.in_role("worker"):
    os.kill(pid, 18)

# What a worker may do once it has taken pictures: look at its sandbox.
d.drop("stripes/one-more.png", picture(0, 500))
d.drained()
workers = d.in_role("worker")
check(bool(workers), "workers live for a quiet minute")
for pid in workers:
    status = dict(line.split(":\t", 1) for line in process_file(pid, "status").splitlines() if ":\t" in line)
    if "ASAN_OPTIONS" not in os.environ:
        check(status.get("Seccomp") == "2", "seccomp filter")
    check(status.get("NoNewPrivs") == "1", "no new privileges")
    check(int(process_file(pid, "oom_score_adj")) >= 500, "the kernel ends it before the daemon")


# The memory a worker may have goes by MaxPixels: one that began with less makes way for one that may have more.
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


SIDE = 9000
large = (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)) +
         chunk(b"IDAT", zlib.compress((b"\0" + bytes(SIDE)) * SIDE, 1)) + chunk(b"IEND", b""))
before = d.status()["captures"]
d.drop("large.png", large)
d.drained()
check(d.status()["captures"]["quarantined"] == before["quarantined"] + 1, "too large")
d.configure({"Spool": {"MaxFileSize": "1M", "MaxPixels": "100M"}, "Store": {"MaxUse": "32M"}})
d.ctl("reload")
d.drop("large.png", large)
d.drained(60)
after = d.status()["captures"]
check(after["stored"] == before["stored"] + 1 and after["quarantined"] == before["quarantined"] + 1, f"and not too large now: {after}")
d.wait_for(lambda: not set(workers) & {pid for pid, _ in children(d.process.pid)}, 20, "those from before to go")
d.verify()
d.stop()
d.remove()

# Many large captures at once: the daemon holds as many as keep its workers busy.
d = Daemon({"Store": {"MaxUse": "64M"}, "Training": {"Enabled": "false"}})
WIDE, HIGH = 2000, 1500
row = bytes(x * 255 // WIDE for x in range(WIDE))
for i in range(80):
    d.drop(f"wide-{i}.pgm", b"P5 %d %d 255\n" % (WIDE, HIGH) + bytes([i]) + (row * HIGH)[1:])
d.start()
d.drained(60)
check(d.status()["captures"]["stored"] == 80, f"all are stored: {d.status()['captures']}")
peak = d.peak_mib()
print(f"240 MB of captures took {peak:.0f} MiB")
check(peak < 130 or "ASAN_OPTIONS" in os.environ, f"in bounded memory: {peak:.0f} MiB")
d.stop()
d.remove()
finish()
