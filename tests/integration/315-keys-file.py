#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""AuthorizedKeysFile belongs to the operator: what he sets stays in force beside Latchkey's own locations, what he
changes later is followed before the next key is bound, and without the drop-in everything is as he has it."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import APPLY, Machine, Signer, check, keygen, main, read, wait_for, write  # noqa: E402

CONFIG, DROP_IN = "/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/00-latchkey.conf"
HOME_KEYS = "/home/alice/.ssh/authorized_keys"
RUNTIME = "/run/latchkey/authorized_keys/%u"


def in_force():
    text = subprocess.run(["/usr/sbin/sshd", "-T", "-C", "user=alice,host=x,addr=192.0.2.9"], stdout=subprocess.PIPE,
                          check=True, text=True).stdout
    return next(line for line in text.splitlines() if line.startswith("authorizedkeysfile ")).split()[1:]


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    machine.start_sshd()
    machine.redo()
    keys = {name: keygen(f"/tmp/{name}") for name in ("one", "two", "three", "four", "five")}
    seq = 0

    def do(*commands):
        nonlocal seq
        seq += 1
        code, log = machine.apply(ops.document(seq, [{"id": f"c{seq}.{n}", **c} for n, c in enumerate(commands)]))
        assert code == 0, log
        return [(r["code"], r["detail"]) for r in machine.results(seq)["results"]]

    def bind(name, **more):
        return {"do": "keys.bind", "user": "alice", "keypair": name, "key": keys[name], **more}

    def logs_in(name):
        return machine.login_with_key("alice", f"/tmp/{name}")

    plain = read(CONFIG)
    check(in_force() == [".ssh/authorized_keys", ".ssh/authorized_keys2", RUNTIME], "sshd's own default, and runtime")
    do({"do": "user.ensure", "user": "alice"}, bind("one"), bind("two", location="runtime"))
    check(logs_in("one") and logs_in("two"), "keys at home and at runtime log in")

    # --- the operator moves the file ------------------------------------------------------------------------------------
    write(CONFIG, plain + "\nAuthorizedKeysFile /etc/ssh/keys/%u\n")
    machine.reload_sshd()
    result = do(bind("three"))
    check(result[0][0] == "ok" and keys["three"] in read("/etc/ssh/keys/alice"), f"the next bind goes where he wants it {result}")
    check(in_force() == ["/etc/ssh/keys/%u", RUNTIME], "his value is in force, and runtime beside it")
    check(not logs_in("one") and logs_in("two") and logs_in("three"), "the old place is not read any more")
    machine.redo()
    check(logs_in("two") and logs_in("three"), "a boot changes nothing of that")
    result = do({**bind("one"), "do": "keys.replace", "key": keys["five"]})
    check(result[0][0] == "ok" and logs_in("five"), f"replacing a pair that was bound at the old place: the new key logs in {result}")
    check(keys["one"] not in read(HOME_KEYS) and not logs_in("one"), "  and the old one is nowhere")
    check(do({"do": "keys.unbind", "user": "alice", "keypair": "one"})[0][0] == "ok" and
          not logs_in("five") and not (os.path.exists(HOME_KEYS) and keys["five"] in read(HOME_KEYS)),
          "an unbind also cuts the line at the place that sshd has left")
    write(CONFIG, plain)
    machine.reload_sshd()
    do(bind("one"))
    check(in_force()[0] == ".ssh/authorized_keys" and logs_in("one") and not logs_in("three"), "and back again")
    do({"do": "keys.unbind", "user": "alice", "keypair": "three"})
    check(keys["three"] not in (read("/etc/ssh/keys/alice") if os.path.exists("/etc/ssh/keys/alice") else ""),
          "  what was bound there is found, too")

    # --- the drop-in is removed ---------------------------------------------------------------------------------------
    write(CONFIG, plain + "\nAuthorizedKeysFile .ssh/mine .ssh/authorized_keys\n")
    os.unlink(DROP_IN)
    machine.reload_sshd()
    check(in_force() == [".ssh/mine", ".ssh/authorized_keys"], "without the drop-in everything is the operator's")
    check(do(bind("four", location="runtime"))[0][0] == "ok" and logs_in("four"), "a runtime bind puts it back")
    check(in_force() == [".ssh/mine", ".ssh/authorized_keys", RUNTIME], "  with his value in it")
    policy = read("/etc/latchkey/policy.conf")
    write("/etc/latchkey/policy.conf", "[keys]\nlocations = home\n")
    machine.redo()
    check(not os.path.exists(DROP_IN) and in_force() == [".ssh/mine", ".ssh/authorized_keys"],
          "where policy allows home alone no drop-in stays")
    check(not logs_in("four") and logs_in("one"), "  and runtime is not read")

    # --- sshd_config without Include: a block at its beginning ----------------------------------------------------------
    write("/etc/latchkey/policy.conf", policy)
    bare = plain.replace("Include", "#Include") + "\nAuthorizedKeysFile .ssh/authorized_keys\n"
    write(CONFIG, bare)
    machine.redo()
    check(in_force() == [".ssh/authorized_keys", RUNTIME] and read(CONFIG).endswith(bare), "a block before his bytes")
    edited = read(CONFIG) + "ClientAliveInterval 60\n"
    write(CONFIG, edited)
    write("/etc/latchkey/policy.conf", "[keys]\nlocations = home\n")
    machine.redo()
    check(read(CONFIG) == bare + "ClientAliveInterval 60\n", "taken away again, every byte of his is there")

    # --- killed between the write and the reload ------------------------------------------------------------------------
    write(CONFIG, plain)
    machine.reload_sshd()
    write("/etc/latchkey/policy.conf", policy)
    tracer = subprocess.Popen(["/usr/bin/strace", "-f", "-qq", "-e", "trace=kill,pidfd_send_signal", "-e",
                               "inject=kill,pidfd_send_signal:signal=KILL:error=EPERM:when=1", "-o", "/tmp/trace", APPLY,
                               "--redo"], env={}, stderr=subprocess.DEVNULL)
    wait_for(lambda: os.path.exists(DROP_IN), "the drop-in is written")
    tracer.wait()
    check(not logs_in("four"), "killed before sshd was told of the new file")
    machine.redo()
    check(logs_in("four"), "the next start sees that sshd was never told, and tells it")
    check("unfinished" not in os.listdir("/var/lib/latchkey/plugin/sshd"), "  once")


main(test)
