#!/usr/bin/env python3
"""kill -9 of the daemon, workers and trainer at random moments while captures arrive: each capture
ends stored once or accounted for, and the store verifies."""
import os
import random
import sys
import threading
import time

from harness import Daemon, check, finish, picture

CAPTURES = int(sys.argv[1]) if len(sys.argv) > 1 else 600
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 15
random.seed(7)

d = Daemon({"Store": {"MaxUse": "2M"}, "Training": {"MinNewImages": "50", "Epochs": "2000"},
            "Idle": {"QuietSec": "0"}}).start()
fed = threading.Event()


def feed():
    for i in range(CAPTURES):
        while i * KILLS > (sum(killed.values()) + 5) * CAPTURES and time.monotonic() < deadline:
            time.sleep(0.01)  # something arrives as long as something is killed
        d.drop(f"{'stripes' if i % 2 else 'blobs'}/{i}.png", picture(i % 2, i, 48))
    fed.set()


killed = {"daemon": 0, "worker": 0, "trainer": 0}
deadline = time.monotonic() + max(300, 2 * KILLS)
threading.Thread(target=feed, daemon=True).start()
while sum(killed.values()) < KILLS and time.monotonic() < deadline:
    time.sleep(random.uniform(0.02, 0.4))
    what = random.choice(["daemon", "worker", "trainer"])
    if what == "daemon":
        d.kill()
        d.start(ready=False)
        killed[what] += 1
        continue
    victims = d.in_role(what)
    if victims:
        try:
            os.kill(random.choice(victims), 9)
            killed[what] += 1
        except ProcessLookupError:
            pass
print(f"killed {killed}")
check(sum(killed.values()) == KILLS, f"only {killed}")
check(killed["daemon"] > 0, "the daemon was among them")
fed.wait(300)
d.wait_for(lambda: d.ctl("status", check_status=False)[0] == 0, 20, "the daemon to answer")
d.drained(180)
c = d.status()["captures"]
check(d.sum() == CAPTURES, f"each capture once: {c}, sum {d.sum()} of {CAPTURES}")
check(c["duplicate"] == 0, "nothing was taken twice")
d.verify()
check(d.disk_use() <= 2 << 20, f"limit: {d.disk_use()}")
d.stop()
d.start()
d.verify()
d.stop()
d.remove()
finish()
