#!/usr/bin/env python3
"""Images and labels out of one store, in every format, and into another; and through the Python module."""
import csv
import io
import json
import os
import pickle
import subprocess
import tarfile

from harness import LARDERCTL, Daemon, check, finish, picture
import larder  # from where harness says

os.umask(0o027)
d = Daemon().start()
for i in range(90):
    d.drop(f"kind, {i % 3}/{i}.png" if i % 9 else f"loose-{i}.png", picture(i % 2, i))
d.drained()
images = {i["id"]: i for i in d.ask("list")}
parts = {True: "validation", False: "train"}

# Folders with training and validation apart.
out = os.path.join(d.root, "folders")
d.ctl("export", out, "--split")
with open(os.path.join(out, "images.csv"), encoding="utf-8", newline="") as f:
    rows = list(csv.DictReader(f))
check(len(rows) == 90, f"{len(rows)} rows")
for r in rows:
    im = images[r["id"]]
    check(r["file"] == f"{parts[im['validation']]}/{im['label'] or 'unlabelled'}/{r['id']}.jpg", f"place of {r['file']}")
    check(os.path.exists(os.path.join(out, r["file"])), f"{r['file']} is there")
with open(os.path.join(out, "classes.txt"), encoding="utf-8") as f:
    classes = f.read().splitlines()
check(classes == ["kind, 0", "kind, 1", "kind, 2"], f"classes {classes}")

# WebDataset: samples are members of one name in order; another program reads the tar files.
tars = os.path.join(d.root, "tars")
check(d.ask("export", tars, "--format", "webdataset")["written"] == 90, "written")
check(sorted(os.listdir(tars)) == ["classes.txt", "images.csv", "train-000000.tar", "validation-000000.tar"],
      f"files {os.listdir(tars)}")
met = 0
for part in ("train", "validation"):
    with tarfile.open(os.path.join(tars, f"{part}-000000.tar")) as t:
        members = t.getmembers()
        for m in members:
            stem, ending = m.name.split(".")
            data = t.extractfile(m).read()
            im = images[stem]
            check(parts[im["validation"]] == part and m.mtime == im["taken"], f"{m.name} in {part}")
            if ending == "jpg":
                met += 1
                check(data == larder.Store(d.socket).file(stem), "the same picture")
            elif ending == "cls":
                check(classes[int(data)] == im["label"], f"class of {m.name}")
            else:
                check(ending == "json" and json.loads(data)["quality"] == im["quality"], f"facts of {m.name}")
        order = [m.name.split(".")[0] for m in members]
        check(order == sorted(order), "a sample's members are neighbours")
check(met == 90, f"{met} pictures")
check(d.ctl("export", tars, "--format", "zip", check_status=False)[0] == 2, "no such format")

# Into another store, by folder names or by the table.
e = Daemon().start()
got = e.ask("import", "--wait", os.path.join(out, "train"))
check(got["given"] == sum(1 for i in images.values() if not i["validation"]) and got["refused"] == 0, f"given {got}")
e.drained()
check(all(os.stat(os.path.join(e.spool, c)).st_mode & 0o020 for c in classes), "folders that the daemon's group can empty")
check(set(e.status()["store"]["by_label"]) == set(classes), f"labels {e.status()['store']['by_label']}")
check(e.status()["store"]["unlabelled"] == sum(1 for i in images.values() if not i["validation"] and not i["label"]),
      "and those without")
e.ctl("import", "--wait", out)  # images.csv says which label; what was there is a duplicate
e.drained()
s = e.status()
check(s["store"]["images"] + s["captures"]["duplicate"] == 90 + got["given"], f"taken: {s['captures']}")
check(s["store"]["by_label"] == {c: sum(i["label"] == c for i in images.values()) for c in classes} or
      s["store"]["images"] < 90, f"labels by the table: {s['store']['by_label']}")

# Names that are no pictures are passed over, twins keep both, what is hostile is refused; the rest goes on.
odd = os.path.join(e.root, "odd")
os.makedirs(os.path.join(odd, "a", "deeper"))
for where, seed in (("a/x.png", 500), ("a/deeper/x.png", 501), ("y.PNG", 502)):
    with open(os.path.join(odd, where), "wb") as f:
        f.write(picture(0, seed))
with open(os.path.join(odd, "notes.txt"), "w", encoding="utf-8") as f:
    f.write("hello")
os.mkfifo(os.path.join(odd, "pipe.png"))
code, text, err = e.ctl("--json", "import", odd, check_status=False)
got = json.loads(text)
check(code == 1 and got["given"] == 3 and got["no_picture"] == 1 and got["refused"] == 1 and "pipe.png" in err,
      f"odd ones: {got} {err}")
