#!/usr/bin/env python3
"""The control interface: every verb, wrong use, and clients that misbehave."""
import csv
import grp
import io
import json
import os
import pty
import select
import signal
import socket
import subprocess
import time

from harness import LARDERCTL, LARDERD, Daemon, check, finish, picture

d = Daemon().start()
for i in range(20):
    d.drop(f"stripes/{i}.png", picture(0, i))
    d.drop(f"{i}.png", picture(1, i))
d.drained()
images = d.ask("list")
check(len(images) == 40, f"{len(images)} listed")
check(len(d.ask("list", "--label", "stripes")) == 20, "by label")
check(len(d.ask("list", "--limit", "7")) == 7, "by number")
check(d.ask("list", "--quality", "1") == [], "by quality")

# Labels: to the unlabelled, to a new one, away again.
loose = [i["id"] for i in images if i["label"] is None]
check(d.ask("label", "blobs", *loose[:5])["changed"] == 5, "labelled")
check(d.status()["store"]["by_label"] == {"stripes": 20, "blobs": 5}, "counted")
d.ctl("label", "", loose[0])
check(d.status()["store"]["unlabelled"] == 16, "taken away")

# Filters, orders, tables.
def names(*args):
    return [i["name"] for i in d.ask("list", *args)]


check(len(names("--unlabelled")) == 16 and len(names("--name", "1*.png", "--label", "stripes")) == 11, "filters add up")
check(names("--since", "1d") == names() and names("--until", "1d") == [], "by time")
check(names("--since", "2020-01-01", "--until", "2020-01-02 10:30") == [], "by date")
by_name = names("--sort", "name")
check(by_name == sorted(by_name) and names("--sort", "name", "--reverse", "--limit", "3") == by_name[:-4:-1], "sorted")
sizes = [i["bytes"] for i in d.ask("list", "--sort", "bytes")]
check(sizes == sorted(sizes) and len(sizes) == 40, "by bytes")
lines = list(csv.DictReader(io.StringIO(d.ctl("list", "--csv", "--sort", "taken")[1])))
check(len(lines) == 40 and {i["id"] for i in lines} == {i["id"] for i in images}, "as a table")
check(d.ask("label", "odd", "--name", "1[0-9].png", "--unlabelled")["changed"] ==
      sum(1 for i in images if i["id"] in loose[5:] + loose[:1] and len(i["name"]) == 6), "labelled by a pattern")
for key, other in (("id", "name"), ("name", "id")):  # a table says which by its first line; spreadsheets quote
    table = os.path.join(d.root, "labels.csv")
    chosen = [i for i in d.ask("list") if i["id"] in loose or (key == "name" and i["name"] in ("3.png", "4.png"))]
    with open(table, "w", encoding="utf-8") as f:
        f.write(f'{key},"what, else",label\r\n')
        f.writelines(f'"{i[key]}","a ""b"", c","by, {key}"\r\n' for i in chosen)
    check(d.ask("label", "--csv", table)["changed"] >= len(chosen), f"labelled by a table of {key}")
    check(len(d.ask("list", "--label", f"by, {key}")) >= len(chosen), f"all of them: {key}")
check(d.ask("label", "--csv", table)["changed"] == 0, "what has its label is not changed again")
with open(table, "w", encoding="utf-8") as f:
    f.write("id,label\n" + f"{loose[0]},once\nffffffffffffffff,never\n")
code, _, err = d.ctl("label", "--csv", table, check_status=False)
check(code == 1 and "labels.csv:3: no image has the id 'ffff" in err, f"a line without an image: {code} {err}")
check(d.ask("show", loose[0])["label"] == "once", "the others are done")
for content, word in (("", "empty"), ("a,b\n1,2\n", "name the columns"), ("id,label\nx\n", ":2: fewer columns")):
    with open(table, "w", encoding="utf-8") as f:
        f.write(content)
    code, _, err = d.ctl("label", "--csv", table, check_status=False)
    check(code == 1 and word in err, f"a bad table: {code} {err}")
d.ctl("label", "", *loose)
d.ctl("label", "stripes", *(i["id"] for i in images if i["label"] == "stripes"))
d.ctl("label", "blobs", *loose[1:5])
check(len(d.ask("list", "--label", "blobs")) == 4, "back")

