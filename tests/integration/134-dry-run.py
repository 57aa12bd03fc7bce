#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""dry_run: a document that is verified, decided, planned and guarded as any other, and changes no byte; what it said comes
true with the same ids in the next one, and what pended before it goes on pending."""
import fcntl
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Machine, Signer, check, keygen, main, read, write  # noqa: E402

STATE = "/var/lib/latchkey"


def snapshot():
    """Every file outside the agent's own results, history and log."""
    found = {}
    for root in ("/etc", "/home", f"{STATE}/identity", f"{STATE}/journal", f"{STATE}/plugin", f"{STATE}/revert"):
        for folder, _, names in os.walk(root):
            for name in set(names) - {"version"}:  # the sshd plugin's note of what it asked sshd
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as file:
                        found[path] = file.read()
            found[folder] = sorted(set(os.listdir(folder)) - {"version"})
    return found


def changed(before):
    now = snapshot()
    return [path for path in before.keys() | now.keys() if before.get(path) != now.get(path)]


def test():
    machine, ops, seq = Machine(url=None), Signer(), 0
    write("/etc/latchkey/allowed_signers", ops.line())
    machine.start_sshd()
    machine.redo()
    key, second = keygen("/tmp/key"), keygen("/tmp/second")

    def apply(commands, **more):
        nonlocal seq
        seq += 1
        code, log = machine.apply(ops.document(seq, commands, **more))
        assert code == 0, log
        return {result["id"]: result for result in machine.results(seq)["results"]}

    commands = [
        {"id": "u1", "do": "user.ensure", "user": "alice"},
        {"id": "k1", "do": "keys.bind", "user": "alice", "keypair": "laptop", "key": key},
        {"id": "n1", "do": "diagnose", "user": "root"},
        {"id": "p1", "do": "keys.bind", "user": "root", "keypair": "x", "key": key},
        {"id": "x1", "do": "user.ensure", "user": "Bad:Name"},
        {"id": "t1", "do": "user.ensure", "user": "later", "not_before": 4000000000},
    ]
    # Once for real, so that what the plugins make at their first start is there.
    apply([{"id": "s1", "do": "user.ensure", "user": "sam"}, {"id": "s2", "do": "keys.bind", "user": "sam", "keypair": "s",
                                                              "key": second}])
    before = snapshot()
    results = apply(commands, dry_run=True)
    check(not changed(before), f"no byte is changed {changed(before)}")
    check(machine.results(seq)["dry_run"] is True and machine.results(seq)["document"] == "ok", "the results say so")
    codes = {id: (result["status"], result["code"], result["changed"]) for id, result in results.items()}
    check(codes["u1"] == codes["k1"] == ("observed", "would_change", False), f"what would be done: {codes}")
    check(results["k1"]["detail"] == "after user.ensure of alice", "  also for a user who would only be created")
    check(codes["p1"][0] == "denied", f"  what policy denies {codes['p1']}")
    check(codes["x1"][0] == "rejected" and results["x1"]["detail"].startswith("dry run: "), f"  what is wrong {results['x1']}")
    check(codes["t1"][1] == "field_invalid", "  a time that is beyond the document is refused as ever")
    check(machine.status()["seq"] == seq and machine.status()["pending"] == 0, "its seq counts")
    check(machine.apply(ops.document(seq, commands))[0] == 0 and machine.results(0)["document"] == "replayed",
          "  and does not come again")

    # --- for real, with the same ids --------------------------------------------------------------------------------------
    results = apply(commands[:2])
    check(results["u1"]["code"] == results["k1"]["code"] == "ok" and results["k1"]["changed"],
          "the same ids come for real in the next document")
    check(machine.login_with_key("alice", "/tmp/key"), "  and alice logs in")
    results = apply(commands[:2], dry_run=True)
    check(results["u1"]["code"] == "ok", "what was done is answered from the history, also to a dry run")
    results = apply([{**commands[1], "id": "k2"}], dry_run=True)
    check((results["k2"]["status"], results["k2"]["code"]) == ("observed", "would_not_change"), "what is so already")

    # --- the guard ----------------------------------------------------------------------------------------------------------
    apply([{"id": "s3", "do": "keys.unbind", "user": "sam", "keypair": "s"}])
    before = snapshot()
    results = apply([{"id": "g1", "do": "keys.unbind", "user": "alice", "keypair": "laptop"}], dry_run=True)
    check((results["g1"]["status"], results["g1"]["code"]) == ("refused", "would_lock_out"), f"the guard is asked {results}")
    results = apply([{"id": "g2", "do": "keys.bind", "user": "sam", "keypair": "n", "key": second},
                     {"id": "g1", "do": "keys.unbind", "user": "alice", "keypair": "laptop"}], dry_run=True)
    check(results["g2"]["code"] == "would_change" and "not counting" in results["g1"]["detail"],
          f"  and says what it does not count: {results['g1']['detail']}")
    results = apply([{"id": "g3", "do": "sshd.set", "password_auth": False, "confirm_within": 600},
                     {"id": "g4", "do": "access.restore", "user": "alice"},
                     {"id": "g5", "do": "sshd.confirm", "confirms": "g3"}], dry_run=True)
    check(results["g3"]["code"] == "would_change" and results["g4"]["code"] == "would_not_change", f"sshd {results}")
    check(not changed(before), f"  nothing of it is done {changed(before)}")

    # --- what pends ------------------------------------------------------------------------------------------------------------
    lock = os.open("/etc/.pwd.lock", os.O_WRONLY | os.O_CREAT, 0o600)
    fcntl.lockf(lock, fcntl.LOCK_EX)
    pending = [{"id": "b1", "do": "user.ensure", "user": "bob"}]
    check(apply(pending)["b1"]["code"] == "busy", "a command that waits for the lock")
    real = seq
    results = apply([{"id": "b2", "do": "user.ensure", "user": "carol"}], dry_run=True)
    check(results["b2"]["code"] in ("would_change", "busy") and results["b2"]["status"] != "pending",
          f"a dry run meanwhile: nothing of it pends {results['b2']}")
    check(os.listdir(f"{STATE}/journal") == [str(real)] and machine.status()["pending"] == 1, "  what pends goes on pending")
    os.close(lock)
    machine.redo()
    check("\nbob:" in read("/etc/passwd") and "\ncarol:" not in read("/etc/passwd"), "  and is done")
    check(machine.result(real, "b1")["code"] == "ok" and machine.status()["pending"] == 0, "  its result is final")
    check(machine.status()["seq"] == seq, "  and the floor does not go back to its document's")
    check(machine.apply(ops.document(seq, pending))[0] == 0 and machine.results(0)["document"] == "replayed",
          "  so that the dry run's seq is still used up")
    code, _ = machine.apply(ops.document(seq + 1, [], dry_run="yes"))
    check(machine.results(0)["document"] == "malformed", "dry_run is a boolean")


if __name__ == "__main__":
    main(test)
