#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A latchkey.conf that does not parse: the last good one stays in force through a restart of both halves, commands go on, and the
status says which line."""
import json
import os
import stat
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from console import Operator  # noqa: E402
from machine import RUN, Machine, check, main, read, wait_for, write  # noqa: E402

CONF, GOOD = "/etc/latchkey/latchkey.conf", f"{RUN}/latchkey.conf"


def ask():
    done = subprocess.run(["/usr/bin/latchctl", "status", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return json.loads(done.stdout) if done.returncode in (0, 1) else None


def restart(machine):
    """As the service manager: whoever ends is started again."""
    machine.stop("latchkey-net")
    machine.stop("latchkeyd")
    machine.start_daemon()
    machine.start_net()

    def runs():
        if machine.processes["latchkey-net"].poll() is not None:
            time.sleep(0.2)
            machine.start_net()
        return machine.processes["latchkey-net"].poll() is None and ask() is not None
    wait_for(runs, "the status socket answers")


def problems():
    return {problem["code"]: problem["detail"] for problem in ask()["problems"]}


def test():
    machine = Machine()
    operator = Operator(machine)
    vm, good = machine.instance, read(CONF)
    operator.start_all()
    operator.must("user", "add", vm, "alice", "--accept-new-identity")
    for name, text, where in (("a typo", good + "pol = 5\n", "latchkey.conf:5"),
                              ("another scheme", good.replace("http:", "htp:"), "latchkey.conf:4")):
        write(CONF, text)
        restart(machine)
        check(where in problems().get("config_invalid", ""), f"{name}: the status names the line {problems()}")
        status = os.stat(GOOD)
        check(stat.S_IMODE(status.st_mode) == 0o640 and status.st_uid == 0 and status.st_gid != 0, "  root's, and for latchkey-net to read")
        operator.must("user", "add", vm, "bob" + str(len(name)))
    write(CONF, good)
    restart(machine)
    check("config_invalid" not in problems() and not os.path.exists(GOOD), "mended: the operator's own is in force")
    operator.must("user", "add", vm, "carol")
    # There never was a good one: all defaults, and it says so.
    os.unlink("/var/lib/latchkey/trust/latchkey.conf")
    write(CONF, "x\n")
    restart(machine)
    check("config_invalid" in problems() and ask()["endpoint"]["state"] == "none", "none was ever good: idle, and the status answers")


main(test)
