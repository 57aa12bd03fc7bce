#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""latchkey-apply in the states that machines get into: a full or read-only disk, a reboot with a change unconfirmed, a
damaged journal, a revoked signer, a cloned disk, a clock that is wrong, another machine's disk under --root."""
import base64
import fcntl
import glob
import hashlib
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import APPLY, Machine, Signer, check, keygen, main, read, write  # noqa: E402


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def umount(path):
    subprocess.run(["umount", path], check=True)


def tree_digest(root, skip=()):
    total = hashlib.sha256()
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not any(path.startswith(root + s) for s in skip):
                with open(path, "rb") as file:
                    total.update(path.encode() + b"\0" + file.read())
    return total.hexdigest()


def ed25519(point):
    return base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + point).decode()


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    machine.start_sshd()
    machine.redo()
    key = keygen("/tmp/alice")
    machine.apply(ops.document(1, [{"id": "u1", "do": "user.ensure", "user": "alice"}]))
    alice = next(line for line in read("/etc/passwd").splitlines() if line.startswith("alice:")).split(":")
    uid, gid = int(alice[2]), int(alice[3])

    # --- a full disk: put off, then done ------------------------------------------------------------------------------
    os.rename("/home/alice", "/home/alice.kept")
    os.mkdir("/home/alice")
    mount("-t", "tmpfs", "-o", f"size=64k,mode=700,uid={uid},gid={gid}", "tmpfs", "/home/alice")
    ballast = os.open("/home/alice/ballast", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(ballast, b"x" * 4096)
    except OSError:
        os.close(ballast)
    machine.apply(ops.document(2, [{"id": "f1", "do": "keys.bind", "user": "alice", "keypair": "laptop", "key": key}]))
    result = machine.result(2, "f1")
    check((result["status"], result["code"]) == ("pending", "no_space"), f"T06_ a full home: pending, no_space {result}")
    check(os.listdir("/var/lib/latchkey/journal") == ["2"], "  the journal keeps the work")
    check(machine.status()["pending"] == 1, "  status counts it")
    os.unlink("/home/alice/ballast")
    machine.redo()
    check(machine.result(2, "f1")["code"] == "ok", "  with space again the redo does it; the result replaces the pending one")
    check(key in read("/home/alice/.ssh/authorized_keys") and not os.listdir("/var/lib/latchkey/journal"), "  really")
    umount("/home/alice")
    os.rmdir("/home/alice")
    os.rename("/home/alice.kept", "/home/alice")
    mount("-t", "tmpfs", "-o", f"nr_inodes=1,mode=700,uid={uid},gid={gid}", "tmpfs", "/home/alice")
    until = int(time.time()) + 2
    machine.apply(ops.document(3, [{"id": "f2", "do": "keys.bind", "user": "alice", "keypair": "late", "key": key,
                                    "until": until}]))
    check(machine.result(3, "f2")["status"] == "pending", "a second one that cannot be done")
    while time.time() <= until:
        time.sleep(0.2)
    machine.redo()
    result = machine.result(3, "f2")
    check((result["status"], result["code"]) == ("failed", "no_space") and not os.listdir("/var/lib/latchkey/journal"),
          "  after its `until` it has failed with the code it had")
    umount("/home/alice")

    # --- what needs a pending account waits with it -------------------------------------------------------------------------
    lock = os.open("/etc/.pwd.lock", os.O_WRONLY | os.O_CREAT, 0o600)
    fcntl.lockf(lock, fcntl.LOCK_EX)
    bound = [{"id": "g1", "do": "user.ensure", "user": "gina"},
             {"id": "g2", "do": "keys.bind", "user": "gina", "keypair": "laptop", "key": key}]
    machine.apply(ops.document(4, bound))
    codes = {id: machine.result(4, id)["code"] for id in ("g1", "g2")}
    check(codes == {"g1": "busy", "g2": "busy"}, f"T21_ the account files are locked: busy, and the key of the new user waits {codes}")
    check(str(os.getpid()) in machine.result(4, "g1")["detail"], "  the holder is named: " + machine.result(4, "g1")["detail"])
    os.close(lock)
    machine.redo()
    check(machine.login_with_key("gina", "/tmp/alice"), "  unlocked, the redo does both")

    # --- a newer document drops what was pending and not repeated --------------------------------------------------------
    mount("-t", "tmpfs", "-o", f"nr_inodes=1,mode=700,uid={uid},gid={gid}", "tmpfs", "/home/alice")
    machine.apply(ops.document(5, [{"id": "f3", "do": "keys.bind", "user": "alice", "keypair": "x", "key": key}]))
    umount("/home/alice")
    machine.apply(ops.document(6, [{"id": "f4", "do": "keys.bind", "user": "alice", "keypair": "y", "key": key}]))
    check(machine.result(6, "f4")["code"] == "ok" and "latchkey:x" not in read("/home/alice/.ssh/authorized_keys"),
          "a newer document is the whole truth: what it does not repeat is dropped")
    check(machine.login_with_key("alice", "/tmp/alice"), "and its own key logs in")

    # --- confirm_within and a reboot ------------------------------------------------------------------------------------------
    drop_in = "/etc/ssh/sshd_config.d/00-latchkey.conf"
    before = read(drop_in) if os.path.exists(drop_in) else None
    machine.apply(ops.document(7, [{"id": "c1", "do": "sshd.set", "password_auth": False, "confirm_within": 3600}]))
    check(machine.result(7, "c1")["code"] == "awaiting_confirm", "a change on trial awaits its confirmation")
    check("PasswordAuthentication no" in read(drop_in), "  and is in force")
    machine.redo()
    check("PasswordAuthentication no" in read(drop_in), "  a redo in the same boot leaves it")
    for marker in glob.glob("/run/latchkey/revert/*"):
        os.unlink(marker)  # what a reboot does to /run
    machine.redo()
    check((read(drop_in) if os.path.exists(drop_in) else None) == before, "after a reboot the former bytes are back")
    result = machine.result(7, "c1")
    check((result["status"], result["code"]) == ("rolled_back", "unconfirmed"), "  and the result says so")
    machine.apply(ops.document(8, [{"id": "c2", "do": "sshd.confirm", "confirms": "c1"}]))
    check(machine.result(8, "c2")["code"] == "conflict", "  a confirmation that comes too late is told so")

    # --- a damaged journal -----------------------------------------------------------------------------------------------------
    write("/var/lib/latchkey/journal/9", '{"v":1,"t":"document","digest":"00","body":"AAAA"}\n', 0o600)
    code, log = machine.redo()
    check(not os.listdir("/var/lib/latchkey/journal") and os.listdir("/var/lib/latchkey/quarantine"),
          "P87_ a damaged journal is set aside")
    check("state_damaged" in [p["code"] for p in machine.status()["problems"]], "  and status says so")
    check(machine.apply(ops.document(10, [{"id": "d1", "do": "diagnose", "user": "alice"}]))[0] == 0 and
          machine.result(10, "d1")["code"] == "ok", "  and the next document applies")
    write("/var/lib/latchkey/journal/11", read("/var/lib/latchkey/history/current").splitlines()[0][:40], 0o600)
    machine.redo()
    check(not os.listdir("/var/lib/latchkey/journal"), "  so is one that was torn before its first line was whole")

    # --- trust documents ---------------------------------------------------------------------------------------------------------
    roots = [Signer(f"/tmp/root{n}", f"root{n}") for n in range(3)]
    deputy = Signer("/tmp/deputy", "deputy")
    options = 'namespaces="latchkey-trust@1"'
    write("/etc/latchkey/trust_roots", "".join(root.line(options=options) for root in roots))
    with open("/etc/latchkey/latchkey.conf", "a") as file:
        file.write("[agent]\ntrust_threshold = 2\n")

    def trust(version, signers, revoked, *by):
        payload = (json.dumps({"v": 1, "version": version, "signers": signers, "revoked": revoked}) + "\n").encode()
        return payload + b"".join(root.sign(payload, "latchkey-trust@1")[len(payload):] for root in by)

    line = deputy.line().strip()
    fingerprint = subprocess.run(["ssh-keygen", "-lf", "/tmp/signer.pub"], check=True, stdout=subprocess.PIPE,
                                 text=True).stdout.split()[1]
    check(machine.apply(deputy.document(12, []))[0] == 66, "an unknown signer: exit 66")
    check(machine.apply(trust(1, [line], [], roots[0]), "--trust", "-")[0] == 65, "P113_ one root of two: refused")
    check(machine.apply(trust(1, [line], [], roots[0], roots[0]), "--trust", "-")[0] == 65, "  the same one twice too")
    check(machine.apply(trust(2, [line], [], roots[0], roots[1]), "--trust", "-")[0] == 0, "  two of two are taken")
    check(machine.apply(deputy.document(12, []))[0] == 0, "  and the new signer signs")
    check(machine.apply(trust(1, [], [], roots[0], roots[2]), "--trust", "-")[0] == 65, "  a lower version is refused")
    check(machine.apply(trust(3, [line], [fingerprint], roots[1], roots[2]), "--trust", "-")[0] == 0, "ops is revoked")
    machine.apply(ops.document(13, []))
    check(machine.results(0)["document"] == "signer_revoked", "  and refused from then on")
    renewed = Signer("/tmp/renewed", "ops")
    check(machine.apply(trust(4, [line, renewed.line().strip(), deputy.line().replace(" deputy", " twice").strip()], [fingerprint],
                              roots[0], roots[1]), "--trust", "-")[0] == 65, "  a trust document that has a key twice is refused")
    machine.apply(trust(4, [line, renewed.line().strip()], [fingerprint], roots[0], roots[1]), "--trust", "-")
    check(machine.apply(renewed.document(13, []))[0] == 0 and "signers_invalid" not in [p["code"] for p in machine.status()["problems"]],
          "P113_ ops has a new key, under the name that the revoked one has in allowed_signers")
    third = Signer("/tmp/third", "ops")
    write("/etc/latchkey/allowed_signers", third.line())
    machine.redo()
    check("signers_invalid" in [p["code"] for p in machine.status()["problems"]], "  two keys of one name are told")
    write("/etc/latchkey/allowed_signers", ops.line())
    ops = deputy
    full = "".join(f'vm-9 namespaces="latchkey-document@1" ssh-ed25519 {ed25519(os.urandom(32))} other{n}\n' for n in range(256))
    before = read("/etc/latchkey/allowed_signers")
    write("/etc/latchkey/allowed_signers", full)
    code, log = machine.apply(ops.document(14, []))
    check(code == 0, f"  a file of signers that is full leaves the trust document's in force {log}")
    many = [line, *full.splitlines()]
    check(machine.apply(trust(5, many, [fingerprint], roots[0], roots[1]), "--trust", "-")[0] == 65, "  which holds no more than a file")
    write("/etc/latchkey/allowed_signers", before)

    # --- results that nobody takes ---------------------------------------------------------------------------------------------------
    waiting = sorted(os.listdir("/var/lib/latchkey/results"))
    for part in range(2200):
        write(f"/var/lib/latchkey/results/1.{part}", "x", 0o600)
    machine.apply(ops.document(15, [{"id": "w1", "do": "diagnose", "user": "alice"}]))
    left = os.listdir("/var/lib/latchkey/results")
    check(len(left) == 2048 and {*waiting, "15"} <= {*left, "1"}, f"P87_ the oldest results make room for the newest {len(left)}")
    for name in left:
        if name.startswith("1."):
            os.unlink(f"/var/lib/latchkey/results/{name}")

    # --- the disk with the state is read-only: a runtime key still gets in (P105) ------------------------------------------------
    machine.redo()
    lonely = keygen("/tmp/lonely")
    mount("--bind", "/var/lib/latchkey", "/var/lib/latchkey")
    mount("-o", "remount,bind,ro", "/var/lib/latchkey")
    code, log = machine.apply(ops.document(16, [{"id": "r1", "do": "keys.bind", "user": "alice", "keypair": "rescue",
                                                 "key": lonely, "location": "runtime"}]))
    check(machine.login_with_key("alice", "/tmp/lonely"), f"P105_ a runtime key logs in with the state read-only {log}")
    code, _ = machine.apply(ops.document(17, [{"id": "r2", "do": "user.ensure", "user": "zoe"}]))
    check(code == 75 and "zoe:" not in read("/etc/passwd"), "P86_ anything else is not begun: try again")

    def told(seq):
        return json.loads(read(f"/run/latchkey/results/{seq}").split("-----BEGIN SSH SIGNATURE-----")[0])["results"][0]

    check(os.listdir("/run/latchkey/journal") == [], "P105_ the runtime bind's journal ends, for its result is kept in /run")
    check(told(16)["code"] == "ok" and told(17)["status"] == "pending" and told(17)["code"] == "read_only", "  and says ok; the other is pending, read_only")
    check(machine.status()["seq"] == 16, "  what is not begun is not taken over")
    check("read_only" in [p["code"] for p in machine.status()["problems"]], "  status says that the disk is read-only")
    first = os.stat("/run/latchkey/results/17").st_mtime_ns
    machine.apply(ops.document(17, [{"id": "r2", "do": "user.ensure", "user": "zoe"}]))
    check(os.stat("/run/latchkey/results/17").st_mtime_ns == first, "  which is told once")
    # The same id again, in a document of its own: the history in /run answers.
    os.unlink("/run/latchkey/authorized_keys/alice")
    machine.apply(ops.document(18, [{"id": "r1", "do": "keys.bind", "user": "alice", "keypair": "rescue", "key": lonely, "location": "runtime"}]))
    check(told(18)["code"] == "ok" and not os.path.exists("/run/latchkey/authorized_keys/alice"), "P20_ an id is answered from the history in /run")
    umount("/var/lib/latchkey")
    code, _ = machine.apply(ops.document(19, [{"id": "r2", "do": "user.ensure", "user": "zoe"}]))
    check(code == 0 and "zoe:" in read("/etc/passwd") and machine.result(19, "r2")["code"] == "ok", "  the disk can be written again: it is done")
    check(not os.path.exists("/run/latchkey/history") and '"id":"r1"' in read("/var/lib/latchkey/history/current"), "  and the history on disk takes /run's along")

    # --- the same document again, after its time --------------------------------------------------------------------------------------
    short = ops.document(20, [], expires=int(time.time()) + 1)
    check(machine.apply(short)[0] == 0, "a document that soon expires")
    if os.path.exists("/var/lib/latchkey/results/0"):
        os.unlink("/var/lib/latchkey/results/0")
    until = int(time.time()) + 2
    while time.time() <= until:
        time.sleep(0.2)
    check(machine.apply(short)[0] == 0 and not os.path.exists("/var/lib/latchkey/results/0"),
          "P13_ offered again after that (a restart forgets the ETag), it was taken over and is not refused")

    # --- a wrong clock ---------------------------------------------------------------------------------------------------------------
    now = int(time.time())
    history = read("/var/lib/latchkey/history/current")
    write("/var/lib/latchkey/history/current", history + json.dumps(
        {"t": "document", "seq": 20, "issued": now + 5000, "digest": "x", "time": now}, separators=(",", ":")) + "\n", 0o600)
    code, _ = machine.apply(ops.document(21, [], issued=4102444800, expires=4102448400))
    check(code == 75 and machine.status()["seq"] == 20, "P102_ a document of the year 2100 does not take the channel with it")
    code, _ = machine.apply(ops.document(21, [], issued=now + 5001, expires=now + 9000))
    check(code == 0 and "clock_wrong" in [p["code"] for p in machine.status()["problems"]],
          "P102_ a clock below the floor: the future is not judged by it, and status says clock_wrong")
    machine.apply(ops.document(22, [], issued=now, expires=now + 4000))
    check(machine.results(0)["document"] == "expired", "  and expiry is judged by the floor")
    machine.apply(b"", "--reset-floor")
    if os.path.exists("/var/lib/latchkey/results/0"):
        os.unlink("/var/lib/latchkey/results/0")
    check(machine.apply(ops.document(3, []))[0] == 0 and not os.path.exists("/var/lib/latchkey/results/0"),
          "--reset-floor: an endpoint restored from backup is heard again")

    # --- unsigned documents ------------------------------------------------------------------------------------------------------------
    configuration = read("/etc/latchkey/latchkey.conf")
    write("/etc/latchkey/latchkey.conf", configuration.replace("trust_threshold = 2", "trust_threshold = 2\ntrust = unsigned"))
    document = {"v": 1, "instance": "vm-1", "seq": 30, "issued": now, "expires": now + 3000, "commands": [
        {"id": "n1", "do": "user.ensure", "user": "una"}]}
    machine.apply(json.dumps(document) + "\n")
    check(machine.result(30, "n1")["code"] == "unsigned" and "una:" not in read("/etc/passwd"),
          "an unsigned document may do only what [unsigned] names")
    check("trust_unsigned" in [p["code"] for p in machine.status()["problems"]], "  and status says that trust is unsigned")
    write("/etc/latchkey/policy.conf.d/unsigned.conf", "[unsigned]\ncommands = user.ensure\n")
    document.update(seq=31, commands=[{"id": "n2", "do": "user.ensure", "user": "una"}])
    machine.apply(json.dumps(document) + "\n")
    check("una:" in read("/etc/passwd"), "  which it then does")
    write("/etc/latchkey/latchkey.conf", configuration.replace("trust_threshold = 2", "trust_threshold = 2\ntrust = unsigned") +
          "[endpoint]\nurl = http://metadata/\n")
    machine.redo()
    check(any(p["code"] == "config_invalid" and "latchkey.conf:7" in p["detail"] for p in machine.status()["problems"]),
          f"P1_ unsigned documents from whoever answers for a name: the file is refused {machine.status()['problems']}")
    machine.start_net()
    net = machine.processes["latchkey-net"]
    check(net.wait() != 0 and "needs an address" in read("/tmp/latchkey-net.log"), "  and latchkey-net does not ask anybody")
    write("/etc/latchkey/latchkey.conf", configuration)

    # --- P89: what a later version has written ------------------------------------------------------------------------------------------
    check(read("/var/lib/latchkey/version") == "1\n", "P89: the state says which version writes it")
    for text in ("2\n", "17\n"):
        write("/var/lib/latchkey/version", text, 0o600)
        write("/var/lib/latchkey/journal/50", '{"v":2,"t":"a line of tomorrow"}\n', 0o600)
        state, accounts = tree_digest("/var/lib/latchkey"), tree_digest("/etc")
        later = ops.document(60, [{"id": "later", "do": "user.ensure", "user": "later"}])
        codes = [machine.apply(*arguments)[0] for arguments in (
            (later,), (b"", "--redo"), (b"", "--revert"), (b"", "--sweep"), (b"", "--reset-floor"), (b"", "--inbox"), (b"{}", "--trust", "-"))]
        check(set(codes) == {75} and tree_digest("/var/lib/latchkey") == state and tree_digest("/etc") == accounts,
              f"P89: version {text.strip()}: nothing is begun, and what stands there is left as it is {codes}")
        check(machine.status()["health"] == "failing" and "state_newer" in [p["code"] for p in machine.status()["problems"]], "  and status says why")
    os.unlink("/var/lib/latchkey/journal/50")
    write("/var/lib/latchkey/version", "\0\0", 0o600)
    machine.redo()
    check(machine.apply(later)[0] == 0 and machine.result(60, "later")["code"] == "ok" and read("/var/lib/latchkey/version") == "1\n",
          "P89: a version that is damaged is none; with ours it goes on")
    machine.apply(b"", "--reset-floor")

    # --- another machine's disk (P106) -----------------------------------------------------------------------------------------------------
    root = "/tmp/disk"
    os.mkdir(root)
    for folder in ("etc", "var/lib/latchkey", "home"):
        os.makedirs(f"{root}/{os.path.dirname(folder)}", exist_ok=True)
        subprocess.run(["cp", "-a", f"/{folder}", f"{root}/{folder}"], check=True)
    write(f"{root}/var/lib/latchkey/identity/machine", "another-machine\n", 0o600)
    os.makedirs(f"{root}/usr/sbin")
    write(f"{root}/usr/sbin/sshd", "#!/bin/sh\ntouch /tmp/executed\n", 0o755)
    identity = tree_digest(f"{root}/var/lib/latchkey/identity")
    host = tree_digest("/etc")
    trace = subprocess.run(["/usr/bin/strace", "-f", "-qq", "-e", "trace=execve,socket,connect", "-o", "/tmp/trace", APPLY, "--root",
                            root, "--document", "-"], input=ops.document(40, [
                                {"id": "x1", "do": "user.ensure", "user": "rescued"},
                                {"id": "x2", "do": "keys.bind", "user": "rescued", "keypair": "laptop", "key": key}]),
                           stderr=subprocess.PIPE, env={})
    codes = {r["id"]: r["code"] for r in json.loads(read(f"{root}/var/lib/latchkey/results/40").split("-----BEGIN")[0])["results"]}
    check(trace.returncode == 0 and codes == {"x1": "ok", "x2": "ok"}, f"--root: a user and a key on a mounted disk {codes}")
    check("rescued:" in read(f"{root}/etc/passwd") and key in read(f"{root}/home/rescued/.ssh/authorized_keys"), "  really")
    check(tree_digest("/etc") == host and tree_digest(f"{root}/var/lib/latchkey/identity") == identity,
          "P106_ the host is untouched and the disk keeps its identity")
    executed = [line for line in read("/tmp/trace").splitlines() if "execve(" in line and root in line.split("[")[0]]
    check(not executed and not os.path.exists("/tmp/executed"), f"  nothing from the disk was executed {executed}")

    # --- a clone (P16) -------------------------------------------------------------------------------------------------------------------------
    old = read("/var/lib/latchkey/identity/text")
    drop_in, seq = "/etc/ssh/sshd_config.d/00-latchkey.conf", machine.status()["seq"] + 1
    before = read(drop_in)
    machine.apply(ops.document(seq, [{"id": "t1", "do": "sshd.set", "password_auth": True, "confirm_within": 3600}]))
    check(machine.result(seq, "t1")["code"] == "awaiting_confirm" and read(drop_in) != before, "the model has a door open on trial")
    write("/var/lib/latchkey/identity/machine", "the-model\n", 0o600)
    machine.redo()
    check(read(drop_in) == before, "P16_ a clone takes back what its model had on trial")
    check(not os.listdir("/var/lib/latchkey/revert") and not os.listdir("/var/lib/latchkey/results"), "  and has nothing to report of it")
    check(read("/var/lib/latchkey/identity/text") != old and machine.status()["seq"] == 0,
          "P16_ another machine: a new identity, seq 0")


main(test)
