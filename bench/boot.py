#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What booting costs: the same image without the agent, with it (nothing pending; a document that waits), and with cloud-init
instead of it. In a container, so that kernel and firmware are out of it; in turn, so that all see the same machine. bench/run boot."""
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests", "vm"))
import stories  # noqa: E402
from guest import Container, Host, Suite, wait_for  # noqa: E402

ROUNDS = 5
suite, host = Suite("boot"), Host()


def without_agent(name):
    guest = suite.guest(Container(name))
    guest.must_run("chroot", guest.tree, "dpkg", "--purge", "latchkey-agent")
    return guest


def with_agent(name):
    guest = suite.guest(Container(name))
    guest.put(host.seed(name))
    # Its first boot makes the identity and registers, once in its life.
    host.operator.must("user", "add", name, "alice", "--no-wait")
    host.operator.must("bind", name, "alice", "laptop", "--no-wait")
    guest.start()
    stories.registered(host, name)
    guest.stop()
    return guest


def with_cloud_init(name):
    guest = without_agent(name)
    os.unlink(f"{guest.tree}/etc/cloud/cloud-init.disabled")
    guest.put({"var/lib/cloud/seed/nocloud/meta-data": ("instance-id: i-1\n", 0o644),
               "var/lib/cloud/seed/nocloud/user-data": ("#cloud-config\nlocale: false\nusers: []\n", 0o600)})
    guest.start()
    guest.stop()
    return guest


def measure(guest, waiting):
    if waiting:
        host.operator.must("unbind" if measure.bound else "bind", guest.name, "alice", "tablet", "--no-wait", "--accept-new-identity")
        measure.bound = not measure.bound
    guest.start()
    # cloud-init goes on behind multi-user.target.
    wait_for(lambda: guest.must("systemctl show --value -p FinishTimestampMonotonic") != "0", "the boot is finished")
    began = int(guest.must("systemctl show --value -p UserspaceTimestampMonotonic"))
    times = {"sshd starts": stories.monotonic(guest, "ssh", "ExecMainStart") - began,
             "boot is finished": int(guest.must("systemctl show --value -p FinishTimestampMonotonic")) - began}
    if guest.sh("systemctl is-active latchkeyd")[0] == 0:
        times["latchkeyd's own share"] = stories.monotonic(guest, "latchkeyd", "ActiveEnter") - stories.monotonic(guest, "latchkeyd", "InactiveExit")
    chain = guest.must("systemd-analyze critical-chain --no-pager ssh.service")
    guest.stop()
    return times, chain


measure.bound = False
status = 1
try:
    stories.make_keys(host)
    kinds = {"without the agent": (without_agent("bare"), False), "with it, nothing pending": (with_agent("idle"), False),
             "with it, a document waits": (with_agent("busy"), True), "cloud-init instead": (with_cloud_init("cloud"), False)}
    seen, chains = {kind: {} for kind in kinds}, {}
    for _ in range(ROUNDS):
        for kind, (guest, waiting) in kinds.items():
            times, chains[kind] = measure(guest, waiting)
            for what, value in times.items():
                seen[kind].setdefault(what, []).append(value / 1000)
    for kind, times in seen.items():
        print(kind)
        for what, values in times.items():
            print(f"    {what:24} {statistics.median(values):8.0f} ms   ({min(values):.0f} to {max(values):.0f})")
    for kind, chain in chains.items():
        print(f"--- {kind}\n{chain}")
    status = 0
finally:
    suite.end(host)
sys.exit(status)
