#!/usr/bin/env python3
"""Hooks: what happened is told once, in order, to a program without privileges that cannot hold anything up."""
import json
import os
import subprocess
import time

from harness import LARDERD, Daemon, check, children, finish, picture

SCRIPT = """#!/usr/bin/python3
import json, os, sys, time
lines = sys.stdin.read().splitlines()
out = os.path.join(os.path.dirname(__file__), sys.argv[1])
with open(out, "a") as f:
    for line in lines:
        f.write(line + "\\n")
with open(out + ".facts", "w") as f:
    json.dump({"uid": os.getuid(), "euid": os.geteuid(), "groups": os.getgroups(), "env": dict(os.environ),
               "nice": os.nice(0), "fds": sorted(os.listdir("/proc/self/fd")), "cwd": os.getcwd(),
               "new": [x for x in open("/proc/self/status") if x.startswith("NoNewPrivs")]}, f)
if sys.argv[1] == "fail":
    sys.exit(3)
if sys.argv[1] == "once":
    time.sleep(0.5)
    sys.exit(lines and json.loads(lines[0])["name"] == "first.png")
time.sleep(float(sys.argv[2]))
"""

d = Daemon({"Model": {"InputSize": "16", "Channels": "8 8 16"}})
folder = os.path.join(d.root, "heard")
os.mkdir(folder)
os.chmod(d.root, 0o755)
os.chmod(folder, 0o777)
script = os.path.join(folder, "hook")
with open(script, "w", encoding="utf-8") as f:
    f.write(SCRIPT)
os.chmod(script, 0o755)
d.configure({"Hooks": {"OnStored": f"{script} stored 0.3", "OnTrained": f"{script}  trained 0"}})
d.start()


def heard(name):
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            return [json.loads(line) for line in f.read().splitlines()]
    except FileNotFoundError:
        return []


for i in range(60):
    d.drop(f"stripes/{i}.png", picture(0, i))
    d.drop(f"blobs/{i} \"é\n.png", picture(1, i))
d.drop("broken.png", b"\x89PNG nothing")
d.drained()
d.wait_for(lambda: len(heard("stored")) >= 120, 30, "every image to be told")
events = heard("stored")
images = {i["id"]: i for i in d.ask("list")}
check(len(events) == 120 and {e["id"] for e in events} == set(images), f"each once: {len(events)}")
check(all(e["label"] == images[e["id"]]["label"] and e["name"] == images[e["id"]]["name"] and e["fate"] == "stored"
          for e in events), "as they are")
with open(os.path.join(folder, "stored.facts"), encoding="utf-8") as f:
    facts = json.load(f)
check(facts["uid"] == facts["euid"] != 0 and not facts["groups"] if os.getuid() == 0 else facts["uid"] == os.getuid(),
      f"unprivileged: {facts}")
check(set(facts["env"]) - {"LC_CTYPE"} == {"PATH", "LARDER_SOCKET"} and facts["env"]["LARDER_SOCKET"] == d.socket,
      f"environment {facts['env']}")
check(facts["nice"] == 10 and "1" in facts["new"][0] and facts["cwd"] == "/", f"{facts}")
check(set(facts["fds"]) <= {"0", "1", "2", "3", "4"}, f"descriptors {facts['fds']}")  # 3 4: the facts, the listing
d.ctl("train", "--now", "--wait")
d.wait_for(lambda: heard("trained"), 10, "the training to be told")
t = heard("trained")[0]
check(t["accepted"] and t["version"] == 1 and t["images"] > 80, f"training {t}")

# A hook that hangs, dies or is not there holds nothing up and does not fill the log.
d.configure({"Hooks": {"OnStored": f"{script} slow 1000"}})
d.ctl("reload")
for i in range(30):
    d.drop(f"stripes/s{i}.png", picture(0, 1000 + i))
d.drained(20)
check(d.status()["store"]["images"] == 150, "captures come in all the same")
d.configure({"Hooks": {"OnStored": f"{script} fail"}})
d.ctl("reload")
hanging = [p for p, _ in children(d.process.pid)]
check(len(hanging) >= 1, "it is still there")
d.stop()
time.sleep(0.2)
check(not any(os.path.exists(f"/proc/{p}") for p in hanging), "and goes with the daemon")
for command in (f"{script} fail", "/nowhere/hook"):
    d.configure({"Hooks": {"OnStored": command}})
    d.start()
    before = os.path.getsize(d.log)
    for i in range(40):
        d.drop(f"stripes/{hash(command)}{i}.png", picture(0, 5000 + i + 100 * len(command)))
    d.drained()
    time.sleep(0.5)
    said = os.path.getsize(d.log) - before
    check(0 < said < 2000 and "OnStored" in d.tail(), f"said once: {said} bytes, {d.tail()}")
    d.stop()
d.configure({"Hooks": {"OnStored": f"{script} once"}})
d.start()
d.drop("stripes/first.png", picture(0, 9000))
d.wait_for(lambda: heard("once"), 10, "the run that will fail")
d.drop("stripes/second.png", picture(0, 9001))
d.drained()
d.wait_for(lambda: len(heard("once")) == 2, 20, "what came while it failed, with nothing after it")
d.stop()
d.configure({"Hooks": {"OnStored": "hook"}})
p = subprocess.run([LARDERD, "--check-config", "--config", d.config], capture_output=True, check=False)
check(p.returncode == 1 and b"absolute path and its arguments" in p.stderr, f"a bad command: {p.stderr}")
d.remove()
finish()
