#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""latchkey-apply alone, with no network: the rescue mode. A user, a key and a password become real logins; every bad
document and command has its own code, changes nothing, and the next good document still applies."""
import base64
import glob
import hashlib
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Machine, Signer, check, keygen, main, read, write  # noqa: E402


def digest(*paths):
    total = hashlib.sha256()
    for path in paths:
        for name in sorted(glob.glob(path)):
            with open(name, "rb") as file:
                total.update(file.read())
    return total.hexdigest()


ACCOUNTS = ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/home/*/.ssh/authorized_keys",
            "/etc/ssh/sshd_config.d/*")


def test():
    machine = Machine(url=None)
    ops, stranger = Signer(), Signer("/tmp/stranger", "stranger")
    expired = Signer("/tmp/expired", "expired")
    write("/etc/latchkey/allowed_signers", ops.line() + expired.line(
        options='namespaces="latchkey-document@1",valid-before="20200101Z"'))
    machine.start_sshd()
    code, _ = machine.redo()
    check(code == 0, "the boot redo makes the identity")
    key = keygen("/tmp/alice")

    # --- the main job ------------------------------------------------------------------------------------------------
    code, log = machine.apply(ops.document(1, [
        {"id": "k1", "do": "keys.bind", "user": "alice", "keypair": "laptop", "key": key},
        {"id": "u1", "do": "user.ensure", "user": "alice"}]))
    check(code == 0, "P58_ a document that creates a user and binds a key is taken over, whatever its order")
    check(machine.result(1, "k1")["code"] == "ok", "the key is bound: " + str(machine.result(1, "k1")))
    check(machine.result(1, "k1")["login"]["alice"]["key"]["can"], "and the result says that alice can log in by key")
    check(machine.login_with_key("alice", "/tmp/alice"), "alice logs in with ssh -i")
    check(os.stat("/home/alice/.ssh").st_mode & 0o7777 == 0o700 and
          os.stat("/home/alice/.ssh/authorized_keys").st_mode & 0o7777 == 0o600, "700 and 600")
    code, _ = machine.apply(ops.document(1, [
        {"id": "k1", "do": "keys.bind", "user": "alice", "keypair": "laptop", "key": key}]))
    check(machine.results(0)["document"] == "replayed", "P13_ the same seq with other bytes is replayed")
    before = digest(*ACCOUNTS)

    # --- bad documents -----------------------------------------------------------------------------------------------
    command = {"id": "x1", "do": "user.ensure", "user": "mallory"}
    good = ops.document(2, [command])
    now = int(time.time())
    flipped = bytearray(good)
    flipped[10] ^= 1
    armour = good.index(b"-----BEGIN")
    cases = [
        ("signature_missing", 65, good[:armour]),
        ("signature_invalid", 65, bytes(flipped)),
        ("signature_invalid", 65, good[:armour] + good[armour:].replace(b"U1NI", b"U1NJ")),
        ("signature_invalid", 65, good + good[armour:]),
        ("signature_invalid", 65, ops.sign(good[:armour], "file")),
        ("signer_unknown", 66, stranger.document(2, [command])),
        ("signer_expired", 65, expired.document(2, [command])),
        ("wrong_instance", 0, ops.document(2, [command], instance="vm-2")),
        ("replayed", 0, ops.document(1, [command])),
        ("seq_gap", 0, ops.document(70000, [command])),
        ("expired", 0, ops.document(2, [command], issued=now - 7200, expires=now - 3600)),
        ("not_yet_valid", 75, ops.document(2, [command], issued=now + 3000, expires=now + 6000)),
        ("validity_too_long", 0, ops.document(2, [command], issued=now, expires=now + 604801)),
        ("version", 0, ops.document(2, [command], v=2)),
        ("malformed", 0, ops.document(2, [command], surprise=1)),
        ("malformed", 0, ops.document(2, [command, command])),
        ("malformed", 0, ops.sign('{"v":1,"v":1,"instance":"vm-1","seq":2,"issued":1,"expires":2,"commands":[]}\n')),
        ("malformed", 0, ops.sign("<html>captive portal</html>\n")),
    ]
    for expected, exit_code, text in cases:
        write("/var/lib/latchkey/results/0", "")
        code, log = machine.apply(text)
        refusal = machine.results(0)
        check(refusal["document"] == expected and code == exit_code,
              f"a bad document is refused: {expected}, exit {exit_code} (got {refusal['document']}, {code})")
        check(digest(*ACCOUNTS) == before, "  and nothing is changed")
    check(machine.apply(ops.document(2, [], **{"x-note": "extensions are ignored"}))[0] == 0,
          "P7_ an x- member is ignored")
    write("/etc/latchkey/allowed_signers", "")
    machine.apply(ops.document(3, [command]))
    check(machine.results(0)["document"] == "no_signers", "nobody is trusted: no_signers")
    write("/etc/latchkey/allowed_signers", "* " + ops.public + " ops\n")
    code, _ = machine.apply(ops.document(3, []))
    check(machine.results(0)["document"] == "no_signers" and machine.status()["health"] == "failing",
          "P15_ a line without namespaces refuses the file; the last good one stays in force and status says so")
    write("/etc/latchkey/allowed_signers", ops.line())
    check(machine.apply(ops.document(3, []))[0] == 0, "with the line mended documents are taken over again")

    # --- bad commands: each its own code, the good one beside it is done -----------------------------------------------
    rsa_private = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
    bad = [
        ("unknown_command", {"do": "user.shout", "user": "alice"}),
        ("unknown_command", {"do": "login.check", "users": ["alice"]}),
        ("unknown_command", {"do": "sshd.paths"}),
        ("unknown_field", {"do": "user.ensure", "user": "bob", "shell_": "/bin/sh"}),
        ("field_missing", {"do": "user.ensure"}),
        ("field_missing", {"do": "sshd.set"}),
        ("field_invalid", {"do": "user.ensure", "user": "bob", "uid": 0}),
        ("field_invalid", {"do": "user.ensure", "user": "bob", "gecos": "a:b\u0085"}),
        ("field_invalid", {"do": "user.ensure", "user": "bob", "home": "/home/../etc"}),
        ("name_invalid", {"do": "user.ensure", "user": "-rf"}),
        ("name_invalid", {"do": "user.ensure", "user": "root\nevil:x:0:0"}),
        ("name_invalid", {"do": "user.ensure", "user": "Bob"}),
        ("key_invalid", {"do": "keys.bind", "user": "alice", "keypair": "a", "key": "ssh-ed25519 AAAA"}),
        ("key_is_private", {"do": "keys.bind", "user": "alice", "keypair": "a", "key": rsa_private}),
        ("key_format", {"do": "keys.bind", "user": "alice", "keypair": "a",
                        "key": "PuTTY-User-Key-File-3: ssh-ed25519"}),
        ("key_format", {"do": "keys.bind", "user": "alice", "keypair": "a",
                        "key": "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----"}),
        ("key_invalid", {"do": "keys.bind", "user": "alice", "keypair": "a", "key": key + "\n" + key}),
        ("no_such_user", {"do": "keys.bind", "user": "nobody-here", "keypair": "a", "key": key}),
        ("system_account", {"do": "keys.bind", "user": "daemon", "keypair": "a", "key": key}),
        ("privileged", {"do": "keys.bind", "user": "root", "keypair": "a", "key": key}),
        ("policy", {"do": "user.ensure", "user": "bob", "groups": ["docker"]}),
        ("policy", {"do": "user.ensure", "user": "bob", "sudo": "nopasswd"}),
        ("policy", {"do": "keys.unbind", "user": "alice", "keypair": "laptop", "accept_lockout": True}),
        ("clear_hash", {"do": "password.set", "user": "alice", "hash": "$6$abcdefgh$" + "a" * 86}),
        ("unseal_failed", {"do": "password.set", "user": "alice", "sealed": base64.b64encode(b"x" * 300).decode()}),
        ("conflict", {"do": "sshd.set", "password_auth": False, "pubkey_auth": True}),
        ("expired", {"do": "user.ensure", "user": "bob", "until": now - 10}),
    ]
    seq = 4
    for expected, fields in bad:
        machine.apply(ops.document(seq, [{"id": f"b{seq}", **fields}, {"id": f"g{seq}", "do": "diagnose",
                                                                      "user": "alice"}]))
        result = machine.result(seq, f"b{seq}")
        check(result["code"] == expected, f"a bad command: {expected} ({result['code']}: {result['detail']})")
        check(machine.result(seq, f"g{seq}")["code"] == "ok", "  the command beside it is done")
        seq += 1
    check(digest(*ACCOUNTS) == before, "after all of them nothing is changed")
    for name in ("[users] root", "policy.conf", "default"):
        check(any(name in machine.results(s)["results"][0]["detail"] or name in machine.results(s)["results"][1]["detail"]
                  for s in range(4, seq)), f"a denial names its rule: {name}")

    # --- the guard, and a second key ----------------------------------------------------------------------------------
    machine.apply(ops.document(seq, [{"id": "w1", "do": "keys.unbind", "user": "alice", "keypair": "laptop"}]))
    result = machine.result(seq, "w1")
    check(result["status"] == "refused" and result["code"] == "would_lock_out", "the last key is not taken away")
    check(machine.login_with_key("alice", "/tmp/alice"), "  and still logs in")
    second = keygen("/tmp/alice2")
    seq += 1
    machine.apply(ops.document(seq, [
        {"id": "w2", "do": "keys.unbind", "user": "alice", "keypair": "laptop"},
        {"id": "w3", "do": "keys.bind", "user": "alice", "keypair": "tablet", "key": second}]))
    check(machine.result(seq, "w2")["code"] == "ok" and machine.result(seq, "w3")["code"] == "ok",
          "with a second key in the same document it is")
    check(not machine.login_with_key("alice", "/tmp/alice"), "the first key is refused")
    check(machine.login_with_key("alice", "/tmp/alice2"), "the second logs in")

    # --- ids for ever, and observe ---------------------------------------------------------------------------------------
    seq += 1
    machine.apply(ops.document(seq, [{"id": "w2", "do": "keys.unbind", "user": "alice", "keypair": "tablet"}]))
    check(machine.result(seq, "w2")["code"] == "ok" and machine.login_with_key("alice", "/tmp/alice2"),
          "a repeated id is answered from the history and not done again")
    policy = read("/etc/latchkey/policy.conf")
    write("/etc/latchkey/policy.conf", policy.replace("mode = enforce", "mode = observe"))
    seq += 1
    machine.apply(ops.document(seq, [{"id": "o1", "do": "user.ensure", "user": "bob"},
                                     {"id": "o2", "do": "user.ensure", "user": "alice"}]))
    check(machine.result(seq, "o1")["code"] == "would_change" and "bob:" not in read("/etc/passwd"),
          "mode observe says would_change and changes nothing")
    check(machine.result(seq, "o2")["code"] == "would_not_change", "and would_not_change")
    write("/etc/latchkey/policy.conf", policy + "root = yes\n# " + "x" * 5000 + "\n")
    seq += 1
    machine.apply(ops.document(seq, [{"id": "o3", "do": "user.ensure", "user": "bob"}]))
    check(machine.result(seq, "o3")["code"] == "would_change" and machine.status()["health"] == "failing",
          "P109_ a broken policy changes nothing and health is failing")
    write("/etc/latchkey/policy.conf", policy)
    seq += 1
    machine.apply(ops.document(seq, [{"id": "o4", "do": "user.ensure", "user": "bob"}]))
    check(machine.result(seq, "o4")["code"] == "ok" and "bob:" in read("/etc/passwd"), "the next good document applies")


main(test)