# Pin, unpin, remove; ids may be shortened.
d.ctl("pin", loose[1][:12])
check(d.ask("show", loose[1])["pinned"], "pinned")
check("Pinned" in d.ask("show", loose[1])["reason"], "and it says so")
d.ctl("unpin", loose[1])
check(not d.ask("show", loose[1])["pinned"], "unpinned")
d.ctl("remove", loose[2], loose[3])
s = d.status()
check(s["captures"]["stored"] == 38 and s["captures"]["dropped"] == 2, f"removed: {s['captures']}")
check(s["captures"]["stored"] == s["store"]["images"], "stored is what is there")

# The contract of status.
for key in ("version", "uptime_s", "spool", "captures", "store", "policy", "model", "training"):
    check(key in s, f"status has {key}")
for key in ("images", "bytes", "max_use", "limit", "by_quality", "by_label", "unlabelled", "bytes_written"):
    check(key in s["store"], f"store has {key}")
check(sum(s["store"]["by_quality"].values()) == 38, "by_quality adds up")
check(s["training"]["state"] == "idle" and "MinNewImages" in s["training"]["why"], f"why: {s['training']}")

# Wrong use says what is wrong and what is allowed.
for args, code, word in (
        (["show", "0000"], 1, "NoSuchImage"), (["show"], 2, "id"), (["frobnicate"], 2, "status"),
        (["label", "x/y", loose[4]], 1, "without '/'"), (["list", "--limit", "0"], 2, "allowed"),
        (["list", "--label", "nobody"], 1, "no label 'nobody'"), (["pin"], 2, "ids"),
        (["remove", loose[4], "--label", "blobs"], 2, "either"), (["list", "--sort", "age"], 2, "sensitivity"),
        (["list", "--since", "soon"], 2, "2026-01-31"), (["list", "x"], 2, "not expected"), (["label", "bird"], 2, "--csv"),
        (["pin", loose[4], "ffff"], 1, "NoSuchImage")):
    got, _, err = d.ctl(*args, check_status=False)
    check(got == code and word in err, f"larderctl {args}: {got} {err!r}")
check(not d.ask("show", loose[4])["pinned"], "all or nothing: a wrong id changes none")
p = subprocess.run([LARDERCTL, "--socket", "/nowhere/sock", "status"], capture_output=True, check=False)
check(p.returncode == 3, "no daemon")
for program in (LARDERD, LARDERCTL):
    for option in ("--help", "--version"):
        check(subprocess.run([program, option], capture_output=True, check=False).returncode == 0, f"{program} {option}")

# Watching: a frame without a terminal; in one it draws until q, and leaves the terminal as it was.
out = d.ctl("watch")[1]
for part in ("store", "captures", "model", "training", "quality    images", "stored"):
    check(part in out, f"watch shows {part}: {out}")
check("\x1b" not in out, "no escapes without a terminal")
check(d.ctl("watch", "--interval", "0", check_status=False)[0] == 2, "an interval has limits")
check(out.count("stored ") > 20, "decisions are listed")
pid, terminal = pty.fork()
if pid == 0:
    os.execv(LARDERCTL, [LARDERCTL, "--socket", d.socket, "watch"])
seen = b""
while b"fate" not in seen:
    seen += os.read(terminal, 65536)
os.write(terminal, b"q")
try:
    while more := os.read(terminal, 65536):
        seen += more
except OSError:
    pass  # the other end is closed
check(os.waitpid(pid, 0)[1] == 0, "q ends it")
check(seen.count(b"\x1b[?1049h") == 1 and seen.endswith(b"\x1b[?1049l"), "the screen is given back")
check(seen.count(b"\x1b[?25l") == seen.count(b"\x1b[?25h"), "and the cursor")
os.close(terminal)

# It waits for a daemon that went away.
pid, terminal = pty.fork()
if pid == 0:
    os.execv(LARDERCTL, [LARDERCTL, "--socket", d.socket, "watch"])


def until(word):
    text = b""
    while word not in text:
        text += os.read(terminal, 65536)


until(b"fate")
d.stop()
until(b"waiting for it")
d.start()
until(b"fate")
os.write(terminal, b"q")
try:
    while os.read(terminal, 65536):
        pass
except OSError:
    pass
check(os.waitpid(pid, 0)[1] == 0, "q ends it then, too")
os.close(terminal)

