#!/usr/bin/env python3
"""Places and neighbours that are not as expected: a spool that goes away and comes back, many files waiting, many
labels, names that break lines, crowds of clients, limits of the system reached.   place.py [FILES]"""

import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import time

from harness import LARDERCTL, Daemon, check, finish, picture

FILES = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
LABELS = 1200
CLIENTS = 10000  # fewer where this process may not have so many descriptors


def status_seconds(d):
    begin = time.monotonic()
    d.status()
    return time.monotonic() - begin


# Many files in many labels wait at the start; the daemon answers meanwhile. Most are one picture: duplicates.
d = Daemon({"Store": {"MaxUse": "16M"}, "Training": {"Enabled": "false"}})
same = picture(0, 1, 24)
for i in range(LABELS):
    d.drop(f"label-{i:05d}/{i}.png", picture(i % 2, i + 10, 16))
for i in range(FILES):
    d.drop(f"waiting/{i}.png", same)
d.start()
slowest = 0
while d.spool_files():
    slowest = max(slowest, status_seconds(d))
    time.sleep(0.2)
check(slowest < 2, f"status took {slowest:.2f} s while files waited")
d.drained(300)
s = d.status()
check(s["captures"]["duplicate"] == FILES - 1, f"each copy is counted: {s['captures']}")
check(s["captures"]["stored"] == LABELS + 1, f"each other is stored: {s['captures']}")
check(len(s["store"]["by_label"]) == LABELS + 1, f"{len(s['store']['by_label'])} labels")
code, out, _ = d.ctl("status")
check(code == 0 and len(out) < 20000, "people are not shown a thousand lines")

# Names that would break lines, quotes and encodings: everything that is said about them stays well-formed.
names = [b"new\nline.png", b'quo"te\'s.png', b"back\\slash.png", b"\xff\xfe not utf-8.png", b"\x1b[31mred.png",
         b"<script>alert(1).png", "ümlaut 日本.png".encode(), b"%s%n%d.png", b"-rf.png"]
for i, name in enumerate(names):
    folder = os.path.join(d.spool.encode(), b"odd\n\"label\xff")
    os.makedirs(folder, exist_ok=True)
    part = os.path.join(folder, b".part")
    with open(part, "wb") as f:
        f.write(picture(1, 5000 + i, 24) if i % 2 else b"no picture")
    os.rename(part, os.path.join(folder, name))
before = s["captures"]
d.drained()
s = d.status()
check(s["captures"]["stored"] == before["stored"] + len(names) // 2, f"stored: {s['captures']}")
check(s["captures"]["quarantined"] == len(names) - len(names) // 2, f"quarantined: {s['captures']}")
images = d.ask("list", "--limit", "5000")
check(len(images) == s["store"]["images"], "every name is JSON")
out = d.ctl("list", "--limit", "5000")[1]
check(len(out.split("\n")) <= len(images) + 4, "a line an image, whatever its name")
check("\x1b" not in out, "no escapes from names")
with open(d.log, "rb") as f:
    check(b"\x1b" not in f.read(), "nor in the log")
check(d.ctl("watch")[1].count("\x1b") == 0, "nor in watch")
out = d.ctl("status")[1]
check(re.search(r"^labels    odd\\x0a.* 4, .* 1 and %d more; 0 without$" % (LABELS + 2 - 12), out, re.M), f"the largest label first: {out}")
page = os.path.join(d.root, "page.html")
d.ctl("report", page)
with open(page, encoding="utf-8") as f:
    check(f"and {LABELS + 2 - 40} labels more" in f.read(), "in the report, too")

# Metrics: every line a comment or a sample, whatever the labels are called; no family twice.
code, out, _ = d.ctl("metrics")
sample = re.compile(r'larder_[a-z_]+(\{[a-z]+="([^"\\\n]|\\.)*"\})? [-+0-9.e]+$')
lines = out.split("\n")
check(code == 0 and not lines.pop(), "metrics end with a line")
prom = os.path.join(d.root, "larder.prom")
check(d.ctl("metrics", "--output", prom)[0] == 0 and os.stat(prom).st_mode & 0o777 == 0o644, "metrics into a file")
with open(prom, encoding="utf-8") as f:
    check([x.split()[0] for x in f.read().split("\n")[:-1]] == [x.split()[0] for x in lines], "the same ones")
check([x for x in os.listdir(d.root) if "prom" in x] == ["larder.prom"], "and nothing beside it")
check(d.ctl("metrics", "--output", "/nowhere/x", check_status=False)[0] == 1, "a file that cannot be")
check(all(line.startswith("# ") or sample.match(line) for line in lines),
      f"metrics: {[x for x in lines if not x.startswith('# ') and not sample.match(x)][:3]}")
families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
check(len(families) == len(set(families)) > 15, f"families: {families}")
check(f'larder_store_images {s["store"]["images"]}' in lines, "the number of images is among them")

# Clients: a thousand at once, silent, half a message each; then a well-behaved one.
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
crowd = []
for i in range(min(CLIENTS, hard - 100) if hard != resource.RLIM_INFINITY else CLIENTS):
    c = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    c.settimeout(2)
    try:
        c.connect(d.socket)
        c.sendall(b'{"method":"io.larder.Con')
    except OSError:
        pass
    crowd.append(c)
check(d.process.poll() is None, "a crowd does not end the daemon")
fds = d.descriptors()
check(fds < 400, f"{fds} descriptors for a crowd of {len(crowd)}")
d.drop("label-00001/during.png", picture(0, 7777, 24))
d.wait_for(lambda: not d.spool_files(), 20, "a capture to be taken in spite of the crowd")
for c in crowd:
    c.close()
d.wait_for(lambda: d.ctl("status", check_status=False)[0] == 0, 20, "an answer after the crowd")
d.wait_for(lambda: d.descriptors() < 60, 20, "the crowd's descriptors back")

# The spool goes away and comes back: said, and taken up again without a restart.
shutil.rmtree(d.spool)
time.sleep(0.5)
check(d.process.poll() is None, "the daemon outlives its spool")
check(d.status()["store"]["images"] > 0, "and answers")
os.makedirs(d.spool)
stored = d.status()["captures"]["stored"]
d.drop("label-00001/back.png", picture(0, 8888, 24))
d.wait_for(lambda: d.status()["captures"]["stored"] == stored + 1, 30, "a capture in the new spool")
check("spool" in d.said().lower(), "the log names the spool")
d.verify()
d.stop()

# No descriptors to spare: captures wait for better times, none is lost.
d = Daemon({"Training": {"Enabled": "false"}})
for i in range(200):
    d.drop(f"a/{i}.png", picture(0, i, 24))
soft = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, soft[1]))
d.start(ready=False)
resource.setrlimit(resource.RLIMIT_NOFILE, soft)
d.wait_for(lambda: d.ctl("status", check_status=False)[0] == 0, 20, "a daemon with 40 descriptors")
d.drained(60)
check(d.status()["captures"]["stored"] == 200, f"all stored: {d.status()['captures']}")
d.verify()
d.stop()
d.remove()

# A daemon that is not there is named.
p = subprocess.run([LARDERCTL, "--socket", "/nonexistent/sock", "status"], capture_output=True, check=False)
check(p.returncode == 3 and b"/nonexistent/sock" in p.stderr, "no daemon: the socket is named")

finish()
