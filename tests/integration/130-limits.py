#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""latchkey-apply at its limits: the largest document and its results, floors, ids that repeat, a confirmation that a crash
interrupts, several open journals, a clone that is interrupted, odd files in another machine's state."""
import glob
import hashlib
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import APPLY, STATE, Machine, Signer, check, keygen, main, payload_of, read, write  # noqa: E402


def all_results(seq):
    found = {}
    for path in glob.glob(f"{STATE}/results/{seq}") + glob.glob(f"{STATE}/results/{seq}.*"):
        text = read(path)
        check(len(text) < 1 << 20, f"  results/{os.path.basename(path)} fits into the link ({len(text)} bytes)")
        payload = payload_of(text)
        check(payload["seq"] == seq and len(payload["digest"]) == 64, "  and names its document")
        for result in payload["results"]:
            check(result["id"] not in found, f"  {result['id']} once") if result["id"] in found else None
            found[result["id"]] = result
    return found


def refusal(machine):
    return machine.results(0)["document"] if os.path.exists(f"{STATE}/results/0") else None


def journal(document, seq, *lines):
    """What a crash leaves: the document's line and those given."""
    import base64
    payload = document.split(b"-----BEGIN")[0]
    head = {"v": 1, "t": "document", "digest": hashlib.sha256(payload).hexdigest(),
            "issued": json.loads(payload)["issued"], "signer": "ops", "body": base64.b64encode(document).decode()}
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in (head, *lines))
    write(f"{STATE}/journal/{seq}", text, 0o600)


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    machine.start_sshd()
    machine.redo()
    os.makedirs(f"{STATE}/journal", mode=0o700, exist_ok=True)

    # --- a full document of long lines: each plan has the line as it was and as it will be, and all of a batch are one reply -------
    write("/etc/latchkey/policy.conf", "[keys]\noptions = from\n")
    bind = {"do": "keys.bind", "keypair": "k", "key": keygen("/tmp/many")}
    ranges = [[f"2001:db{word}:1234:5678:9abc:def0:{n:x}:0/112" for n in range(16)] for word in (8, 9)]
    for seq, command in enumerate(({"do": "user.ensure"}, {**bind, "from": ranges[0]}, {**bind, "from": ranges[1]}), 1):
        text = ops.document(seq, [{"id": f"g{seq}-{n}", "user": f"g{n}", **command} for n in range(960)])
        check(len(text) < 1 << 20 and machine.apply(text)[0] == 0, f"960 times {command['do']}, {len(text)} bytes")
        codes = {r["code"] for r in all_results(seq).values()}
        check(codes == {"ok"}, f"  are {codes}")
    os.unlink("/etc/latchkey/policy.conf")
    subprocess.run(["rm", "-rf", STATE])
    machine.redo()
    os.makedirs(f"{STATE}/journal", mode=0o700, exist_ok=True)

    # --- nothing, and very much -----------------------------------------------------------------------------------------
    check(machine.apply(ops.document(1, []))[0] == 0 and machine.results(1)["results"] == [], "P112_ no command at all")
    many = ops.document(2, [{"id": f"{i:04d}" + "x" * 40, "do": "no.such." + "y" * 50, "n": "z" * 60} for i in range(4096)],
                        actor="é" * 64)
    check(len(many) < 1 << 20, f"P112_ 4,096 commands in {len(many)} bytes")
    check(machine.apply(many)[0] == 0 and not os.listdir(f"{STATE}/journal"), "  are taken over and ended")
    found = all_results(2)
    check(len(found) == 4096 and all(r["code"] == "unknown_command" for r in found.values()), "  each has its result")
    check(machine.apply(ops.document(1, []))[0] == 0 and refusal(machine) == "replayed",
          "  and an older document is still a replay")
    os.unlink(f"{STATE}/results/0")
    machine.apply(ops.document(3, [{"id": "0007" + "x" * 40, "do": "user.ensure", "user": "zed"}]))
    check("zed:" not in read("/etc/passwd") and machine.result(3, "0007" + "x" * 40)["code"] == "unknown_command",
          "  an id that was answered is answered the same for ever")
    users = [{"id": f"e{i}", "do": "diagnose", "user": f"nobody{i}"} for i in range(4096)]
    looks = all_results(4) if machine.apply(ops.document(4, users))[0] == 0 else {}
    check(len(looks) == 4096 and all(looks[f"e{i}"]["login"][f"nobody{i}"]["key"]["blockers"] == ["no_such_user"] for i in range(4096)),
          "  4,096 look-ups too, each with its answer")

    # --- a history that cannot be read ------------------------------------------------------------------------------------
    os.rename(f"{STATE}/history/current", f"{STATE}/history/kept")
    os.mkdir(f"{STATE}/history/current")
    check(machine.apply(ops.document(1, []))[0] == 75, "P86_ an unreadable history is not an empty one: try again")
    check("history_unreadable" in [p["code"] for p in machine.status()["problems"]], "  and status says so")
    os.rmdir(f"{STATE}/history/current")
    os.rename(f"{STATE}/history/kept", f"{STATE}/history/current")

    # --- what a crash leaves is not a replay ---------------------------------------------------------------------------------
    document = ops.document(5, [{"id": "j1", "do": "user.ensure", "user": "jay"}])
    journal(document, 5)
    check(machine.apply(document)[0] == 0 and refusal(machine) is None, "a document that its open journal holds is no replay")
    check(machine.apply(ops.document(5, []))[0] == 0 and refusal(machine) == "replayed", "  another with its seq is")
    os.unlink(f"{STATE}/results/0")
    machine.redo()
    check("jay:" in read("/etc/passwd") and machine.result(5, "j1")["code"] == "ok", "  the redo applies it")
    later = int(time.time()) + 200
    journal(ops.document(6, [], issued=later, expires=later + 100), 6)
    machine.redo()
    check(machine.status()["seq"] == 6, "seq 6 by its journal")

    # --- two journals: only the newest document begins anything -----------------------------------------------------------------
    journal(ops.document(7, [{"id": "o1", "do": "user.ensure", "user": "oldone"}]), 7)
    journal(ops.document(8, [{"id": "o2", "do": "user.ensure", "user": "newone"}]), 8)
    machine.redo()
    check("oldone:" not in read("/etc/passwd") and "newone:" in read("/etc/passwd") and not os.listdir(f"{STATE}/journal"),
          "of two open journals the older begins nothing any more, and both end")

    # --- a signer who is struck off while his document waits -----------------------------------------------------------------------
    journal(ops.document(9, [{"id": "s1", "do": "user.ensure", "user": "sneak"}]), 9)
    other = Signer("/tmp/other", "other")
    write("/etc/latchkey/allowed_signers", other.line())
    machine.redo()
    check("sneak:" not in read("/etc/passwd") and machine.result(9, "s1")["code"] == "signer",
          "P113_ what a signer who is no longer trusted left open is not begun")
    write("/etc/latchkey/allowed_signers", ops.line())

    # --- confirmation ------------------------------------------------------------------------------------------------------------------
    key = keygen("/tmp/key")
    machine.apply(ops.document(10, [{"id": "k0", "do": "keys.bind", "user": "jay", "keypair": "k", "key": key}]))
    machine.apply(ops.document(11, [{"id": "c1", "do": "sshd.set", "password_auth": False, "confirm_within": 3600}]))
    check(machine.result(11, "c1")["code"] == "awaiting_confirm", "a change on trial")
    confirm = ops.document(12, [{"id": "c2", "do": "sshd.confirm", "confirms": "c1"}])
    revert = glob.glob(f"{STATE}/revert/*")[0]
    # The first unlinkat is of a last good configuration in /run that is not there.
    tracer = subprocess.run(["/usr/bin/strace", "-f", "-qq", "-o", "/tmp/trace", "-e", "trace=unlinkat", "-e",
                             "inject=unlinkat:signal=KILL:when=2", APPLY, "--document", "-"], input=confirm,
                            stderr=subprocess.DEVNULL, env={})
    check(tracer.returncode != 0, "P81_ killed in the middle of the confirmation")
    machine.redo()
    check(machine.result(12, "c2")["code"] == "ok" and machine.result(11, "c1")["code"] == "ok" and
          not os.path.exists(revert), "  the redo finishes it, and says so")
    journal(ops.document(13, [{"id": "c3", "do": "sshd.confirm", "confirms": "c1"}]), 13)
    machine.redo()
    check(machine.result(13, "c3")["code"] == "conflict", "  another confirmation has nothing to confirm")
    journal(confirm, 12)
    os.unlink(f"{STATE}/results/12")
    history = read(f"{STATE}/history/current").splitlines(keepends=True)
    write(f"{STATE}/history/current", "".join(l for l in history if '"id":"c2"' not in l), 0o600)
    machine.redo()
    check(machine.result(12, "c2")["code"] == "ok", "  a crash after the confirmation and before its result: still ok")

    # --- a change on trial that could not be made is not on trial ------------------------------------------------------------------------
    trial = {"id": "t1", "do": "sshd.set", "permit_root_login": "no", "confirm_within": 3600}
    document = ops.document(14, [trial])
    journal(document, 14, {"t": "plan", "stage": 3, "plugin": "sshd", "plans": {"t1": {}}, "results": []},
            {"t": "applied", "stage": 3, "plugin": "sshd", "results": [
                {"id": "t1", "code": "busy", "changed": False, "detail": "", "users": []}]})
    write(f"{STATE}/revert/{int(time.time()) + 3600}-14-t1", "{}", 0o600)
    write(f"/run/latchkey/revert/{10 ** 10}-{os.path.basename(glob.glob(f'{STATE}/revert/*')[0])}", "", 0o600)
    machine.redo()
    drop_in = "/etc/ssh/sshd_config.d/00-latchkey.conf"
    check(machine.result(14, "t1")["code"] != "awaiting_confirm" or "PermitRootLogin no" in read(drop_in),
          f"awaiting_confirm only for what was really applied ({machine.result(14, 't1')['code']})")
    machine.apply(ops.document(15, [{"id": "t2", "do": "sshd.confirm", "confirms": "t1"}]))

    # --- observe ---------------------------------------------------------------------------------------------------------------------------
    write("/etc/latchkey/policy.conf.d/observe.conf", "[policy]\nmode = observe\n")
    machine.apply(ops.document(16, [{"id": "b1", "do": "sshd.confirm", "confirms": "nothing"},
                                    {"id": "b2", "do": "sshd.set", "password_auth": True, "confirm_within": 60}]))
    codes = {r["id"]: r["status"] for r in machine.results(16)["results"]}
    check(set(codes.values()) <= {"observed", "rejected"} and not os.listdir(f"{STATE}/revert"), f"observe changes nothing {codes}")
    os.unlink("/etc/latchkey/policy.conf.d/observe.conf")

    # --- root-equivalent groups -------------------------------------------------------------------------------------------------------------------
    with open("/etc/group", "a") as file:
        file.write("docker:x:4242:\nwhale:x:4242:\nplain:x:4243:\n")
    write("/etc/latchkey/policy.conf.d/groups.conf", "[groups]\nallow = *\n")
    machine.apply(ops.document(17, [{"id": f"g{i}", "do": "user.ensure", "user": f"gina{i}", "groups": [g]}
                                    for i, g in enumerate(("docker", "whale", "plain", "sudo"))]))
    codes = [machine.result(17, f"g{i}")["code"] for i in range(4)]
    check(codes == ["group_privileged", "group_privileged", "ok", "group_privileged"],
          f"T30_ `[groups] allow = *` gives no root-equivalent group, by name or gid {codes}")

    # --- the floors are reset, what was done is not forgotten ---------------------------------------------------------------------------------------
    check(machine.apply(b"", "--reset-floor")[0] == 0 and machine.status()["seq"] == 0, "--reset-floor: seq 0")
    waiting = len(os.listdir(f"{STATE}/results"))
    machine.apply(ops.document(1, [{"id": "j1", "do": "user.ensure", "user": "again"},
                                   {"id": "r1", "do": "user.ensure", "user": "reset"}]))
    check("reset:" in read("/etc/passwd") and machine.status()["seq"] == 1, "  a document with a low seq is heard again")
    check("again:" not in read("/etc/passwd") and machine.result(1, "j1")["code"] == "ok", "  a repeated id is still not done twice")
    check(len(os.listdir(f"{STATE}/results")) >= waiting, "  and undelivered results are still there")

    # --- a clone that is interrupted ---------------------------------------------------------------------------------------------------------------------
    old = read(f"{STATE}/identity/text")
    write(f"{STATE}/identity/machine", "the-model\n", 0o600)
    machine.redo()
    count = read(f"{STATE}/identity/text") != old
    check(count, "P16_ a clone has another identity")
    for step in range(1, 200):
        for name in glob.glob(f"{STATE}/identity/*"):
            if not name.endswith("machine"):
                os.unlink(name)
        write(f"{STATE}/identity/machine", read("/etc/machine-id"), 0o600)
        machine.redo()
        sign = open(f"{STATE}/identity/sign", "rb").read()
        write(f"{STATE}/identity/machine", "the-model\n", 0o600)
        journal(ops.document(2, [{"id": f"m{step}", "do": "user.ensure", "user": "modeluser"}]), 2)
        killed = subprocess.run(["/usr/bin/strace", "-qq", "-o", "/dev/null", "-e", "trace=unlinkat,renameat2,fsync", "-e",
                                 f"inject=unlinkat,renameat2,fsync:signal=KILL:when={step}", APPLY, "--view"],
                                stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={})
        machine.redo()
        if open(f"{STATE}/identity/sign", "rb").read() == sign or "modeluser:" in read("/etc/passwd"):
            check(False, f"P16_ killed at step {step}: the model's key and its journal are gone")
        if killed.returncode == 0:
            break
    check(True, f"P16_ a clone that is killed at any of its {step} steps is still a clone")

    # --- another machine's disk, made by somebody hostile ------------------------------------------------------------------------------------------------------
    root = "/tmp/disk"
    for folder in ("etc", "var/lib/latchkey", "home"):
        os.makedirs(f"{root}/{os.path.dirname(folder)}", exist_ok=True)
        subprocess.run(["cp", "-a", f"/{folder}", f"{root}/{folder}"], check=True)
    state = f"{root}/var/lib/latchkey"
    document = ops.document(40, [{"id": "x1", "do": "user.ensure", "user": "rescued"}])

    def rescue():
        return subprocess.run([APPLY, "--root", root, "--document", "-"], input=document, stderr=subprocess.PIPE, env={},
                              timeout=300).returncode

    outside = "/tmp/outside"
    os.mkdir(outside)
    write(f"{outside}/file", "untouched\n")
    for name in ("journal", "results", "history", "trust", "plugin", "identity", "revert"):
        subprocess.run(["mv", f"{state}/{name}", f"{state}/{name}.kept"])
        os.symlink(outside, f"{state}/{name}")
        rescue()
        check(os.listdir(outside) == ["file"] and read(f"{outside}/file") == "untouched\n", f"P106_ {name} as a symlink: nothing outside")
        os.unlink(f"{state}/{name}")
        subprocess.run(["mv", f"{state}/{name}.kept", f"{state}/{name}"])
    for name in ("spare", "lock", "journal/39", "results/40", "history/current", "plugin/account/ledger"):
        os.makedirs(f"{state}/{os.path.dirname(name)}", exist_ok=True)
        for kind in ("fifo", "link"):
            subprocess.run(["rm", "-rf", f"{state}/{name}"])
            if kind == "fifo":
                os.mkfifo(f"{state}/{name}")
            else:
                os.symlink(f"{outside}/file", f"{state}/{name}")
            rescue()
            check(read(f"{outside}/file") == "untouched\n", f"P106_ {name} as a {kind}: ends, nothing outside")
            subprocess.run(["rm", "-rf", f"{state}/{name}"])
    check(rescue() == 0 and "rescued:" in read(f"{root}/etc/passwd"), "  and a sane disk is served")


main(test)