e.drained()
check(len(e.ask("list", "--label", "a")) == 2, "both of one name")
with open(os.path.join(odd, "images.csv"), "w", encoding="utf-8") as f:
    f.write("file,label\n../../etc/passwd,x\n/etc/passwd,x\ny.PNG,../up\na/x.png,fine\n")
code, text, err = e.ctl("--json", "import", odd, check_status=False)
check(code == 1 and json.loads(text)["refused"] == 3 and json.loads(text)["given"] == 1, f"a hostile table: {text} {err}")
for args in (["import"], ["import", odd, "--label", "a/b"], ["import", odd, "more"]):
    check(e.ctl(*args, check_status=False)[0] == 2, f"{args} is wrong use")
check(e.ctl("import", "/nowhere", check_status=False)[0] == 1, "no such directory")

# Two imports at once give pictures of one label; what one that was killed left is in nobody's way.
e.drained()
before, stored = e.sum(), e.status()["captures"]["stored"]
with open(os.path.join(e.spool, "a", ".import.part"), "wb") as f:
    os.fchmod(f.fileno(), 0o444)
both = []
for k in range(2):
    folder = os.path.join(e.root, f"half-{k}", "a")
    os.makedirs(folder)
    for i in range(40):
        with open(os.path.join(folder, f"{i}.pgm"), "wb") as f:  # large ones: writing them takes a while
            f.write(b"P5 1000 800 255\n" + bytes([k, i]) + bytes(1000 * 800 - 2))
    both.append(subprocess.Popen([LARDERCTL, "--socket", e.socket, "--json", "import", os.path.dirname(folder)],
                                 stdout=subprocess.PIPE, text=True))
given = [json.loads(p.communicate(timeout=60)[0])["given"] for p in both]
e.wait_for(lambda: e.sum() >= before + sum(given), 20, f"all of {given} to be taken")
after = e.status()["captures"]
check(given == [40, 40] and after["stored"] == stored + 80 and e.sum() == before + 80, f"two at once: {given}, {after}")
check(".import.part" not in os.listdir(os.path.join(e.spool, "a")), "nothing is left")
e.stop()
p = subprocess.run([LARDERCTL, "--socket", e.socket, "import", odd], capture_output=True, check=False)
check(p.returncode == 3, "no daemon")
e.remove()

# The Python module, over a live daemon.
store = larder.Store(d.socket)
check(store.status()["store"]["images"] == 90, "status")
check({i["id"] for i in store.images()} == set(images), "images")
check(len(list(store.images(label="kind, 1"))) == sum(i["label"] == "kind, 1" for i in images.values()), "by label")
some = next(iter(images))
check(store.show(some)["reason"] and store.file(some)[:2] == b"\xff\xd8", "one image")
for ask, error in ((lambda: store.show("ffffffffffffffff"), "io.larder.Control.NoSuchImage"),
                   (lambda: store.model(), "io.larder.Control.Failed")):
    try:
        ask()
        check(False, f"no {error}")
    except larder.LarderError as x:
        check(x.error == error, f"{error}: {x} {x.error}")
try:
    larder.Store("/nowhere/sock").status()
    check(False, "no daemon")
except larder.LarderError as x:
    check("/nowhere/sock" in str(x), f"{x}")
train = larder.Dataset(store, "training", decode=False)
held = larder.Dataset(store, "validation", classes=train.classes, decode=False)
check(train.classes == classes and len(train) + len(held) == sum(i["label"] is not None for i in images.values()), "parts")
for data, target in (train[0], train[-1]):
    check(data[:2] == b"\xff\xd8" and 0 <= target < 3, "an item")
check([t for _, t in train] == train.targets, "it can be gone through")
again = pickle.loads(pickle.dumps(train))
check(again[1] == train[1], "it travels to other processes")
child = os.fork()
if child == 0:
    os._exit(0 if train[2] == again[2] else 1)
check(os.waitpid(child, 0)[1] == 0, "and over a fork")
gone = train.images[3]["id"]
d.ctl("remove", gone)
try:
    train[3]
    check(False, "a dropped image raises")
except KeyError as x:
    check(gone in str(x), "and says which")
train.missing = "next"
check(train[3] == train[4], "or makes way")
d.stop()
d.start()
try:
    store.status()  # the connection has ended
except larder.LarderError:
    pass
check(store.status()["store"]["images"] == 89, "a new connection after a restart")
try:
    from PIL import Image
    px = larder.Dataset(store, "training", transform=lambda im: im.size)
    check(px[0][0] == (32, 32) and isinstance(store.picture(some), Image.Image), "decoded")
except ImportError:
    print("Pillow is not installed: decoding was not tried")
d.stop()
d.remove()
finish()
