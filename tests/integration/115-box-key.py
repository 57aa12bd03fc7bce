#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The key that passwords are sealed to: another one after each use and after a week, the one before for a day and no
longer, by a run of latchkey-apply and by latchkeyd's own timer; crashes between; a clock that was set back. The keys' age
is moved, not the machine's clock: it stands in their files' times. In the rig: tests/integration/115-box-key.py"""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "rig"))
from accounts import IDENTITY, box_public, entry, read, seal  # noqa: E402
from machine import APPLY, Machine, Signer, check, keygen, main, payload_of, wait_for, write  # noqa: E402

BOX, PREVIOUS = f"{IDENTITY}/box", f"{IDENTITY}/box.previous"
DAY = 86400


def keys():
    return [read(path) if os.path.exists(path) else None for path in (BOX, PREVIOUS)]


def age(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2)


def identity():
    return payload_of(read(f"{IDENTITY}/text").decode())


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    machine.start_sshd()
    machine.redo()
    seq = 0

    def document(*commands):
        nonlocal seq
        seq += 1
        return ops.document(seq, list(commands))

    def reset(public, code="ok", user="alice"):
        value = {"instance": "vm-1", "id": f"p{seq + 1}", "user": user, "password": f"Correct-Horse-{seq + 1}"}
        text = document({"id": f"p{seq + 1}", "do": "password.set", "user": user, "sealed": seal(public, value)})
        exit_code, log = machine.apply(text)
        result = machine.result(seq, f"p{seq}")
        check(result["code"] == code, f"  password.set: {result['code']} {result['detail']}")

    first = box_public()
    machine.apply(document({"id": "u", "do": "user.ensure", "user": "alice"},
                           {"id": "k", "do": "keys.bind", "user": "alice", "keypair": "k", "key": keygen("/tmp/key")}))
    check(keys() == [read(BOX), None] and box_public() == first, "commands without a sealed password leave the key alone")
    generation = identity()["generation"]

    # --- after use -----------------------------------------------------------------------------------------------------
    was = keys()
    reset(first)
    check(keys()[1] == was[0] != keys()[0], "after use there is a new key, and the one before it")
    check(identity()["generation"] == generation + 1, "  in an identity of the next generation")
    check({oct(os.stat(path).st_mode & 0o777) for path in (BOX, PREVIOUS)} == {"0o600"}, "  both 0600")
    reset(first)
    reset(first, "unseal_failed")
    reset(box_public())

    # --- what was sealed before and is done later ------------------------------------------------------------------------
    for user in ("bob", "carol"):
        subprocess.run(["useradd", user], check=True)
    was, public, soon = keys(), box_public(), int(time.time()) + 4
    seq += 1
    times = {"alice": 0, "bob": soon, "carol": soon + 3}
    machine.apply(ops.document(seq, [
        {"id": f"p{seq}.{user}", "do": "password.set", "user": user, "not_before": when, "sealed": seal(public, {
            "instance": "vm-1", "id": f"p{seq}.{user}", "user": user, "password": "Correct-Horse-9"})}
        for user, when in times.items()]))
    check(machine.result(seq, f"p{seq}.alice")["code"] == "ok" and keys() == was, "while something sealed to it waits, the used key stays")
    for moment in (soon, soon + 3):
        time.sleep(max(0, moment + 0.1 - time.time()))
        machine.redo()
    codes = [machine.result(seq, f"p{seq}.{user}")["code"] for user in times]
    check(codes == ["ok"] * 3, f"three passwords of one document, each at its time: {codes}")
    check(keys()[0] != was[0] and keys()[1] == was[0], "  and then there is a new key")

    # --- a day, a week -------------------------------------------------------------------------------------------------
    for path, seconds, gone in ((PREVIOUS, DAY - 60, False), (PREVIOUS, DAY + 1, True)):
        age(path, seconds)
        machine.redo()
        check((keys()[1] is None) == gone, f"box.previous is {'gone' if gone else 'there'} after {seconds} s")
    for seconds, other in ((7 * DAY - 60, False), (7 * DAY + 1, True)):
        was, generation = keys()[0], identity()["generation"]
        age(BOX, seconds)
        machine.redo()
        check((keys()[0] != was) == other, f"box is {'another' if other else 'the same'} after {seconds} s")
        check(keys()[1] == (was if other else None), "  the one before is kept")
        check(identity()["generation"] == generation + other, "  and the identity says so")
    age(BOX, -3600)
    age(PREVIOUS, -3600)
    was = keys()
    machine.redo()
    check(keys()[0] != was[0] and keys()[1] == was[0], "keys from the future: a clock was set back, their age is unknown")

    # --- a crash between use and rotation --------------------------------------------------------------------------------
    for call in ("renameat", "unlinkat", "fsync"):
        when, killed = 0, 0
        while when < 400:
            when += 1
            seq += 1
            was, public = keys(), box_public()
            value = {"instance": "vm-1", "id": f"p{seq}", "user": "alice", "password": f"Correct-Horse-{seq}"}
            text = ops.document(seq, [{"id": f"p{seq}", "do": "password.set", "user": "alice", "sealed": seal(public, value)}])
            done = subprocess.run(["/usr/bin/strace", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={when}", APPLY,
                                   "--document", "-"], input=text, env={}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            killed += done.returncode != 0
            if not machine.results(seq) and not os.path.exists(f"/var/lib/latchkey/journal/{seq}"):
                machine.apply(text)  # not taken over: it is offered again
            machine.redo()
            if machine.result(seq, f"p{seq}")["code"] != "ok" or keys()[0] == was[0] or os.listdir("/var/lib/latchkey/journal"):
                check(False, f"killed at {call} {when}: {machine.result(seq, f'p{seq}')}, the key is {'the same' if keys()[0] == was[0] else 'new'}")
            if done.returncode == 0:
                break
        check(killed > 0, f"latchkey-apply killed at each of {killed} calls of {call}: the used key is replaced all the same")

    # --- nobody asks for anything: latchkeyd's own timer -----------------------------------------------------------------
    machine.start_agent()
    # Without an endpoint it is ready when boot_wait is over.
    age(PREVIOUS, DAY - 3)
    was = keys()[0]
    wait_for(lambda: keys()[1] is None, "latchkeyd has the old key removed")
    check(keys()[0] == was, "latchkeyd: the old key is gone a day after, the other stands")
    machine.stop_all()
    age(BOX, 7 * DAY + 1)
    machine.start_agent()
    wait_for(lambda: keys()[0] != was, "the boot run makes a new key")
    check(keys()[1] == was, "latchkeyd: after a week there is another one")
    check(entry("shadow", "alice")[1].startswith("$"), "and alice has her password")


main(test)
