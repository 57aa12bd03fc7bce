#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Real logins, by key and by password, after each kind of change of an account: signed documents, a real sshd with UsePAM
yes and with UsePAM no, and what the result itself said about both doors. In the rig:
tests/integration/023-account-logins.py"""
import base64
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "rig"))
from accounts import box_public, complaints, crypt, entry, new_box, seal, unseal  # noqa: E402
from machine import Machine, Signer, check, keygen, main, read, wait_for, write  # noqa: E402

FIRST, SECOND, THIRD = "First-Horse-7", "Second \"Horse' 8", "Dritt\u00e4s-Pferd-9"


def must(*argv, **more):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more).stdout


class Doors:
    def __init__(self):
        self.machine, self.ops, self.seq, self.pam = Machine(url=None), Signer(), 0, ""
        write("/etc/latchkey/allowed_signers", self.ops.line())
        write("/etc/latchkey/policy.conf", "[users]\nroot = yes\n[groups]\nallow = *\n[sudo]\nmost = nopasswd\n")
        self.machine.redo()
        self.key = keygen("/tmp/key")

    def serve(self, pam, more=""):
        self.pam = f"UsePAM {pam}"
        self.machine.stop("sshd")
        if os.path.exists("/run/sshd.pid"):
            os.unlink("/run/sshd.pid")
        write("/etc/ssh/sshd_config.d/10-test.conf",
              f"UsePAM {pam}\nPasswordAuthentication yes\nKbdInteractiveAuthentication {pam}\nPermitRootLogin yes\n{more}")
        self.machine.start_sshd()

    def do(self, do, user, password=None, hash_=None, code="ok", **fields):
        self.seq += 1
        command = {"id": f"c{self.seq}", "do": do, "user": user, **fields}
        if password or hash_:
            value = {"password": password} if password else {"hash": hash_}
            command["sealed"] = seal(box_public(), {"instance": "vm-1", "id": command["id"], "user": user, **value})
        exit_code, log = self.machine.apply(self.ops.document(self.seq, [command]))
        result = self.machine.result(self.seq, command["id"])
        if exit_code != 0 or result["code"] != code:
            check(False, f"{self.pam}: {do} {fields}: {exit_code} {result} {log}")
        return result

    def look(self, what, user, key, password, result=None):
        """Who comes in, and that the result knew. `password` is the one that must open; False: FIRST must not."""
        by_key = self.machine.login_with_key(user, "/tmp/key")
        by_password = self.machine.login_with_password(user, password or FIRST)
        said = result["login"][user] if result else None
        knew = not said or (said["key"]["can"], said["password"]["can"]) == (key, bool(password))
        check((by_key, by_password) == (key, bool(password)) and knew,
              f"{self.pam}: {what}: key {'opens' if by_key else 'does not open'}, password {'opens' if by_password else 'does not'} {'' if knew else said}")


def passwords(doors, user):
    result = doors.do("user.ensure", user)
    doors.do("keys.bind", user, keypair="k", key=doors.key)
    doors.look("a new account with a key: its hash is *", user, True, False)
    doors.look("password.set", user, True, FIRST, doors.do("password.set", user, FIRST))
    doors.look("password.set, quotes and blanks", user, True, SECOND, doors.do("password.set", user, SECOND))
    check(not doors.machine.login_with_password(user, FIRST), "  the one before does not open any more")
    doors.look("password.set, UTF-8", user, True, THIRD, doors.do("password.set", user, THIRD))
    public, secret = new_box()
    result = doors.do("password.generate", user, to=base64.b64encode(public).decode(), length=20)
    doors.look("password.generate", user, True, unseal(public, secret, result["sealed"])["password"], result)
    for setting in ("$6$rounds=100000$abcdefgh", "$y$j9T$abcdefgh", "$5$rounds=100000$abcdefgh", "$2b$10$abcdefghijklmnopqrstuu"):
        doors.look(f"a hash of {setting[:3]}", user, True, SECOND, doors.do("password.set", user, hash_=crypt(SECOND, setting)))
    doors.do("password.set", user, FIRST)
    doors.look("password.remove", user, True, False, doors.do("password.remove", user))
    doors.look("password.set after it", user, True, FIRST, doors.do("password.set", user, FIRST))


def locks(doors, user):
    """P103: both doors."""
    before = read("/etc/shadow")
    doors.look("P103: user.lock", user, False, False, doors.do("user.lock", user))
    doors.look("P103: user.unlock", user, True, FIRST, doors.do("user.unlock", user))
    check(read("/etc/shadow") == before, "P103: and shadow is as it was")
    doors.do("user.lock", user)
    doors.do("password.set", user, SECOND)
    check(not doors.machine.login_with_password(user, SECOND), "P103: a new password does not open a locked account")
    doors.look("P103: nor the old one", user, False, False)
    doors.do("user.unlock", user)
    doors.look("P103: after user.unlock the new one counts", user, True, SECOND)
    doors.do("password.remove", user)
    doors.do("user.lock", user)
    doors.look("P103: an account without a password, locked", user, False, False)
    doors.do("user.unlock", user)
    doors.look("P103: and unlocked: the key alone", user, True, False)
    # T14: an account of the image that was locked by usermod -L or useradd
    for hash_ in ("!", "!!", "!*"):
        must("usermod", "-p", hash_, user)
        doors.look(f"T14: hash {hash_}", user, doors.pam == "UsePAM yes", False,
                   doors.do("diagnose", user))
        doors.do("user.unlock", user)
        check(entry("shadow", user)[1] == "*" and must("passwd", "-S", user).split()[1] == "L", "T14: user.unlock makes it *, never empty")
        doors.look("T14: after user.unlock", user, True, False)
    doors.do("password.set", user, FIRST)


def ages(doors, user):
    uses_pam = doors.pam == "UsePAM yes"
    doors.do("password.set", user, FIRST, must_change=True)
    doors.look("must_change: no command is run before there is a new one (a key without PAM asks nothing)", user, not uses_pam, False)
    write("/tmp/word", FIRST + "\n", 0o600)
    with open("/tmp/terminal", "wb") as terminal:
        process = subprocess.Popen(["sshpass", "-f", "/tmp/word", "ssh", *doors.machine.ssh_options(
            "-tt", "-o", "PreferredAuthentications=password"), f"{user}@127.0.0.1"], stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal)
        words = wait_for(lambda: "change your password" in read("/tmp/terminal") and read("/tmp/terminal"), "the terminal is asked")
        process.kill()
        process.wait()
    check(words, f"{doors.pam}: must_change: a terminal is asked for a new one: {words.split(chr(10))[0].strip()}")
    doors.look("set again without must_change", user, True, FIRST, doors.do("password.set", user, FIRST))
    must("chage", "-m", "100", "-d", time.strftime("%Y-%m-%d"), user)
    doors.look("a minimum age of 100 days does not stop a reset", user, True, SECOND, doors.do("password.set", user, SECOND))
    must("chage", "-m", "0", "-M", "10", "-d", "2020-01-01", user)
    doors.look("a password over its maximum age", user, not uses_pam, False)
    doors.look("is new after a reset", user, True, FIRST, doors.do("password.set", user, FIRST))
    must("chage", "-M", "99999", user)
    doors.look("expires in the past", user, False, False, doors.do("user.ensure", user, expires=86400 * 365))
    doors.look("expires in the future", user, True, FIRST, doors.do("user.ensure", user, expires=int(time.time()) + 86400 * 30))
    must("chage", "-E", "1", user)
    doors.look("closed by chage -E 1", user, False, False)
    doors.do("user.unlock", user)
    doors.look("opened by user.unlock", user, True, FIRST)


def details(doors, user):
    doors.look("a shell that ends every session", user, False, False, doors.do("user.ensure", user, shell="/usr/sbin/nologin"))
    doors.look("and one that does not", user, True, FIRST, doors.do("user.ensure", user, shell="/bin/sh"))
    name = f"team{user}"
    must("groupadd", name)
    doors.serve(doors.pam.split()[1], f"AllowGroups root anchor {name} new{name}\n")
    doors.look("AllowGroups without his", user, False, False, doors.do("user.ensure", user, gecos="x"))
    doors.look("user.ensure puts him into it", user, True, FIRST, doors.do("user.ensure", user, groups=[name]))
    must("groupmod", "-n", f"new{name}", name)
    doors.look("the group gets another name by groupmod", user, True, FIRST, doors.do("user.ensure", user, gecos="y"))
    check(doors.do("user.ensure", user, groups=[f"new{name}"])["changed"] is False, "  he is in it by that name already")
    doors.do("user.ensure", user, groups=[])
    doors.look("what was not given under that name is not taken", user, True, FIRST)
    must("gpasswd", "-d", user, f"new{name}")
    doors.do("user.ensure", user, groups=[f"new{name}"])
    doors.look("given again", user, True, FIRST)
    doors.look("and taken", user, False, False, doors.do("user.ensure", user, groups=[]))
    doors.serve(doors.pam.split()[1])
    sudo = ["ssh", *doors.machine.ssh_options("-i", "/tmp/key", "-o", "BatchMode=yes"), f"{user}@127.0.0.1"]
    for word, command, expected in (("nopasswd", "sudo -n id -u", "0"), ("password", "sudo -n id -u", ""),
                                    ("password", f"echo {FIRST} | sudo -S -p '' id -u", "0"), ("none", "sudo -n id -u", "")):
        doors.do("user.ensure", user, sudo=word)
        done = subprocess.run([*sudo, command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True)
        check(done.stdout.strip() == expected, f"{doors.pam}: sudo {word}: {command.split('|')[-1].strip()}: {done.stdout.strip() or 'no'}")


def rename(old, new):
    """usermod -l, when the last session's processes have ended: it refuses before."""
    wait_for(lambda: subprocess.run(["pgrep", "-u", old], stdout=subprocess.DEVNULL).returncode == 1, f"{old} has logged out")
    must("usermod", "-l", new, old)


