#!/usr/bin/env python3
"""While there is room pictures are left complete JPEGs, one that came as a JPEG the file that it was; once there is
none they are packed, and are the same pictures."""
import os

from harness import Daemon, Scenes, check, feed_scenes, finish, grey_noise

LOOSE = 16


def picture(i):
    return grey_noise(i, 256, 16)


def rows(where="1"):
    return {f"{r['id']:016x}": dict(r) for r in d.query(f"SELECT * FROM images WHERE {where}")}


def loose():
    return rows(f"flags & {LOOSE}")


def exported(image):
    path = os.path.join(d.root, "one.jpg")
    d.ctl("show", image, "--open", path)
    with open(path, "rb") as f:
        return f.read()


def drop(first, n):
    for i in range(first, first + n):
        d.drop(f"{'stripes' if i % 2 else 'blobs'}/{i}.pgm", picture(i))
    d.drained(60)


def uniform_for_a_while(back):
    """Other settings forget the first step for as long as they hold; back: when it is there again."""
    for mode, there in (("uniform", lambda: not any(r["step_to"] for r in rows().values())), ("adaptive", back)):
        d.configure({"Policy": {"Mode": mode}})
        d.stop()
        d.start()
        d.wait_for(there, 30, f"steps of Mode={mode}")


def lead_to_themselves(found):
    """But for those that validate, which go to the lowest quality that spoils next to nothing."""
    return all(r["step"] == 0 and (r["stratum"] % 2 or r["step_to"] == r["quality"]) and not r["tables"] for r in found.values())


d = Daemon({"Store": {"MaxUse": "8M"}, "Policy": {"Scoring": "predict", "MinQuality": "90"},
            "Training": {"Enabled": "false"}}).start()
n, enough = 0, 600
while n < enough:
    drop(n, 40)
    n += 40
    if d.query("SELECT id FROM tables") and enough == 600:
        enough = n + 40
before = loose()
check(len(before) > 0.7 * n and lead_to_themselves(before), f"{len(before)} of {n} are loose, what came before there was a set, too")
check(not rows("tables AND length(data) > 8192 AND stratum % 2 = 0"), "nothing large is packed")
one = next(iter(before))
check("while there is room" in d.ask("show", one)["reason"], f"it says so: {d.ask('show', one)['reason']}")

# A JPEG keeps its scan, and loses what says where it was taken.
files = {i: exported(i) for i in before}
text = b"taken at home"
d.drop("blobs/camera.jpg", files[one][:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + files[one][2:] + text)
d.drained()
camera = rows("name = CAST('camera.jpg' AS BLOB)")
check(len(camera) == 1 and all(r["data"] == files[one] and r["flags"] & LOOSE for r in camera.values()), "as it came, but for what it said")

uniform_for_a_while(lambda: lead_to_themselves(loose()))
check(len(loose()) == len(before) + 1, "as many as before")

# More comes than there is room for; with nowhere else to go they are packed and no more.
while len(loose()) > len(before) - 20 and n < 1000:
    drop(n, 20)
    n += 20
check(d.disk_use() <= 8 << 20, f"{d.disk_use()} of 8 MiB")
packed = rows("tables AND stratum % 2 = 0")
same = [i for i, r in packed.items() if i in before and r["quality"] == before[i]["quality"]]
check(d.status()["store"]["images"] == n + 1, f"all are there: {d.status()['store']['images']} of {n + 1}")
check(len(same) > 10, f"{len(same)} of {len(before)} were packed and no more")
check(all(packed[i]["bytes"] < before[i]["bytes"] and not packed[i]["flags"] & LOOSE for i in same), "which made room")
check(all(exported(i) == files[i] for i in same), "they are what they were")
d.drop("blobs/more.pgm", picture(n))
d.drained()
check(not any(r["flags"] & LOOSE for r in rows("name = CAST('more.pgm' AS BLOB)").values()), "nothing comes loose any more")

# What is packed or not is as sound as ever, and far less room is made by the rest.
d.verify()
d.configure({"Policy": {"MinQuality": "2"}, "Store": {"MaxUse": "3M"}})
d.ctl("reload")
d.wait_for(lambda: d.status()["store"]["limit"] == d.status()["store"]["max_use"] == 3 << 20 >= d.status()["store"]["use"], 60, "3 MiB to hold")
d.wait_for(lambda: len(loose()) < len(before) / 2, 30, "most to be smaller")
check(d.disk_use() <= 3 << 20, f"{d.disk_use()} of 3 MiB")
d.verify()
d.stop()
d.remove()

# Of photographs some are for validation, drawn at random. People see them as they see the others while there is room; then
# they are the first to get smaller, as far as loses next to nothing, and no further.
d = Daemon({"Store": {"MaxUse": "8M"}, "Training": {"Enabled": "false", "ValidationShare": "20%"}}).start()
scenes = Scenes(256)


def validating():
    return rows("stratum % 2")


feed_scenes(d, scenes, 100)
d.drained(60)
before = validating()
best = max(r["quality"] for r in rows().values())
check(len(before) > 5 and all(r["quality"] == best and r["flags"] & LOOSE for r in before.values()), f"as good as any: {before}")
one = d.ask("show", next(iter(before)))
check(one["validation"] and "When room is needed" in one["reason"], f"it says so: {one['reason']}")
d.ctl("pin", (pinned := one["id"]))
uniform_for_a_while(lambda: all(r["step_to"] for i, r in validating().items() if i != pinned))
lead_to = {i: r["step_to"] for i, r in validating().items()}
check(all(q < best for i, q in lead_to.items() if i != pinned), f"they may become smaller: {lead_to}")
d.configure({"Store": {"MaxUse": "2M"}})
d.ctl("reload")
d.wait_for(lambda: d.status()["store"]["limit"] == 2 << 20 >= d.status()["store"]["use"], 60, "2 MiB to hold")
feed_scenes(d, scenes, 200, 100)
d.drained(60)
after = {i: r for i, r in validating().items() if i in before}
check(len(after) > 3, f"{len(after)} of {len(before)} are there")
check(pinned in after and after[pinned]["quality"] == best, "what is pinned stays as it is")
went = {i: r for i, r in after.items() if r["quality"] != best}
check(len(went) > len(after) / 2 and all(r["quality"] == lead_to[i] and r["step"] is None for i, r in went.items()),
      f"where they led to: {[(r['quality'], lead_to[i]) for i, r in after.items()]}")
check(any(r["quality"] < min(lead_to.values()) for r in rows("stratum % 2 = 0").values()), "while others went further")
d.verify()
d.stop()
d.remove()
finish()
