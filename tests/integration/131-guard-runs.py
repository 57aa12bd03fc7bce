#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The guard is asked once for a run of commands that only take something away, and the verdicts are those of asking for each
in turn: random documents against a model of that, and how often it is asked."""
import base64
import hashlib
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import APPLY, Machine, Signer, check, confined, keygen, main, root_capabilities, write  # noqa: E402

USERS = ["ada", "ben", "cyd", "dot"]
SEED = int(os.environ.get("LATCHKEY_SEED", "7"))
ROUNDS = int(os.environ.get("LATCHKEY_ROUNDS", "40"))


def fingerprint(public):
    digest = hashlib.sha256(base64.b64decode(public.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def model(commands, prints):
    """Each in turn: nobody left is a refusal, and what is refused no longer counts."""
    locked, gone, verdicts = set(), set(), {}
    for command in commands:
        now_locked, now_gone = set(locked), set(gone)
        if command["do"] == "user.lock":
            now_locked.add(command["user"])
        elif command["do"] == "keys.unbind":
            now_gone.add(command["user"])
        elif command["do"] == "keys.revoke":
            now_gone |= {user for user in USERS if prints[user] == command["fingerprint"]}
        left = [user for user in USERS if user not in now_locked | now_gone]
        if left or command.get("accept_lockout"):
            locked, gone = now_locked, now_gone
            verdicts[command["id"]] = "would_change"
        else:
            verdicts[command["id"]] = "would_lock_out"
    return verdicts


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    machine.start_sshd()
    machine.redo()
    keys = {user: keygen(f"/tmp/{user}") for user in USERS}
    prints = {user: fingerprint(keys[user]) for user in USERS}
    setup = [{"do": "user.ensure", "user": user} for user in USERS]
    setup += [{"do": "keys.bind", "user": user, "keypair": "k", "key": keys[user]} for user in USERS]
    code, log = machine.apply(ops.document(1, [{"id": f"s{n}", **c} for n, c in enumerate(setup)]))
    check(code == 0 and all(r["code"] == "ok" for r in machine.results(1)["results"]), "four users, a key each")
    write("/etc/latchkey/policy.conf", "[policy]\nmode = observe\n[password]\naccept_lockout = yes\n")
    chance = random.Random(SEED)
    refused = passed = 0
    for turn in range(ROUNDS):
        # Of the account plugin's or of the keys plugin's: a sum is one plugin's batch.
        if turn % 3 == 0:
            some = [{"do": "user.lock", "user": user} for user in USERS]
        else:
            some = [{"do": "keys.unbind", "user": user, "keypair": "k"} for user in USERS if chance.random() < 0.7]
            some += [{"do": "keys.revoke", "fingerprint": print} for print in prints.values() if chance.random() < 0.5]
            some += [{"do": "keys.revoke", "fingerprint": fingerprint("x " + base64.b64encode(os.urandom(32)).decode())}
                     for _ in range(chance.randrange(8))]
        chance.shuffle(some)
        for number, command in enumerate(some):
            command["id"] = f"r{turn}.{number}"
            if chance.random() < 0.15:
                command["accept_lockout"] = True
        code, log = machine.apply(ops.document(turn + 2, some))
        assert code == 0, log
        verdicts = {r["id"]: r["code"] for r in machine.results(turn + 2)["results"]}
        expected = model(some, prints)
        if verdicts != expected:
            check(False, f"seed {SEED}, document {turn}: {some}\n  says {verdicts}\n  and not {expected}")
        refused += list(verdicts.values()).count("would_lock_out")
        passed += list(verdicts.values()).count("would_change")
    check(refused >= ROUNDS / 4 and passed >= ROUNDS, f"P53_ {ROUNDS} documents as the model has it: {passed} pass, {refused} refused")

    # --- how often ------------------------------------------------------------------------------------------------------------
    os.unlink("/etc/latchkey/policy.conf")

    def asked(seq, commands):
        text = ops.document(seq, [{"id": f"a{seq}.{n}", **c} for n, c in enumerate(commands)])
        # strace stands outside the cut capabilities: it could not read arguments otherwise
        subprocess.run(["/usr/bin/strace", "-f", "-qq", "-e", "trace=execve", "-o", "/tmp/trace", *confined(root_capabilities()),
                        APPLY, "--document", "-"], input=text, check=True, stderr=subprocess.DEVNULL)
        with open("/tmp/trace", encoding="utf-8") as trace:
            return trace.read().count('plugins/login"'), [r["code"] for r in machine.results(seq)["results"]]

    strangers = [{"do": "keys.revoke", "fingerprint": fingerprint("x " + base64.b64encode(os.urandom(32)).decode())} for _ in range(300)]
    times, codes = asked(ROUNDS + 10, strangers)
    check(codes == ["ok"] * 300 and 1 <= times <= 4, f"300 revocations: the login plugin is started {times} times")
    everybody = [{"do": "keys.revoke", "fingerprint": p, "accept_lockout": False} for p in prints.values()]
    mixed = strangers[:100] + everybody
    for command in mixed[:100]:
        command["fingerprint"] = fingerprint("x " + base64.b64encode(os.urandom(32)).decode())
    times, codes = asked(ROUNDS + 11, mixed)
    check(codes == ["ok"] * 103 + ["would_lock_out"] and 4 <= times <= 20, f"with one too many at the end: {times} times")

    # --- what many cost ---------------------------------------------------------------------------------------------------------
    many = [{"id": f"m{n}", "do": "keys.revoke", "fingerprint": fingerprint(
        "x " + base64.b64encode(os.urandom(32)).decode())} for n in range(4000)]
    started = time.monotonic()
    code, log = machine.apply(ops.document(ROUNDS + 12, many))
    took = time.monotonic() - started
    parts = [machine.results(f"{ROUNDS + 12}{part}") for part in ("", ".1", ".2", ".3")]
    count = sum(r["code"] == "ok" for part in parts if part for r in part["results"])
    check(code == 0 and count == 4000, f"4,000 keys.revoke in one document: {took:.1f} s")


main(test)
