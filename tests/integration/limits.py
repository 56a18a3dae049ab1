#!/usr/bin/env python3
"""A service or container that may use a part of the machine only: there are no more workers, nor threads of the trainer,
than it may have processors for, and no more workers than its memory has room for. Control groups are made-up ones."""
import os

from harness import Daemon, check, finish, picture

with open("/proc/self/cgroup", encoding="ascii") as f:
    own = [line.strip()[3:] for line in f if line.startswith("0::")]


def most_workers(limits):
    """limits: {file: text} of our group (or, with ../, the one above); how many workers a crowd of captures gets."""
    d = Daemon({"Training": {"Enabled": "no"}})
    group = os.path.join(d.root, "sys", "fs", "cgroup") + own[0]
    os.makedirs(group, exist_ok=True)
    for name, text in limits.items():
        with open(os.path.join(group, name), "w", encoding="ascii") as f:
            f.write(text + "\n")
    for i in range(400):
        d.drop(f"a/{i}.png", picture(i % 2, i, 48))
    d.start(env={"LD_PRELOAD": os.environ["LARDER_FAULT"], "LARDER_SYS": os.path.join(d.root, "sys")})
    most = 0
    while d.spool_files():
        most = max(most, len(d.in_role("worker")))
    check(d.status()["captures"]["stored"] == 400, f"{limits}: {d.status()['captures']}")
    d.stop()
    d.remove()
    return most


if not own or len(os.sched_getaffinity(0)) < 2:
    print("no control groups of version 2, or one processor only")
    raise SystemExit(77)
check(most_workers({}) >= 2, "without limits there is one for each processor")
check(most_workers({"memory.max": "max", "memory.high": "max", "cpu.max": "max 100000"}) >= 2, "nor with empty ones less")
check(most_workers({"memory.max": str(300 << 20)}) == 1, "memory for one")
check(most_workers({"memory.max": "max", "memory.high": str(300 << 20)}) == 1, "memory for one before it gets slow")
check(most_workers({"cpu.max": "80000 100000"}) == 1, "a part of a processor")
check(most_workers({"cpu.max": "110000 100000"}) >= 2, "more than one processor")
if own[0] != "/":
    check(most_workers({"../memory.max": str(300 << 20), "memory.max": "max"}) == 1, "the group above has a limit, too")
finish()
