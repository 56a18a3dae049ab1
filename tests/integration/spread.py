#!/usr/bin/env python3
"""A training that is spread over captures: once the store drops images, each slice of it learns from what came
since, what it has shown makes room first, and its model comes at the end. All of it outlives a kill."""
import os
import re

from harness import Daemon, check, finish, picture

SPENT = 65536
d = Daemon({
    "Store": {"MaxUse": "1M"},
    "Policy": {"MinQuality": "80", "LastingPercent": "30"},  # little to degrade: images must be dropped
    "Model": {"Channels": "8 8 8"},
    "Training": {"MinNewImages": "60", "CourseImages": "400", "Epochs": "10", "BatchSize": "16"},
}).start()
dropped = 0


def feed(n):
    global dropped
    for i in range(dropped, dropped + n):
        d.drop(f"{('stripes', 'blobs')[i % 2]}/{i}.png", picture(i % 2, i, 40))
    dropped += n
    d.wait_for(lambda: d.sum() == dropped, 60, f"{dropped} captures to be taken")


def feed_a_slice():
    """So many that as many stay as a slice takes: some are dropped as they come."""
    d.ctl("pause")
    feed(80)
    while d.status()["training"]["new_images"] < 60 and dropped < 8000:
        feed(20)


def slices():
    return [int(m.group(1)) for m in re.finditer(r"(\d+) % of a training done", d.said())]


def ended():
    return d.status()["model"]["version"] > version or d.said().count("candidate rejected") > rejected


def ranks():
    return [r["rank"] for r in d.query("SELECT rank FROM images WHERE stratum > 1 AND stratum % 2 = 0")]


# The first model comes at once, and as long as nearly all fits nothing is spread.
feed(120)
d.wait_for(lambda: d.status()["model"]["version"] == 1, 60, "a first model")
check(not slices(), "the first training is done at once")
d.ctl("pause")
while (d.status()["captures"]["dropped"] <= dropped / 8 or d.status()["training"]["new_images"] < 400) and dropped < 4000:
    feed(200)
d.ctl("resume")
check(d.status()["captures"]["dropped"] > dropped / 8, f"{dropped} captures more than fill the store")

# More than a course has come since: again at once.
d.wait_for(lambda: d.status()["model"]["version"] == 2 or "candidate rejected" in d.said(), 60, "the next model")
check(not slices(), "a course that is over is no course")

# From now on a training is done in slices; what they have shown is marked, and goes first.
feed_a_slice()
d.ctl("resume")
d.wait_for(slices, 60, "a first slice")
version = d.status()["model"]["version"]
d.wait_for(lambda: all(r >= SPENT for r in ranks()), 60, "what it has shown to be marked")
rejected = d.said().count("candidate rejected")
for _ in range(40):
    if ended():
        break
    before = len(slices())
    feed_a_slice()
    check(any(r < SPENT for r in ranks()), "what comes is not marked")
    d.ctl("resume")
    d.wait_for(lambda: len(slices()) > before or ended(), 60, "the next slice")
    if len(slices()) == 2:  # in the middle: nothing of it is lost
        d.wait_for(lambda: d.status()["training"]["state"] != "running", 20, "the slice to end")
        d.kill()
        d.start()
        feed_a_slice()
        d.ctl("resume")
        d.wait_for(lambda: d.in_role("trainer"), 60, "the one after")
        for pid in d.in_role("trainer"):
            os.kill(pid, 9)  # as the kernel does when memory is short
        d.wait_for(lambda: "trainer failed" in d.said(), 20, "that to be noticed")
        check(os.path.exists(os.path.join(d.store, "models", "checkpoint")), "what the course has come to is kept")
        d.kill()  # it would be tried again in five minutes
        d.start()
check(ended(), f"slices {slices()}, no candidate")
shown = [r for r in ranks() if r >= SPENT]
lasting = [r for r in shown if r < 2 * SPENT]
check(0.2 < len(lasting) / len(shown) < 0.45, f"{len(lasting)} of {len(shown)} last")
check(len(shown) - len(lasting) > 0 and sum(lasting) / len(lasting) < 1.45 * SPENT, "the lowest of all ranks do")
check(len(slices()) >= 3 and slices() == sorted(slices()), f"slices go on: {slices()}")

# Asked for, it is done at once.
code, out, _ = d.ctl("train", "--now", "--wait")
check("model" in out or "rejected" in out, f"train said {out}")
check(d.disk_use() <= 1 << 20, "within MaxUse")
d.verify()
d.stop()
d.remove()
finish()