# What cannot be said whole is no success; what is not expected is not passed over.
with open("/dev/full", "w", encoding="utf-8") as full:
    p = subprocess.run([LARDERCTL, "--socket", d.socket, "list"], stdout=full, stderr=subprocess.PIPE, check=False)
check(p.returncode == 1 and b"No space left" in p.stderr, f"output to a full disk: {p}")
for verb in ("status", "watch", "plan", "train", "pause", "resume", "reload", "vacuum", "verify", "metrics"):
    code, _, err = d.ctl(verb, "more", check_status=False)
    check(code == 2 and f"{verb}: 'more'" in err, f"{verb} more: {code} {err}")

# What other limits would mean: more room, more or better images; nothing changes.
plans = d.ask("plan", "--max-use", "2M", "--max-use", "20M", "--max-use", "2G")
check([p["max_use"] for p in plans] == [2 << 20, 20 << 20, 2 << 30], f"plans {plans}")
check(plans[0]["images"] <= plans[1]["images"] and plans[0]["worth"] <= plans[1]["worth"] <= plans[2]["worth"] and
      plans[0]["quality"] <= plans[1]["quality"] <= plans[2]["quality"] <= 95, f"more room is not worse: {plans}")
check(len(d.ask("plan")) == 3 and "originals" in d.ctl("plan")[1], "half, once and twice the limit")
code, _, err = d.ctl("plan", "--max-use", "3K", check_status=False)
check(code == 2 and "at least 1M" in err, f"too small: {code} {err}")
check(d.status()["store"]["limit"] == s["store"]["limit"], "the limit is what it was")

# Settings: a bad file stops the start; a bad reload changes nothing; a good one does.
p = subprocess.run([LARDERD, "--check-config", "--config", d.config], capture_output=True, check=False)
check(p.returncode == 0, f"check-config: {p.stderr}")
d.configure({"Policy": {"Quality": "zero"}})
p = subprocess.run([LARDERD, "--check-config", "--config", d.config], capture_output=True, check=False)
check(p.returncode == 1 and b"1 to 100" in p.stderr and b"larderd.conf:" in p.stderr, f"check-config: {p.stderr}")
check(d.ctl("reload", check_status=False)[0] == 1, "a bad reload is refused")
d.configure({"Policy": {"Quality": "60"}, "Store": {"MaxUse": "5M"}})
d.ctl("reload")
check(d.status()["store"]["limit"] == 5 << 20, "reloaded")
d.configure({"Spool": {"SettleSec": "1h"}})
d.ctl("reload")
beside = os.path.join(d.spool, ".beside")
with open(beside, "wb") as f:
    f.write(picture(0, 7000))
stored = d.sum()
os.link(beside, os.path.join(d.spool, "linked.png"))  # no close tells of it: it has to be quiet for a while
time.sleep(1)
check(d.sum() == stored, "it is not taken within an hour")
may = None if os.getuid() == 0 else {*os.getgroups(), os.getgid()}  # groups to give it to
mine = next(g.gr_name for g in grp.getgrall()[::-1] if may is None or g.gr_gid in may)
d.configure({"Spool": {"SettleSec": "100ms"}, "Control": {"Group": mine}})
d.ctl("reload")
d.wait_for(lambda: d.sum() == stored + 1, 10, "it to be taken with another SettleSec")
check(os.stat(d.socket).st_gid == grp.getgrnam(mine).gr_gid, f"the socket is {mine}'s")
d.ctl("remove", next(i["id"] for i in d.ask("list") if i["name"] == "linked.png"))

# Varlink itself, and clients that are no clients.


def talk(data, answers=1):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(d.socket)
        out = b""
        try:
            s.sendall(data)
            while out.count(b"\0") < answers:
                more = s.recv(65536)
                if not more:
                    break
                out += more
        except (TimeoutError, ConnectionError):
            pass
        return out


def call(method, parameters=None):
    return json.dumps({"method": method, "parameters": parameters or {}}).encode() + b"\0"


