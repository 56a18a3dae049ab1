#!/usr/bin/env python3
"""A camera that stands still: of a burst a few pictures are kept like any other, the rest as long as there is room."""
import os
import random

from harness import Daemon, check, finish

SIDE = 80
SCENES = 300
BURSTS = 9
BURST = 100


def picture(scene, shot):
    """Four by four grey cells by scene; noise, light and contrast by shot."""
    cell = random.Random(scene)
    grey = [cell.uniform(0, 200) for _ in range(16)]
    other = random.Random(f"{scene} {shot}")
    gain, offset = other.uniform(0.85, 1.1), other.uniform(0, 20)
    cells = [int(gain * g + offset) for g in grey]
    noise = other.randbytes(SIDE * SIDE)
    pixels = bytes(cells[y * 4 // SIDE * 4 + x * 4 // SIDE] + (noise[y * SIDE + x] & 15)
                   for y in range(SIDE) for x in range(SIDE))
    return b"P5 %d %d 255\n" % (SIDE, SIDE) + pixels


def refused_for_looks(d):
    """Whether the report says of one of the latest captures that it was refused for its looks, which take some time to come."""
    page = os.path.join(d.root, "page.html")
    for batch in range(10):
        for shot in range(50):
            d.drop(f"yard/burst-more-{batch}-{shot}.pgm", picture(-BURSTS, (batch, 100 + shot)))
        d.drained()
        d.ctl("report", page)
        with open(page, encoding="utf-8") as f:
            if "dropped: looks like others before it" in f.read():
                return True
    return False


def sides_change(bursts):
    """Of pictures that follow each other in a burst: how many differ in what they are for, and of how many.

    A draw ends somewhere in most bursts, so sides may change there; drawn one by one, at 30 %, .42 of all would.
    Of the first bursts nothing is said: no draw of a label's first pictures lasts."""
    changes = pairs = 0
    for burst in range(2, BURSTS):
        came = sorted((*map(int, i["name"].removesuffix(".pgm").split("-")[2:]), i["validation"])
                      for i in bursts if i["name"].startswith(f"burst-{burst}-"))
        sides = [validation for _, _, validation in came]
        pairs += max(len(sides) - 1, 0)
        changes += sum(a != b for a, b in zip(sides, sides[1:]))
    return changes, pairs


def held_after_bursts(first):
    """How many pictures of scenes of their own and of bursts are kept in a store that holds fewer than come."""
    d = Daemon({"Store": {"MaxUse": "1M"}, "Policy": {"MinQuality": "80", "RepeatsFirst": first},
                "Training": {"Enabled": "false", "ValidationShare": "30%"}}).start()
    for i in range(SCENES):
        d.drop(f"yard/scene-{i}.pgm", picture(i, 0))
        burst = i * BURSTS // SCENES
        for shot in range(BURSTS * BURST // SCENES):
            d.drop(f"yard/burst-{burst}-{i}-{shot}.pgm", picture(-1 - burst, (i, shot)))
        if i % 20 == 19:
            d.drained()
        if i == 59 and first == "yes":
            said = [d.ask("show", image["id"])["reason"] for image in d.ask("list", "--limit", "10000")]
            check(any("looks like others before it" in s for s in said), f"show says so: {said[:3]}")
    d.drained()
    check(d.sum() == SCENES + BURSTS * BURST, f"each is accounted for: {d.status()['captures']}")
    images = d.ask("list", "--limit", "10000")
    scenes = [i for i in images if i["name"].startswith("scene")]
    bursts = [i for i in images if i["name"].startswith("burst")]
    if first == "yes":
        check(refused_for_looks(d), "the report says why captures were refused")
    changes, pairs = sides_change(bursts)
    if first == "no":
        check(pairs > 50 and changes < pairs * 0.42 / 2, f"a burst is for training or for validation: {changes} of {pairs}")
    again = [i["name"] for i in d.ask("list", "--limit", "10000") if i["name"].startswith("burst") and "more" not in i["name"]][:20]
    for name in again:
        burst, i, shot = map(int, name.removesuffix(".pgm").split("-")[1:])
        d.drop(f"yard/again-{name}", picture(-1 - burst, (i, shot)))
    d.drained()
    got = d.status()["captures"]["duplicate"]
    check(got == len(again), f"what comes again is known, whatever it was drawn with: {got} of {len(again)}")
    print(f"{changes} of {pairs} change sides; RepeatsFirst={first}: {len(scenes)} pictures of {SCENES} scenes, {len(bursts)} of {BURSTS * BURST} in bursts")
    d.verify()
    d.stop()
    d.remove()
    return len(scenes), len(bursts)


def suggested_after_bursts():
    """Of 200 images that are suggested for labelling, how many are of scenes of their own; most others are of bursts."""
    d = Daemon({"Model": {"InputSize": "16", "Channels": "8 8 16"}, "Training": {"Epochs": "4"}}).start()
    for i in range(120):
        d.drop(f"{'day' if i % 2 else 'night'}/{i}.pgm", picture(10000 + i, 0))
    for i in range(SCENES):
        d.drop(f"scene-{i}.pgm", picture(i, 0))
    for i in range(1400):
        d.drop(f"burst-{i}.pgm", picture(-1 - i // 200, i))
    d.drained()
    d.ctl("train", "--now", "--wait")
    found = d.ask("suggest", "--limit", "200")
    check(found["looked_at"] == 1024 and len(found["images"]) == 200, f"looked at {found['looked_at']}")
    d.stop()
    d.remove()
    return sum(i["name"].startswith("scene") for i in found["images"])


suggested = suggested_after_bursts()
print(f"{suggested} of 200 suggested are of scenes of their own")
check(suggested > 20, f"what repeats its scene is not what is suggested: {suggested}")
yes, no = held_after_bursts("yes"), held_after_bursts("no")
check(sum(no) < SCENES, f"a store that is too small for the scenes alone: {no}")
check(no[1] > 1.5 * no[0], f"a plain sample is of bursts, as three of four that came are: {no}")
check(yes[0] > 1.5 * no[0] and yes[1] < yes[0], f"of bursts a few are kept: {yes}, {no}")
finish()
