#!/usr/bin/env python3
"""Hours of captures at a steady rate while the network is trained again and again, in real time: memory, descriptors,
the time a capture takes and disk use stay what they were.  soak.py [MINUTES [CAPTURES_A_SECOND [SPEED]]]

SPEED: larderd's clocks and timers go so many times as fast, and MINUTES and CAPTURES_A_SECOND are by them.
Resident memory and descriptors are the daemon's, a capture's time is by our own clock."""
import os
import sys
import time

from harness import Daemon, Scenes, check, finish

MINUTES = float(sys.argv[1]) if len(sys.argv) > 1 else 0.3
RATE = float(sys.argv[2]) if len(sys.argv) > 2 else 25
SPEED = int(sys.argv[3]) if len(sys.argv) > 3 else 1  # a whole number
LIMIT = 8 << 20
WINDOWS = 12  # of the whole time; the first is for warming up
SAMPLE_S = 2  # one capture in this time is watched until its file is gone


def percentile(values, p):
    return sorted(values)[min(len(values) - 1, int(p * len(values)))]


scenes = Scenes(32)
d = Daemon({"Store": {"MaxUse": str(LIMIT)}, "Model": {"Channels": "16 32 64"}, "Idle": {"QuietSec": "0"},
            "Training": {"MinNewImages": str(int(RATE * min(20, 10 * MINUTES))), "Epochs": "10", "CourseImages": "20000", "Threads": "1"}})
env = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
if SPEED > 1:
    env |= {"LD_PRELOAD": os.environ["LARDER_FAULT"], "LARDER_SPEED": str(SPEED), "LARDER_SPEED_FROM": str(int(time.time()))}
d.start(env=env)
d.watch_disk()
began = time.monotonic()
taken, windows, late = 0, [], 0
seen_running = 0
while len(windows) < WINDOWS:
    until = began + 60 * MINUTES / SPEED * (len(windows) + 1) / WINDOWS
    seconds, resident, descriptors, next_sample = [], [], [], 0
    while time.monotonic() < until or not seconds:
        due = began + taken / (RATE * SPEED)
        wait = due - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        late = max(late, -wait)
        kind = taken % 2
        name = f"{('stripes', 'blobs')[kind]}/{taken}.pnm"
        d.drop(name, scenes.capture(kind, taken % 7 == 0))
        taken += 1
        now = time.monotonic()
        if now >= next_sample:
            next_sample = now + SAMPLE_S
            path = os.path.join(d.spool, name)
            while os.path.exists(path) and time.monotonic() < now + 30:
                time.sleep(0.0005)
            seconds.append(time.monotonic() - now)
            resident.append(d.resident_kb())
            descriptors.append(d.descriptors())
            seen_running += d.status()["training"]["state"] == "running"
    s = d.status()
    windows.append((max(resident), max(descriptors), percentile(seconds, .5), percentile(seconds, .99)))
    print(f"{s['uptime_s'] / 60:.1f} min: {taken} captures, {s['store']['images']} held, model {s['model']['version']}, "
          f"resident {windows[-1][0]} kB, {windows[-1][1]} descriptors, a capture takes {1e3 * windows[-1][2]:.1f} ms "
          f"({1e3 * windows[-1][3]:.1f} at the 99th percentile), disk {d.peak} at most", flush=True)
d.drained(60)
s = d.status()
check(d.sum() == taken, f"each capture once: {s['captures']}, {taken} taken")
check(d.peak <= LIMIT, f"disk use: {d.peak} of {LIMIT}")
check(s["uptime_s"] >= 60 * MINUTES, f"it was up for {s['uptime_s']} s by its own clock")
check(s["model"]["version"] >= 1, f"it was trained meanwhile: {s['model']}, {s['training']}")
early, later = windows[1:4], windows[-3:]  # a store that is filled by then, if the run is a long one
for i, (what, factor, more) in enumerate((("resident memory in kB", 1.1, 1500), ("descriptors", 1, 4),
                                          ("the median second of a capture", 2, 0.02))):
    if i == 2 and MINUTES < 10:
        continue  # a sample or two tell nothing about times
    a, b = max(w[i] for w in early), max(w[i] for w in later)
    check(b <= a * factor + more, f"{what}: {a} at first, {b} in the end")
d.verify()
print(f"{MINUTES:g} minutes, {taken} captures, model {s['model']['version']}, training in {seen_running} samples, "
      f"feeder late by {late:.2f} s at most")
d.stop()
d.remove()
finish()
