#!/usr/bin/env python3
"""A clock that is set forth and back, a machine that sleeps, inotify watches used up, a slow disk: captures are taken at
once, the network is trained, and the history goes on."""
import errno
import hashlib
import os
import struct
import time

from harness import Daemon, check, finish, picture

DAY = 24 * 60 * 60
SETTINGS = {"Model": {"Channels": "8 8 8"}, "Idle": {"QuietSec": "0"},
            "Training": {"MinNewImages": "20", "Epochs": "2", "BatchSize": "16"}}


def shared(d, name):
    path = os.path.join(d.root, name)
    with open(path, "wb") as f:
        f.write(bytes(4096))
    return path


def set_clock(path, wall, asleep):
    with open(path, "r+b") as f:
        f.write(struct.pack("qq", int(wall), int(asleep)))


fed = 0


def feed(d, n, seconds, what):
    """So many captures, which have to be taken in time."""
    global fed
    for i in range(n):
        d.drop(f"{('stripes', 'blobs')[i % 2]}/{fed}.png", picture(i % 2, fed))
        fed += 1
    began = time.monotonic()
    d.drained(30)
    check(time.monotonic() - began < seconds, f"{what}: taken after {time.monotonic() - began:.1f} s")
    check(d.sum() == fed, f"{what}: {d.status()['captures']}")


