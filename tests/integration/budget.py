#!/usr/bin/env python3
"""The limit holds at every sampled moment: filling, degrading, dropping, lowered, on a full disk."""
import os
import subprocess
import threading
import time

from harness import Daemon, Scenes, check, feed_scenes, finish, picture

MIB = 1 << 20


def feed(d, n, start=0):
    for i in range(start, start + n):
        d.drop(f"{'stripes' if i % 2 else 'blobs'}/{i}.png", picture(i % 2, i, 64))


def run(mode, extra=None):
    d = Daemon({"Store": {"MaxUse": "2M", "InlineMax": "2K"}, "Policy": {"Mode": mode, "Quality": "90"}})
    d.configure(extra or {})
    d.start()
    d.watch_disk()
    for start in range(0, 1200, 100):  # in this order, however slow the disk is
        feed(d, 100, start)
        d.drained(120)
    s = d.status()
    check(d.sum() == 1200, f"{mode}: all accounted for: {s['captures']}")
    check(d.peak <= 2 * MIB, f"{mode}: peak {d.peak}")
    check(s["store"]["images"] > 50, f"{mode}: {s['store']['images']} images")
    check(min(s["store"]["by_label"].values()) > 20, f"{mode}: no class emptied: {s['store']['by_label']}")
    d.verify()
    return d, s


d, adaptive = run("adaptive")
check(len([q for q, n in adaptive["store"]["by_quality"].items() if n]) > 1, "several qualities in use")

# Lowered while it runs: it shrinks to it, and stays there with more captures to come.
d.watching = False
d.configure({"Store": {"MaxUse": "1M"}})
d.ctl("reload")
d.wait_for(lambda: d.disk_use() <= MIB, 60, "the store to shrink to 1M")
d.peak = 0
d.watch_disk()
feed(d, 200, 5000)
d.drained(60)
check(d.peak <= MIB, f"after lowering: peak {d.peak}")
check(min(d.status()["store"]["by_label"].values()) >= 20, "no class emptied by lowering")
d.verify()
d.stop()
d.remove()

d, s = run("uniform")
check(set(q for q, n in s["store"]["by_quality"].items() if n) == {"90"}, f"one quality: {s['store']['by_quality']}")
names = [int(i["name"].split(".")[0]) for i in d.ask("list")]
check(sum(names) / len(names) > 700, "the oldest were dropped")
d.stop()
d.remove()

d, s = run("drop")
check(all(i["original"] for i in d.ask("list")), "original bytes")
names = [int(i["name"].split(".")[0]) for i in d.ask("list")]
check(300 < sum(names) / len(names) < 900, f"a sample of all times: mean {sum(names) / len(names)}")
d.stop()
d.remove()

# Photographs around InlineMax in a store that holds few: what those in the index leave makes way for files.
d = Daemon({"Store": {"MaxUse": "1500K"}, "Training": {"Enabled": "no"}})
scenes = Scenes(520)
feed_scenes(d, scenes, 60, dark_every=3)
d.start()
d.watch_disk()
d.drained(60)
s = d.status()
check(d.sum() == 60 and s["store"]["images"] > 50, f"photographs: {s['captures']}, {s['store']}")
check(min(s["store"]["by_label"].values()) > 10, f"of both kinds: {s['store']['by_label']}")
check(d.peak <= 1500 << 10, f"photographs: peak {d.peak}")
d.verify()
d.stop()
d.remove()

# The same under a limit that is lowered: they are degraded, not dropped.
d = Daemon({"Store": {"MaxUse": "64M", "InlineMax": "0"}, "Training": {"Enabled": "no"}}).start()
feed_scenes(d, scenes, 60)
d.drained(60)
check(d.status()["store"]["bytes"] > 3 * MIB, f"large: {d.status()['store']}")
d.configure({"Store": {"MaxUse": "1500K"}})
d.ctl("reload")
d.wait_for(lambda: d.disk_use() <= 1500 << 10, 60, "the store to shrink to 1500K")
check(d.status()["store"]["images"] > 50, f"photographs under a lowered limit: {d.status()['store']}")
d.verify()
d.stop()
d.remove()

