#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Documents that would leave nobody a way in, by ways that are easily overlooked: each is refused with would_lock_out,
and whoever could log in before still can."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Machine, Signer, check, keygen, main, read, wait_for, write  # noqa: E402

KEYS = "/home/alice/.ssh/authorized_keys"
CONFIG = "/etc/ssh/sshd_config"
DROP_IN = "/etc/ssh/sshd_config.d/00-latchkey.conf"
UNBIND = {"do": "keys.unbind", "user": "alice", "keypair": "a"}


def must(*argv):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def put_keys(user, text):
    home = f"/home/{user}"
    os.makedirs(f"{home}/.ssh", 0o700, exist_ok=True)
    write(f"{home}/.ssh/authorized_keys", text, 0o600)
    must("chown", "-R", f"{user}:", f"{home}/.ssh")


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    write("/etc/latchkey/policy.conf", "[users]\nroot = yes\nprivileged = allow\n[groups]\nallow = games\n[password]\naccept_lockout = yes\n[keys]\nlocations = home runtime system\n")
    machine.start_sshd()
    machine.redo()
    first, second, third = (keygen(f"/tmp/k{n}") for n in (1, 2, 3))
    seq = 0

    def do(*commands):
        nonlocal seq
        seq += 1
        code, log = machine.apply(ops.document(seq, [{"id": f"c{seq}.{n}", **c} for n, c in enumerate(commands)]))
        assert code == 0, log
        return [(r["code"], r["detail"]) for r in machine.results(seq)["results"]]

    def refused(what, *commands):
        code, detail = do(*(commands or (UNBIND,)))[-1]
        check(code == "would_lock_out", f"P53_ {what}: {code} {detail}")
        check(machine.login_with_key("alice", "/tmp/k1"), "  and alice still logs in")

    check(do({"do": "user.ensure", "user": "early", "shell": "/usr/sbin/nologin"})[0][0] == "ok",
          "an account without a shell may be made where nobody can log in yet")
    do({"do": "user.ensure", "user": "alice"}, {"do": "keys.bind", "user": "alice", "keypair": "a", "key": second})
    put_keys("alice", read(KEYS).replace(second, first))
    refused("the key under the label is not the one that was bound: it was changed by hand")
    put_keys("alice", f"{second} latchkey:a\n{first} latchkey:a\n")
    refused("two lines have the label, and the ledger knows only one of the keys")

    uid = str(os.stat("/home/alice").st_uid)
    must("useradd", "-o", "-u", uid, "-g", uid, "-d", "/home/alice", "-M", "-s", "/bin/bash", "alias")
    put_keys("alice", f"{first} latchkey:a\n")
    refused("another name of the same uid reads the same file")
    must("userdel", "-f", "alias")

    check(do({"do": "keys.bind", "user": "alice", "keypair": "r", "key": third, "location": "runtime"})[0][0] == "ok" and
          machine.login_with_key("alice", "/tmp/k3"), "a key at `runtime` logs in")
    refused("what remains stands in /run and is gone at the next boot")
    check(do({"do": "keys.unbind", "user": "alice", "keypair": "r"})[0][0] == "ok", "unbinding that one is no loss")

    for hash in ("LOCKED-NOLOG!", "$foo$" + "x" * 60, "$6$salt"):
        must("useradd", "-m", "-s", "/bin/bash", "-p", hash, "bob")
        refused(f"a hash that no password matches: {hash[:14]}")
        must("userdel", "-f", "-r", "bob")

    must("useradd", "-m", "-s", "/bin/bash", "-p", "*", "bob")
    for list in ("!*", "nowhere.example", "*,!0.0.0.0/0,!::/0"):
        put_keys("bob", f'from="{list}" {second}\n')
        refused(f"a key with from=\"{list}\", which leaves nobody")
    put_keys("bob", f"{second}\n")
    plain = read(CONFIG)
    write(CONFIG, plain + "\nMatch User bob\n\tChrootDirectory /srv\n")
    machine.reload_sshd()
    check(not machine.login_with_key("bob", "/tmp/k2"), "a chroot without a shell lets nobody in")
    refused("a user who is shut into a chroot")

    os.makedirs("/root/.ssh", 0o700, exist_ok=True)
    write("/root/.ssh/authorized_keys", second + "\n", 0o600)
    write(CONFIG, plain + "\nMatch User root\n\tPermitRootLogin no\nMatch User bob\n\tDenyUsers bob\n"
          "Match User alice\n\tPubkeyAuthentication yes\n")
    machine.reload_sshd()
    refused("PermitRootLogin that a Match holds down", {"do": "sshd.set", "permit_root_login": "prohibit-password",
                                                        "pubkey_auth": False})
    must("sed", "-i", "s/^/from=\"!*\" /", KEYS)
    code = do({"do": "sshd.set", "permit_root_login": "prohibit-password", "password_auth": False})[0][0]
    check(code == "would_lock_out", f"P53_ … with no other way in: {code}")
    write(CONFIG, plain)
    os.unlink("/root/.ssh/authorized_keys")
    put_keys("bob", "")
    code, detail = do({"do": "user.lock", "user": "bob"})[0]
    check(code == "would_lock_out" and "as it is" in detail, f"P53_ where nobody can log in anyway it is not this that would do it: {detail}")
    put_keys("alice", f"{first} latchkey:a\n")
    must("userdel", "-f", "-r", "bob")
    machine.reload_sshd()

    check(do({"do": "user.ensure", "user": "service", "shell": "/usr/sbin/nologin"})[0][0] == "ok",
          "an account without a shell is no loss")
    refused("a shell that ends every session, by user.ensure",
            {"do": "user.ensure", "user": "alice", "shell": "/usr/sbin/nologin"})
    refused("an account that expires at once, by user.ensure", {"do": "user.ensure", "user": "alice", "expires": 86400})
    check(do({"do": "user.ensure", "user": "alice", "shell": "/bin/sh"})[0][0] == "ok", "another shell is no loss")
    do({"do": "user.ensure", "user": "alice", "shell": "/bin/bash"})
    refused("an account that will expire, by user.ensure",
            {"do": "user.ensure", "user": "alice", "expires": int(time.time()) + 86400})
    result = do({"do": "user.ensure", "user": "alice", "expires": int(time.time()) + 86400, "accept_lockout": True})
    check(result[0][0] == "ok", f"… accept_lockout does it {result}")
    refused("an account with an end is no way in that lasts", {"do": "sshd.set", "permit_root_login": "no", "password_auth": False})
    must("usermod", "-e", "", "alice")
    refused("a key that ends in place of one that lasts", {"do": "keys.replace", "user": "alice", "keypair": "a", "key": third,
                                                           "expires": int(time.time()) + 86400})
    check(do({"do": "keys.replace", "user": "alice", "keypair": "a", "key": third})[0][0] == "ok" and
          machine.login_with_key("alice", "/tmp/k3"), "a key for a key is no loss")
    do({"do": "keys.replace", "user": "alice", "keypair": "a", "key": first})
    check(do({"do": "user.ensure", "user": "alice", "groups": ["games"]})[0][0] == "ok", "a group by user.ensure")
    write(CONFIG, plain + "\nAllowGroups games\n")
    machine.reload_sshd()
    refused("the group that AllowGroups names is taken away, by user.ensure", {"do": "user.ensure", "user": "alice", "groups": []})
    write(CONFIG, "PubkeyAuthentication no\n" + plain + "\nMatch group games\n\tPubkeyAuthentication yes\n")
    machine.reload_sshd()
    refused("… or that a Match asks for", {"do": "user.ensure", "user": "alice", "groups": []})
    write(CONFIG, plain)
    machine.reload_sshd()

    must("usermod", "-p", must("openssl", "passwd", "-6", "Some-Pass-1").strip(), "alice")
    check(do({"do": "sshd.set", "password_auth": False})[0][0] == "ok", "password login off")
    check(do({"do": "sshd.set", "password_auth": True, "confirm_within": 3600})[0][0] == "awaiting_confirm",
          "password login on, on trial")
    refused("the password is a way in only while the trial lasts")
    result = do({"do": "sshd.set", "password_auth": True})[0]
    check(result[0] == "conflict" and "sshd.confirm" in result[1], f"the same value for good is told of the trial {result}")
    trial = os.listdir("/var/lib/latchkey/revert")[0].split("-", 2)[2]
    check(do({"do": "sshd.confirm", "confirms": trial})[0][0] == "ok", "confirmed")
    check(do(UNBIND)[0][0] == "ok" and machine.login_with_password("alice", "Some-Pass-1"),
          "now the password counts, and the last key may go")

    # One command opens root's door for a time, the next of the same document closes the only other one for good.
    write("/root/.ssh/authorized_keys", second + "\n", 0o600)
    write(CONFIG, "PermitRootLogin no\n" + plain)
    machine.reload_sshd()
    results = do({"do": "sshd.set", "permit_root_login": "prohibit-password", "confirm_within": 3600},
                 {"do": "sshd.set", "password_auth": False})
    check([code for code, _ in results] == ["awaiting_confirm", "would_lock_out"],
          f"a door that the same document opens on trial is no way in {results}")
    check(machine.login_with_password("alice", "Some-Pass-1"), "  and alice still logs in")
    check(do({"do": "sshd.confirm", "confirms": f"c{seq}.0"}, {"do": "sshd.set", "password_auth": False})[1][0] == "ok" and
          machine.login_with_key("root", "/tmp/k2"), "once it is confirmed root's key is one")

    do({"do": "sshd.set", "password_auth": True})
    machine.stop("sshd")
    write(CONFIG, plain)
    machine.start("sshd", ["/usr/sbin/sshd", "-D", "-o", "PermitRootLogin=no"])
    wait_for(lambda: os.path.exists("/run/sshd.pid"), "sshd listens")
    code = do({"do": "sshd.set", "permit_root_login": "prohibit-password", "password_auth": False})[0][0]
    check(code == "would_lock_out" and machine.login_with_password("alice", "Some-Pass-1"),
          f"P53_ an option that sshd was started with holds root down: {code}")


main(test)
