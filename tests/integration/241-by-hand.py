#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""latchkey-apply run by hand while the agent sleeps, as in a rescue: the status shows it, and what it left goes back in time."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import STATE, Machine, Signer, check, keygen, main, read, wait_for, write  # noqa: E402


def latchctl(*arguments):
    return subprocess.run(["/usr/bin/latchctl", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    subprocess.run(["useradd", "-m", "alice"], check=True)
    machine.start_sshd()
    machine.start_agent()
    wait_for(lambda: "document: 0," in latchctl("status"), "the agent answers")
    machine.apply(ops.document(1, [
        {"id": "k", "do": "keys.bind", "user": "alice", "keypair": "laptop", "key": keygen("/tmp/laptop")},
        {"id": "s", "do": "sshd.set", "password_auth": True, "confirm_within": 2}]))
    wait_for(lambda: "document: 1," in latchctl("status"), "the status shows it")
    check("laptop" in latchctl("keys") and "awaiting_confirm" in latchctl("commands"), "and so do keys and commands")
    wait_for(lambda: not os.listdir(f"{STATE}/revert"), "the step goes back when its time is over")
    check("was not confirmed" in read("/tmp/latchkeyd.log"), "latchkeyd had it taken back")
    wait_for(lambda: "pending: 0" in latchctl("status"), "which the status shows as well")


main(test)
