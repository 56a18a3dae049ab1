#!/usr/bin/env python3
"""What the running daemon costs.   bench-daemon.py [PHOTOS or - [SMALL]]
PHOTOS: a folder of JPEG files to take beside generated 32x32 pictures; SMALL: how many of those (2000).
Rates are given beside those of libjpeg in memory and of djpeg | cjpeg over the same files, where those programs
are there: machines differ, ratios less. Nothing else should be running."""
import glob
import os
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from harness import Daemon, children, picture, process_stat  # noqa: E402
import larder  # noqa: E402 from where harness says

PHOTOS = sorted(glob.glob(os.path.join(sys.argv[1], "**", "*.jp*g"), recursive=True))[:1000] if len(sys.argv) > 1 else []
SMALL = int(sys.argv[2]) if len(sys.argv) > 2 else 2000


def row(what, value, note=""):
    print(f"{what:<61} {value:>14}  {note}", flush=True)


def cpu_seconds(pid):
    """Of a process and its children, those that have ended included."""
    fields = process_stat(pid)
    own = sum(int(fields[i]) for i in (11, 12, 13, 14))
    for child, _ in children(pid):
        fields = process_stat(child)
        own += int(fields[11]) + int(fields[12])
    return own / os.sysconf("SC_CLK_TCK")


def ingest(name, files, scoring, again=()):
    """All files wait when the daemon starts; the time until the last has left the spool. again: a second lot, which
    comes when steps and tables are known and most captures are counted at few rates; its rate is what is returned."""
    d = Daemon({"Store": {"MaxUse": "1G"}, "Policy": {"Scoring": scoring}, "Training": {"Enabled": "false"}})
    for i, data in enumerate(files):
        d.drop(f"{'ab'[i % 2]}/{i}", data)
    begin = time.monotonic()
    d.start(ready=False)
    while d.spool_files():
        time.sleep(0.02)
    seconds = time.monotonic() - begin
    rate = len(files) / seconds
    cpu = cpu_seconds(d.process.pid)
    row(f"{name}: captures/s, durable", f"{rate:.0f}", f"{1e3 * cpu / len(files):.2f} ms CPU each")
    if again:
        os.kill(d.process.pid, signal.SIGSTOP)
        for i, data in enumerate(again):
            d.drop(f"{'ab'[i % 2]}/again-{i}", data)
        begin = time.monotonic()
        os.kill(d.process.pid, signal.SIGCONT)
        while d.spool_files():
            time.sleep(0.02)
        rate = len(again) / (time.monotonic() - begin)
        cpu = cpu_seconds(d.process.pid) - cpu
        row(f"{name}, later: captures/s, durable", f"{rate:.0f}", f"{1e3 * cpu / len(again):.2f} ms CPU each")
    d.stop()
    d.remove()
    return rate


def loops(files, rate):
    """The same files decoded and encoded again, without a store: by libjpeg in memory, and by a shell."""
    transcode = os.path.join(os.path.dirname(os.environ["LARDERD"]), "..", "tests", "bench-transcode")
    folder = tempfile.mkdtemp(prefix="larder-bench-")
    for i, data in enumerate(files):
        with open(f"{folder}/{i}.jpg", "wb") as f:
            f.write(data)
    if os.path.exists(transcode):
        loop = float(subprocess.check_output([transcode, *glob.glob(f"{folder}/*.jpg")]))
        row("photographs: libjpeg alone in memory, files/s, all processors", f"{loop:.0f}", f"the daemon {rate / loop:.2f} times that")
    if shutil.which("djpeg"):
        begin = time.monotonic()
        subprocess.run(["sh", "-c", f"for f in {folder}/*.jpg; do djpeg $f | cjpeg -quality 75 > {folder}/out; done"], check=True)
        loop = len(files) / (time.monotonic() - begin)
        row("photographs: djpeg | cjpeg, files/s, one process", f"{loop:.0f}", f"the daemon {rate / loop:.2f} times that")
    shutil.rmtree(folder)


