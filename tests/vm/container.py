#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The fast half: cases that need systemd and the real packages but no kernel of their own. Inside tests/rig/enter, by tests/vm/run."""
import os
import sys

from guest import ROOT, Container, Host, Suite, check, wait_for, write  # noqa: F401

PASSWORD = "Correct-Horse-7-Battery"
suite, host = Suite("container"), Host()
operator = host.operator


def count_key(guest, label, user="alice"):
    return guest.must(f"grep -c ' latchkey:{label}$' ~{user}/.ssh/authorized_keys || true")


def monotonic(guest, unit, name):
    return int(guest.property(unit, name + "TimestampMonotonic"))


def waiting_document():
    """P115: what waits at the endpoint is in force before sshd answers."""
    guest.put(host.seed("vm-1"))
    operator.must("keypair", "create", "laptop")
    operator.must("keypair", "create", "tablet")
    operator.must("user", "add", "vm-1", "alice", "--no-wait")
    operator.must("bind", "vm-1", "alice", "laptop", "--no-wait")
    guest.start(wait=False)
    wait_for(guest.banner, "sshd answers")
    check(guest.key_login("alice"), "the key of a document that waited logs in as soon as sshd answers")
    guest.wait_active("multi-user.target")
    check(monotonic(guest, "latchkeyd", "ActiveEnter") <= monotonic(guest, "ssh", "ExecMainStart"),
          "sshd starts when latchkeyd is ready")
    check("cycle" not in guest.must("journalctl -b --no-pager -q _PID=1"), "no ordering cycle")
    check(guest.must("systemctl --failed --no-legend") == "", "no unit has failed")
    print(guest.must("systemd-analyze blame --no-pager | head -8"))


def main():
    global guest
    guest = suite.guest(Container("box"))
    suite.case("a document that waits at boot is applied before sshd answers", waiting_document)


try:
    main()
finally:
    status = suite.end(host)
sys.exit(status)
