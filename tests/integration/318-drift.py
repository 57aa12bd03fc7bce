#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Drift: what was bound is looked at when latchkeyd says, by latchkey-apply --sweep, in the user's child; what is gone is
reported, or put back three times a day; what has expired goes; a clone's bindings are inherited."""
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import STATE, Machine, Signer, check, keygen, main, read, wait_for, write  # noqa: E402

FILE = "/home/alice/.ssh/authorized_keys"
LEDGER = f"{STATE}/plugin/authorized-keys/ledger"
POLICY = "/etc/latchkey/policy.conf"


def ledger():
    return {entry["keypair"]: entry for entry in map(json.loads, read(LEDGER).splitlines())}


def configure(drift, sweep=21600):
    write("/etc/latchkey/latchkey.conf", f"[agent]\ninstance = vm-1\n[keys]\ndrift = {drift}\nsweep = {sweep}\n")


def lines():
    return read(FILE).splitlines()


def put(text):
    with open(FILE, "w", encoding="utf-8") as file:
        file.write(text)


def problems(machine):
    return {problem["code"]: problem["detail"] for problem in machine.status()["problems"]}


def can_log_in(user):
    lines = [json.loads(line) for line in read("/run/latchkey/view").splitlines()]
    return next(line["key"]["can"] for line in lines if line.get("t") == "user" and line["user"] == user)


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    configure("report")
    machine.start_sshd()
    machine.redo()
    check(os.listdir(f"{STATE}/sweep") == [], "P83: nothing is managed, so nobody looks")
    keys = {name: keygen(f"/tmp/{name}") for name in ("one", "two", "brief", "other")}
    seq = 0

    def do(*commands):
        nonlocal seq
        seq += 1
        code, log = machine.apply(ops.document(seq, [{"id": f"c{seq}.{n}", **c} for n, c in enumerate(commands)]))
        assert code == 0, log
        return machine.results(seq)["results"]

    def sweep():
        code, log = machine.apply(b"", "--sweep")
        assert code == 0, log
        return log

    def bind(name, **more):
        return {"do": "keys.bind", "user": "alice", "keypair": name, "key": keys[name], **more}

    def state(name):
        return ledger()[name]["state"]

    results = do({"do": "user.ensure", "user": "alice"}, bind("one"), bind("two"))
    assert all(result["code"] == "ok" for result in results), results
    due = os.listdir(f"{STATE}/sweep")
    now = int(time.time())
    check(len(due) == 1 and now + 19000 < int(due[0]) <= now + 21600, f"the first look is due in six hours {due}")
    check(sweep() == "" and state("one") == "present", "nothing to say")
    whole = read(FILE)

    # --- report --------------------------------------------------------------------------------------------------------
    put("\n".join(line for line in lines() if "latchkey:one" not in line) + "\n")
    log = sweep()
    check(state("one") == "missing" and state("two") == "present" and "one: gone" in log, "report: a line is gone")
    check(": 1 " in problems(machine).get("drift", "") and machine.status()["health"] == "degraded", "in the status")
    check(not any(name in problems(machine)["drift"] for name in ("alice", " one")), "which names nobody: everybody reads it")
    check("latchkey:one" not in read(FILE), "and nothing was changed")
    check(do(bind("one"))[0]["changed"] and state("one") == "present", "a bind puts it back")
    put(read(FILE).replace(" latchkey:two", ""))
    sweep()
    check(state("two") == "foreign" and "drift" in problems(machine), "somebody took our mark off: the line is his now")
    put(read(FILE).replace(keys["one"], keys["other"]))
    sweep()
    check(state("one") == "missing", "another key under our label is not ours")
    check(can_log_in("alice"), "another key of hers logs in")
    put("")
    sweep()
    check(not can_log_in("alice"), "with none left the status does not say any more that she can log in")
    put(whole)
    check(sweep() == "" and can_log_in("alice") and state("one") == state("two") == "present" and "drift" not in problems(machine), "all is well again")
    os.rename("/home/alice", "/home/away")
    log = sweep()
    check("not looked at" in log and state("one") == "present", "a home that is not there: nothing is known")
    os.rename("/home/away", "/home/alice")

    # --- restore -------------------------------------------------------------------------------------------------------
    configure("restore")
    for number in (1, 2, 3):
        put(read(FILE).replace(keys["one"], keys["other"]) if number == 2 else
            "\n".join(line for line in lines() if "latchkey:one" not in line) + "\nhis own\n")
        check(f"one: put back ({number})" in sweep() and keys["one"] in read(FILE) and keys["other"] not in read(FILE),
              f"restore: put back, {number}")
        check(machine.login_with_key("alice", "/tmp/one") and state("one") == "present", "and it logs in")
    put("\n".join(line for line in lines() if "latchkey:one" not in line) + "\n")
    sweep()
    check(state("one") == "missing" and keys["one"] not in read(FILE), "the fourth time it stays away")
    check("drift_contested" in problems(machine), "drift_contested")
    text = read(LEDGER)
    write(LEDGER, text.replace(f'"restored_at":{ledger()["one"]["restored_at"]}', f'"restored_at":{now - 90000}'), 0o600)
    check("put back (1)" in sweep() and "drift_contested" not in problems(machine), "a day later it is tried again")
    check("his own" in read(FILE), "what is his stays")

    # --- ignore --------------------------------------------------------------------------------------------------------
    configure("ignore")
    put("\n".join(line for line in lines() if "latchkey:one" not in line) + "\n")
    check(sweep() == "" and state("one") == "present" and os.listdir(f"{STATE}/sweep") == [], "ignore: nobody looks")
    configure("report")
    put(whole)

    # --- expiry --------------------------------------------------------------------------------------------------------
    write(POLICY, "[keys]\nexpiry = agent\n")
    end = int(time.time()) + 4
    check(do(bind("brief", expires=end))[0]["code"] == "ok", "a key with an end")
    check(os.listdir(f"{STATE}/sweep") == [str(end)], "where the agent ends it, the next look is due at its end")
    machine.start_daemon()
    wait_for(lambda: "latchkey:brief" not in read(FILE), "latchkeyd has the expired line taken away")
    wait_for(lambda: "brief" not in ledger(), "and the ledger")
    check(int(time.time()) >= end and not machine.login_with_key("alice", "/tmp/brief"), "latchkeyd ends it in time")
    wait_for(lambda: os.listdir(f"{STATE}/sweep") not in ([], [str(end)]), "the next look is written down")
    check(int(os.listdir(f"{STATE}/sweep")[0]) > end + 15000, "and it is far away")
    configure("restore", 60)
    put("\n".join(line for line in lines() if "latchkey:one" not in line) + "\n")
    os.rename(f"{STATE}/sweep/{os.listdir(f'{STATE}/sweep')[0]}", f"{STATE}/sweep/{int(time.time())}")
    machine.stop("latchkeyd")
    machine.start_daemon()
    wait_for(lambda: "latchkey:one" in read(FILE), "what is due at boot is done at boot")
    check(True, "what is due at boot is done at boot")
    machine.stop("latchkeyd")
    write(POLICY, "")

    # --- the account goes ------------------------------------------------------------------------------------------------
    configure("report")
    do({"do": "user.ensure", "user": "bob"}, {"do": "keys.bind", "user": "bob", "keypair": "bobs", "key": keys["other"]})
    do({"do": "keys.bind", "user": "bob", "keypair": "bobs-too", "key": keys["two"], "location": "runtime"})
    check(os.path.exists("/run/latchkey/authorized_keys/bob"), "bob has a key at runtime")
    subprocess.run(["userdel", "-f", "-r", "bob"], check=True, stderr=subprocess.DEVNULL)
    sweep()
    check("bobs" not in ledger() and "one" in ledger(), "a user who is gone is forgotten")
    check(not os.path.exists("/run/latchkey/authorized_keys/bob"), "whoever gets the name later finds no key of his")

    # --- and somebody else gets the name -----------------------------------------------------------------------------------
    configure("restore")
    numbers = {}
    for number, user in enumerate(("cara", "dora", "emil")):
        results = do({"do": "user.ensure", "user": user, "uid": 7000 + number}, {"do": "keys.bind", "user": user, "keypair": user + "s", "key": keys["other"]})
        assert all(result["code"] == "ok" for result in results), results
        numbers[user] = 7000 + number
    check(do({"do": "user.remove", "user": "cara", "home": "delete"})[0]["code"] == "ok" and "caras" not in ledger(),
          "what was bound to an account is forgotten with it")
    do({"do": "user.ensure", "user": "cara", "uid": numbers["cara"]})
    subprocess.run(["userdel", "-f", "-r", "dora"], check=True, stderr=subprocess.DEVNULL)
    subprocess.run(["useradd", "-m", "-u", "7100", "dora"], check=True)
    subprocess.run(["usermod", "-u", "7200", "emil"], check=True)
    log = sweep()
    for user in ("cara", "dora"):
        check(not os.path.exists(f"/home/{user}/.ssh/authorized_keys"), f"restore: the new {user} does not get the former one's key")
    check("doras: bound to another account" in log and "doras" not in ledger(), "and it is forgotten, and said")
    check("latchkey:emils" in read("/home/emil/.ssh/authorized_keys") and ledger()["emils"]["uid"] == 7200,
          "an account that changed its uid keeps its key")

    # --- what is taken away does not come back -----------------------------------------------------------------------------
    home = "/home/emil/.ssh/authorized_keys"

    def emil(what, label, key=None, **more):
        return do({"do": f"keys.{what}", "user": "emil", "keypair": label, **({"key": keys[key]} if key else {}), **more})[0]["code"]

    def without(label):
        with open(home, encoding="utf-8") as file:
            left = [line for line in file if not line.endswith(f"latchkey:{label}\n")]
        with open(home, "w", encoding="utf-8") as file:
            file.writelines(left)

    check(emil("bind", "first", "one") == emil("bind", "moved", "one", location="runtime") == "ok", "two more keys")
    without("first")
    check(emil("unbind", "first") == "ok" and "first" not in ledger(), "an unbind of what he had taken out himself is noted")
    with open("/run/latchkey/authorized_keys/emil", "w", encoding="utf-8"):
        pass
    check(emil("replace", "moved", "two") == "ok" and len([line for line in read(LEDGER).splitlines() if '"moved"' in line]) == 1,
          "what is replaced is noted nowhere else")
    sweep()
    check("latchkey:first" not in read(home) and read("/run/latchkey/authorized_keys/emil") == "", "restore: neither comes back")

    folder = os.path.dirname(LEDGER)
    text = read(LEDGER)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", folder], check=True)
    write(LEDGER, text, 0o600)
    with open(f"{folder}/filler", "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 4096)
        except OSError:
            pass
    check(emil("replace", "moved", "one") == "no_space" and keys["one"] in read(home) and keys["two"] not in read(home),
          "where the ledger cannot be written a key is replaced, but it is not done yet")
    check(emil("unbind", "emils") == "no_space" and "latchkey:emils" not in read(home), "so it is with an unbind")
    os.unlink(f"{folder}/filler")
    machine.redo()
    check(emil("replace", "moved", "one") == "ok" and emil("unbind", "emils") == "ok", "there is room again")
    check(sweep() == "" and keys["one"] in read(home) and keys["two"] not in read(home) and "latchkey:emils" not in read(home),
          "restore: what was replaced or unbound then does not come back")
    subprocess.run(["umount", folder], check=True)
    write(LEDGER, text, 0o600)

    # --- a clone -----------------------------------------------------------------------------------------------------------
    def become_a_clone():
        parts = read(f"{STATE}/identity/machine").split()
        write(f"{STATE}/identity/machine", " ".join("0" * 8 + part[8:] if part != "-" else part for part in parts) + "\n", 0o600)
        code, log = machine.redo()
        assert code == 0 and "cloned" in log, (code, log)

    become_a_clone()
    check(state("one") == state("two") == "inherited" and machine.login_with_key("alice", "/tmp/one"), "a clone inherits, and says so")
    sweep()
    check(state("one") == "inherited", "for good")
    write(POLICY, "[keys]\ninherited = remove\n")
    become_a_clone()
    check(not machine.login_with_key("alice", "/tmp/one") and read(LEDGER) == "", "inherited = remove: they go")
    check(not os.path.exists(FILE), "and with them the file, which was ours")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=64k,uid={numbers['cara']},mode=700", "tmpfs", "/home/cara"], check=True)
    do({"do": "keys.bind", "user": "cara", "keypair": "old", "key": keys["one"]}, bind("one"))
    with open("/home/cara/filler", "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 4096)
        except OSError:
            pass
    with open("/home/cara/.ssh/authorized_keys", "a", encoding="utf-8") as file:
        file.write("# his\n")
    parts = read(f"{STATE}/identity/machine").split()
    write(f"{STATE}/identity/machine", " ".join("1" * 8 + part[8:] if part != "-" else part for part in parts) + "\n", 0o600)
    machine.redo()
    check("one" not in ledger() and "old" in ledger(), "a clone again; what cannot be taken away now is tried again")
    do(bind("two"))
    machine.apply(b"", "--sweep")
    check("latchkey:two" in read(FILE) and state("two") == "present", "what was bound on this machine since is not inherited")
    os.unlink("/home/cara/filler")
    machine.apply(b"", "--sweep")
    check("old" not in ledger() and "latchkey:two" in read(FILE) and machine.login_with_key("alice", "/tmp/two"), "also when the rest is done")
    subprocess.run(["umount", "/home/cara"], check=True)


main(test)