# Of a store that is full of small images, whose rows share pages, some go at a time, ahead of captures to come: by the
# bytes of those that waited it was a round of relief for every third capture.
d = Daemon({"Store": {"MaxUse": "1M"}, "Training": {"Enabled": "no"}}).start("-v")
scenes = Scenes(24)
for start in range(0, 4800, 800):
    before = d.said().count("larderd: full")
    feed_scenes(d, scenes, 800, start, dark_every=7)
    d.drained(60)
    rounds = d.said().count("larderd: full") - before
    check(start < 3200 or 0 < rounds < 130, f"small images: {rounds} rounds of relief for 800 captures")
check(d.status()["store"]["images"] > 1000, f"small images: {d.status()['store']}")
d.verify()
d.stop()
d.remove()

# Lowered from much to little: what fits stays.
d = Daemon({"Store": {"MaxUse": "1G"}}).start()
feed(d, 300)
d.drained(60)
feed(d, 300, 9000)
d.drained(60)
d.ctl("remove", "--name", "9???.png")
use = d.status()["store"]["use"]
freed = d.ask("vacuum")["freed"]
check(freed > 200000 and d.status()["store"]["use"] == use - freed, f"given back: {freed} of {use}")
check(d.ask("vacuum")["freed"] == 0, "once")
before = d.status()["store"]
check(before["images"] == 300 and before["bytes"] < 2 * MIB, f"small images: {before['bytes']}")
d.configure({"Store": {"MaxUse": "4M"}})
d.ctl("reload")
d.wait_for(lambda: d.disk_use() <= 4 * MIB and d.status()["store"]["use"] <= 4 * MIB, 60, "the store to shrink to 4M")
after = d.status()["store"]
check(after["images"] == 300 and after["bytes"] == before["bytes"], f"nothing goes for a log's sake: {after}")
d.stop()
d.configure({"Store": {"MaxUse": "1M"}})  # and a lower one found at the start is held before anything comes
d.start()
d.wait_for(lambda: d.status()["store"]["use"] <= MIB and d.disk_use() <= MIB, 60, "the store to shrink to 1M")
check(d.status()["store"]["images"] > 20, f"{d.status()['store']['images']} images in 1M")
d.stop()
d.remove()

# KeepFree on a small file system of its own, filled by somebody else meanwhile.
d = Daemon({"Store": {"MaxUse": "100M", "KeepFree": "2M"}})
os.makedirs(d.store)
mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", d.store], capture_output=True,
                         check=False).returncode == 0
if mounted:
    def left():
        fs = os.statvfs(d.store)
        return fs.f_bavail * fs.f_frsize

    d.start()
    small, least, over = Scenes(96), left(), threading.Event()

    def watch():
        global least
        while not over.wait(0.001):
            least = min(least, left())

    watcher = threading.Thread(target=watch)
    watcher.start()
    for start in range(0, 4000, 500):
        feed_scenes(d, small, 500, start)
        d.drained(120)
    over.set()
    watcher.join()
    check(least >= 2 * MIB, f"KeepFree: {least} left")
    free = left()
    fed = d.sum()
    with open(os.path.join(d.store, "somebody-elses"), "wb") as f:
        f.write(b"x" * (free - 4096))
    feed(d, 30, 9000)
    d.wait_for(lambda: d.sum() + len(d.spool_files()) >= fed + 30, 30, "captures to be taken or to wait")
    check(d.process.poll() is None, "it runs on with a full disk")
    os.unlink(os.path.join(d.store, "somebody-elses"))
    d.drained(60)
    check(d.sum() == fed + 30, "everything was taken once there was room")
    d.verify()
    time.sleep(22)  # two looks at the disk, after which there is nothing to look for
    before = d.process_status("voluntary_ctxt_switches")
    time.sleep(25)
    woken = d.process_status("voluntary_ctxt_switches") - before
    check(woken <= 1, f"keeping space free wakes nobody when nothing is stored: {woken} times in 25 s")
    d.stop()
    subprocess.run(["umount", d.store], check=False)
else:
    print("cannot mount a tmpfs here: KeepFree is not tested")
d.remove()
finish()
