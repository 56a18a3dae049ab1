#!/usr/bin/env python3
"""Several spools, with labels of their own, into one store; and a label's own share of it."""
import os
import shutil
import subprocess
import time

from harness import Daemon, Scenes, check, finish, picture


def with_spools(settings, labels):
    d = Daemon(settings)
    d.more = {name: os.path.join(d.root, "elsewhere", name) for name in labels}
    os.makedirs(os.path.join(d.root, "elsewhere"))
    for name, label in labels.items():
        d.configure({f"Spool {name}": {"Path": d.more[name], **({"Label": label} if label else {})}})
    return d


def waiting(path):
    return sum(len(files) for _, _, files in os.walk(path))


def all_drained(d, seconds=300):
    d.wait_for(lambda: not d.spool_files() and not any(waiting(p) for p in d.more.values()), seconds, "all spools to drain")
    d.drained(seconds)


d = with_spools({"Training": {"Enabled": "no"}}, {"door": "at the door", "yard": None}).start()
check(all(os.path.isdir(p) for p in d.more.values()), "spools are made")
s = d.status()["spool"]
check([(m["name"], m["path"], m["label"]) for m in s["more"]] ==
      [("door", d.more["door"], "at the door"), ("yard", d.more["yard"], None)], f"status knows them: {s}")

# The same below each of them: a spool's own label, that of a directory, and none.
n = 0
for where in ("", *d.more.values()):
    for folder in ("", "fox", "fox/deeper"):
        for i in range(4):
            d.drop(os.path.join(where, folder, f"{i}.png"), picture(i % 2, n, 24))
            n += 1
all_drained(d)
s = d.status()
check(s["captures"]["stored"] == n, f"{n} captures: {s['captures']}")
check(s["store"]["by_label"] == {"at the door": 4, "fox": 24} and s["store"]["unlabelled"] == 8, f"labels: {s['store']}")
check(d.more["door"] in d.ctl("status")[1], "status shows them to people")

# What is no picture goes to quarantine from anywhere, and names its reason.
d.drop(os.path.join(d.more["door"], "broken.png"), b"no picture")
all_drained(d)
check(any("broken.png" in name for name in os.listdir(os.path.join(d.store, "quarantine"))), "quarantined")

# Killed amid captures in all of them: each is taken once.
before = d.sum()
for round_ in range(4):
    for where in ("", *d.more.values()):
        for i in range(40):
            d.drop(os.path.join(where, "b", f"{round_}-{i}.png"), picture(i % 2, n, 24))
            n += 1
    time.sleep(0.05 * round_)
    d.kill()
    d.start()
all_drained(d)
s = d.status()
check(d.sum() == before + 480, f"each once: {s['captures']}, {before} before")
check(s["captures"]["duplicate"] == 0, f"and none twice: {s['captures']}")

# A directory that goes away and comes back.
shutil.rmtree(d.more["door"])
time.sleep(0.5)
os.makedirs(d.more["door"])
d.drop(os.path.join(d.more["door"], "again.png"), picture(0, n, 24))
all_drained(d)
check(d.status()["store"]["by_label"]["at the door"] == 5, "it is watched again")

# A card that is put in, into a spool or in its place: what is on it is taken at once, not minutes later.
card = os.path.join(d.root, "card")
for i, place in enumerate((os.path.join(d.spool, "sd"), d.more["yard"])):
    os.makedirs(card, exist_ok=True)
    os.makedirs(place, exist_ok=True)
    time.sleep(1)  # that has been seen
    d.drop(os.path.join(card, f"{i}.png"), picture(1, 5000 + i, 24))
    if subprocess.run(["mount", "--bind", card, place], capture_output=True, check=False).returncode != 0:
        print("cannot mount here: cards are not tested")
        break
    d.wait_for(lambda: not waiting(card), 20, "what is on the card")
    d.drop(os.path.join(card, f"more-{i}.png"), picture(1, 6000 + i, 24))
    d.wait_for(lambda: not waiting(card), 10, "what comes onto it")
    subprocess.run(["umount", "--lazy", place], check=False)
    d.drop(os.path.join(place, f"without-{i}.png"), picture(1, 7000 + i, 24))
    all_drained(d, 20)

# Many that wait in one spool do not keep those of another waiting.
d.stop()
for i in range(4000):
    d.drop(f"many/{i}.png", picture(0, 1, 24))
for i in range(20):
    d.drop(os.path.join(d.more["yard"], f"{i}.png"), picture(1, n + i, 24))
time.sleep(0.5)  # longer than SettleSec: all of them are ready
d.start()
d.wait_for(lambda: not waiting(d.more["yard"]), 300, "the yard's captures")
left = waiting(d.spool)
check(left > 500, f"they need not wait for the others: {left} are still there")
all_drained(d)

# Which spools there are is settled at the start.
d.configure({"Spool more": {"Path": os.path.join(d.root, "more")}})
code, _, err = d.ctl("reload", check_status=False)
check(code == 1 and "[Spool NAME]" in err, f"refused: {err}")
d.verify()
d.stop()
d.remove()


# One label floods the store; another has a share of it to itself: less only if too few of it come after others were
# degraded.
def share(store, spool):
    scenes = Scenes(48)
    d = with_spools({"Store": {"MaxUse": "2M", **store}, "Training": {"Enabled": "no"}}, {"door": "door"})
    d.configure({"Spool door": spool})
    d.start()
    d.watch_disk()
    for i in range(5000):
        d.drop(os.path.join(d.more["door"], f"{i}.pnm"), scenes.capture(1))
    for i in range(5000):
        d.drop(f"{'abcd'[i % 4]}/{i}.pnm", scenes.capture(i % 2))
    all_drained(d)
    images = [image for image in d.ask("list", "--limit", "10000") if not image["validation"]]
    door = [image for image in images if image["label"] == "door"]
    check(d.peak <= 2 << 20, f"within MaxUse: {d.peak}")
    d.verify()
    d.stop()
    d.remove()
    return len(door) / len(images), sum(i["bytes"] for i in door) / sum(i["bytes"] for i in images)


alone, _ = share({}, {})
(_, own), (_, also) = share({"MinShare": "60% door"}, {}), share({}, {"MinShare": "60%"})
check(0.26 < alone < 0.4, f"without a share of its own it has the root of four times what each of the others has: {alone:.2f}")
check(0.45 < own < 0.75, f"with it: {own:.2f}")
check(0.45 < also < 0.75, f"the same when its spool says so: {also:.2f}")
print(f"share of the door: {alone:.2f} of the images without, {own:.2f} with MinShare=60%, {also:.2f} by its spool's")
finish()
