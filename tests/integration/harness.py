"""Runs the real larderd in a scratch directory and asks it with the real larderctl."""
import json
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from contextlib import closing

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "python"))

LARDERD = os.environ["LARDERD"]
LARDERCTL = os.environ["LARDERCTL"]

checks = 0
failures = 0


def check(condition, what):
    global checks, failures
    checks += 1
    if not condition:
        failures += 1
        print(f"FAILED: {what}", flush=True)
    return condition


def finish():
    print(f"{checks} checks, {failures} failed")
    sys.exit(1 if failures or not checks else 0)


def png(width, height, pixel):
    """A PNG from pixel(x, y) -> (r, g, b)."""
    rows = b"".join(
        b"\0" + bytes(v for x in range(width) for v in pixel(x, y)) for y in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows, 6)) + chunk(b"IEND", b""))


class Noise:
    """A small generator: the same pictures on every machine."""

    def __init__(self, seed):
        self.state = (seed * 2654435761 + 12345) & 0xFFFFFFFF

    def byte(self):
        self.state = (self.state * 1664525 + 1013904223) & 0xFFFFFFFF
        return self.state >> 24


def picture(kind, seed, size=32):
    """Two kinds that a network can tell apart: stripes and blobs, each with noise of its own."""
    noise = Noise(seed * 7919 + kind)
    phase, level = noise.byte() % 8, 40 + noise.byte() % 60

    def pixel(x, y):
        if kind == 0:
            v = level + (90 if (x + phase) // 4 % 2 else 0)
        else:
            v = level + (90 if (x - size / 2) ** 2 + (y - size / 2 + phase - 4) ** 2 < size * size / 9 else 0)
        return tuple(min(255, v + noise.byte() % 48 + 10 * c) for c in range(3))

    return png(size, size, pixel)


def grey_noise(seed, side, levels=64):
    """A PGM of which quality decides how much is left."""
    table = bytes(40 + 20 * (seed % 5) + n % levels for n in range(256))
    return b"P5 %d %d 255\n" % (side, side) + random.Random(seed).randbytes(side * side).translate(table)


class Scenes:
    """The same two kinds by the thousand: a few scenes in PNM, each time with noise of its own."""

    def __init__(self, side, seed=1):
        def scene(kind, phase):
            def pixel(x, y):
                on = (x + phase) // 4 % 2 if kind == 0 else (x - side / 2) ** 2 + (y - side / 2 + phase) ** 2 < side * side / 9
                return tuple(60 + 90 * on + 8 * c for c in range(3))
            return b"".join(bytes(pixel(x, y)) for y in range(side) for x in range(side))

        self.header = b"P6 %d %d 255\n" % (side, side)
        self.bytes = 3 * side * side
        self.random = random.Random(seed)
        self.scenes = [[scene(kind, phase) for phase in range(6)] for kind in range(2)]
        self.mask = int.from_bytes(b"\x0f" * self.bytes, "little")

    def capture(self, kind, dark=False):
        """Dark ones compress well."""
        noise = self.random.getrandbits(8 * self.bytes) & self.mask
        pixels = int.from_bytes(self.random.choice(self.scenes[kind]), "little") ^ noise
        pixels = pixels.to_bytes(self.bytes, "little")
        return self.header + (pixels.translate(bytes(v // 4 for v in range(256))) if dark else pixels)


def feed_scenes(d, scenes, n, start=0, dark_every=None):
    """So many captures of both kinds, labelled."""
    for i in range(start, start + n):
        dark = dark_every and i % dark_every == 0
        d.drop(f"{'stripes' if i % 2 else 'blobs'}/{i}.ppm", scenes.capture(i % 2, dark))


class Daemon:
    """One larderd; settings are {"Section": {"Key": value}} over test-friendly defaults."""

    def __init__(self, settings=None, root=None):
        self.root = root or tempfile.mkdtemp(prefix="larder-it-")
        self.spool = os.path.join(self.root, "spool")
        self.store = os.path.join(self.root, "store")
        self.socket = os.path.join(self.root, "sock")
        self.config = os.path.join(self.root, "larderd.conf")
        os.makedirs(self.spool, exist_ok=True)
        self.settings = {
            "Spool": {"Path": self.spool, "SettleSec": "200ms"},
            "Store": {"Path": self.store, "MaxUse": "8M", "KeepFree": "0"},
            "Idle": {"QuietSec": "500ms", "MaxLoad": "1000", "MaxCpuPressure": "100", "MaxIoPressure": "100"},
            "Training": {"Epochs": "4", "MinNewImages": "1000000"},
            "Control": {"Socket": self.socket, "Group": "nogroup-here"},
        }
        self.configure(settings or {})
        self.process = None
        self.log = os.path.join(self.root, "log")
        self.peak = 0
        self.watching = False

    def configure(self, settings):
        for section, values in settings.items():
            self.settings.setdefault(section, {}).update(values)
        with open(self.config, "w", encoding="utf-8") as f:
            for section, values in self.settings.items():
                f.write(f"[{section}]\n" + "".join(f"{k}={v}\n" for k, v in values.items()))

    def start(self, *args, ready=True, env=None):
        log = open(self.log, "ab")
        self.process = subprocess.Popen([LARDERD, "--config", self.config, *args], stderr=log, stdout=log,
                                        env={**os.environ, **(env or {})})
        log.close()
        if ready:
            self.wait_for(lambda: self.ctl("status", check_status=False)[0] == 0, 20, "the daemon to answer")
        return self

    def wait_for(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.05)
        check(False, f"waited {seconds} s for {what}; log:\n{self.tail()}")
        return False

    def said(self):
        """Its log."""
        with open(self.log, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def tail(self, n=15):
        return "\n".join(self.said().split("\n")[-n:])

    def ctl(self, *args, check_status=True):
        p = subprocess.run([LARDERCTL, "--socket", self.socket, *args], capture_output=True, timeout=120)
        if check_status:
            check(p.returncode == 0, f"larderctl {' '.join(args)}: {p.returncode} {p.stderr.decode()}")
        return p.returncode, p.stdout.decode("utf-8", "replace"), p.stderr.decode("utf-8", "replace")

    def ask(self, *args):
        return json.loads(self.ctl("--json", *args)[1])

    def status(self):
        return self.ask("status")

    def drop(self, name, data):
        """Puts a capture into the spool as a camera should: written elsewhere, then renamed."""
        path = os.path.join(self.spool, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        part = os.path.join(os.path.dirname(path), "." + os.path.basename(path) + ".part")
        with open(part, "wb") as f:
            f.write(data)
        os.rename(part, path)

    def spool_files(self):
        return [os.path.join(d, f) for d, _, files in os.walk(self.spool) for f in files if not f.startswith(".")]

    def drained(self, seconds=60):
        def idle():
            if self.spool_files():
                return False
            spool = self.status()["spool"]
            return spool["pending"] == 0 and spool["in_flight"] == 0
        return self.wait_for(idle, seconds, "the spool to drain")

    def query(self, sql):
        """Rows of its index, which read by name, too."""
        with closing(sqlite3.connect(f"file:{os.path.join(self.store, 'index.db')}?mode=ro", uri=True)) as index:
            index.row_factory = sqlite3.Row
            return index.execute(sql).fetchall()

    def sum(self):
        c = self.status()["captures"]
        return c["stored"] + c["duplicate"] + c["quarantined"] + c["dropped"]

    def verify(self):
        code, out, err = self.ctl("verify", check_status=False)
        check(code == 0, f"verify: {out} {err}")

    def process_status(self, which):
        """A number of /proc/PID/status; sizes are in kB."""
        lines = process_file(self.process.pid, "status").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(which))

    def in_role(self, role):
        """Its processes that are worker, or trainer."""
        return [pid for pid, args in children(self.process.pid) if args == ["--" + role]]

    def resident_kb(self):
        return self.process_status("VmRSS")

    def peak_mib(self):
        return self.process_status("VmHWM") / 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def disk_use(self):
        total = 0
        for folder, dirs, files in os.walk(self.store):
            for name in [""] + files:
                try:
                    total += os.lstat(os.path.join(folder, name) if name else folder).st_blocks * 512
                except FileNotFoundError:
                    pass
        return total

    def watch_disk(self):
        """Samples what du counts as often as it can, in the background."""
        self.watching = True

        def run():
            while self.watching:
                self.peak = max(self.peak, self.disk_use())
                time.sleep(0.001)
        threading.Thread(target=run, daemon=True).start()

    def stop(self):
        """A clean stop within its time."""
        self.process.send_signal(signal.SIGTERM)
        try:
            check(self.process.wait(15) == 0, f"exit status {self.process.returncode}; log:\n{self.tail()}")
        except subprocess.TimeoutExpired:
            check(False, "did not stop within 15 s")
            self.process.kill()
            self.process.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def remove(self):
        self.watching = False
        time.sleep(0.02)
        shutil.rmtree(self.root, ignore_errors=True)


def process_file(pid, name):
    """What the kernel says of a process."""
    with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as f:
        return f.read()


def process_stat(pid):
    """The fields of /proc/PID/stat behind the name: state, parent and so on."""
    return process_file(pid, "stat").rsplit(")", 1)[1].split()


def children(pid):
    """Processes whose parent is pid, with their role."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if int(process_stat(name)[1]) == pid:
                found.append((int(name), process_file(name, "cmdline").split("\0")[1:2]))
        except (FileNotFoundError, ProcessLookupError, IndexError):
            pass
    return found
