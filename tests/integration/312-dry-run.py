#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""latchkey --dry-run and --not-before against a real agent: nothing is done, nothing that pends is lost, and what waits for its time
is done at its time."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from console import Operator  # noqa: E402
from machine import Machine, check, main, read, wait_for, write  # noqa: E402


def test():
    machine = Machine()
    operator = Operator(machine)
    vm = machine.instance
    operator.start_all()
    operator.must("user", "add", vm, "alice", "--accept-new-identity")
    operator.must("keypair", "create", "laptop")
    passwd = read("/etc/passwd")

    def users():
        return {line.split(":")[0] for line in read("/etc/passwd").splitlines()}

    # --- asked, and not done -----------------------------------------------------------------------------------------------
    output = operator.must("user", "add", vm, "bob", "--dry-run")
    check(output.startswith("observed would_change: user.ensure bob") and read("/etc/passwd") == passwd, "would_change, and nothing is done")
    check("observed would_not_change" in operator.must("user", "add", vm, "alice", "--dry-run"), "would_not_change")
    operator.must("bind", vm, "alice", "laptop", "--dry-run")
    check("bound to" not in operator.must("keypair", "list"), "a binding that was only asked about is none")
    operator.must("bind", vm, "alice", "laptop")
    code, output, error = operator.run("unbind", vm, "alice", "laptop", "--dry-run")
    check(code == 1 and "would_lock_out" in output, "what would be refused is said so: 1")
    check("bound to alice" in operator.must("keypair", "list"), "  and the binding stands")
    check(json.loads(operator.must("--json", "user", "add", vm, "bob", "--dry-run"))["code"] == "would_change", "JSON")

    # --- it is no command that pends ------------------------------------------------------------------------------------------
    machine.stop("latchkey-net")
    machine.stop("latchkeyd")
    operator.must("user", "add", vm, "never", "--dry-run", "--no-wait")
    operator.must("user", "add", vm, "carol", "--no-wait")
    machine.start_agent()
    wait_for(lambda: "carol" in users(), "the real one is done")
    operator.must("user", "add", vm, "dora")
    check("never" not in users(), "a dry run is not carried on into a real document")

    # --- what was not seen yet must not be lost ---------------------------------------------------------------------------------
    machine.stop("latchkey-net")
    machine.stop("latchkeyd")
    operator.must("user", "add", vm, "emma", "--no-wait")
    code, output, error = operator.run("user", "add", vm, "frida", "--dry-run", "--no-wait")
    check(code == 1 and "1 command is still pending on vm-1" in error, "a dry run does not take its place: 1")
    machine.start_agent()
    wait_for(lambda: "emma" in users(), "it is done")

    # --- not before ---------------------------------------------------------------------------------------------------------------
    when = int(time.time()) + 8
    output = operator.must("user", "add", vm, "gina", "--not-before", str(when))
    check(output.startswith("pending not_yet: user.ensure gina") and "gina" not in users() and time.time() < when,
          "taken over, and not done before its time")
    output = operator.must("user", "add", vm, "hana", "--dry-run")
    check("would_change" in output and "gina" not in users(), "a dry run beside it")
    operator.must("user", "add", vm, "ida")
    check("gina" not in users() and time.time() < when, "and a real change, which carries it on")
    wait_for(lambda: "gina" in users(), "it is done at its time")
    check(time.time() >= when and "hana" not in users(), "not before it; and the dry run was none")
    wait_for(lambda: "ok: user.ensure gina" in operator.run("results", vm, "--all")[1], "its result arrives")
    for bad in ("yesterday", "+8d", str(int(time.time()) + 8 * 86400)):
        check(operator.run("user", "add", vm, "x", "--not-before", bad)[0] == 2, f"--not-before {bad}: 2")
    check(operator.run("reset-password", vm, "alice", "--generate", "--not-before", "+1h")[0] == 2, "a generated password does not wait: 2")

    # --- for many --------------------------------------------------------------------------------------------------------------------
    write("/tmp/operator/list", f"{vm}\n")
    code, output, error = operator.run("user", "add", "jane", "--targets", "/tmp/operator/list", "--dry-run")
    check(code == 0 and output == f"{vm}: observed would_change: dry run: nothing was changed\n", f"with --targets: {output.strip()}")
    check(operator.run("user", "add", "jane", "--targets", "/tmp/operator/list", "--dry-run", "--done", "/tmp/operator/d")[0] == 2,
          "--done with a dry run: 2")
    check("jane" not in users(), "and nothing was done")


main(test)
