#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A machine for varlink.go: inside tests/rig/enter, by tests/foreign/run."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Machine, Signer, check, main, wait_for, write  # noqa: E402


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    machine.start_agent()
    wait_for(lambda: os.path.exists("/run/latchkey/io.latchkey.Agent"), "the status socket")
    client = subprocess.Popen([sys.argv[1]], stdout=subprocess.PIPE, text=True)
    for line in client.stdout:
        print(line, end="", flush=True)
        if line == "monitoring\n":
            text = ops.document(1, [{"id": f"c{n}", "do": "user.ensure", "user": f"u{n}"} for n in range(2)])
            os.makedirs("/var/lib/latchkey/inbox", exist_ok=True)
            with open("/var/lib/latchkey/inbox/1.doc", "wb", opener=lambda p, f: os.open(p, f, 0o600)) as file:
                file.write(text)
    check(client.wait() == 0, "a client in Go, on Debian's library, uses all of the socket")


main(test)
