#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""P87: each file of the state, damaged in each way that a disk, a restore or a hand can damage it. What is damaged is set
aside and told, nothing that was done is done again, and the next good document applies."""
import json
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import STATE, Machine, Signer, check, keygen, main, read, wait_for, write  # noqa: E402

QUARANTINE = f"{STATE}/quarantine"


def flip(path):
    with open(path, "r+b") as file:
        middle = os.path.getsize(path) // 2
        file.seek(middle)
        byte = file.read(1)
        file.seek(middle)
        file.write(bytes(one ^ 0x20 for one in byte))


def truncated(path):
    os.truncate(path, os.path.getsize(path) // 2)


def empty(path):
    os.truncate(path, 0)


def garbage(path):
    with open(path, "wb") as file:
        file.write(os.urandom(1000) + b"\n" + os.urandom(1000) + b"\n")


def foreign(path):
    os.chown(path, 1234, 1234)


def directory(path):
    os.unlink(path)
    os.mkdir(path)


def fifo(path):
    os.unlink(path)
    os.mkfifo(path, 0o600)


def link(path):
    shutil.copy(path, "/tmp/target")
    os.unlink(path)
    os.symlink("/tmp/target", path)


WAYS = (flip, truncated, empty, garbage, foreign, directory, fifo, link)
SEEN = {garbage, foreign, directory, fifo, link}  # ways that cannot be taken for a crash, or for a file that is new
LINES = {"history/current", "plugin/account/ledger", "plugin/authorized-keys/ledger"}
KEYS = {"identity/sign", "identity/box"}


def test():
    machine, ops, root = Machine(url=None), Signer(), Signer("/tmp/root1", "root1")
    write("/etc/latchkey/allowed_signers", ops.line())
    write("/etc/latchkey/trust_roots", root.line(options='namespaces="latchkey-trust@1"'))
    machine.redo()
    key = keygen("/tmp/alice")
    machine.apply(ops.document(1, [{"id": "u1", "do": "user.ensure", "user": "alice"},
                                   {"id": "k1", "do": "keys.bind", "user": "alice", "keypair": "laptop", "key": key}]))
    machine.apply(root.sign(json.dumps({"v": 1, "version": 3, "signers": [], "revoked": ["SHA256:x"]}) + "\n",
                            "latchkey-trust@1"), "--trust", "-")
    machine.apply(ops.document(2, [{"id": "u2", "do": "user.ensure", "user": "bob"}]))
    old = ops.document(2, [{"id": "r1", "do": "user.ensure", "user": "replayed"}])
    for name in os.listdir(f"{STATE}/results"):
        os.unlink(f"{STATE}/results/{name}")  # the endpoint has them
    subprocess.run(["cp", "-a", STATE, "/tmp/state"], check=True)
    subprocess.run(["cp", "-a", "/etc", "/tmp/etc"], check=True)
    files = sorted(os.path.relpath(os.path.join(folder, name), STATE) for folder, _, names in os.walk(STATE) for name in names
                   if name != "lock")
    check({"history/current", "trust/document", "spare", "version", *LINES, *KEYS} <= set(files), f"a state to damage {files}")
    begin = int(time.time())
    wait_for(lambda: int(time.time()) > begin, "the documents above are older than what follows")

    def restore():
        for folder in (STATE, "/run/latchkey", "/home/carol"):
            shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["cp", "-a", "/tmp/state", STATE], check=True)
        for name in ("passwd", "shadow", "group", "gshadow"):
            subprocess.run(["cp", "-a", f"/tmp/etc/{name}", f"/etc/{name}"], check=True)

    for name in files:
        wrong = []
        for way in WAYS:
            restore()
            way(f"{STATE}/{name}")
            redone, log = machine.redo()
            replayed = machine.apply(old)[0]
            new = machine.apply(ops.document(11, [{"id": "n1", "do": "user.ensure", "user": "carol"}]))
            results = machine.results(11)
            status = machine.status()
            codes = [problem["code"] for problem in status["problems"]]
            kept = os.listdir(QUARANTINE) if os.path.isdir(QUARANTINE) else []
            told = "state_damaged" in codes and status["health"] != "ok" and kept
            if len(kept) > 8 or "carol:" in read("/etc/passwd") and not results:
                wrong.append((way.__name__, "litter, or nothing told", kept))
            # A revocation that cannot be read is not "nothing is revoked": until a trust document comes, nobody is believed.
            if name == "trust/document" and way not in (flip, foreign):
                if new[0] != 75 or "trust_unreadable" not in codes:
                    wrong.append((way.__name__, new, codes))
                continue
            # Nobody can tell a model's disk from a name that was damaged: a clone starts over (P16). Nor an empty history
            # from one that begins.
            starts_over = name == "identity/machine" or name == "history/current" and way in (truncated, empty)
            if "replayed:" in read("/etc/passwd") and not starts_over:
                wrong.append((way.__name__, "done again", replayed))
            if redone != 0 or new[0] != 0 or not results or results["results"][0]["code"] != "ok":
                wrong.append((way.__name__, redone, log, new, results))
            if name in LINES and way in SEEN and not told or name in KEYS and way in SEEN | {truncated, empty} and not told:
                wrong.append((way.__name__, "not told", codes, kept))
        check(not wrong, f"P87_ {name}: {'' if not wrong else wrong[:2]}")

    for way in (garbage, foreign, directory, fifo, link):
        restore()
        os.makedirs(f"{STATE}/journal", exist_ok=True)
        write(f"{STATE}/journal/7", "")
        way(f"{STATE}/journal/7")
        redone, log = machine.redo()
        new = machine.apply(ops.document(11, [{"id": "n1", "do": "user.ensure", "user": "carol"}]))
        check(redone == 0 and new[0] == 0 and machine.result(11, "n1")["code"] == "ok", f"P87_ journal/7, {way.__name__}: {log}")

    restore()
    garbage(f"{STATE}/history/current")
    machine.redo()
    check(machine.apply(old)[0] == 0 and machine.results(0)["document"] == "replayed", "P87_ with the history lost, what is older is refused")
    shutil.rmtree(QUARANTINE)
    machine.redo()
    check(machine.status()["health"] == "ok", "what was set aside is told until somebody takes it away")
    restore()
    with open(f"{STATE}/history/current", "a") as file:
        file.write('{"t":"command","id":"torn')
    machine.redo()
    machine.apply(ops.document(11, []))
    machine.redo()
    check(not os.listdir(QUARANTINE) and "torn" not in read(f"{STATE}/history/current"),
          "P20_ a line that a crash has torn is cut, and no damage")


main(test)