d = Daemon(SETTINGS)
clock = shared(d, "clock")
env = {"LD_PRELOAD": os.environ["LARDER_FAULT"], "LARDER_CLOCK": clock, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
d.start(env=env)
feed(d, 24, 10, "before")
d.wait_for(lambda: d.status()["model"]["version"] >= 1, 30, "a first model")
wall = asleep = 0
for step, jump, sleep in (("a day forth", DAY, 0), ("two days back", -2 * DAY, 0), ("asleep for a night", DAY // 3, DAY // 3),
                          ("a year back", -365 * DAY, 0), ("before 1970", -60 * 365 * DAY, 0), ("ten years on", 70 * 365 * DAY, 0)):
    wall, asleep = wall + jump, asleep + sleep
    set_clock(clock, wall, asleep)
    version = d.status()["model"]["version"]
    feed(d, 24, 10, step)
    d.ctl("train", "--now", "--wait")
    s = d.status()
    check(s["model"]["version"] >= version and s["uptime_s"] >= 0, f"{step}: {s['model']} up {s['uptime_s']}")
    check(d.ctl("report", os.path.join(d.root, "report.html"))[0] == 0, f"{step}: a report")
    check(d.ctl("suggest")[0] == 0, f"{step}: suggestions")
check(d.status()["uptime_s"] >= DAY // 3, "sleep counts as time")
d.verify()
d.stop()
d.start()
check(d.sum() == fed, "all of it is there after a restart with another clock")
d.stop()
d.remove()

# A spool of another machine, whose clock is hours off: nobody tells what comes there, nor when it is whole.
for ahead in (0, 7200, -7200):
    d = Daemon({"Spool": {"SettleSec": "2s"}, "Training": {"Enabled": "no"}})
    d.start(env={**env, "LARDER_REMOTE": str(ahead)})
    check(not d.status()["spool"]["watching"], "inotify is not relied on")
    check("promised on local disks only" in d.said(), "a store on a network is warned of")
    data = picture(0, 1, 64)
    with open(os.path.join(d.spool, "slow.png"), "wb", buffering=0) as f:
        for i in range(8):  # which takes longer than SettleSec in all
            f.write(data[len(data) * i // 8:len(data) * (i + 1) // 8])
            time.sleep(0.7)
            check(d.sum() == 0, f"{ahead} s ahead: not taken while it is written")
    d.drop("blobs/1.png", picture(1, 2))
    d.drained(15)
    check(d.status()["captures"]["stored"] == 2, f"{ahead} s ahead: {d.status()['captures']}")
    check(not os.listdir(d.spool) or os.listdir(d.spool) == ["blobs"], f"nothing is left behind: {os.listdir(d.spool)}")
    d.stop()
    d.remove()

# How long a capture has waited is told by that clock, too: what has just come is scored at once.
d = Daemon({**SETTINGS, "Spool": {"SettleSec": "1s"}})
fed = 0
d.start(env={**env, "LARDER_REMOTE": "-7200"})
feed(d, 24, 20, "before a model")
d.wait_for(lambda: d.status()["model"]["version"] >= 1, 30, "a model")
d.configure({"Idle": {"QuietSec": "1h"}})
d.ctl("reload")
feed(d, 8, 20, "with a model")
new = [image for image in d.ask("list") if int(image["name"].split(".")[0]) >= 24]
check(len(new) == 8 and all(image["scored"] for image in new), f"scored when they came: {new}")
d.stop()
d.remove()

# Images go when they are older than their label may be, but not because a clock was set.
d = Daemon({"Store": {"MaxAge": "30d stripes, 365d *"}})
clock, fed = shared(d, "clock"), 0
d.start(env={**env, "LARDER_CLOCK": clock})
feed(d, 20, 10, "with ages")
pinned = next(line.split()[0] for line in d.ctl("list", "--label", "stripes")[1].splitlines() if ".png" in line)
d.ctl("pin", pinned)
check("kept" not in d.ctl("show", pinned)[1], "what is pinned stays")
blob = d.ask("list", "--label", "blobs")[0]
check(d.ask("show", blob["id"])["expires"] == blob["taken"] + 365 * DAY, "show says how long")
check("(MaxAge)" in d.ctl("show", blob["id"])[1], "in words, too")


def after(wall_days, slept_days):
    set_clock(clock, wall_days * DAY, slept_days * DAY)
    d.ctl("reload")
    time.sleep(0.5)
    d.drained()
    return d.status()["store"]["by_label"]


check(after(0, 1) == {"stripes": 10, "blobs": 10}, "after a day")  # (and a clock that lags behind by one)
check(after(40, 1) == {"stripes": 10, "blobs": 10}, "a clock that is set forth costs nothing")
check(after(29, 29) == {"stripes": 10, "blobs": 10}, "set again")
check(after(29, 29.5) == {"stripes": 10, "blobs": 10}, "29 days")
check(after(31, 31.5) == {"stripes": 1, "blobs": 10}, "31 days: only what is pinned is left")
check(after(364, 364.5) == {"stripes": 1, "blobs": 10}, "the others have a year")
left = after(366, 366.5)
check(left.get("blobs", 0) == 0 and left["stripes"] == 1, f"and then go: {left}")
check(d.sum() == fed and d.status()["captures"]["dropped"] == 19, f"counted: {d.status()['captures']}")
d.verify()
d.configure({"Store": {"MaxAge": "30 days of stripes"}})
check(d.ctl("reload", check_status=False)[0] == 1, "nonsense is refused")
d.stop()
d.remove()

# No watch can be had, or none but the first: found by scanning, and said so.
for at in (1, 2):
    d = Daemon(SETTINGS)
    fed = 0
    d.start(env={"LD_PRELOAD": os.environ["LARDER_FAULT"], "LARDER_FAULT_ROLE": "daemon", "LARDER_FAULT_CALL": "watch",
                 "LARDER_FAULT_ERRNO": str(errno.ENOSPC), "LARDER_FAULT_AT": str(at), "LARDER_FAULT_MORE": "1000000",
                 "LARDER_FAULT_COUNT": shared(d, "fault"), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})
    for n in range(3):
        feed(d, 4, 8, f"watches from {at} on refused, round {n}")
    log = d.said()
    check("max_user_watches is used up" in log, f"it says so: {log}")
    check(log.count("is used up") == 1, f"and not again and again: {log}")
    d.stop()
    d.remove()

# A training is over when its model is stored, however long the disk takes for that.
d = Daemon(SETTINGS)
fed = 0
d.start(env={**env, "LARDER_CLOCK": "", "LARDER_SLOW_SYNC": "300"})
feed(d, 24, 30, "a slow disk")
d.wait_for(lambda: d.status()["training"]["new_images"] < 20, 30, "the training")
while d.status()["training"]["state"] == "running":
    time.sleep(0.01)
s = d.status()
check(s["model"]["version"] == 1, f"a training that is over has left a model: {s['model']}, {s['training']}")

# Cameras that use one name again and again: the next picture may be there before the last one is stored.
before = d.sum()
for i in range(3):
    d.drop("snapshot.png", picture(0, 8000 + i))  # one is read, one takes its place, and is overwritten or read
    time.sleep(0.1)
d.wait_for(lambda: not d.spool_files() and d.sum() >= before + 2, 20, "the last one, which no later event tells of")
last = picture(0, 8002)
check(hashlib.sha256(last).hexdigest()[1:16] in {i["id"][1:] for i in d.ask("list")}, "the last one is there")
d.stop()
d.remove()
finish()
