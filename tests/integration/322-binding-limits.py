#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What piles up, by itself or because a user planted it, keeps neither his own next key out nor anybody else's command
from being done: expired lines, lines under one label, the ledger of bound keys."""
import base64
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import STATE, Machine, Signer, check, keygen, main, read, write  # noqa: E402

LEDGER = f"{STATE}/plugin/authorized-keys/ledger"


def key_file(user):
    return f"/home/{user}/.ssh/authorized_keys"


def plant(user, text, name="authorized_keys"):
    with open(f"/home/{user}/.ssh/{name}", "w", encoding="utf-8") as file:
        file.write(text)
    shutil.chown(f"/home/{user}/.ssh/{name}", user)


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    machine.start_sshd()
    machine.redo()
    keys = {name: keygen(f"/tmp/{name}") for name in ("one", "two")}
    seq = 0

    def do(*commands):
        nonlocal seq
        seq += 1
        code, log = machine.apply(ops.document(seq, [{"id": f"c{seq}.{n}", **c} for n, c in enumerate(commands)]))
        assert code == 0, log
        return machine.results(seq)["results"]

    def codes(results):
        return [result["code"] for result in results]

    def bind(user, label, key="one"):
        return {"do": "keys.bind", "user": user, "keypair": label, "key": keys[key]}

    def unbind(user, label):
        return {"do": "keys.unbind", "user": user, "keypair": label}

    def labels():
        return {json.loads(line)["keypair"] for line in read(LEDGER).splitlines()}

    users = ("alice", "bob", "carol")
    results = do(*({"do": "user.ensure", "user": user} for user in users), *(bind(user, "base") for user in users))
    assert set(codes(results)) == {"ok"}, results

    # --- many keys that have served their time ----------------------------------------------------------------------------
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "4096", "-N", "", "-f", "/tmp/rsa"], check=True)
    rsa = " ".join(read("/tmp/rsa.pub").split()[:2])
    expired = "".join(f'expiry-time="20200101000000Z" {rsa} latchkey:old{number}\n' for number in range(100))
    plant("alice", expired + read(key_file("alice")))
    result = do(bind("alice", "new", "two"))[0]
    check(result["code"] == "ok" and machine.login_with_key("alice", "/tmp/two"), f"a hundred expired keys keep no new one out: {result}")
    left = read(key_file("alice")).count("latchkey:old")
    check(left < 100, "and some of them go with each write")
    do(unbind("alice", "new"))
    check(read(key_file("alice")).count("latchkey:old") < left, "and more with the next")

    # --- many lines under one label ------------------------------------------------------------------------------------
    many = "".join(f"a {base64.b64encode(bytes((0, 0, 0, 1, 97)) + number.to_bytes(4, 'big')).decode()} latchkey:base\n"
                   for number in range(36000))
    plant("bob", many)
    plant("bob", many, "authorized_keys2")
    results = do(unbind("bob", "base"), unbind("carol", "base"))
    check(results[1]["code"] == "ok" and not os.path.exists(key_file("carol")), f"what bob planted keeps carol's key from nothing {results[1]}")
    check(results[0]["code"] == "too_large" and "too many lines" in results[0]["detail"], f"and his own command says what is wrong {results[0]}")

    # --- bytes that are no text, in a line of ours -------------------------------------------------------------------------
    plant("bob", "")
    os.unlink("/home/bob/.ssh/authorized_keys2")
    assert set(codes(do(bind("bob", "odd"), bind("carol", "base")))) == {"ok"}
    with open(key_file("bob"), "r+b") as file:
        line = file.read()
        file.seek(0)
        file.write(line.replace(b" latchkey:odd", b" J\xf6rg latchkey:odd"))
    results = do(unbind("bob", "odd"), unbind("carol", "base"))
    check(codes(results) == ["ok", "ok"] and not os.path.exists(key_file("bob")), f"what bob's line holds keeps nobody's command from being done {results}")

    with open("/etc/passwd", "rb") as file:
        passwd = file.read()
    with open("/etc/passwd", "wb") as file:
        file.write(passwd.replace(b":/home/bob:", b":/home/b\xf6b:"))
    results = do(bind("bob", "odd"), bind("carol", "base"))
    check(codes(results) == ["home_unsafe", "ok"], f"nor does the name of his home {results}")
    with open("/etc/passwd", "wb") as file:
        file.write(passwd)
    do(unbind("carol", "base"))
    subprocess.run(["sed", "-i", r"s/^bob:\([^:]*:[^:]*:[^:]*\):[^:]*:/bob:\1:J\xf6rg:/", "/etc/passwd"], env={"LC_ALL": "C"}, check=True)
    results = do({"do": "user.ensure", "user": "bob", "gecos": "Bob"}, {"do": "user.ensure", "user": "carol", "gecos": "Carol"})
    check(results[0]["code"] in ("ok", "internal") and results[1]["code"] == "ok", f"nor what he calls himself {results}")
    with open("/etc/passwd", "wb") as file:
        file.write(passwd)

    # --- many bound keys -------------------------------------------------------------------------------------------------
    do(bind("carol", "base"))
    text = read(LEDGER)
    entry = json.loads(text.splitlines()[0])

    def fill(size):
        lines, filled = [text], len(text)
        while filled < size - 3000:
            lines.append(json.dumps({**entry, "user": "nobody", "keypair": f"many{len(lines)}"}, separators=(",", ":")) + "\n")
            filled += len(lines[-1])
        write(LEDGER, "".join(lines), 0o600)

    fill(6 << 20)
    before = labels()
    results = do(*(bind("carol", f"more{number}", "two") for number in range(9)))
    full = [result for result in results if result["code"] == "too_large"]
    check(0 < len(full) < 9 and {"ok", "too_large"} == set(codes(results)) and "bound" in full[0]["detail"],
          f"where the list of bound keys is full a bind says so: {full[:1]}")
    check(before < labels() and os.path.getsize(LEDGER) <= 6 << 20, "and nothing of the list is lost")
    check(codes(do(unbind("carol", "base"), unbind("carol", "more0"))) == ["ok", "ok"] and "more0" not in labels(), "an unbind works on")
    fill(9 << 20)
    check(codes(do(unbind("carol", "more1"))) == ["ok"] and "more1" not in labels(), "also where the list is larger than it may be")

    # --- many accounts ---------------------------------------------------------------------------------------------------
    path = f"{STATE}/plugin/account/ledger"
    text, lines, filled = read(path), [], 0
    while len(text) + filled < (8 << 20) - 90:
        lines.append(json.dumps({"user": f"gone{len(lines)}", "uid": 1000, "created": True, "sudo": "none", "groups": [],
                                 "gone": True}, separators=(",", ":")) + "\n")
        filled += len(lines[-1])
    write(path, text + "".join(lines), 0o600)
    size = os.path.getsize(path)
    result = do({"do": "user.ensure", "user": "dave"}, {"do": "user.ensure", "user": "erin"})
    check(codes(result) == ["too_large"] * 2 and os.path.getsize(path) == size, f"a list of accounts that is full makes no account {result}")
    check("dave" not in read("/etc/passwd") and not os.path.exists("/home/dave"), "and nothing of one")
    check(codes(do({"do": "user.ensure", "user": "bob", "gecos": "Bob"}, {"do": "user.remove", "user": "carol"})) == ["ok", "ok"], "what stands is still in hand")


main(test)