def beside(d, name, data):
    """A capture that is in the spool once its .part is renamed; its path there."""
    path = os.path.join(d.spool, name)
    with open(path + ".part", "wb") as f:
        f.write(data)
    return path


def lone(d, name, begin_at, n, apart):
    """From the rename of one capture to the end of its spool file, which comes after the commit."""
    took = []
    for i in range(n):
        path = beside(d, f"a/{begin_at + i}.png", picture(i % 2, begin_at + i, 32))
        time.sleep(apart)
        begin = time.monotonic()
        os.rename(path + ".part", path)
        while os.path.exists(path):
            time.sleep(0.0002)
        took.append(1e3 * (time.monotonic() - begin))
    took.sort()
    row(f"{name}: ms from closed to committed, median", f"{statistics.median(took):.1f}", f"99th percentile {took[n * 99 // 100]:.1f}")


def switches(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as f:
            total += sum(int(line.split()[1]) for line in f if "voluntary_ctxt" in line and "non" not in line)
    return total


def commented(jpeg, i):
    """The same picture in another file."""
    text = b"%d" % i
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + jpeg[2:]


def variant(png, i):
    """The same picture in another file: a comment of its own."""
    body = b"tEXtn\0%d" % i
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:-12] + chunk + png[-12:]


def halve(files):
    """The budget is halved: images have to be degraded, the loop must answer, and captures be taken."""
    h = Daemon({"Store": {"MaxUse": "1G"}, "Policy": {"Scoring": "predict"}, "Training": {"Enabled": "false"}}).start()
    for i, data in enumerate(files):
        h.drop(f"{'ab'[i % 2]}/{i}.png", data)
    h.drained(300)
    store = larder.Store(h.socket)
    before = h.status()["store"]
    h.configure({"Store": {"MaxUse": str(before["use"])}})  # so that it is full
    h.ctl("reload")
    time.sleep(3)
    before = h.status()["store"]
    half = max(before["use"] // 2, 1 << 20)
    h.configure({"Store": {"MaxUse": str(half)}})
    answers, took, begin = [], [], time.monotonic()
    h.ctl("reload")
    use, n = before["use"], 0
    path, dropped = None, 0
    while use > half and time.monotonic() < begin + 300:
        asked = time.monotonic()
        use = store.status()["store"]["use"]
        answers.append(1e3 * (time.monotonic() - asked))
        if path is None or not os.path.exists(path):
            if path:
                took.append(1e3 * (time.monotonic() - dropped))
            path, n = os.path.join(h.spool, f"a/during-{n}.png"), n + 1
            h.drop(f"a/during-{n - 1}.png", picture(n % 2, 300000 + n, 32))
            dropped = time.monotonic()
        time.sleep(0.001)
    seconds, after = time.monotonic() - begin, h.status()
    row("half the budget: s until it holds", f"{seconds:.2f}",
        f"{before['images']} images then {after['store']['images']}, mean quality {after['policy']['mean_quality']:.0f}")
    row("half the budget: images/s, MB/s degraded or dropped", f"{before['images'] / seconds:.0f}",
        f"{(before['use'] - half) / seconds / 1e6:.1f} MB/s freed")
    answers.sort()
    row("half the budget: ms to answer a client meanwhile, most", f"{answers[-1]:.1f}",
        f"99th percentile {answers[len(answers) * 99 // 100]:.1f} of {len(answers)}")
    if took:
        row("half the budget: ms to take a capture meanwhile, median", f"{statistics.median(took):.1f}", f"{len(took)} taken, most {max(took):.0f}")
    h.stop()
    h.remove()


few = [picture(i % 2, i, 32) for i in range(200)]
small = [variant(few[i % len(few)], i) for i in range(SMALL)]
ingest("32x32 PNG, no network yet", small, "predict")
halve(small)
if PHOTOS:
    photos = []
    for path in PHOTOS:
        with open(path, "rb") as f:
            photos.append(f.read())
    rate = ingest("photographs, no network yet", photos, "predict", [commented(p, i) for i in (1, 2) for p in photos])
    loops(photos, rate)

d = Daemon({"Store": {"MaxUse": "1G", "KeepFree": "1%"}, "Idle": {"QuietSec": "300ms"},
            "Training": {"MinNewImages": "500", "Epochs": "30"}}).start()
for i, data in enumerate(small):
    d.drop(f"{'ab'[i % 2]}/{i}.png", data)
d.drained(120)
d.wait_for(lambda: d.status()["model"]["version"] > 0, 120, "a model")
d.wait_for(lambda: d.status()["training"]["state"] == "idle", 120, "the end of training")
d.ctl("pause")
lone(d, "a 32x32 capture each 30 ms", 100000, 200, 0.03)
lone(d, "a 32x32 capture each half second", 110000, 40, 0.5)
d.ctl("resume")

def at_work(pid):
    """Whether the process is there and not held."""
    try:
        return process_stat(pid)[0] not in "TZX"
    except (FileNotFoundError, ProcessLookupError):
        return False




def train():
    """The trainer, at work for a moment."""
    subprocess.run([os.environ["LARDERCTL"], "--socket", d.socket, "train"], capture_output=True, check=False)
    end = time.monotonic() + 20
    pids = []
    while not pids and time.monotonic() < end:
        pids = d.in_role("trainer")
        time.sleep(0.005)
    time.sleep(0.3)
    return pids


# Another program, from a session of its own as another service or a login would be, that wants every processor.
SPIN = """import time
end = time.monotonic() + 1.5
while time.monotonic() < end:
    pass
print(time.process_time() / 1.5)"""
shares = []
for n in range(5):
    pids = train()
    others = [subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE, text=True, start_new_session=True)
              for _ in os.sched_getaffinity(0)]
    got = [float(p.communicate()[0]) for p in others]
    if pids and at_work(pids[0]):
        shares.append(statistics.mean(got))
    d.wait_for(lambda: d.status()["training"]["state"] == "idle", 120, "the end of training")
