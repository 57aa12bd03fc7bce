#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench/run login: time from the operator's command to a login, for bind and for reset-password, and what the resident
processes cost. Run inside tests/rig/enter by bench/run; prints a table."""
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests", "rig"))
from console import HOME, Operator  # noqa: E402
from machine import Machine, main, read, wait_for  # noqa: E402

ROUNDS = 20
IDLE = 60
PAUSE = 2.2  # the agent asks at most once a second on average: a bench must not measure that limit


def milliseconds(function):
    started = time.monotonic()
    result = function()
    return 1000 * (time.monotonic() - started), result


def show(name, values):
    print(f"{name:52s} median {statistics.median(values):8.1f} ms   min {min(values):8.1f}   max {max(values):8.1f}")


def switches(pid):
    """Context switches and CPU ticks so far."""
    fields = dict(line.split(":", 1) for line in read(f"/proc/{pid}/status").splitlines())
    times = read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
    return (int(fields["voluntary_ctxt_switches"]) + int(fields["nonvoluntary_ctxt_switches"]), int(times[11]) + int(times[12]))


def memory(pid):
    fields = dict(line.split(":", 1) for line in read(f"/proc/{pid}/smaps_rollup").splitlines()[1:])
    return {name: int(fields[name].split()[0]) for name in ("Rss", "Pss", "Anonymous")}


def bench():
    machine = Machine()
    operator = Operator(machine)
    vm = machine.instance
    operator.start_all()
    operator.must("user", "add", vm, "alice", "--accept-new-identity")
    authorized_keys = "/home/alice/.ssh/authorized_keys"
    bind, reset, bind_login, reset_login, command, effect = [], [], [], [], [], []
    for round in range(ROUNDS):
        operator.must("keypair", "create", f"pair{round}")
        label = f"latchkey:pair{round}"
        time.sleep(PAUSE)
        started = time.monotonic()
        client = subprocess.Popen(["/usr/bin/latchkey", "bind", vm, "alice", f"pair{round}"], cwd=HOME,
                                  env=operator.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not os.path.exists(authorized_keys) or label not in read(authorized_keys):
            time.sleep(0.0002)
        effect.append(1000 * (time.monotonic() - started))
        took, good = milliseconds(lambda: machine.login_with_key("alice", f"{HOME}/pair{round}"))
        assert good, "the bound key must log in"
        bind.append(took)
        bind_login.append(1000 * (time.monotonic() - started))
        client.wait()
        took, _ = milliseconds(lambda: operator.must("bind", vm, "alice", f"pair{round}"))
        command.append(took)
    for round in range(ROUNDS):
        password = f"Bench-{round}-Nightingale"
        time.sleep(PAUSE / 2)
        started = time.monotonic()
        operator.must("reset-password", vm, "alice", "--password-fd", "9", secret=password)
        reset.append(1000 * (time.monotonic() - started))
        assert machine.login_with_password("alice", password), "the new password must log in"
        reset_login.append(1000 * (time.monotonic() - started))
    show("bind: command started -> key in authorized_keys", effect)
    show("bind: ssh -i alone", bind)
    show("bind: command started -> logged in", bind_login)
    show("bind of what is bound already: the whole command", command)
    show("reset: command started -> result verified", reset)
    show("reset: command started -> logged in", reset_login)
    print()
    idle = {name: switches(machine.processes[name].pid) for name in ("latchkeyd", "latchkey-net")}
    time.sleep(IDLE)
    for name, before in idle.items():
        after = switches(machine.processes[name].pid)
        print(f"{name:14s} idle for {IDLE} s: {after[0] - before[0]} context switches, {after[1] - before[1]} ticks of CPU time")
    total = {"Rss": 0, "Pss": 0, "Anonymous": 0}
    for name in ("latchkeyd", "latchkey-net"):
        cost = memory(machine.processes[name].pid)
        print(f"{name:14s} resident {cost['Rss']:6d} kB   proportional {cost['Pss']:6d} kB   anonymous {cost['Anonymous']:6d} kB")
        total = {key: total[key] + cost[key] for key in total}
    print(f"{'together':14s} resident {total['Rss']:6d} kB   proportional {total['Pss']:6d} kB   anonymous {total['Anonymous']:6d} kB")


main(bench)
