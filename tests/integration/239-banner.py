#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The line for the console at boot: the identity's fingerprint is that of the key which signs the results."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import STATE, Machine, Signer, check, main, read, wait_for, write  # noqa: E402


def latchctl(*arguments):
    done = subprocess.run(["/usr/sbin/runuser", "-u", "nobody", "--", "/usr/bin/latchctl", *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, cwd="/")
    return done.returncode, done.stdout


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    check(latchctl("banner")[0] == 69, "no agent, no line: exit 69")
    machine.apply(ops.document(1, []))
    machine.start_agent()
    wait_for(lambda: latchctl("banner")[0] == 0, "the agent answers")
    code, line = latchctl("banner")
    wait_for(lambda: os.path.exists(f"{STATE}/identity/text"), "the identity is ready to send")
    public = json.loads(read(f"{STATE}/identity/text").split("-----BEGIN")[0])["sign"]
    write("/tmp/sign.pub", public + "\n")
    fingerprint = subprocess.run(["ssh-keygen", "-lf", "/tmp/sign.pub"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[1]
    print(line)
    check(line == f"Latchkey: instance vm-1, identity {fingerprint}, endpoint none, health ok\n", "one line, with the fingerprint that is pinned")
    check(json.loads(latchctl("--json", "status")[1])["identity"] == fingerprint, "status has it as well")
    unit = read("/usr/lib/systemd/system/latchkey-banner.service")
    check("StandardOutput=journal+console" in unit and "ExecStart=/usr/bin/latchctl banner" in unit, "the unit prints it on the console")


main(test)
