#!/usr/bin/env python3
"""What people look at and take away: the report, suggestions, the model in another runtime and another store."""
import base64
import json
import math
import os
import re
import struct

from harness import Daemon, check, finish, picture, png

SETTINGS = {"Model": {"InputSize": "16", "Channels": "8 8 16"}, "Training": {"Epochs": "6"}}
HOSTILE = "<script>alert(1)\"'&\u00e9"


def flat(level):
    return png(16, 16, lambda x, y: (level, level, level))


d = Daemon(SETTINGS).start()
code, _, err = d.ctl("suggest", check_status=False)
check(code == 1 and "no model yet" in err, f"nothing to suggest without a model: {err}")
check(d.ctl("model", os.path.join(d.root, "m.onnx"), check_status=False)[0] == 1, "no model to write")
for i in range(150):
    d.drop(f"stripes/{HOSTILE}{i}.png", picture(0, i))
    d.drop(f"blobs/no-utf8-\udcff{i}.png", picture(1, i))
for i in range(30):
    d.drop(f"{i}.png", picture(i % 2, 1000 + i))
d.drop(f"{HOSTILE}.png", picture(0, 5000, 48))
d.drop("no-utf8-\udcff.png", picture(1, 5001))
for level in (10, 90, 200):
    d.drop(f"flat{level}.png", flat(level))
d.drained()
report = os.path.join(d.root, "report.html")
check("335 images, 0 of them scored" in d.ctl("report", report)[1], "a report before there is a model")
d.ctl("train", "--now", "--wait")
check(d.status()["model"]["version"] == 1, "a model")
d.wait_for(lambda: all(i["scored"] for i in d.ask("list")), 60, "scores of it")

# Suggestions: of what has no label, the doubtful first.
s = d.ask("suggest", "--limit", "10")
check(s["looked_at"] == 35 and len(s["images"]) == 10, f"suggested: {s['looked_at']}")
check(all(i["label"] is None and 0 < i["probability"] <= 1 and i["guess"] in ("stripes", "blobs") for i in s["images"]),
      f"suggestions {s['images']}")
every = d.ask("suggest", "--limit", "100")["images"]
check(len(every) == 35 and s["images"][0]["entropy"] == max(i["entropy"] for i in every),
      f"the most doubtful is first: {[(i['name'], i['entropy']) for i in every]}")
check("perhaps" in d.ctl("suggest")[1], "for people, too")
sensitive = [i["divergence_at_10"] for i in d.ask("list", "--sort", "sensitivity", "--reverse")]
check(sensitive == sorted(sensitive, reverse=True) and sensitive[0] > 0, "sorted by sensitivity")

# The report: one file that fetches and runs nothing, whatever a capture is called.
d.ctl("report", report)
with open(report, encoding="utf-8") as f:
    page = f.read()
check("<script" not in page and "&lt;script&gt;alert(1)" in page, "names are text")
check("no-utf8-\\xff" in page, "names that are no UTF-8 are shown")
check(not re.search(r"(src|href)=\"(?!data:)", page) and "default-src 'none'" in page, "nothing is fetched")
pictures = re.findall(r"data:image/jpeg;base64,([^\"]*)\"", page)
check(len(pictures) == 48 and all(base64.b64decode(p).startswith(b"\xff\xd8") for p in pictures), f"{len(pictures)} pictures")
for part in ("images stored", "stripes", "(without a label)", "model 1", "Most sensitive", "as stored"):
    check(part in page, f"the report has {part}")
check(d.ctl("report", "/nowhere/r.html", check_status=False)[0] == 1, "a report needs a place")
check("as captured" not in page, "captures are gone")

# Unless somebody has kept them: found by name, but shown only when they are what was stored.
kept = os.path.join(d.root, "kept", "of", "last year")
os.makedirs(kept)
names = {i["id"][:12]: i for i in d.ask("list")}
shown = [names[i] for i in re.findall(r"<br><span class=\"dim\">([0-9a-f]{12}) ", page)]
check(len(shown) == 24, "two dozen are shown")
for i in range(150):
    for name, data in ((f"{HOSTILE}{i}.png", picture(0, i)), (f"no-utf8-\udcff{i}.png", picture(1, i) if i % 2 else b"other")):
        with open(os.path.join(kept, name), "wb") as f:
            f.write(data)
os.symlink(kept, os.path.join(kept, "loop"))
expected = sum(i["label"] == "stripes" or i["label"] == "blobs" and int(re.search(r"(\d+)\.png", i["name"])[1]) % 2
               for i in shown)
check(0 < expected < 24, f"some of them are there: {expected}")
code, out, err = d.ctl("report", report, "--originals", os.path.join(d.root, "kept"))
check(f"{expected} of 24 shown beside their captures" in out, f"found: {out} {err}, {expected} expected")
with open(report, encoding="utf-8") as f:
    page = f.read()
check(page.count("as captured") == expected and page.count("<figure><img") == 48 + expected, "and shown")
check(d.ctl("report", report, "--originals", "/nowhere", check_status=False)[0] == 1, "originals need a place")
check(d.ctl("report", check_status=False)[0] == 2, "and a name")


def history():
    import socket
    with socket.socket(socket.AF_UNIX) as k:
        k.connect(d.socket)
        k.sendall(b'{"method":"io.larder.Control.History","parameters":{}}\0')
        data = b""
        while not data.endswith(b"\0"):
            data += k.recv(65536)
    return json.loads(data[:-1])["parameters"]


before = history()
check(len(before["trainings"]) == 1 and before["trainings"][0]["accepted"], f"remembered: {before['trainings']}")
check(len(before["samples"]) >= 1 and before["samples"][0]["limit"] == 8 << 20, "sampled")


