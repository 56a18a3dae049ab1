#!/usr/bin/env python3
"""Calls of the daemon, its workers and its trainer that fail: allocations, reads and writes of files, pipes and sockets,
descriptors, new processes, mappings, watches; once, and for a while. Nothing crashes, no capture is lost, and the
daemon goes on by itself or ends with a reason and goes on when it is started again.
faults.py [TRIES [ROLE [CALL]]]: so many moments of each kind"""
import errno
import json
import mmap
import os
import random
import struct
import subprocess
import sys
import time

from harness import Daemon, check, finish, picture

TRIES = int(sys.argv[1]) if len(sys.argv) > 1 else 2
ROLES = sys.argv[2:3] or ["daemon", "worker", "trainer"]
KINDS = {"memory": [errno.ENOMEM], "map": [errno.ENOMEM], "read": [errno.EIO, errno.EINTR], "spawn": [errno.EAGAIN],
         "write": [errno.EIO, errno.ENOSPC, errno.ENOBUFS], "open": [errno.EMFILE, errno.ENFILE, errno.EACCES],
         "watch": [errno.ENOSPC]}
CALLS = sys.argv[3:4] or list(KINDS)
CAPTURES = 24
SETTINGS = {"Store": {"MaxUse": "2M", "InlineMax": "4K"}, "Model": {"Channels": "8 8 8"}, "Idle": {"QuietSec": "0"},
            "Training": {"MinNewImages": "10", "Epochs": "2", "BatchSize": "8"}}
captures = [picture(i % 2, i, 32 if i % 4 else 120) for i in range(CAPTURES)]
captures[7] = b"no picture"


class Fault:
    """The daemon's environment, and what the preloaded library counted."""

    def __init__(self, root, role, call, error=0, at=0, more=1):
        self.path = os.path.join(root, "fault")
        with open(self.path, "wb") as f:
            f.write(bytes(4096))
        self.env = {"LD_PRELOAD": os.environ["LARDER_FAULT"], "LARDER_FAULT_ROLE": role, "LARDER_FAULT_CALL": call,
                    "LARDER_FAULT_ERRNO": str(error), "LARDER_FAULT_AT": str(at), "LARDER_FAULT_MORE": str(more),
                    "LARDER_FAULT_COUNT": self.path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

    def counts(self):
        with open(self.path, "rb") as f, mmap.mmap(f.fileno(), 4096, prot=mmap.PROT_READ) as m:
            return struct.unpack("qq", m[:16])


def settled(d):
    try:
        code, out, _ = d.ctl("--json", "status", check_status=False)
    except subprocess.TimeoutExpired:
        check(False, f"larderctl status hangs; log:\n{d.tail()}")
        return False
    if code != 0 or d.spool_files():
        return False
    s = json.loads(out)
    return s["model"]["version"] > 0 and s["training"]["state"] not in ("running", "waiting") and \
        s["spool"]["pending"] == 0 and s["spool"]["in_flight"] == 0


def live(d, fault, seconds):
    """Starts it, feeds it, and waits until it is settled or dead; whether it lives."""
    d.start(ready=False, env=fault.env)
    for i, data in enumerate(captures):
        d.drop(f"{('stripes', 'blobs')[i % 2]}/{i}.png", data)
    end = time.monotonic() + seconds
    while time.monotonic() < end and d.process.poll() is None and not settled(d):
        if not d.spool_files() and ("again in 5 minutes" in d.tail() or "cannot start the trainer" in d.tail()):  # it will be started again in minutes
            break
        time.sleep(0.05)
    return d.process.poll() is None


def one(role, call, error, at, more):
    what = f"{role}: {call} {at}, {more} times {errno.errorcode.get(error, '')}"
    d = Daemon(SETTINGS)
    fault = Fault(d.root, role, call, error, at, more)
    began = time.monotonic()
    alive = live(d, fault, 15)
    calls, failed = fault.counts()
    if not alive:
        # libuv ends a process that has no memory for a descriptor or a child
        ended_well = d.process.returncode == 1 or \
            (d.process.returncode == -6 and call == "memory" and "ssert" not in d.tail())
        check(ended_well, f"{what}: exit status {d.process.returncode}; log:\n{d.tail()}")
        check(os.path.getsize(d.log) > 0, f"{what}: it ended without a word")
        check(d.process.returncode == -6 or "0 images" not in d.tail(), f"{what}: it ended after it had begun; log:\n{d.tail()}")
    elif calls >= at + more and not settled(d):  # it has passed; what is tried again in minutes says so
        check(" again" in d.tail() or "cannot start the trainer" in d.tail(),
              f"{what}: it goes on without being started again; {d.spool_files()}, {d.ctl('--json', 'status', check_status=False)} "
              f"log:\n{d.tail()}")
    if os.environ.get("VERBOSE"):
        print(f"{what}: {calls} calls, {failed} failed, {'alive' if alive else 'ended'}, "
              f"{time.monotonic() - began:.1f} s", flush=True)
    if alive:
        d.kill()
    d.start()
    d.drained()
    c = d.status()["captures"]
    check(d.sum() == CAPTURES, f"{what}: each capture once: {c}; log:\n{d.tail(40)}")
    set_aside = 1 if role != "worker" or call != "memory" or more == 1 else CAPTURES  # what two have no memory for
    check(1 <= c["quarantined"] <= set_aside and c["duplicate"] == 0, f"{what}: only what is none is set aside: {c}; log:\n{d.tail(40)}")
    d.verify()
    d.wait_for(lambda: d.status()["model"]["version"] > 0, 60, f"a model after {what}")
    d.stop()
    d.remove()


random.seed(int(os.environ.get("SEED", "3")))
tried = 0
for role in ROLES:
    for call in CALLS:
        if (role, call) in (("worker", "spawn"), ("worker", "watch"), ("trainer", "watch")):
            continue
        d = Daemon(SETTINGS)
        fault = Fault(d.root, role, call)
        live(d, fault, 30)
        calls, _ = fault.counts()
        d.stop()
        d.remove()
        if not calls:
            continue
        for n in range(TRIES):
            one(role, call, random.choice(KINDS[call]), random.randint(1, calls), (1, 1, 5, 1000)[n % 4])
            tried += 1
check(tried >= TRIES or len(sys.argv) > 2, f"{tried} tried")
print(f"{tried} moments")
finish()
