#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""P116: two raw copies of one machine, with one identity, uuid and machine-id: nothing on either can tell them apart, so the
endpoint and the operator's program must. Only the state matters here, so one after the other is the machine."""
import grp
import json
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from console import Operator  # noqa: E402
from machine import STATE, Machine, check, main, payload_of, read, wait_for, write  # noqa: E402


def test():
    machine = Machine()
    operator, vm = Operator(machine), machine.instance
    operator.start_all()
    operator.must("user", "add", vm, "alice", "--accept-new-identity")

    def become(name):
        """The copy whose state was kept under that name goes on; the other one stops where it is."""
        machine.stop("latchkey-net")
        machine.stop("latchkeyd")
        if name != become.now:
            os.rename(STATE, f"/var/lib/{become.now}")
            os.rename(f"/var/lib/{name}", STATE)
            become.now = name
        machine.start_agent()

    def reset(password, instance=vm):
        """Whether the operator is told that it is done, and whether the password logs in."""
        code, output, error = operator.run("reset-password", instance, "alice", "--timeout", "20", "--password-fd", "9", secret=password)
        return code == 0, machine.login_with_password("alice", password), output + error

    def generation():
        return payload_of(read(f"{STATE}/identity/text"))["generation"]

    def problems():
        return [problem["code"] for problem in machine.status()["problems"]]

    check(reset("First-9-Nightingale")[:2] == (True, True), "while there is one machine: a reset")
    machine.stop("latchkey-net")
    machine.stop("latchkeyd")
    shutil.copytree(STATE, "/var/lib/second", symlinks=True)
    become.now = "first"
    become("first")
    check(reset("Second-9-Nightingale")[:2] == (True, True), "the first goes on")
    second = payload_of(read("/var/lib/second/identity/text"))["generation"]
    check(second < generation(), "the second still has the identity of the day of the copy")
    become("second")
    wait_for(lambda: "identity_taken" in problems(), "the second is told that another has its name")
    check(True, "the second is told that another has its name, by its own status too")
    told, logged_in, text = reset("Third-9-Nightingale")
    check(not told and not logged_in and "no result" in text, "what is sealed is for the first alone; the second's word is not taken for it")
    check("1 pending" in operator.must("status", vm), "the command stands")
    become("first")
    check(reset("Fourth-9-Nightingale")[:2] == (True, True), "the first goes on as before")
    wait_for(lambda: problems() == [], "and is content")

    # --- the way out: the copy gets a name of its own, and starts as a clone does (docs/OPERATIONS.md) -----------------------
    become("second")
    machine.stop("latchkey-net")
    machine.stop("latchkeyd")
    write(f"{STATE}/identity/machine", "copy\n", 0o600)
    write("/etc/latchkey/latchkey.conf", read("/etc/latchkey/latchkey.conf").replace(vm, "vm-2"))
    secret = json.loads(operator.must("instance", "add", "vm-2", "--json"))["enrol"]
    write("/etc/latchkey/enrol", secret + "\n", 0o640)
    os.chown("/etc/latchkey/enrol", 0, grp.getgrnam("latchkey").gr_gid)
    machine.start_agent()
    wait_for(lambda: problems() == [], "under a name of its own the second is registered")
    code, _, error = operator.run("user", "add", "vm-2", "bob", "--accept-new-identity")
    check(code == 0, f"and is an instance of its own, from document 1 on {error}")
    told, logged_in, text = reset("Fifth-9-Nightingale", "vm-2")
    check(told and logged_in, f"  whose passwords are sealed for it alone {text}")
    write("/etc/latchkey/latchkey.conf", read("/etc/latchkey/latchkey.conf").replace("vm-2", vm))
    become("first")
    check(reset("Sixth-9-Nightingale")[:2] == (True, True), "beside the first, which is as it was")
    wait_for(lambda: problems() == [], "and content")


main(test)
