#!/usr/bin/env python3
"""A device that gets hot, or has no long rest: a training is held where it is, and goes on from there."""
import mmap
import os
import struct
import time

from harness import Daemon, check, finish, picture, process_file, process_stat

d = Daemon({"Model": {"InputSize": "16", "Channels": "8 8 16"}, "Training": {"MinNewImages": "50", "Epochs": "10000"}})
zone = os.path.join(d.root, "sys", "class", "thermal", "thermal_zone0", "temp")
os.makedirs(os.path.dirname(zone))


def heat(celsius):
    with open(zone + ".new", "w", encoding="ascii") as f:
        f.write(f"{celsius * 1000}\n")
    os.rename(zone + ".new", zone)


def trainer():
    return next(iter(d.in_role("trainer")), None)


def is_held(pid):
    return process_stat(pid)[0] == "T"


def awoken():
    return d.process_status("voluntary_ctxt_switches")


def why():
    return d.status()["training"]["why"]


clock = os.path.join(d.root, "clock")
with open(clock, "wb") as f:
    f.write(bytes(4096))
with open(clock, "r+b") as f:
    ahead = mmap.mmap(f.fileno(), 4096)  # seconds: of the wall clock, and of the one that goes on in sleep
heat(90)
env = {"LD_PRELOAD": os.environ["LARDER_FAULT"], "LARDER_SYS": os.path.join(d.root, "sys"), "LARDER_CLOCK": clock}
d.start(env=env)
for i in range(120):
    d.drop(f"{'stripes' if i % 2 else 'blobs'}/{i}.png", picture(i % 2, i))
d.drained()
d.wait_for(lambda: "90 degrees; MaxTemp=75" in why(), 20, "it to be too hot")
check(d.status()["training"]["state"] == "waiting" and trainer() is None, "nothing begins")
before = awoken()
time.sleep(11)
check(awoken() - before <= 6, f"looking whether it is cooler wakes it every five seconds: {awoken() - before} times in eleven")
heat(50)
d.wait_for(lambda: d.status()["training"]["epoch"] > 0, 60, "a training to begin")
pid = trainer()
for hot, not_yet in ((80, 74), (76, 71)):
    heat(hot)
    d.wait_for(lambda: is_held(pid), 20, "the trainer to be held")
    d.wait_for(lambda: f"{hot} degrees" in why() and "cooling down" in why(), 20, f"the status to say so: {why()}")
    epoch = d.status()["training"]["epoch"]
    heat(not_yet)
    d.wait_for(lambda: f"{not_yet} degrees" in why(), 20, f"it to be cooler: {why()}")
    check(is_held(pid) and d.status()["training"]["epoch"] == epoch, "not cool enough to go on")
    heat(69)
    d.wait_for(lambda: not is_held(pid) and d.status()["training"]["epoch"] > epoch, 60, "it to go on")
    check(trainer() == pid, "it is the same one")

# Captures now and then: held for each, it goes on when nothing comes for QuietSec. Both at once are no different.
for i, hot in enumerate((False, True, False)):
    if hot:
        heat(80)
        d.wait_for(lambda: is_held(pid), 20, "the trainer to be held for its heat")
    epoch = d.status()["training"]["epoch"]
    d.configure({"Idle": {"QuietSec": "5s"}})
    d.ctl("reload")
    before = d.sum()
    d.drop(f"late-{i}.png", picture(0, 9000 + i))
    d.wait_for(lambda: d.sum() == before + 1, 10, "the capture")
    d.wait_for(lambda: is_held(pid), 10, "the trainer to make way")
    check(d.status()["training"]["state"] == "waiting", f"it waits: {why()}")
    d.wait_for(lambda: "last capture" in why(), 10, "the status to say so")
    heat(50)
    d.wait_for(lambda: not is_held(pid) and d.status()["training"]["epoch"] > epoch, 60, "it to go on")
    check(trainer() == pid, "it is the same one")

# Who turns training off does not wait for this one.
d.configure({"Training": {"Enabled": "no"}, "Idle": {"QuietSec": "500ms"}})
d.ctl("reload")
d.wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 10, "the trainer to be gone")
check(why() == "Training.Enabled=no" and d.status()["training"]["state"] == "idle", f"and it says so: {d.status()['training']}")
d.configure({"Training": {"Enabled": "yes"}})
d.ctl("reload")
d.wait_for(lambda: trainer() and d.status()["training"]["epoch"] > 0, 60, "training to be taken up again")
pid = trainer()

# Its memory is not held for ever; and it goes with the daemon.
heat(80)
d.wait_for(lambda: is_held(pid), 20, "the trainer to be held")
struct.pack_into("qq", ahead, 0, 700, 700)
d.wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 20, "the trainer to be gone")
heat(50)
d.wait_for(lambda: trainer() and d.status()["training"]["epoch"] > 0, 60, "another training")
pid = trainer()
heat(80)
d.wait_for(lambda: is_held(pid), 20, "it to be held")
d.stop()
check(not os.path.exists(f"/proc/{pid}"), "it goes with the daemon")

# Nor is every image scored anew while it is too hot, which is as much work.
d.configure({"Training": {"Epochs": "2"}, "Idle": {"QuietSec": "500ms"}})
heat(90)
d.start(env=env)
d.ctl("train", "--now", "--wait")  # whoever asks for it gets it
check(d.status()["model"]["version"] == 1, f"a model: {d.status()['model']}")
time.sleep(2)
check(not any(i["scored"] for i in d.ask("list")), "no image is scored by it")
heat(50)
d.wait_for(lambda: all(i["scored"] for i in d.ask("list")), 60, "all to be")
background = [pid for pid in d.in_role("worker") if "--background" in process_file(pid, "cmdline")]
check(len(background) > 0, "by workers of its own")
for pid in background:
    group = process_file(pid, "autogroup") if os.path.exists("/proc/self/autogroup") else ""
    check("nice 19" in group or not group, f"that are nice to other sessions: {group}")
d.verify()
d.stop()
d.remove()
finish()
