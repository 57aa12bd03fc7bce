#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""confirm_within is so many seconds, whatever the clock is set to meanwhile; a reboot ends it; what cannot be taken back
at boot is tried again. Argument: the library that moves the clock."""
import glob
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Clock, Machine, Signer, check, main, read, wait_for, write  # noqa: E402

DROP_IN = "/etc/ssh/sshd_config.d/00-latchkey.conf"
MARKERS, STATE = "/run/latchkey/revert", "/var/lib/latchkey"
PLUGIN = "/usr/libexec/latchkey/plugins/sshd"
YEARS = 10 * 365 * 86400


def in_force():
    return os.path.exists(DROP_IN) and "PasswordAuthentication no" in read(DROP_IN)


def names(folder):
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def test():
    clock = Clock(sys.argv[1])
    machine, ops, seq = Machine(url=None), Signer(), 0
    write("/etc/latchkey/allowed_signers", ops.line())
    machine.start_sshd()
    machine.redo()

    def trial(within):
        nonlocal seq
        seq += 1
        now = int(time.time())
        code, log = machine.apply(ops.document(seq, [
            {"id": f"t{seq}", "do": "sshd.set", "password_auth": False, "confirm_within": within, "accept_lockout": True}],
            issued=now - 60))
        assert code == 0, log
        check(machine.result(seq, f"t{seq}")["code"] == "awaiting_confirm" and in_force(), f"on trial for {within} s")

    write("/etc/latchkey/policy.conf", "[password]\naccept_lockout = yes\n")
    for offset in (YEARS, 3600, -YEARS):
        trial(600)
        clock.set(offset)
        machine.apply(b"", "--revert")
        machine.redo()
        check(in_force() and machine.result(seq, f"t{seq}")["code"] == "awaiting_confirm",
              f"the clock jumps by {offset} s: its time is not over")
        clock.set(0)
        marker, = glob.glob(f"{MARKERS}/*")
        moment = int(open("/proc/uptime").read().split(".")[0])
        left = int(os.path.basename(marker).split("-")[0]) - moment
        check(500 < left <= 601, f"  {left} s are left of it")
        os.rename(marker, f"{MARKERS}/{moment - 1}-" + os.path.basename(marker).split("-", 1)[1])
        clock.set(offset)
        machine.apply(b"", "--revert")
        clock.set(0)
        check(not in_force() and machine.result(seq, f"t{seq}")["code"] == "unconfirmed",
              f"  and when it is over it is over, with the clock {offset} s off")
        check(not names(MARKERS) and not names(f"{STATE}/revert"), "  nothing is left of it")

    # --- a reboot; a plugin that is not there then ----------------------------------------------------------------------------
    trial(600)
    shutil.rmtree("/run/latchkey")
    os.mkdir("/run/latchkey")
    subprocess.run(["mount", "--bind", "/bin/false", PLUGIN], check=True)
    code, _ = machine.redo()
    check(code == 75 and in_force() and len(names(MARKERS)) == 1, "what cannot be taken back at boot has a marker to be tried again by")
    subprocess.run(["umount", PLUGIN], check=True)
    machine.start_daemon()
    wait_for(lambda: not in_force() and not names(MARKERS), "latchkeyd tries again")
    check(machine.result(seq, f"t{seq}")["code"] == "unconfirmed", "  and it is taken back")

    # --- a way back that is damaged ---------------------------------------------------------------------------------------------
    trial(600)
    stored, = glob.glob(f"{STATE}/revert/*")
    os.truncate(stored, 100)
    machine.redo()
    check(machine.result(seq, f"t{seq}")["code"] == "internal" and not names(f"{STATE}/revert") and names(f"{STATE}/quarantine"),
          "a damaged way back is set aside, and told")
    check("state_damaged" in [problem["code"] for problem in machine.status()["problems"]], "  by status, too")
    machine.apply(ops.document(seq + 1, [{"id": "open", "do": "sshd.set", "password_auth": True}]))
    check(machine.result(seq + 1, "open")["code"] == "ok", "  and sshd.set goes on")
    seq += 1
    shutil.rmtree(f"{STATE}/quarantine")

    # --- latchkeyd's timer, with the clock off ------------------------------------------------------------------------------------
    for offset in (YEARS, -YEARS):
        trial(4)
        started = time.monotonic()
        clock.set(offset)
        machine.processes["latchkeyd"].send_signal(10)  # nobody tells it that the clock was set; a look does
        wait_for(lambda: not in_force(), "latchkeyd takes it back")
        check(time.monotonic() - started > 2, f"latchkeyd takes it back in its time, with the clock {offset} s off")
        wait_for(lambda: not names(MARKERS), "its end")
        clock.set(0)


if __name__ == "__main__":
    main(test)
