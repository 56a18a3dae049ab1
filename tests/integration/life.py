#!/usr/bin/env python3
"""A capture's life in the real daemon: found, labelled, stored, trained on, rescored, restarted."""
import json
import os

from harness import LARDERD, Daemon, check, children, finish, picture, png

d = Daemon({"Training": {"MinNewImages": "60", "Epochs": "20", "BatchSize": "16"}}).start()

# What was there before, what comes as a new directory, what is renamed in: all of it is found.
for i in range(60):
    d.drop(f"stripes/{i}.png", picture(0, i))
    d.drop(f"blobs/deep/er/{i}.png", picture(1, i))
d.drop("unlabelled.png", picture(0, 1000))
d.drop("copy of the first.png", picture(0, 0))  # same bytes: a duplicate, whichever comes first
for name in (".hidden.png", "unfinished.png.part", "unfinished.tmp"):
    with open(os.path.join(d.spool, name), "wb") as f:
        f.write(picture(0, 2000))
d.wait_for(lambda: d.sum() == 122, 30, "122 captures to be taken")
s = d.status()
check(s["captures"]["stored"] == 121 and s["captures"]["duplicate"] == 1, f"captures {s['captures']}")
check(s["store"]["by_label"] == {"stripes": 60, "blobs": 60}, f"labels {s['store']['by_label']}")
check(s["store"]["unlabelled"] == 1, "one without label")
check(sorted(os.path.basename(f) for f in d.spool_files()) == ["unfinished.png.part", "unfinished.tmp"],
      "files that are no captures yet stay")

# A duplicate's label goes to an image that has none, and changes none.
for label, by_label in (("stripes", {"stripes": 61, "blobs": 60}), ("blobs", {"stripes": 61, "blobs": 60})):
    before = d.sum()
    d.drop(f"{label}/again.png", picture(0, 1000))
    d.wait_for(lambda: d.sum() == before + 1, 20, "the duplicate")
    check(d.status()["store"]["by_label"] == by_label, f"labels {d.status()['store']['by_label']}")
check(d.status()["store"]["unlabelled"] == 0, "none without label")
d.drop("plain.png", picture(0, 999))
d.wait_for(lambda: d.sum() == 125, 20, "one without label")

# A file that was there long before any event, and one that is finished later.
with open(os.path.join(d.spool, "slow.png"), "wb") as f:
    f.write(picture(1, 3000)[:100])
    f.flush()
    os.fsync(f.fileno())
    f.write(picture(1, 3000)[100:])
d.wait_for(lambda: d.sum() == 126, 10, "a file written slowly")
check(d.status()["captures"]["quarantined"] == 0, "it was not taken half-written")

# Idle: a model gets trained, images get scored, their reasons can be read.
d.wait_for(lambda: d.status()["model"]["version"] == 1, 60, "a first model")
m = d.status()["model"]
check(m["validation_accuracy"] > 0.7, f"accuracy {m['validation_accuracy']} on {m['validation_images']}")
check(set(m["classes"]) == {"stripes", "blobs"}, f"classes {m['classes']}")
d.wait_for(lambda: all(i["model"] == 1 for i in d.ask("list")), 30, "all images to be scored")
show = d.ask("show", d.ask("list", "--limit", "1")[0]["id"])
check(len(show["curve"]) > 5 and "nats" in show["reason"] or show["validation"], f"curve {show}")

# The model file is what other tools read: a safetensors header with PyTorch's shapes.
model = os.path.join(d.store, "models", "model-000001.safetensors")
with open(model, "rb") as f:
    head = f.read(8)
    header = json.loads(f.read(int.from_bytes(head, "little")))
check(header["conv1.weight"]["shape"] == [32, 3, 3, 3], "conv1 O I 3 3")
check(header["fc.weight"]["shape"] == [2, 4 * 4 * 128], "fc K F")
check(os.path.getsize(model) == 8 + int.from_bytes(head, "little") + header["fc.bias"]["data_offsets"][1]
      or header["fc.bias"]["data_offsets"][1] > 0, "offsets lie in the file")

# Everything survives a restart, and a capture that came meanwhile is found by the scan.
before = d.status()
d.stop()
check(not os.path.exists(d.socket), "the socket is gone")
d.drop("stripes/while-away.png", picture(0, 4000))
d.start()
d.wait_for(lambda: d.sum() == 127, 20, "the capture that came while it was down")
s = d.status()
check(s["model"]["version"] == 1, "the model is still there")
check(s["captures"]["duplicate"] == before["captures"]["duplicate"], "counters persist")
check(s["store"]["by_label"]["stripes"] == 62, "labels persist")
d.verify()

# Scoring=predict leaves the network out at first; idle time catches up.
d.configure({"Policy": {"Scoring": "predict"}, "Idle": {"QuietSec": "3s"}})
d.ctl("reload")
d.drop("stripes/predicted.png", picture(0, 5000))
d.wait_for(lambda: d.sum() == 128, 20, "the predicted capture")
mine = [i for i in d.ask("list") if i["name"] == "predicted.png"][0]
check(mine["model"] == 0 and not mine["scored"], "stored unscored")
d.wait_for(lambda: d.ask("show", mine["id"])["model"] == 1, 20, "idle time to score it")

# Training on demand, in sight of the user; pause and resume.
code, out, _ = d.ctl("train", "--now", "--wait")
check("model 2" in out or "rejected" in out, f"train said {out}")
d.ctl("pause")
check(d.status()["training"]["state"] == "paused", "paused")
check(d.ctl("train", check_status=False)[0] == 1, "a paused trainer refuses")
d.ctl("resume")

# A stop in the middle of a training is quick and clean.
d.configure({"Training": {"Epochs": "5000"}})
d.ctl("reload")
d.ctl("train", "--now")
d.wait_for(lambda: d.status()["training"]["state"] == "running", 10, "training to run")
d.stop()
check(not children(1) or not any(LARDERD in arg for _, arg in children(1)), "no process is left behind")
with open(d.log, "rb") as f:
    check(b"could not be read" not in f.read(), "the trainer could read every image")
d.remove()

# A drawing is smaller as it comes than as any JPEG, and keeps its lines all the same.
d = Daemon()
d.start()
lines = png(160, 120, lambda x, y: (255, 255, 255) if (x // 3 + y // 3) % 2 else (20, 20, 60))
d.drop("plan.png", lines)
d.wait_for(lambda: d.sum() == 1, 20, "the drawing")
plan = d.ask("list")[0]
check(len(lines) < plan["bytes"], f"{len(lines)} bytes as it came, {plan['bytes']} stored")
check(plan["quality"] >= 5, f"quality {plan['quality']}")
d.stop()
d.remove()
finish()