info = json.loads(talk(call("org.varlink.service.GetInfo"))[:-1])
check("io.larder.Control" in info["parameters"]["interfaces"], f"info {info}")
text = json.loads(talk(call("org.varlink.service.GetInterfaceDescription", {"interface": "io.larder.Control"}))[:-1])
check("method Status()" in text["parameters"]["description"], "description")
check(b"MethodNotFound" in talk(call("io.larder.Control.Nothing")), "unknown method")
check(b"MethodNotFound" in talk(call("a")), "unknown interface")
many = talk(call("io.larder.Control.Status") * 300, 300)
check(many.count(b"\0") == 300, f"pipelined calls: {many.count(bytes(1))}")
oneway = json.dumps({"method": "io.larder.Control.Status", "oneway": True}).encode() + b"\0"
check(b"GetInfo" in talk(oneway * 30 + call("GetInfo")), "calls that want no answer get none")

# Those who ask and do not read: what they ask waits in their sockets, and each gets all of it when it reads.
ASKED, DEAF = 2000, 40
deaf = [socket.socket(socket.AF_UNIX) for _ in range(DEAF)]
left = []
for s in deaf:
    s.connect(d.socket)
    s.settimeout(0.05)
    questions, sent = call("io.larder.Control.List") * ASKED, 0
    try:
        while sent < len(questions):
            sent += s.send(questions[sent:sent + 65536])
    except TimeoutError:
        pass
    left.append(questions[sent:])
begin = time.monotonic()
d.status()
check(time.monotonic() - begin < 2, "others are answered meanwhile")
peak = d.peak_mib()
check(peak < 60 or "ASAN_OPTIONS" in os.environ, f"{DEAF} who do not read cost {peak:.0f} MiB")
deaf[0].setblocking(False)
answers, rest, begin = 0, left[0], time.monotonic()
while answers < ASKED and time.monotonic() - begin < 60:
    readable, writable, _ = select.select([deaf[0]], [deaf[0]] if rest else [], [], 5)
    if writable:
        rest = rest[deaf[0].send(rest[:65536]):]
    if readable:
        answers += deaf[0].recv(1 << 20).count(b"\0")
check(answers == ASKED, f"{answers} of {ASKED} answers once they are read")
for s in deaf:
    s.close()

# Whoever may only ask cannot keep out who may do more.
if os.geteuid() == 0:
    os.chmod(d.root, 0o755)
    os.chmod(os.path.dirname(d.socket), 0o755)
    os.chmod(d.socket, 0o666)
    crowd = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    os.seteuid(65534)
    try:
        for s in crowd:
            s.connect(d.socket)
    finally:
        os.seteuid(0)
    check(len(d.ask("list")) == 38, "root is answered in spite of a crowd")
    for s in crowd:
        s.close()
    d.ctl("reload")
for garbage in (b"\0", b"{}\0", b"[1,2]\0", b"{\"method\": 7}\0", b"\xff" * 5000 + b"\0", b"x" * (3 << 20),
                call("io.larder.Control.Show", {"id": 5}), call("io.larder.Control.Label", {"ids": "x"}),
                call("io.larder.Control.Pin", {"ids": [1, None]}), call("io.larder.Control.List", {"after": "zz"})):
    talk(garbage)
    check(d.process.poll() is None, "garbage does not end the daemon")
half = [socket.socket(socket.AF_UNIX) for _ in range(200)]
for s in half:
    try:
        s.setblocking(False)
        s.connect(d.socket)
        s.send(b"{\"method\":")
    except (BlockingIOError, ConnectionError):
        pass
for s in half:
    s.close()
d.wait_for(lambda: d.ctl("status", check_status=False)[0] == 0, 20, "there to be room for one more client")
check(len(d.ask("list")) == 38, "it still answers")
check(d.descriptors() < 80, "no descriptors were lost")
d.stop()

# Who answers that it will not, and goes away at once, has answered.
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(d.socket)
    listener.listen()
    p = subprocess.Popen([LARDERCTL, "--socket", d.socket, "vacuum"], stderr=subprocess.PIPE)
    s, _ = listener.accept()
    while not s.recv(65536).endswith(b"\0"):
        pass
    p.send_signal(signal.SIGSTOP)  # so that it is gone by the time that the answer is read
    os.waitpid(p.pid, os.WUNTRACED)
    s.send(b'{"error":"io.larder.Control.Failed","parameters":{"reason":"not now"}}\0')
    s.close()
    p.send_signal(signal.SIGCONT)
    _, err = p.communicate(timeout=20)
    check(p.returncode == 1 and b"not now" in err, f"refused: {p.returncode} {err}")
d.remove()
finish()
