#!/usr/bin/env python3
"""Month after month in minutes: captures by day, bursts and quiet hours, trainings by night, a clock that is set forth.
Disk use, memory, descriptors and the time that a capture takes stay what they were after the first days.
month.py [DAYS [CAPTURES_A_DAY]]"""
import os
import sqlite3
import statistics
import struct
import sys
import time
from contextlib import closing

from harness import Daemon, Scenes, check, finish

DAYS = int(sys.argv[1]) if len(sys.argv) > 1 else 30
PER_DAY = int(sys.argv[2]) if len(sys.argv) > 2 else 160
HOURS = [6, 7, 8, 9, 10, 12, 15, 17, 18, 20]
LIMIT = 2 << 20
WARM = max(5, DAYS // 3)  # days until everything has been used once
scenes = Scenes(48)


d = Daemon({"Store": {"MaxUse": str(LIMIT)}, "Model": {"Channels": "8 8 8"}, "Training":
            {"MinNewImages": "40", "Epochs": "3", "BatchSize": "32", "CourseImages": "600"},
            "Idle": {"QuietSec": "200ms", "Hours": "23:00-05:00"}})
clock = os.path.join(d.root, "clock")
with open(clock, "wb") as f:
    f.write(bytes(4096))
midnight = int(time.time()) // 86400 * 86400  # the daemon runs in UTC
d.start(env={"LD_PRELOAD": os.environ["LARDER_FAULT"], "LARDER_CLOCK": clock, "TZ": "UTC",
             "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})
d.watch_disk()
began, slept = int(time.time()), 0


def set_hour(day, hour):
    global slept
    wall = midnight + day * 86400 + hour * 3600 - int(time.time())
    slept = max(slept, wall)
    with open(clock, "r+b") as f:
        f.write(struct.pack("qq", wall, max(slept - (midnight - began), 0)))


taken, by_day, versions = 0, [], []
for day in range(1, DAYS + 1):
    seconds, n = 0.0, 0
    trained = False
    for hour in HOURS:
        set_hour(day, hour)
        share = PER_DAY // len(HOURS) * (3 if hour == 12 else 1)  # something happens at noon
        for i in range(share):
            kind = i % 2 if day % 7 else 0  # on one day in seven only one kind passes
            d.drop(f"{('stripes', 'blobs')[kind]}/{taken + i}.ppm", scenes.capture(kind, hour in (6, 20)))
        taken, n = taken + share, n + share
        start = time.monotonic()
        d.wait_for(lambda: d.sum() >= taken, 60, f"day {day}, {hour}:00: {taken} captures to be taken")
        seconds += time.monotonic() - start
        trained |= d.status()["training"]["state"] == "running"
    check(not trained, f"day {day}: no training by day")
    before = d.status()["training"]["new_images"]
    set_hour(day, 23)
    d.wait_for(lambda: d.status()["training"]["new_images"] < 40 and d.status()["training"]["state"] != "running", 60,
               f"the night of day {day}: {before} new images, {d.status()['training']}")
    by_day.append((d.resident_kb(), d.descriptors(), seconds / n, d.disk_use()))
    versions.append(d.status()["model"]["version"])
    if os.environ.get("VERBOSE"):
        s = d.status()
        print(f"day {day}: {taken} taken, {s['store']['images']} held at {s['policy']['mean_quality']:.0f}, model {versions[-1]}, "
              f"resident {by_day[-1][0]} kB, {by_day[-1][1]} descriptors, {1e3 * by_day[-1][2]:.2f} ms a capture, "
              f"{by_day[-1][3]} bytes", flush=True)

check(d.peak <= LIMIT, f"disk use: {d.peak} of {LIMIT}")
check(d.sum() == taken, f"each capture once: {d.status()['captures']}, {taken} taken")
check(versions[-1] > versions[0] >= 1, f"models: {versions}")
early, late = by_day[WARM - 1:WARM + 2], by_day[-3:]
for i, (what, factor, more) in enumerate((("resident memory in kB", 1.15, 1500), ("descriptors", 1, 4))):
    a, b = max(v[i] for v in early), max(v[i] for v in late)
    check(b <= a * factor + more, f"{what}: {a} after {WARM} days, {b} after {DAYS}")
a, b = (statistics.median(v[2] for v in part) for part in (by_day[1:WARM + 2], by_day[-WARM:]))
check(b < 4 * a + 0.02, f"a capture takes {1e3 * a:.1f} ms at first, {1e3 * b:.1f} in the end")
s = d.status()
check(set(s["store"]["by_label"]) == {"stripes", "blobs"} and
      min(s["store"]["by_label"].values()) * 2 > max(s["store"]["by_label"].values()), f"both kinds are held: {s['store']['by_label']}")
check(d.ctl("report", os.path.join(d.root, "report.html"))[0] == 0, "a report of it all")
d.verify()
print(f"{DAYS} days, {taken} captures, {versions[-1]} models")
d.stop()
with closing(sqlite3.connect(os.path.join(d.store, "index.db"))) as index:
    came = index.execute("SELECT sum(value) FROM counters WHERE counter > 1 << 20").fetchone()[0]
check(600 < came <= 4 * 600 + PER_DAY, f"what came with labels is told by the latest courses: {came} of {taken}")
d.remove()
finish()
