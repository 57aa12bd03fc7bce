#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""P53, the matrix: accounts × keys × passwords × shells × lists × doors × documents. In each cell the guard's answer and
real logins agree: what is refused leaves, once it is done with accept_lockout, nobody a way in that lasts; what is done
leaves somebody one. LATCHKEY_CELLS=N does so many cells instead of the everyday sample, LATCHKEY_SEED another sample."""
import itertools
import os
import random
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Machine, Signer, check, keygen, main, read, write  # noqa: E402
from server import CLIENT, Server, must  # noqa: E402

PASSWORD = "Nightingale-77"
CONFIG = "/etc/ssh/sshd_config.d/50-test.conf"
KEPT = ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/ssh", "/var/lib/latchkey", "/home", "/root/.ssh",
        "/run/latchkey"]

# Each dimension has a value that lets in more than one that lets in less, so that one command often makes the difference.
STATE = {
    "key": ["bound", "bound", "by hand", "both", "none"],
    "password": ["yes", "none", "none", "locked"],
    "shell": ["/bin/bash", "/bin/bash", "/bin/bash", "/usr/sbin/nologin"],
    "expires": [False, False, False, True],
    "root": ["none", "none", "key", "password"],
    "bob": ["none", "none", "key", "password"],
    "list": ["", "", "AllowUsers alice", "AllowUsers bob root", "AllowGroups staff", "AllowGroups root bob", "DenyUsers alice",
             "DenyGroups staff"],
    "doors": ["", "", "PasswordAuthentication no\nKbdInteractiveAuthentication no", "PubkeyAuthentication no",
              "AuthenticationMethods publickey,password"],
    "permit": ["prohibit-password", "no", "yes"],
}


def documents(new, fingerprint):
    """The closing commands and what may stand beside them. `new` is another key."""
    alice = {"user": "alice"}
    replace = {"do": "keys.replace", **alice, "keypair": "a"}
    single = [
        [{"do": "keys.unbind", **alice, "keypair": "a"}],
        [{"do": "user.remove", **alice}],
        [{"do": "user.remove", "user": "bob"}],
        [{"do": "user.lock", **alice}],
        [{"do": "user.lock", "user": "bob"}],
        [{"do": "password.remove", **alice}],
        [{"do": "sshd.set", "password_auth": False}],
        [{"do": "sshd.set", "pubkey_auth": False}],
        [{"do": "sshd.set", "permit_root_login": "no"}],
        [{"do": "keys.revoke", "fingerprint": fingerprint}],
        [{"do": "user.ensure", **alice, "shell": "/usr/sbin/nologin"}],
        [{"do": "user.ensure", **alice, "shell": "/bin/sh"}],
        [{"do": "user.ensure", **alice, "expires": int(time.time()) + 30 * 86400}],
        [{"do": "user.ensure", **alice, "groups": []}],
        [{"do": "user.ensure", **alice, "groups": ["staff", "games"]}],
        [{**replace, "key": new}],
        [{**replace, "key": new, "expires": int(time.time()) + 86400}],
        [{**replace, "key": new, "from": ["10.0.0.0/8"]}],
    ]
    double = [
        [{"do": "keys.unbind", **alice, "keypair": "a"}, {"do": "password.remove", **alice}],
        [{"do": "sshd.set", "password_auth": False}, {"do": "keys.unbind", **alice, "keypair": "a"}],
        [{"do": "user.lock", **alice}, {"do": "user.remove", "user": "bob"}],
        [{"do": "user.lock", "user": "bob"}, {"do": "sshd.set", "permit_root_login": "no"},
         {"do": "keys.unbind", **alice, "keypair": "a"}],
        [{"do": "user.ensure", **alice, "groups": []}, {"do": "sshd.set", "pubkey_auth": False}],
        [{**replace, "key": new}, {"do": "sshd.set", "password_auth": False}],
        [{"do": "keys.revoke", "fingerprint": fingerprint}, {"do": "password.remove", **alice}],
    ]
    return single + double


class Rig:
    def __init__(self):
        self.machine, self.ops = Machine(url=None), Signer()
        write("/etc/latchkey/allowed_signers", self.ops.line())
        write("/etc/latchkey/policy.conf", "[users]\nroot = yes\nprivileged = allow\nremove = any\n[groups]\nallow = staff games\n"
              "[password]\naccept_lockout = yes\n[keys]\nlocations = home runtime system\n")
        write("/etc/pam.d/common-auth", read("/etc/pam.d/common-auth").replace("pam_unix.so", "pam_unix.so nodelay"))
        self.keys = {name: keygen(f"/tmp/{name}") for name in ("bound", "hand", "new", "bob", "root")}
        self.server = Server()
        self.machine.redo()
        self.seq = 0
        self.do({"do": "user.ensure", "user": "alice", "groups": ["staff"]},
                {"do": "keys.bind", "user": "alice", "keypair": "a", "key": self.keys["bound"]})
        must("useradd", "-m", "-s", "/bin/bash", "bob")
        os.makedirs("/root/.ssh", 0o700, exist_ok=True)
        self.keep("/tmp/kept")
        self.base = self.seq

    @staticmethod
    def keep(place):
        os.makedirs(place)
        must("sh", "-c", f"tar -C / -cf - {' '.join(path[1:] for path in KEPT)} | tar -C {place} -xpf -")

    def reset(self):
        for path in KEPT:
            must("sh", "-c", f"rm -rf {path} 2>/dev/null; cp -a /tmp/kept{path} {path}")
        self.seq = self.base

    def send(self, commands, prefix):
        self.seq += 1
        code, log = self.machine.apply(self.ops.document(self.seq, [
            {"id": f"{prefix}{n}", **command} for n, command in enumerate(commands)]))
        assert code == 0, log
        return [self.machine.result(self.seq, f"{prefix}{n}") for n in range(len(commands))]

    def do(self, *commands):
        results = self.send(commands, "s")
        assert all(result["code"] == "ok" for result in results), results

    def build(self, cell):
        self.reset()
        lines = {"bound": f"{self.keys['bound']} latchkey:a\n", "by hand": self.keys["hand"] + "\n", "none": ""}
        lines["both"] = lines["bound"] + lines["by hand"]
        self.put_keys("alice", "/home/alice", lines[cell["key"]])
        self.put_keys("bob", "/home/bob", self.keys["bob"] + "\n" if cell["bob"] == "key" else "")
        self.put_keys("root", "/root", self.keys["root"] + "\n" if cell["root"] == "key" else "")
        for user, wanted in (("alice", cell["password"]), ("bob", cell["bob"]), ("root", cell["root"])):
            must("usermod", "-p", "*", user)
            if wanted in ("yes", "locked", "password"):
                must("chpasswd", "-c", "SHA512", input=f"{user}:{PASSWORD}\n".encode())
            if wanted == "locked":
                must("usermod", "-L", user)
        must("usermod", "-s", cell["shell"], "-e", time.strftime("%Y-%m-%d", time.gmtime(time.time() + 9e6))
             if cell["expires"] else "", "alice")
        write(CONFIG, f"{cell['list']}\n{cell['doors']}\nPermitRootLogin {cell['permit']}\n")
        self.server.reload()

    @staticmethod
    def put_keys(user, home, text):
        os.makedirs(f"{home}/.ssh", 0o700, exist_ok=True)
        write(f"{home}/.ssh/authorized_keys", text, 0o600)
        must("chown", "-R", f"{user}:", f"{home}/.ssh")

    def time_passes(self):
        """What has an end has come to it: the guard counts on what lasts. Returns what takes it back."""
        kept = {path: read(path) for path in ("/etc/shadow", "/home/alice/.ssh/authorized_keys") if os.path.exists(path)}
        shadow = [line.split(":") for line in kept["/etc/shadow"].splitlines()]
        for fields in shadow:
            if fields[0] == "alice" and fields[7]:
                fields[7] = "1"
        self.over("/etc/shadow", "\n".join(map(":".join, shadow)) + "\n")
        path = "/home/alice/.ssh/authorized_keys"
        if path in kept:
            self.over(path, re.sub(r'expiry-time="[^"]*"', 'expiry-time="20200101"', kept[path]))
        return lambda: [self.over(path, text) for path, text in kept.items()]

    @staticmethod
    def over(path, text):
        with open(path, "r+", encoding="utf-8") as file:
            file.write(text)
            file.truncate()

    def ssh(self, user):
        """By any way at all, or by two together."""
        options = list(itertools.chain(*(["-i", f"/tmp/{name}"] for name in self.keys)))
        done = subprocess.run(["sshpass", "-p", PASSWORD, "ssh", *CLIENT, *options, "-o", "NumberOfPasswordPrompts=1",
                               f"{user}@127.0.0.1", "echo in"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
        return done.returncode == 0 and b"in" in done.stdout.split()

    def who(self):
        back = self.time_passes()
        found = [user for user in ("alice", "bob", "root") if self.ssh(user)]
        back()
        return found

    def show(self, number, cell, commands):
        self.build(cell)
        before = self.who()
        results = self.send(commands, "c")
        codes = [result["code"] for result in results]
        after = self.who()
        name = f"cell {number}: {short(cell)} {[describe(c) for c in commands]} {codes}: {before} → {after}"
        bad = [code for code in codes if code not in ("ok", "would_lock_out", "no_such_user", "overridden", "system_account")]
        if bad:
            check(False, name + f" {[r['detail'] for r in results]}")
        if not before:
            check(not after, name)
            return False
        refused = [command for command, code in zip(commands, codes) if code == "would_lock_out"]
        if not after:
            check(False, name + ": nobody was left")
        if refused:
            # Stages go before the order of the document; the first that was judged so.
            stage = {"keys.replace": 0, "user.ensure": 0, "sshd.set": 2}
            first = min(refused, key=lambda command: (stage.get(command["do"], 1), commands.index(command)))
            forced = self.send([{**first, "accept_lockout": True}], "f")[0]
            finally_ = self.who()
            check(forced["code"] in ("ok", "overridden") and not finally_, f"{name}, done all the same: {forced['code']} {finally_}")
        else:
            check(True, name)
        return True


def describe(command):
    return " ".join(str(value)[:12] for value in command.values())


def short(cell):
    return ",".join(str(value).split("\n")[0] for value in cell.values() if value)


def test():
    rig = Rig()
    count, seed = int(os.environ.get("LATCHKEY_CELLS", "25")), int(os.environ.get("LATCHKEY_SEED", "5"))
    dice = random.Random(seed)
    fingerprint = must("ssh-keygen", "-lf", "/tmp/bound.pub").split()[1]
    wanted, told, deck = count, 0, []
    started = time.monotonic()
    for number in range(count * 8):
        if told == wanted:
            break
        cell = {name: dice.choice(values) for name, values in STATE.items()}
        if not plausible(cell):
            continue
        deck = deck or dice.sample(documents(rig.keys["new"], fingerprint), 25)
        told += rig.show(number, cell, deck.pop())
    check(told >= count * 3 // 4, f"{told} cells in {time.monotonic() - started:.0f} s")
    rig.server.stop()


def plausible(cell):
    """Cells in which nobody can log in to begin with say nothing; most of them show at a glance."""
    both = cell["doors"].startswith("AuthenticationMethods")
    key_off, password_off = cell["doors"].startswith("Pubkey"), cell["doors"].startswith("Password")

    def way(key, password):
        return key and password if both else (key and not key_off) or (password and not password_off)

    alice = way(cell["key"] != "none", cell["password"] == "yes") and cell["shell"] == "/bin/bash" and not cell["expires"]
    alice = alice and cell["list"] in ("", "AllowUsers alice", "AllowGroups staff")
    bob = way(cell["bob"] == "key", cell["bob"] == "password") and cell["list"] not in ("AllowUsers alice", "AllowGroups staff")
    root = cell["permit"] != "no" and way(cell["root"] == "key", cell["root"] == "password" and cell["permit"] == "yes")
    return alice or bob or (root and cell["list"] not in ("AllowUsers alice", "AllowGroups staff"))


main(test)