# The model in another runtime: this one.
def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    """Protocol buffers: {field: [number or bytes, ...]}."""
    out, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            check(key & 7 == 2, "a wire type that ONNX needs")
            n, at = varint(data, at)
            value, at = data[at:at + n], at + n
        out.setdefault(key >> 3, []).append(value)
    return out


def run_onnx(data, level):
    """The graph on a picture of one level; tensors are (shape, flat list)."""
    model = fields(data)
    graph = fields(model[7][0])
    tensors = {}
    for t in graph[5]:
        t = fields(t)
        dims, raw = t.get(1, []), t[9][0]
        tensors[t[8][0].decode()] = (dims, list(struct.unpack(f"<{len(raw) // 4}f", raw)))
    side = 16
    tensors["image"] = ([side, side, 3], [float(level)] * (side * side * 3))
    for n in graph[1]:
        n = fields(n)
        op = n[4][0].decode()
        attribute = {fields(a)[1][0].decode(): fields(a) for a in n.get(5, [])}
        x = [tensors[name.decode()] for name in n[1]]
        shape, v = x[0]
        if op == "Cast":
            y = x[0]
        elif op == "Sub":
            y = (shape, [a - x[1][1][0] for a in v])
        elif op == "Div":
            y = (shape, [a / x[1][1][0] for a in v])
        elif op == "Transpose":
            check(attribute["perm"][8] == [0, 3, 1, 2], "to planes")
            h, w, c = shape
            y = ([c, h, w], [v[(i * w + j) * c + k] for k in range(c) for i in range(h) for j in range(w)])
        elif op == "Conv":
            check(attribute["pads"][8] == [1, 1, 1, 1] and attribute["kernel_shape"][8] == [3, 3], "padded 3x3")
            (o_n, c_n, _, _), weight = x[1]
            bias, (_, h, w) = x[2][1], shape
            out = []
            for o in range(o_n):
                for i in range(h):
                    for j in range(w):
                        s = bias[o]
                        for c in range(c_n):
                            for di in (-1, 0, 1):
                                for dj in (-1, 0, 1):
                                    if 0 <= i + di < h and 0 <= j + dj < w:
                                        s += v[(c * h + i + di) * w + j + dj] * weight[
                                            ((o * c_n + c) * 3 + di + 1) * 3 + dj + 1]
                        out.append(s)
            y = ([o_n, h, w], out)
        elif op == "Relu":
            y = (shape, [max(a, 0) for a in v])
        elif op == "MaxPool":
            check(attribute["strides"][8] == [2, 2], "by two")
            c, h, w = shape
            y = ([c, h // 2, w // 2], [max(v[(k * h + 2 * i + di) * w + 2 * j + dj] for di in (0, 1) for dj in (0, 1))
                                       for k in range(c) for i in range(h // 2) for j in range(w // 2)])
        elif op == "Flatten":
            y = ([len(v)], v)
        elif op == "Gemm":
            check(attribute["transB"][3] == [1], "rows are classes")
            (k_n, f_n), weight = x[1]
            y = ([k_n], [x[2][1][k] + sum(a * b for a, b in zip(v, weight[k * f_n:(k + 1) * f_n])) for k in range(k_n)])
        elif op == "Softmax":
            e = [math.exp(a - max(v)) for a in v]
            y = (shape, [a / sum(e) for a in e])
        else:
            check(False, f"an operator nobody expected: {op}")
        tensors[n[2][0].decode()] = y
    names = {fields(m)[1][0].decode(): fields(m)[2][0].decode() for m in model[14]}
    return json.loads(names["classes"]), tensors["probabilities"][1]


onnx = os.path.join(d.root, "m.onnx")
d.ctl("model", onnx)
with open(onnx, "rb") as f:
    onnx = f.read()
for level in (10, 90, 200):
    classes, p = run_onnx(onnx, level)
    ours = next(i for i in every if i["name"] == f"flat{level}.png")
    check(classes[p.index(max(p))] == ours["guess"] and abs(max(p) - ours["probability"]) < 0.03,
          f"level {level}: {classes} {p}, ours {ours['guess']} {ours['probability']}")

# The model in another store: classes are found by name, shapes have to fit.
weights = os.path.join(d.root, "m.safetensors")
d.ctl("model", weights)
check(d.ctl("model", os.path.join(d.root, "m.h5"), check_status=False)[0] == 2, "other formats are not known")
other = Daemon(SETTINGS).start()
for i in range(10):
    other.drop(f"others/{i}.png", picture(1, 100 + i))
    other.drop(f"stripes/{i}.png", picture(0, 2000 + i))
    other.drop(f"{i}.png", picture(0, 3000 + i))
other.drained()
check("2 classes, from elsewhere" in other.ctl("model", "--use", weights)[1], "used elsewhere")
check(other.status()["model"]["version"] == 1, "as its first model")
found = other.ask("suggest")["images"]
check(len(found) == 10 and all(i["guess"] == "stripes" for i in found), f"and it knows stripes there: {found[:1]}")
other.stop()
other.start()
check(other.status()["model"]["version"] == 1 and other.ask("suggest")["images"][0]["guess"], "for good")
other.stop()
other.configure({"Model": {"InputSize": "32"}})
other.start()
code, _, err = other.ctl("model", "--use", weights, check_status=False)
check(code == 1 and "Model.InputSize=16" in err and "the settings have 32" in err, f"another shape: {code} {err}")
code, _, err = other.ctl("model", "--use", other.config, check_status=False)
check(code == 1 and "not a model" in err, f"no model: {code} {err}")
other.stop()
other.remove()

# The history is there after a restart.
d.stop()
d.start()
check(history()["trainings"] == before["trainings"], "remembered over a restart")
d.verify()
d.stop()
d.remove()
finish()
