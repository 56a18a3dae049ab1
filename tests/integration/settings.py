#!/usr/bin/env python3
"""What is stored goes by the settings as they are now: Mode after a restart, MinQuality after a reload."""
from harness import Daemon, check, finish, grey_noise

N = 1200


def settings(max_use, **policy):
    return {"Store": {"MaxUse": max_use}, "Policy": {k: str(v) for k, v in policy.items()}, "Training": {"Enabled": "false"}}


def drop(d, first, side=80, n=N):
    for i in range(first, first + n):
        d.drop(f"{'stripes' if i % 2 else 'blobs'}/{i}.pgm", grey_noise(i, side))
    d.drained(120)


def images(d):
    return d.ask("list", "--limit", "100000")


def restepped(d):
    d.wait_for(lambda: "have steps of Mode and MinQuality as they are now" in d.tail(100000), 30, "the steps to be worked out anew")


def settled(d, limit):
    """What is left when the limit holds and nothing goes any more."""
    seen = []

    def still():
        seen.append(d.status()["captures"])
        return d.status()["store"]["use"] <= limit and seen[-6:] == [seen[-1]] * 6

    d.wait_for(still, 60, "the limit to hold")
    return images(d)


# Raised, it is heeded by what was stored before; lowered, such images step down, and are not dropped instead.
d = Daemon(settings("8M", MinQuality=2, MaxQuality=50)).start()
drop(d, 0, n=2 * N)
before = {i["id"]: i["quality"] for i in images(d)}
check(list(before.values()).count(50) > N, f"stored with a step to take: {before.values()}")
check("anew" not in d.tail(100000), "nothing to work out anew for the first time")
d.configure(settings("2M", MinQuality=40, MaxQuality=50))
d.ctl("reload")
restepped(d)
kept = settled(d, 2 << 20)
low = [i["quality"] for i in kept if i["quality"] < 40 <= before[i["id"]]]
check(not low, f"{len(low)} images were degraded below a MinQuality that was raised")
check(100 < len(kept) < 2 * N, f"some had to go instead: {len(kept)} are left")
loose = [i["id"] for i in kept if i["quality"] == 50 and not i["validation"]]
check("no lower quality left" in d.ask("show", loose[0])["reason"], "and it says why")
d.configure(settings("1M", MinQuality=2, MaxQuality=50))
d.ctl("reload")
d.wait_for(lambda: d.tail(100000).count("as they are now") == 2, 30, "the steps once more")
left = settled(d, 1 << 20)
check(len(left) > 0.5 * len(kept), f"with a MinQuality that was lowered images are degraded: {len(left)} of {len(kept)} are left")
d.verify()

# Another mode: the oldest go first, whatever price they had before; and what had an order has a price.
d.stop()
d.configure(settings("1M", Mode="uniform", Quality=80))
d.start()
restepped(d)
drop(d, 2 * N)
drop(d, 3 * N)
numbers = [int(i["name"].split(".")[0]) for i in images(d)]
check(min(numbers) >= 3 * N, f"the oldest went first: {min(numbers)} is there, of {4 * N}")
check({i["quality"] for i in images(d)} == {80}, "Quality is everybody's")
of_one_quality = len(numbers)
d.stop()
d.configure(settings("1M", Mode="adaptive"))
d.start()
drop(d, 4 * N)
left = images(d)
quality = [i["quality"] for i in left]
print(f"{of_one_quality} images of quality 80, then {len(left)} of {min(quality)} to {max(quality)}, {sum(quality) / len(quality):.1f} on average")
check(len(left) > 1.5 * of_one_quality and sum(quality) > 8 * len(quality), f"degraded before they are dropped, and no further than it pays: {quality[:9]}")
check(sum(int(i["name"].split(".")[0]) < 4 * N for i in left) > len(left) / 20, "those of before take part")
d.verify()
d.stop()
d.remove()

# What was kept as it came is degraded like any other when the mode is another, and then no longer as it came.
d = Daemon(settings("8M", Mode="drop")).start()
drop(d, 0, n=300)
check(all(i["original"] for i in images(d)), "as they came")
d.stop()
d.configure(settings("1M", Mode="adaptive"))
d.start()
restepped(d)
left = settled(d, 1 << 20)
check(len(left) > 250 and sum(i["quality"] < 100 for i in left) > 200, f"{len(left)} of 300 are left")
check(all(i["original"] == (i["quality"] == 100) for i in left), "what was degraded is no original")
for i in [i for i in left if not i["validation"]][:20]:
    said = d.ask("show", i["id"])["reason"]
    check(("as it came" in said) == i["original"], f"show says so: {said}")
d.verify()
d.stop()
d.remove()

# After a limit was lowered the index is not half empty: an image that is smaller leaves its page with what it had.
d = Daemon(settings("64M")).start()
drop(d, 0, n=2 * N)
d.configure(settings("2M"))
d.ctl("reload")
left = settled(d, 2 << 20)
s = d.status()["store"]
print(f"{len(left)} of {2 * N} images are left, {s['bytes']} bytes of {s['use']}")
check(s["bytes"] > 0.45 * s["use"], f"{s['bytes']} bytes of pictures in {s['use']}")
check("closer together" in d.tail(100000), "rows were put closer together")
stored = len(left)
drop(d, 2 * N)
check(len(images(d)) > 0.6 * stored, "and new ones find room")
d.verify()
d.stop()
d.remove()

# What becomes a validation image by its label is degraded no more.
d = Daemon({"Store": {"MaxUse": "4M"}, "Policy": {"MaxQuality": "50"}, "Training": {"Enabled": "false", "ValidationShare": "30%"}}).start()
for i in range(600):
    d.drop(f"{i}.pgm", grey_noise(i, 80))
d.drained()
chosen = [i["id"] for i in images(d)[:150]]
d.ctl("label", "stripes", *chosen)
held = [i["id"] for i in images(d) if i["validation"]]
check(20 < len(held) < 80, f"{len(held)} for validation")
check("next_step" not in d.ask("show", held[0]), f"no step: {d.ask('show', held[0])}")
d.ctl("label", "", held[0])
check(d.ask("show", held[0])["next_step"]["quality"] < 50, "without its label it has one")
d.configure({"Store": {"MaxUse": "1M"}, "Policy": {"MaxQuality": "50"}, "Training": {"Enabled": "false", "ValidationShare": "30%"}})
d.ctl("reload")
left = {i["id"]: i["quality"] for i in settled(d, 1 << 20)}
check(all(left.get(i, 50) == 50 for i in held[1:]), f"validation images keep their quality: {[left.get(i) for i in held[1:]]}")
check(sum(q < 50 for q in left.values()) > 100, "others do not")
d.stop()
d.remove()
finish()
