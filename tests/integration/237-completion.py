#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bash completes every command and option that latchctl --help and latchkey --help name, and what they take."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from plugin import check  # noqa: E402

FOLDER = "/usr/share/bash-completion/completions"


def completed(*words):
    quoted = " ".join(f"'{word}'" for word in words)
    done = subprocess.run(["/bin/bash", "-c", f"source {FOLDER}/{words[0]}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _{words[0]}; "
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

    console()


def console():
    shown = subprocess.run(["/usr/bin/latchkey", "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout
    commands = re.findall(r"^  ([a-z-]+(?: [a-z]+)?)(?= )", shown, re.M)
    check(len(commands) >= 27, f"{len(commands)} commands")
    check(completed("latchkey", "") == {c.split()[0] for c in commands} | {"--help", "--version"}, "latchkey: every first word")
    for command in commands:
        words = command.split()
        if len(words) == 2:
            check(words[1] in completed("latchkey", words[0], words[1][:2]), f"{command}")
        shown = subprocess.run(["/usr/bin/latchkey", *words, "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout
        check(completed("latchkey", *words, "--") == set(re.findall(r"^  (--[a-z-]+)", shown, re.M)), f"{command}: every option")
    home = "/root/.config/latchkey"
    os.makedirs(f"{home}/keypairs", exist_ok=True)
    for name in ("laptop", "tablet"):
        with open(f"{home}/keypairs/{name}.pub", "w", encoding="ascii") as file:
            file.write("ssh-ed25519 x\n")
    with open(f"{home}/known_instances", "w", encoding="ascii") as file:
        file.write('{"vm-1":{"generation":1,"report":{"time":1}},"web.example:2":{"seq":1}}\n')
    check(completed("latchkey", "bind", "") == {"vm-1", "web.example:2"}, "an instance that is known")
    check(completed("latchkey", "bind", "vm-1", "alice", "la") == {"laptop"}, "a key pair")
    check(completed("latchkey", "keypair", "delete", "") == {"laptop", "tablet"}, "also behind two words")
    check(completed("latchkey", "bind", "--targets", "all", "alice", "t") == {"tablet"}, "where --targets stands for the instance")
    check("sshd_config" in completed("latchkey", "bind", "--targets", "sshd_c"), "a file of targets")


main()
