#!/usr/bin/env python3
"""The manual pages and the completions say what the programs say: every setting, verb and option is there."""
import os
import re
import shutil
import subprocess
import sys

root, larderd, larderctl, lab = sys.argv[1:5]
sys.path.insert(0, os.path.join(root, "doc"))
failures = 0


def check(condition, what):
    global failures
    if not condition:
        failures += 1
        print(f"FAILED: {what}")


def output(*args):
    return subprocess.run(args, capture_output=True, text=True, check=True).stdout


def told(program, option):
    """By a program of ours, which may be built for another processor."""
    return output(*os.environ.get("MESON_EXE_WRAPPER", "").split(), program, option)


def read(*parts):
    with open(os.path.join(root, *parts), encoding="utf-8") as f:
        return f.read()


def options(text):
    return set(re.findall(r"--[a-z][a-z-]*", text))


verbs = set(re.findall(r"^  ([a-z]+) ", told(larderctl, "--help"), re.M))
check(len(verbs) > 10, f"verbs {verbs}")
page = read("doc", "larderctl.1.scd")
documented = set(re.findall(r"\*([a-z]+)\*", " ".join(re.findall(r"^\*.*", page, re.M))))
check(verbs <= documented, f"larderctl(1) lacks {verbs - documented}")
check(options(told(larderctl, "--help")) <= options(page), "larderctl(1) has every option")
for name in ("larderctl.bash", "larderctl.fish", "_larderctl"):
    text = read("completion", name)
    check(all(re.search(rf"\b{v}\b", text) for v in verbs), f"{name} knows {verbs}")
    wanted = {o[2:] for o in options(told(larderctl, "--help"))}
    check(all(re.search(rf"(--|-l ){o}\b", text) for o in wanted), f"{name} knows {wanted}")

check(options(told(larderd, "--help")) <= options(read("doc", "larderd.8.scd")), "larderd(8) has every option")
check(options(told(lab, "--help")) - {"--help", "--version"} <= options(read("doc", "larder-lab.1.scd")),
      f"larder-lab(1) lacks {options(told(lab, '--help')) - options(read('doc', 'larder-lab.1.scd'))}")
for verb in re.findall(r"^  ([a-z][a-z-]+) ", told(lab, "--help"), re.M):
    check(f"*{verb}*" in read("doc", "larder-lab.1.scd"), f"larder-lab(1) lacks {verb}")

sample = told(larderd, "--print-config")
conf = output(os.path.join(root, "doc", "conf-page"), os.path.join(root, "etc", "larderd.conf"))
check(sample == read("etc", "larderd.conf"), "the sample file is what larderd prints")
for key in re.findall(r"^#(\w+)=", sample, re.M):
    check(f"*{key}*=" in conf, f"larderd.conf(5) lacks {key}")

if shutil.which("scdoc"):
    for name in ("larderd.8", "larderctl.1", "larder-lab.1"):
        check("\n.SH NAME" in output("sh", "-c", f"scdoc < '{root}/doc/{name}.scd'"), f"{name} is a page")
    check(".SH NAME" in subprocess.run(["scdoc"], input=conf, capture_output=True, text=True, check=True).stdout, "5")

# Bash asks the completion as it would ask for a user.
script = f". '{root}/completion/larderctl.bash'; COMP_WORDS=(larderctl st); COMP_CWORD=1; _larderctl; echo ${{COMPREPLY[@]}}"
check(output("bash", "-c", script).split() == ["status"], "bash completes st to status")
sys.exit(failures > 0)
