#!/usr/bin/env python3
"""Bytes that rot: found by verify, set aside by verify --repair, the rest as it was; nothing rash when a disk is gone."""
import glob
import os
import sqlite3
import subprocess

from harness import LARDERD, Daemon, check, finish, picture
import larder  # from where harness says


def flip(path):
    """A bit, four fifths of the way through."""
    with open(path, "r+b") as f:
        f.seek(int(0.8 * os.path.getsize(path)))
        byte = f.read(1)[0]
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte ^ 0x40]))


def change_index(change):
    """While nothing runs."""
    d.stop()
    index = sqlite3.connect(os.path.join(d.store, "index.db"))
    index.execute(change)
    index.commit()
    index.close()
    d.start()


d = Daemon({"Store": {"MaxUse": "32M", "InlineMax": "1K", "AutoSalvage": "no"}, "Training": {"Enabled": "false"}}).start()
for i in range(40):  # most as files, some in the index
    d.drop(f"{('stripes', 'blobs')[i % 2]}/{i}.png", picture(i % 2, i, 200 if i < 28 else 16))
d.drained()
objects = sorted(glob.glob(os.path.join(d.store, "objects", "*.jpg")))
check(len(objects) == 28, f"{len(objects)} files")
with open(objects[0], "r+b") as f:
    f.seek(os.path.getsize(objects[0]) // 2)
    f.write(b"\x55\xaa\x55")
os.unlink(objects[1])
flip(objects[2])
d.stop()
index = sqlite3.connect(os.path.join(d.store, "index.db"))
row = index.execute("SELECT id FROM images WHERE data IS NOT NULL LIMIT 1").fetchone()[0]
index.execute("UPDATE images SET data = x'00ff' WHERE id = ?", (row,))
index.execute("UPDATE tally SET images = images + 3")
index.commit()
index.close()
d.start()

code, out, _ = d.ctl("verify", check_status=False)
check(code == 4 and out.count("image ") >= 4 and "tally" in out, f"found: {code} {out}")
check(d.ctl("verify", "--force", check_status=False)[0] == 2, "--force alone is no sense")
code, out, err = d.ctl("verify", "--repair", check_status=False)
check(code == 0 and out.startswith("3 images set aside") and "1 images mended" in out and "37 images" in out, f"repaired: {code} {out} {err}")
s = d.status()
check(s["store"]["images"] == 37 and sum(s["store"]["by_label"].values()) == 37, f"counted anew: {s['store']}")
check(s["captures"]["quarantined"] == 3 and d.sum() == 40, f"each is somewhere: {s['captures']}")
kept = os.listdir(os.path.join(d.store, "quarantine"))
check(os.path.basename(objects[0]) in kept and os.path.basename(objects[0]) + ".reason" in kept, f"kept: {kept}")
for i in range(40):  # what was set aside may come again
    d.drop(f"{('stripes', 'blobs')[i % 2]}/again-{i}.png", picture(i % 2, i, 200 if i < 28 else 16))
d.drained()
s = d.status()
check(s["store"]["images"] == 40 and s["captures"]["duplicate"] == 37, f"three are new: {s['captures']}")

# A damaged image that comes again is not taken for a duplicate; its label stays.
objects = sorted(glob.glob(os.path.join(d.store, "objects", "*.jpg")))
for o in objects[:2]:
    with open(o, "r+b") as f:
        f.seek(200)
        f.write(b"\x00\xff" * 20)
flip(objects[2])
os.unlink(objects[3])
before = d.status()
for i in range(40):
    d.drop(f"once-more-{i}.png", picture(i % 2, i, 200 if i < 28 else 16))
d.drained()
s = d.status()
check(s["captures"]["duplicate"] - before["captures"]["duplicate"] == 37, f"but for one that could be mended: {s['captures']}")
check(s["store"]["images"] == 40 and s["store"]["by_label"] == before["store"]["by_label"], f"all are there: {s['store']}")
code, out, _ = d.ctl("verify", check_status=False)
check(code == 0 and "all sound" in out, f"and whole: {code} {out}")

# Rows that were changed by somebody who knows nothing of their sums, as an older build: all are kept.
change_index("UPDATE images SET rank = 1234, model = model + 77")
code, out, _ = d.ctl("verify", check_status=False)
check(code == 4 and out.count("its row is not as it was written") == 40, f"found: {code} {out}")
code, out, err = d.ctl("verify", "--repair", check_status=False)
check(code == 0 and "0 images set aside" in out and "images kept whose rows were damaged" in out, f"kept: {code} {out} {err}")
check(d.status()["store"]["images"] == 40, "none is lost by it")

# Most files gone at once: a disk that is not there rather than rot.
away = os.path.join(d.root, "away")
os.mkdir(away)
for path in glob.glob(os.path.join(d.store, "objects", "*.jpg")):
    os.rename(path, os.path.join(away, os.path.basename(path)))
code, _, err = d.ctl("verify", "--repair", check_status=False)
check(code == 1 and "lost their bytes" in err, f"refused: {code} {err}")
check(d.status()["store"]["images"] == 40, "nothing was removed")
for path in os.listdir(away):
    os.rename(os.path.join(away, path), os.path.join(d.store, "objects", path))
d.verify()
d.stop()
d.start()
d.verify()
d.stop()

# The index's own pages rot: found, salvaged, and the daemon goes on; original bytes come out as they went in.
path = os.path.join(d.store, "index.db")
whole = open(path, "rb").read()
index = sqlite3.connect(path)
pages = [p for p, in index.execute("SELECT pageno FROM dbstat WHERE name='images' AND pagetype='leaf' ORDER BY pageno")] \
    if index.execute("SELECT 1 FROM pragma_compile_options WHERE compile_options='ENABLE_DBSTAT_VTAB'").fetchone() else []
index.close()
page = pages[len(pages) // 2] if pages else len(whole) // 4096
with open(path, "r+b") as f:
    f.seek((page - 1) * 4096)
    f.write(os.urandom(4096))
d.start(ready=False)
d.wait_for(lambda: d.process.poll() is not None or d.ctl("status", check_status=False)[0] == 0, 20, "it to start or give up")
if d.process.poll() is None:
    code, out, err = d.ctl("verify", check_status=False)
    check(code != 0 and ("salvage" in err or "index.db" in out), f"the damage is found: {code} {out} {err}")
    p = subprocess.run([LARDERD, "--config", d.config, "--salvage"], capture_output=True, timeout=60)
    check(p.returncode == 1 and b"in use" in p.stderr, f"not beside a daemon: {p}")
    d.stop()
p = subprocess.run([LARDERD, "--config", d.config, "--salvage"], capture_output=True, timeout=60)
check(p.returncode == 0 and b"images kept" in p.stdout, f"salvaged: {p}")
check(subprocess.run([LARDERD, "--scratch", "/tmp"], capture_output=True).returncode == 2, "--scratch alone is no sense")
d.start()
d.verify()
s = d.status()
check(s["store"]["images"] >= 28 and d.sum() == 120, f"files and most of the rest are there: {s['store']} {s['captures']}")
check(set(s["store"]["by_label"]) == {"stripes", "blobs"}, f"labels: {s['store']['by_label']}")
d.stop()

os.unlink(path)  # nothing but the files is left
p = subprocess.run([LARDERD, "--config", d.config, "--salvage"], capture_output=True, timeout=60)
check(p.returncode == 1 and b"--force" in p.stderr, f"how many there were is not known: {p}")
p = subprocess.run([LARDERD, "--config", d.config, "--salvage", "--force"], capture_output=True, timeout=60)
check(p.returncode == 0 and b"28 from their files" in p.stdout, f"from the files alone: {p}")
d.start()
d.verify()
check(sum(d.status()["store"]["by_label"].values()) == 28, "their labels are in the files")
d.stop()
d.remove()


# By itself: a damaged index is made anew at the start, or when the damage is met, and captures go on.
def pages_of(path, kind):
    """Numbers of the index's pages that begin with a byte."""
    whole = open(path, "rb").read()
    return [p for p in range(2, len(whole) // 4096 + 1) if whole[(p - 1) * 4096] == kind]


def damage(path, pages):
    with open(path, "r+b") as f:
        for p in pages:
            f.seek((p - 1) * 4096)
            f.write(b"\xff" * 4096)


def times_made_anew():
    return d.tail(100000).count("the index was made anew")


def rot(leaves, inner=False):
    """Damages leaves from the middle on while nothing runs, an hour after the last salvage; and starts."""
    os.unlink(os.path.join(d.store, "salvage.tried"))
    all_leaves = pages_of(path, 13)
    middle = len(all_leaves) // 2
    damage(path, [*(pages_of(path, 5) if inner else []), *all_leaves[middle:middle + leaves]])
    d.start()


def await_another(before):
    d.wait_for(lambda: times_made_anew() > before, 20, "the index to be made anew")
    d.wait_for(lambda: d.ctl("status", check_status=False)[0] == 0, 20, "the daemon to answer")


d = Daemon({"Store": {"MaxUse": "1M"}, "Training": {"Enabled": "false"}}).start()
path = os.path.join(d.store, "index.db")
n = 0


def take(count):
    global n
    for _ in range(count):
        d.drop(f"{('stripes', 'blobs')[n % 2]}/{n}.png", picture(n % 2, n, 32))
        n += 1
    d.drained()


take(300)
before = d.status()["store"]["images"]
d.stop()
damage(path, [1, *pages_of(path, 5)])  # the first, and all inner ones of tables
d.start()
check("the index was made anew" in d.tail(200), f"at the start: {d.tail()}")
s = d.status()
check(s["store"]["images"] == before and d.sum() == n, f"nothing is lost: {s['store']}, {before} before")
check(set(s["store"]["by_label"]) == {"stripes", "blobs"}, f"labels: {s['store']['by_label']}")
d.verify()
d.stop()
rot(3, inner=True)
pid = d.process.pid
take(900)  # so many that room has to be made
check(d.process.poll() is None and d.process.pid == pid, "it is the same process")
check(d.tail(2000).count("the index was made anew") >= 1, f"when the damage is met: {d.tail()}")
check(d.sum() == n, f"each is accounted for: {d.status()['captures']}, {n} taken")
d.verify()
d.stop()

# A trainer that meets it tells; of table sets that are damaged twice it makes nothing.
index = sqlite3.connect(path)
index.execute("INSERT INTO tables VALUES(77, x'00', 1)")
index.commit()
index.close()
d.configure({"Training": {"Enabled": "yes", "Epochs": "2"}, "Idle": {"QuietSec": "0"}})
d.start()
code, out, err = d.ctl("train", "--now", "--wait", check_status=False)
check(code == 0, f"trained: {code} {out} {err}")
d.stop()
rot(2)
told = times_made_anew()
code, out, err = d.ctl("verify", check_status=False)
check(code == 1 and "verify --repair makes it anew" in err, f"found, and nothing changed: {code} {out} {err}")
d.ctl("train", "--now", "--wait", check_status=False)
await_another(told)
code, out, err = d.ctl("train", "--now", "--wait", check_status=False)
check(code == 0, f"and trained: {code} {out} {err}")
check(d.sum() == n, f"each is accounted for: {d.status()['captures']}, {n} taken")
d.verify()
d.stop()

# So does who asks for repair.
rot(1)
told = times_made_anew()
code, out, err = d.ctl("verify", "--repair", check_status=False)
check(code == 1 and "starts over" in err, f"begun: {code} {out} {err}")
await_another(told)
d.verify()
d.stop()

with open(os.path.join(d.store, "uuid"), "r+") as f:
    f.write("0" * 32)
os.unlink(os.path.join(d.store, "salvage.tried"))
for tries in range(2):
    d.start(ready=False)
    d.wait_for(lambda: d.process.poll() is not None, 20, "it to give up")
    check("another disk" in d.tail(50), f"another disk's is left alone: {d.tail()}")
check(d.tail(10000).count("not salvaged") == 1, "and not tried again at once")
d.remove()

# Networks: a flipped bit is found; what is known is written anew; an older one takes the place of one that is lost.
d = Daemon({"Store": {"MaxUse": "32M"}, "Training": {"Epochs": "2", "MinNewImages": "1000000"}, "Idle": {"QuietSec": "0"}}).start()
for i in range(80):
    d.drop(f"{('stripes', 'blobs')[i % 2]}/{i}.png", picture(i % 2, i, 16))
d.drained()
d.ctl("train", "--now", "--wait")
weights = os.path.join(d.root, "m.safetensors")
d.ctl("model", weights)
for i in range(2):
    d.ctl("model", "--use", weights)


def model(version):
    return os.path.join(d.store, "models", f"model-{version:06}.safetensors")


def sound():
    code, out, _ = d.ctl("verify", check_status=False)
    return code == 0 and "all sound" in out


check(sound() and d.status()["model"]["version"] == 3, f"as it should be: {d.status()['model']}")
for name in (model(1), model(3), model(3)):
    flip(name)
    code, out, _ = d.ctl("verify", check_status=False)
    check(code == 4 and f"models/{os.path.basename(name)}: stored bytes do not match" in out, f"found: {code} {out}")
    code, out, err = d.ctl("verify", "--repair", check_status=False)
    check(code == 0 and "all sound" in out, f"repaired: {code} {out} {err}")
    check(os.path.exists(os.path.join(d.store, "quarantine", os.path.basename(name))), "and set aside")
check(os.path.exists(model(3)) and not os.path.exists(model(1)), "the one in use is written anew, an old one is gone")
d.stop()
flip(model(3))
with open(os.path.join(d.store, "models", "checkpoint"), "wb") as f:
    f.write(b"LCK2 of something else")
d.start()
check(d.status()["model"]["version"] == 4, f"another takes its place: {d.status()['model']}, {d.tail(30)}")
check("model 2 takes its place, as model 4" in d.tail(30) and "training begins anew" in d.tail(30), f"and it is said: {d.tail(30)}")
check(not sound() and d.ctl("verify", "--repair", check_status=False)[0] == 0, "what is damaged is left for a repair")
change_index("DELETE FROM meta WHERE key = 'model'")
check(d.status()["model"]["version"] == 4, f"the newest there is: {d.status()['model']}")
change_index("DELETE FROM counters")
check(d.status()["training"]["new_images"] >= 0, f"no more is waited for than is new: {d.status()['training']}")
d.stop()
for version in (2, 4):
    flip(model(version))
d.start()
check(d.status()["model"]["version"] == 0 and "there is no other" in d.tail(30), f"none: {d.status()['model']}")
d.ctl("train", "--now", "--wait")
check(d.status()["model"]["version"] == 5, f"none of the old numbers: {d.status()['model']}")
d.ctl("verify", "--repair", check_status=False)
check(sound(), "in the end")
asked = larder.Store(d.socket)
for _ in range(3):  # who is told that a training is over may ask for what it would be in the way of
    asked.call("Train", now=True, wait=True)
    check(asked.status()["training"]["state"] != "running", f"over when it is said to be: {asked.status()['training']}")
asked.close()
d.stop()
d.remove()
finish()
