#!/usr/bin/env python3
"""Packed images come out of the store as JPEG files that another larderd takes as captures."""
import csv
import os
import random

from harness import Daemon, check, finish, picture


def count(where):
    return d.query(f"SELECT count(*) FROM {where}")[0][0]


d = Daemon().start()
n, enough = 0, 1000
while n < enough:
    d.drop(f"kind {n % 2}/{n}.png" if n % 5 else f"loose-{n}.png", picture(n % 2, n))
    n += 1
    if n % 20 == 0:
        d.drained()
    if n % 20 == 0 and count("tables") and enough == 1000:
        enough = n + 80  # these will use the first set
check(n < 1000, f"a table set after {n} images")
d.drop("quote\"d/a,b.png", picture(0, 999))
# The same on each run: one of ten would be a validation image, and small.
d.drop("noise/large.ppm", b"P6 1100 800 255\n" + random.Random(1).randbytes(1100 * 800 * 3))
d.drained()
packed = count("images WHERE tables <> 0")
check(packed > 30, f"{packed} images are packed")
d.verify()

# The first few of many, in an order: what is kept meanwhile is cut now and then.
every = d.ask("list")
for key in ("bytes", "name"):
    for reverse in (False, True):
        wanted = sorted(every, key=lambda i: i[key], reverse=reverse)
        got = d.ask("list", "--sort", key, *["--reverse"] * reverse, "--limit", "7")
        check([i[key] for i in got] == [i[key] for i in wanted[:7]], f"by {key}: {got}")
    check([i[key] for i in d.ask("list", "--sort", key)] == sorted(i[key] for i in every), f"all by {key}")
check(len(every) > 150, f"{len(every)} images")

out = os.path.join(d.root, "out")
d.ctl("export", out)
with open(os.path.join(out, "images.csv"), encoding="utf-8", newline="") as f:
    rows = list(csv.DictReader(f))
stored = d.status()["captures"]["stored"]
check(len(rows) == stored, f"{len(rows)} in the table of {stored}")
check({r["label"] for r in rows} == {"kind 0", "kind 1", "quote\"d", "noise", ""}, "labels")
for r in rows:
    with open(os.path.join(out, r["file"]), "rb") as f:
        data = f.read()
    check(data[:2] == b"\xff\xd8" and data[-2:] == b"\xff\xd9", f"{r['file']} is a JPEG")
    # What is stored of a large one ends with its tag.
    check(r["label"] != "noise" or 512 << 10 < len(data) < int(r["stored_bytes"]) <= len(data) + 512, "a file in several answers")
    check(os.path.dirname(r["file"]) == (r["label"] or "unlabelled"), "in the folder of its label")
check("0 images written" in d.ctl("export", out)[1], "what is there is not fetched again")
os.remove(os.path.join(out, rows[3]["file"]))
check("1 images written" in d.ctl("export", out)[1], "and what is missing is")
some = os.path.join(d.root, "some")
check(d.ask("export", some, "--label", "kind 0")["written"] == sum(r["label"] == "kind 0" for r in rows), "by label")

# A table is replaced by a whole one or stays; nothing goes on once nothing can be written.
def table(folder):
    with open(os.path.join(folder, "images.csv"), encoding="utf-8") as f:
        return f.read()


before = table(out)
os.remove(os.path.join(out, rows[0]["file"]))
folder = os.path.join(out, rows[0]["label"] or "unlabelled")
os.rename(folder, folder + "-away")
with open(folder, "wb"):  # where a folder would have to be
    pass
code, _, err = d.ctl("export", out, check_status=False)
check(code == 1 and len(err.splitlines()) == 1 and folder in err, f"said once: {code} {err}")
check(table(out) == before and os.path.exists(os.path.join(out, "images.csv.part")), "the table is as it was")
os.remove(folder)
os.rename(folder + "-away", folder)
d.ctl("export", out)
check(table(out) == before and not os.path.exists(os.path.join(out, "images.csv.part")), "and made anew")
d.stop()
check(d.ctl("export", out, check_status=False)[0] == 3 and table(out) == before, "nobody there to ask")
d.start()
tars = os.path.join(d.root, "tars")
for name in ("train-000001.tar", "train-000003.tar"):  # of a longer row; of somebody else
    os.makedirs(tars, exist_ok=True)
    with open(os.path.join(tars, name), "wb"):
        pass
d.ctl("export", tars, "--format", "webdataset")
check(sorted(os.listdir(tars)) == ["classes.txt", "images.csv", "train-000000.tar", "train-000003.tar",
                                   "validation-000000.tar"], f"one row of tar files: {os.listdir(tars)}")

# One picture; and what cannot be written says so.
one = os.path.join(d.root, "one.jpg")
d.ctl("show", rows[0]["id"], "--open", one)
with open(one, "rb") as a, open(os.path.join(out, rows[0]["file"]), "rb") as b:
    check(a.read() == b.read(), "the same file")
check(d.ctl("show", rows[0]["id"], "--open", "/nowhere/x.jpg", check_status=False)[0] == 1, "no such folder")
check("DIR" in d.ctl("--help")[1], "help")
for args in (["export"], ["export", out, "more"], ["export", out, "--quality", "0"]):
    check(d.ctl(*args, check_status=False)[0] == 2, f"{args} is wrong use")
check(d.ctl("export", "/proc/none", check_status=False)[0] == 1, "a directory that cannot be made")

# Every one of them is a picture for a decoder that knows nothing of packing.
e = Daemon().start()
for r in rows:
    with open(os.path.join(out, r["file"]), "rb") as f:
        e.drop(f"again/{r['id']}.jpg", f.read())
e.drained()
c = e.status()["captures"]
check(c["quarantined"] == 0 and c["stored"] + c["duplicate"] == len(rows), f"taken again: {c}")
for daemon in (d, e):
    daemon.stop()
    daemon.remove()
finish()
