#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""not_before: a command waits for its time, exactly; across a crash, a reboot, a clock that jumps either way, a newer
document and a signer who is revoked meanwhile. Argument: the library that moves the clock."""
import glob
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Clock, Machine, Signer, check, keygen, main, read, wait_for, write  # noqa: E402

JOURNAL, LATER = "/var/lib/latchkey/journal", "/run/latchkey/later"


def exists(user):
    return f"\n{user}:" in read("/etc/passwd")


def listed(folder):
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def test():
    clock = Clock(sys.argv[1])
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    machine.start_sshd()
    machine.redo()
    key, now, seq = keygen("/tmp/key"), int(time.time()), 0

    def apply(commands, **more):
        nonlocal seq
        seq += 1
        code, log = machine.apply(ops.document(seq, commands, issued=now, expires=now + 86400, **more))
        assert code == 0, log

    def ensure(user, at, **more):
        return {"id": f"{user}-id", "do": "user.ensure", "user": user, "not_before": at, **more}

    def outcome(user):
        result = machine.result(seq, f"{user}-id")
        return result["status"], result["code"]

    # --- what is not valid ---------------------------------------------------------------------------------------------
    bad = {"vera": {"at": now + 86400}, "viola": {"at": now + 600, "until": now + 600}, "victor": {"at": -1},
           "vito": {"at": "soon"}, "vlad": {"at": now + 86401}}
    apply([ensure(user, **fields) for user, fields in bad.items()] + [ensure("good", now - 5)])
    for user, fields in bad.items():
        check(outcome(user) == ("rejected", "field_invalid") and not exists(user), f"{fields} is field_invalid")
    check(outcome("good") == ("ok", "ok") and exists("good"), "a time that has passed is none")

    # --- it waits, and the rest of the document does not -----------------------------------------------------------------
    apply([ensure("now", 0), ensure("soon", now + 1000), ensure("late", now + 5000),
           {"id": "soon-key", "do": "keys.bind", "user": "soon", "keypair": "laptop", "key": key}])
    check(exists("now") and not exists("soon") and not exists("late"), "only what is due is done")
    check(outcome("soon") == outcome("late") == ("pending", "not_yet"), "the others are pending, not_yet")
    check(machine.result(seq, "soon-key")["code"] == "not_yet", "  and the new user's key waits with him")
    check(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 1000)) in machine.result(seq, "soon-id")["detail"],
          "  the detail says until when: " + machine.result(seq, "soon-id")["detail"])
    check(listed(JOURNAL) == [str(seq)] and listed(LATER) == [f"{now + 1000}-{seq}"],
          f"  the journal stays, and a name says when it goes on: {listed(LATER)}")
    check(machine.status()["pending"] == 3, "  status counts them")
    machine.redo()
    check(not exists("soon") and machine.status()["pending"] == 3, "a redo before the time does nothing")

    # --- a reboot, a clock that goes back ----------------------------------------------------------------------------------
    shutil.rmtree("/run/latchkey")
    os.mkdir("/run/latchkey")
    clock.set(-500)
    machine.redo()
    check(not exists("soon") and listed(LATER) == [f"{now + 1000}-{seq}"], "a reboot and a clock set back: it waits on")
    clock.set(now + 997 - int(time.time()))
    machine.redo()
    check(not exists("soon"), "not two seconds early")
    clock.set(1100)
    machine.redo()
    check(exists("soon") and outcome("soon") == ("ok", "ok"), "the clock jumps ahead: what is due is done")
    check(machine.login_with_key("soon", "/tmp/key"), "  and the key that waited with him logs in")
    check(listed(LATER) == [f"{now + 5000}-{seq}"], "  the next one has its own time")
    clock.set(-3600)
    machine.redo()
    check(exists("soon") and machine.status()["pending"] == 1, "the clock jumps back: what was done stays done, the rest waits")

    # --- a newer document ----------------------------------------------------------------------------------------------------
    apply([ensure("late", now + 5000), ensure("never", now + 6000)])
    check(outcome("late") == ("pending", "not_yet") and listed(JOURNAL) == [str(seq)] and
          listed(LATER) == [f"{now + 5000}-{seq}"], "a newer document that repeats it lets it wait on")
    apply([ensure("never", now + 6000)])
    check(machine.results(seq - 1) is not None and "late-id" not in str(machine.results(seq)) and
          listed(LATER) == [f"{now + 6000}-{seq}"], "one that does not drops it")
    clock.set(5500)
    machine.redo()
    check(not exists("late") and not exists("never"), "  for good")

    # --- its end, conflicts, a revoked signer --------------------------------------------------------------------------------
    apply([ensure("brief", now + 6000, until=now + 6100)])
    clock.set(7000)
    machine.redo()
    check(outcome("brief") == ("expired", "expired") and not exists("brief") and not listed(JOURNAL),
          "found only after its `until`: expired, never done")
    apply([ensure("twice", now + 8000), {**ensure("twice", now + 9000), "id": "again"}])
    check(outcome("twice") == ("rejected", "conflict") and not listed(JOURNAL),
          "the same fact twice is a conflict at once, whatever the times")
    apply([ensure("gone", now + 8000)])
    other = Signer("/tmp/other", "other")
    write("/etc/latchkey/allowed_signers", other.line())
    clock.set(8100)
    machine.redo()
    check(outcome("gone") == ("denied", "signer") and not exists("gone"), "who was struck off meanwhile is not obeyed")
    write("/etc/latchkey/allowed_signers", ops.line())

    # --- a crash between plan and apply ----------------------------------------------------------------------------------------
    apply([ensure("crash", now + 9000)])
    clock.set(9100)
    daemon = subprocess.Popen(["/usr/sbin/latchkey-apply", "--redo"], stderr=subprocess.DEVNULL)
    wait_for(lambda: daemon.poll() is not None or '"plan"' in "".join(
        open(name, errors="replace").read() for name in glob.glob(JOURNAL + "/*")), "the plan is in the journal")
    daemon.kill()
    daemon.wait()
    clock.set(0)
    machine.redo()
    check(exists("crash") and outcome("crash") == ("ok", "ok"), "a step in hand is finished, also when the clock went back")

    # --- latchkeyd wakes at the time --------------------------------------------------------------------------------------------
    clock.set(9500)
    due = int(time.time()) + 9500 + 4
    apply([ensure("woken", due), ensure("afar", now + 40000)])
    machine.start_daemon()
    wait_for(lambda: exists("woken"), "latchkeyd starts it at its time", 30)
    wait_for(lambda: outcome("woken") == ("ok", "ok"), "its result")
    check(due <= machine.results(seq)["time"] <= due + 10, f"latchkeyd does it {machine.results(seq)['time'] - due} s after its time")
    before = len(read("/tmp/latchkeyd.log").splitlines())
    time.sleep(13)
    check(len(read("/tmp/latchkeyd.log").splitlines()) == before and machine.processes["latchkeyd"].poll() is None,
          "  and what waits longer is not tried with growing distance meanwhile")
    clock.set(41000)
    machine.processes["latchkeyd"].send_signal(10)  # wakes its loop: the machine's own clock was not set
    wait_for(lambda: exists("afar"), "latchkeyd looks at the clock anew")
    wait_for(lambda: not listed(JOURNAL) and not listed(LATER), "nothing is left")
    check(True, "a clock that is set brings what is due then")


if __name__ == "__main__":
    main(test)
