#!/usr/bin/env python3
"""The daemon killed before, or in the middle of, single changes that it makes to spool and store: while it starts
for the first time, takes captures, degrades, drops, trains and keeps a model. After each kill every capture is in
one place, and the daemon goes on.   countdown.py [KILLS]"""
import errno
import json
import os
import random
import sys
import time

from harness import Daemon, check, finish, picture

KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 12
CAPTURES = 60
SETTINGS = {"Store": {"MaxUse": "1M", "InlineMax": "4K"}, "Policy": {"MinQuality": "60"},
            "Model": {"Channels": "8 8 8"}, "Idle": {"QuietSec": "0"},
            "Training": {"MinNewImages": "20", "Epochs": "2", "BatchSize": "16"}}
captures = [picture(i % 2, i, 48 if i % 4 else 160) for i in range(CAPTURES)]
captures[7] = b"no picture"


def life(root, preload, dirty):
    """Starts a daemon, feeds it what it has not been fed, waits until it dies or has nothing to do."""
    d = Daemon(SETTINGS, root)
    os.environ.update(preload)
    d.start(ready=False)
    for key in preload:
        del os.environ[key]
    for i in range(dirty, CAPTURES):
        d.drop(f"{('stripes', 'blobs')[i % 2]}/{i}.png", captures[i])
    return d


def dead_or_done(d, seconds=40):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if d.process.poll() is not None:
            return True
        code, out, _ = d.ctl("--json", "status", check_status=False)
        if code == 0 and not d.spool_files():
            s = json.loads(out)
            if s["model"]["version"] > 0 and s["training"]["state"] != "running" and s["training"]["new_images"] < 20:
                return False
        time.sleep(0.05)
    check(False, f"neither dead nor done after {seconds} s; log:\n{d.tail()}")
    return False


def preload(d_root, **what):
    return {"LD_PRELOAD": os.environ["LARDER_DISK"], "LARDER_DISK_DIR": d_root, **what}


random.seed(5)
most, killed = 2000, 0
for n in range(KILLS):
    at = 1 + n if n < KILLS // 4 else random.randint(1, most)
    d = Daemon(SETTINGS)
    root = d.root
    d = life(root, preload(root, **{("LARDER_DISK_KILL", "LARDER_DISK_TEAR")[n % 2]: str(at)}), 0)
    if dead_or_done(d):
        killed += 1
        check(d.process.returncode == -9, f"change {at}: exit status {d.process.returncode}; log:\n{d.tail()}")
    else:
        most = max(most * 3 // 4, 200)  # it does not make so many
        d.kill()
    d = life(root, {}, CAPTURES)
    d.wait_for(lambda: d.ctl("status", check_status=False)[0] == 0, 20, f"the daemon to answer after change {at}")
    d.drained()
    c = d.status()["captures"]
    check(d.sum() == CAPTURES and c["duplicate"] == 0 and c["quarantined"] == 1,
          f"change {at}: each capture once: {c}, sum {d.sum()} of {CAPTURES}")
    d.verify()
    check(d.disk_use() <= 1 << 20, f"change {at}: limit: {d.disk_use()}")
    d.wait_for(lambda: d.status()["model"]["version"] > 0, 60, f"a model after change {at}")
    d.stop()
    d.remove()
check(killed >= KILLS // 2, f"{killed} of {KILLS} killed")
print(f"{killed} kills")

# A spool from which nothing can be removed: each capture is taken once, the others wait; all is well in the end.
d = Daemon({"Training": {"Enabled": "false"}})
for i in range(400):
    d.drop(f"a/{i}.png", picture(0, i, 16))
os.environ.update({"LD_PRELOAD": os.environ["LARDER_DISK"], "LARDER_DISK_DIR": d.spool,
                   "LARDER_DISK_FAIL": f"{errno.EROFS}:1"})
d.start(ready=False)
for key in ("LD_PRELOAD", "LARDER_DISK_DIR", "LARDER_DISK_FAIL"):
    del os.environ[key]
d.wait_for(lambda: d.ctl("status", check_status=False)[0] == 0, 20, "the daemon to answer")
d.wait_for(lambda: "captures wait" in d.tail(400), 30, "captures to wait")
c = d.status()["captures"]
check(128 < c["stored"] < 400 and c["duplicate"] == 0, f"some are taken, none twice: {c}")
check(len(d.spool_files()) == 400, "nothing has left the spool")
d.kill()
d.start()
d.drained()
c = d.status()["captures"]
check(c["stored"] == 400 and c["duplicate"] == 0, f"each once in the end: {c}")
d.verify()
d.stop()
d.remove()
finish()
