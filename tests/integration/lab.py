#!/usr/bin/env python3
"""larder-lab as a user starts it: a folder of pictures, every verb, killed in the middle and gone on
with, wrong use. Small enough for every run of the suite."""
import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

LAB = os.environ["LARDER_LAB"]
SCENES = os.environ["LARDER_SCENES"]
failures = 0


def check(condition, what):
    global failures
    if not condition:
        failures += 1
        print(f"FAILED: {what}")


top = tempfile.mkdtemp(prefix="larder-lab-")
photos, out = os.path.join(top, "photos"), os.path.join(top, "out")
os.mkdir(photos)
subprocess.run([SCENES, photos, "800", "48"], check=True)
COMMON = ["--data", f"folder:{photos}", "--out", out, "--quick", "--steps", "25", "--input", "16",
          "--channels", "8,8,16", "--budgets", "20k,60k"]


def lab(*args, ok=True):
    r = subprocess.run([LAB, *args], capture_output=True, text=True, timeout=500)
    check((r.returncode == 0) == ok, f"{args[:1]}: exit {r.returncode}: {r.stderr[-600:]}")
    return r


# Killed again and again, then left alone: no run is done twice, a torn line is a run not done.
for delay in (0.3, 0.5, 0.7, 0.9):
    p = subprocess.Popen([LAB, "policies", *COMMON], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(delay)
    p.send_signal(signal.SIGKILL)
    p.wait()
log = os.path.join(out, "runs.log")
before = open(log, encoding="utf-8").read().splitlines() if os.path.exists(log) else []
with open(log, "a", encoding="utf-8") as f:
    f.write("0123456789abcdef0123456789abcdef 2 0.51")
r = lab("policies", *COMMON)
check("at most" in r.stderr and "seeds 1 to 1" in r.stderr, "the expected time and the seeds are said")
runs = [line for line in open(log, encoding="utf-8").read().splitlines() if line.endswith(".")]
keys = [line.split()[0] for line in runs]
check(len(keys) == len(set(keys)), "no run is done twice")
check([line for line in runs if line in before] == [line for line in before if line.endswith(".")], "none is lost")
first = {name: open(os.path.join(out, name), "rb").read() for name in ("policies.csv", "policies.txt", "policies.svg")}
r = lab("policies", *COMMON)
check(len(open(log, encoding="utf-8").read().splitlines()) == len(runs) + 1, "all was known already")
check(all(open(os.path.join(out, n), "rb").read() == b for n, b in first.items()), "and comes out the same")

with open(os.path.join(out, "policies.csv"), encoding="utf-8") as f:
    rows = list(csv.DictReader(f))
check(len(rows) == 24, f"{len(rows)} rows: twelve policies at two budgets")
for row in rows:
    check(0 < float(row["most_bytes"]) <= float(row["budget_bytes"]), f"budget kept: {row}")
    check(int(row["images"]) > 0 and 0 <= float(row["accuracy_original_percent"]) <= 100, f"{row}")

# Streams that are harder than a shuffled one with right labels.
for option in (["--order", "classes"], ["--order", "kept"], ["--wrong", "20"], ["--unlabelled", "80"]):
    hard = os.path.join(top, "hard" + "".join(option))
    lab("policies", *COMMON, "--only", "adaptive,adaptive-at-end,reservoir,uniform-ours", *option, "--out", hard)
    with open(os.path.join(hard, "policies.csv"), encoding="utf-8") as f:
        hard_rows = list(csv.DictReader(f))
    check(len(hard_rows) == 8 and all(int(row["images"]) > 0 for row in hard_rows), f"{option}: {hard_rows}")
    mine = [row for row in hard_rows if row["policy"] == "adaptive"]
    same = [row for row in rows if row["policy"] == "adaptive"]
    check([row["accuracy_original_percent"] for row in mine] != [row["accuracy_original_percent"] for row in same],
          f"{option} changes something")

# Everything else, and what it leaves.
lab("all", *COMMON)
figures = [n for n in os.listdir(out) if n.endswith(".svg")]
check(len(figures) == 16, f"{len(figures)} figures")
for name in figures:
    xml.etree.ElementTree.parse(os.path.join(out, name))
report = open(os.path.join(out, "report.html"), encoding="utf-8").read()
check(report.count("<svg") == 16 and "Measured" in report, "the report has them all")
check(set(re.findall(r'<td class="\w+">([a-z ]+)</td>', report)) <= {"reproduced", "not reproduced", "differs"}, "verdicts")
for name in os.listdir(out):
    if name.endswith(".csv"):
        header = open(os.path.join(out, name), encoding="utf-8").readline()
        check(re.search("bytes|percent|nats|microseconds|correlation", header), f"{name} says units: {header}")

# A part of the bench alone: nothing is trained for it.
r = lab("bench", *COMMON, "--only", "training", "--threads", "1", "--out", os.path.join(top, "part"))
check("training at 16x16 on 1 thread" in r.stdout and "decode" not in r.stdout and "trained on" not in r.stderr,
      f"training alone: {r.stdout} {r.stderr}")

# Too few pictures for the predictor: said, and the rest is done.
few = os.path.join(top, "few")
os.mkdir(few)
subprocess.run([SCENES, few, "60", "32"], check=True)
r = lab("predict", "--data", f"folder:{few}", "--out", os.path.join(top, "few-out"), "--quick", "--steps", "5",
        "--input", "16", "--channels", "8,8,8")
check("predict: passed over" in r.stderr and "100 at least" in r.stderr, f"too few: {r.stderr}")

# Wrong use is told what is allowed.
for args, said in ((["policies"], "--data"), (["nothing", *COMMON], "one verb is expected"),
                   (["policies", "--data", "tape:x"], "folder:DIR"),
                   (["policies", *COMMON, "--budgets", "5M,1M"], "ascending"),
                   (["policies", *COMMON, "--budgets", "5x"], "ascending"),
                   (["policies", *COMMON, "--seeds", "0"], "from 1 to"),
                   (["policies", *COMMON, "--order", "size"], "random, classes or kept"),
                   (["policies", *COMMON, "--wrong", "100"], "99"),
                   (["policies", *COMMON, "--only", "adaptive,best"], "of fifo reservoir"),
                   (["bench", *COMMON, "--only", "adaptive"], "of stages training asking packing"),
                   (["predict", *COMMON, "--only", "adaptive"], "not made of parts"),
                   (["policies", *COMMON, "--channels", "8,8"], "three whole numbers"),
                   (["policies", *COMMON, "--input", "17"], "allowed: a multiple of 8 up to 512")):
    r = lab(*args, ok=False)
    check(said in r.stderr and r.stderr.count("\n") == 1, f"{args}: said once: {r.stderr}")
check("quantity-quality" in lab("--help").stdout, "help")
check(re.match(r"larder-lab \d", lab("--version").stdout), "version")

# A broken picture is named.
broken = os.path.join(photos, "rings", "scene00000.jpg")
with open(broken, "r+b") as f:
    f.truncate(200)
r = lab("policies", *COMMON, "--out", os.path.join(top, "other"), ok=False)
check("scene00000.jpg" in r.stderr and "offset 200" in r.stderr, f"named: {r.stderr}")
shutil.rmtree(top)
print("failures:", failures)
sys.exit(failures > 0)