if shares:
    row("another program during training: % of all processors", f"{100 * statistics.median(shares):.0f}",
        f"least {100 * min(shares):.0f} of {len(shares)}")

# A training in progress makes way: until its process is held, or has gone; and until the capture is committed.
took, committed, left = [], [], 0
for n in range(40):
    pids = train()
    if not pids:
        continue
    path = beside(d, f"a/yield-{n}.png", picture(0, 200000 + n, 32))
    begin = time.monotonic()
    os.rename(path + ".part", path)
    held = stored = None
    while (held is None or stored is None) and time.monotonic() < begin + 5:
        if held is None and not at_work(pids[0]):
            held = 1e3 * (time.monotonic() - begin)
        if stored is None and not os.path.exists(path):
            stored = 1e3 * (time.monotonic() - begin)
        time.sleep(0.0002)
    if held is None:
        left += 1  # captures had ended it three times while it read its images
    else:
        took.append(held)
    committed.append(stored)
    d.drained(20)
if took:
    row("a capture during training: ms until the trainer is held", f"{statistics.median(took):.1f}",
        f"most {max(took):.1f} of {len(took)}; {left} left to read")
if committed:
    row("a capture during training: ms from closed to committed", f"{statistics.median(committed):.1f}", f"most {max(committed):.1f}; as far apart as above")

d.ctl("pause")
# Nothing happens: workers leave after a quiet minute; then nothing wakes the daemon.
d.wait_for(lambda: not children(d.process.pid), 90, "the workers to leave")
time.sleep(2)
begin = switches(d.process.pid)
time.sleep(60)
row("idle: wake-ups in a minute", f"{switches(d.process.pid) - begin}")
row("idle: resident MiB", f"{d.resident_kb() / 1024:.1f}")
d.stop()
d.remove()