def renamed_and_removed(doors, user):
    new = f"new{user}"
    rename(user, new)
    doors.do("user.lock", user, code="no_such_user")
    doors.look("renamed by usermod -l", new, True, FIRST)
    doors.look("the new name is locked", new, False, False, doors.do("user.lock", new))
    doors.do("user.unlock", new)
    doors.look("and unlocked", new, True, FIRST)
    doors.do("user.remove", new, code="not_ours")
    rename(new, user)
    doors.do("user.remove", user)
    check(not doors.machine.login_with_key(user, "/tmp/key") and entry("passwd", user) is None, f"{doors.pam}: user.remove: nobody comes in")
    doors.do("password.set", "root", SECOND)
    check(doors.machine.login_with_password("root", SECOND), f"{doors.pam}: root's password is reset")
    check(complaints() == [], f"{doors.pam}: pwck and grpck find nothing {complaints()}")


def test():
    doors = Doors()
    doors.serve("yes")
    doors.do("user.ensure", "anchor")
    doors.do("keys.bind", "anchor", keypair="k", key=doors.key)
    for pam in sys.argv[1:] or ("yes", "no"):
        doors.serve(pam)
        for part in (passwords, locks, ages, details, renamed_and_removed):
            part(doors, f"user{pam}")


main(test)
