#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""P114: after keys.revoke no copy of the key logs in, wherever it stands; and the list that sshd reads is never missing
while it is named, for then nobody's key would log in."""
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import APPLY, Machine, Signer, check, confined, keygen, main, read, root_capabilities, wait_for, write  # noqa: E402

CONFIG, DROP_IN = "/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/00-latchkey.conf"
STRIDE = 1 if "LATCHKEY_ROUNDS" in os.environ else 4  # the whole number of crashes takes two minutes
LIST = "/etc/ssh/latchkey_revoked_keys"
STATE_LIST = "/var/lib/latchkey/plugin/authorized-keys/revoked"


def fingerprint(name):
    return subprocess.run(["ssh-keygen", "-lf", f"/tmp/{name}.pub"], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.split()[1]


def in_force():
    text = subprocess.run(["/usr/sbin/sshd", "-T", "-C", "user=alice,host=x,addr=192.0.2.9"], stdout=subprocess.PIPE,
                          check=True, text=True).stdout
    return next(line for line in text.splitlines() if line.startswith("revokedkeys ")).split()[1]


def names_a_good_list():
    """Whatever a crash left: where a list is named, ssh-keygen reads it."""
    named = in_force()
    return named == "none" or subprocess.run(["ssh-keygen", "-Q", "-l", "-f", named], stdout=subprocess.DEVNULL,
                                             stderr=subprocess.DEVNULL).returncode == 0


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    machine.start_sshd()
    machine.redo()
    names = ("keep", "one", "two", "three", "theirs", "later", "crash", "match")
    keys = {name: keygen(f"/tmp/{name}") for name in names}
    plain = read(CONFIG)
    seq = 0

    def do(*commands):
        nonlocal seq
        seq += 1
        code, log = machine.apply(ops.document(seq, [{"id": f"c{seq}.{n}", **c} for n, c in enumerate(commands)]))
        assert code == 0, log
        return machine.results(seq)["results"]

    def bind(user, name, **more):
        return {"do": "keys.bind", "user": user, "keypair": name, "key": keys[name], **more}

    def revoke(name, **more):
        return {"do": "keys.revoke", "fingerprint": fingerprint(name), **more}

    def logs_in(user, name):
        return machine.login_with_key(user, f"/tmp/{name}")

    def by_hand(user, name):
        home = f"/home/{user}/.ssh"
        with open(f"{home}/authorized_keys", "a", encoding="utf-8") as file:
            file.write(keys[name] + " by hand\n")

    results = do(*({"do": "user.ensure", "user": user} for user in ("alice", "bob")), bind("alice", "keep"),
                 bind("bob", "keep"), bind("alice", "one"), bind("alice", "two"), bind("bob", "one", location="runtime"))
    assert all(result["code"] == "ok" for result in results), results
    by_hand("bob", "one")
    by_hand("bob", "theirs")
    by_hand("bob", "later")
    check(all(logs_in(user, "one") for user in ("alice", "bob")) and in_force() == "none", "a key in three places logs in")

    # --- revoke ------------------------------------------------------------------------------------------------------
    for wrong in ("", "SHA256:x", "x", fingerprint("one") + "=", fingerprint("one")[:-1]):
        check(do({**revoke("one"), "fingerprint": wrong})[0]["code"] == "field_invalid", f"no fingerprint: {wrong!r}")
    check(in_force() == "none" and not os.path.exists(LIST), "which named no list")
    result = do(revoke("one"))[0]
    check(result["code"] == "ok" and result["changed"], f"P114: revoked {result['detail']}")
    check(set(result["login"]) == {"alice", "bob"}, "the result says of those whom we bound it for whether they can log in")
    check(in_force() == LIST and os.stat(LIST).st_mode & 0o777 == 0o644, "sshd reads our list")
    check(not logs_in("alice", "one") and not logs_in("bob", "one"), "P114: no copy of it logs in any more")
    check(logs_in("alice", "keep") and logs_in("alice", "two") and logs_in("bob", "theirs"), "every other key does")
    result = do(revoke("one"))[0]
    check(result["code"] == "ok" and not result["changed"], "again is nothing to do")
    check(do(revoke("two"), revoke("three"))[1]["code"] == "ok" and not logs_in("alice", "two"), "two more at once")
    result = do(bind("alice", "three"))[0]
    check(result["code"] == "ok" and not logs_in("alice", "three"), "bound afterwards, a revoked key stays refused")
    line = json.loads(read(STATE_LIST).splitlines()[0])
    check((line["fingerprint"], line["signer"]) == (fingerprint("one"), "ops"), "who revoked it is kept")

    # --- the guard reads the list ------------------------------------------------------------------------------------
    by_name = {name: do({"do": "keys.unbind", "user": "alice", "keypair": name})[0]["code"] for name in ("one", "two", "three")}
    check(set(by_name.values()) == {"ok"}, "unbinding what is revoked takes no way in")
    for user in ("bob",):
        with open(f"/home/{user}/.ssh/authorized_keys", "w", encoding="utf-8") as file:
            file.write(keys["one"] + " revoked\n")
    do({"do": "keys.unbind", "user": "bob", "keypair": "keep", "accept_lockout": True})
    result = do(revoke("keep"))[0]
    check(result["code"] == "would_lock_out" and logs_in("alice", "keep"), f"P53: the last good key is not revoked {result}")
    by_hand("bob", "theirs")
    by_hand("bob", "later")

    # --- a Match that names another list -----------------------------------------------------------------------------
    write("/etc/ssh/of-alice", "")
    write(CONFIG, plain + "\nMatch User alice\n\tRevokedKeys /etc/ssh/of-alice\n")
    machine.reload_sshd()
    do(bind("alice", "match"), bind("bob", "match"))
    line = len(read(CONFIG).splitlines())
    for text in ("revoked", "again"):
        result = do(revoke("match"))[0]
        check(result["code"] == "overridden" and f"{CONFIG}:{line}" in result["detail"], f"P114: {text}: {result['detail']}")
        check(logs_in("alice", "match") and not logs_in("bob", "match"), "as it is: the Match's users read another list")
    write(CONFIG, plain)
    machine.reload_sshd()
    check(not logs_in("alice", "match") and do(revoke("match"))[0]["code"] == "ok", "without the Match none logs in")
    do(*({"do": "keys.unbind", "user": user, "keypair": "match"} for user in ("alice", "bob")))

    # --- the list is taken away ----------------------------------------------------------------------------------------
    os.unlink(LIST)
    check(not logs_in("alice", "keep"), "sshd without the list that it is told to read: nobody")
    machine.redo()
    check(logs_in("alice", "keep") and names_a_good_list(), "the next start has keys log in again")
    check(not logs_in("bob", "one") and in_force() == LIST, "and the revoked ones refused")
    os.chmod(LIST, 0o666)
    machine.redo()
    check(os.stat(LIST).st_mode & 0o777 == 0o644 and in_force() == LIST, "a list that others can write is written anew")
    write(LIST, "junk", 0o644)
    machine.redo()
    check(logs_in("alice", "keep") and not logs_in("bob", "one"), "junk in its place, too")

    # --- the operator's own ----------------------------------------------------------------------------------------------
    write("/etc/ssh/theirs", "# ours\n" + keys["theirs"] + " gone\n")
    write(CONFIG, plain + "\nRevokedKeys /etc/ssh/theirs\n")
    machine.reload_sshd()
    check(in_force() == LIST, "the operator names a list of his own beside ours")
    machine.redo()
    check(not logs_in("bob", "theirs") and not logs_in("bob", "one") and logs_in("bob", "later"), "both are in force")
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", "/etc/ssh/theirs", "/tmp/theirs.pub", "/tmp/later.pub"], check=True)
    machine.redo()
    check(not logs_in("bob", "later") and not logs_in("bob", "theirs") and logs_in("alice", "keep"), "a binary list of his")
    write("/etc/ssh/theirs", b"SSHKRL\n\0\0\0\0\1 cut".decode())
    machine.redo()
    check(logs_in("alice", "keep") and not logs_in("bob", "one") and not logs_in("bob", "later"),
          "a broken list of his: what stood stays, and keys log in")
    os.unlink("/etc/ssh/theirs")
    result = do(revoke("two"))[0]
    check(result["code"] in ("ok", "cannot_validate") and logs_in("alice", "keep"), f"his list is gone {result['detail']}")
    write(CONFIG, plain)
    machine.reload_sshd()
    machine.redo()
    check(logs_in("bob", "later") and not logs_in("bob", "one"), "he names none any more: ours alone")

    os.unlink(LIST)
    os.unlink(STATE_LIST)
    check(not logs_in("alice", "keep"), "the list and what it is made from are gone: nobody")
    machine.redo()
    check(logs_in("alice", "keep") and in_force() == "none", "then the next start names none, and keys log in")
    do(revoke("one"))
    check(not logs_in("bob", "one") and logs_in("alice", "keep"), "until something is revoked again")

    # --- what the operator changes counts at once, and a disk that fails ------------------------------------------------------
    machine.start_daemon()
    write("/etc/ssh/theirs", keys["theirs"] + "\n")
    write(CONFIG, plain + "\nRevokedKeys /etc/ssh/theirs\n")
    do(revoke("two"))
    check(not logs_in("bob", "theirs") and logs_in("bob", "later"), "his list is carried along")
    # Replaced at any moment of its start: before the redo has read it, before it is watched, after.
    for delay in range(24):
        machine.stop("latchkeyd")
        write("/etc/ssh/theirs", keys["theirs"] + "\n")
        machine.redo()
        machine.start_daemon()
        write("/etc/ssh/theirs.new", keys["later"] + "\n")
        time.sleep(delay * 0.004)
        os.rename("/etc/ssh/theirs.new", "/etc/ssh/theirs")
        wait_for(lambda: not logs_in("bob", "later"), f"a list that replaces his {delay * 4} ms after latchkeyd's start is read")
    check(logs_in("bob", "theirs"), "a list that replaces his is read without a sweep, however soon after latchkeyd's start")
    with open("/etc/ssh/theirs", "a", encoding="utf-8") as file:
        file.write(keys["theirs"] + "\n")
    wait_for(lambda: not logs_in("bob", "theirs"), "and what he adds to it")
    check(logs_in("alice", "keep") and not logs_in("bob", "one"), "and what he adds to it")
    machine.stop("latchkeyd")
    write(CONFIG, plain)
    machine.redo()
    for syscall in ("renameat,renameat2", "fsync", "write", "openat"):
        struck = 0
        for error in ("ENOSPC", "EIO"):
            for when in range(1, 300, (11 if syscall == "openat" else 1) * STRIDE):
                seq += 1
                document = ops.document(seq, [{"id": f"e{seq}", **revoke("crash" if when % 2 else "three")}])
                subprocess.run(["/usr/bin/strace", "-f", "-qq", "-o", "/tmp/errors", "-e", f"trace={syscall}", "-e",
                                f"inject={syscall}:error={error}:when={when}", *confined(root_capabilities()), APPLY, "--document",
                                "-"], input=document, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={})
                if not names_a_good_list():
                    check(False, f"P114: {syscall} {error} {when}: sshd is told to read {in_force()}")
                if "INJECTED" not in read("/tmp/errors"):
                    break
                struck += 1
                machine.redo()
        check(struck > 0 and logs_in("alice", "keep") and not logs_in("bob", "one"), f"P114: {struck} times {syscall} fails: a good list, always")

    # --- killed at every step ----------------------------------------------------------------------------------------------
    interrupted = 0
    for syscall in ("renameat,renameat2", "fsync", "unlinkat", "openat"):
        for when in range(1, 400, (9 if syscall == "openat" else 1) * STRIDE):
            for path in (LIST, STATE_LIST, DROP_IN):
                if os.path.exists(path):
                    os.unlink(path)
            machine.redo()
            machine.reload_sshd()
            seq += 1
            document = ops.document(seq, [{"id": f"k{seq}", **revoke("crash")}])
            done = subprocess.run(["/usr/bin/strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={syscall}:signal=KILL:when={when}",
                                   *confined(root_capabilities()), APPLY, "--document", "-"], input=document,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={})
            if not names_a_good_list():
                check(False, f"P114: {syscall} {when}: sshd is told to read {in_force()}")
            # strace counts calls per process: a plugin that is killed each of its three times has crashed for good.
            code = machine.result(seq, f"k{seq}")["code"] if machine.results(seq) else None
            if done.returncode == 0 and code == "ok":
                break
            interrupted += 1
            machine.redo()
            code = machine.result(seq, f"k{seq}")["code"] if machine.results(seq) else None
            if not names_a_good_list() or code not in ("ok", "plugin_crashed", None):
                check(False, f"P114: {syscall} {when}: {machine.results(seq)}")
        check(logs_in("alice", "keep"), f"P114: killed at each {syscall}: a good list or none is named, always")
    check(interrupted > 5, f"P114: {interrupted} crashes, each finished by the next start")


main(test)
