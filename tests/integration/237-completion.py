#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bash completes every command and option that latchctl --help names, and what they take."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from plugin import check  # noqa: E402

SCRIPT = "/usr/share/bash-completion/completions/latchctl"


def completed(*words):
    quoted = " ".join(f"'{word}'" for word in words)
    done = subprocess.run(["/bin/bash", "-c", f"source {SCRIPT}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _latchctl; "
                           "printf '%s\\n' \"${COMPREPLY[@]}\""], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/etc/ssh")
    check(not done.stderr, f"  no complaint {done.stderr}")
    return set(done.stdout.split())


def main():
    shown = subprocess.run(["/usr/bin/latchctl", "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout
    verbs = set(re.findall(r"^  ([a-z]+)", shown, re.M))
    options = set(re.findall(r"^  (--[a-z]+)", shown, re.M))
    check(len(verbs) >= 11 and len(options) >= 9, f"{len(verbs)} commands, {len(options)} options")
    check(completed("latchctl", "") == verbs, "every command")
    check(completed("latchctl", "--json", "do") == {"doctor"}, "behind an option")
    check(completed("latchctl", "doctor", "--") == options, "every option")
    check("root" in completed("latchctl", "doctor", "ro"), "a user")
    check(completed("latchctl", "policy", "") == {"check"}, "policy check")
    for words in (("explain", "sshd_c"), ("policy", "check", "sshd_c"), ("doctor", "--key", "sshd_c")):
        check("sshd_config" in completed("latchctl", *words), f"a file behind {' '.join(words[:-1])}")


main()
