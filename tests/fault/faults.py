#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""faults.py [--only PROGRAM:NUMBER:ACTION] [--programs NAME,…] [--actions NAME,…] [--accounts | --keys]

The general fault driver, on the preset `fault` (lib/sys_fault.c). A document that creates a user, binds a key, sets a
password and switches sshd is applied; at every call of the table of system operations, in every program, each fault
strikes once: kill, short reads and writes, and each errno; at allocations,
memory that is not there once, or from then on (P80). Afterwards the redo runs and the invariants must hold: the
command is wholly done or has a clear code and left nothing; the account files are consistent (pwck, grpck); foreign
bytes are unchanged; no temporary file stays; nothing is done twice; the next document applies. Prints how many cases were
tried and survived; --only replays one. With --accounts the document is about accounts alone: it makes one with groups and
sudo, sets its password, and locks, unlocks, removes and gives passwords to others. With --keys it is about key files that stand: it binds and unbinds
in one that holds what its user wrote, and unbinds the only line of one that is ours."""
import argparse
import base64
import errno
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from accounts import new_box  # noqa: E402
from machine import APPLY, Machine, Signer, check, keygen, main, read, write  # noqa: E402

PLAN, LOG = "/run/latchkey-fault", "/run/latchkey-fault.log"
ACTIONS = {"kill": "kill", "short": "short", **{name: str(getattr(errno, name)) for name in (
    "ENOSPC", "EDQUOT", "EIO", "EROFS", "EPERM", "EMFILE", "EINTR", "ENOMEM", "EACCES")}}
# Of allocations, not of calls: one fails, or all from it on.
MEMORY = {"alloc": "alloc", "memory": "memory"}
# The name that prctl(2) shows has 15 bytes.
PROGRAMS = ("latchkey-apply", "account", "authorized-keys", "keys:look", "keys:edit", "sshd", "login")
FOREIGN = "mallory:x:not-a-line\n+nis::::::\n"


def lines_of(path):
    try:
        return read(path).splitlines()
    except FileNotFoundError:
        return []


class Case:
    """The machine between two documents; each case has a user of its own."""

    expected = "ukps"  # the first letters of its commands' ids

    def __init__(self):
        self.machine, self.ops = Machine(url=None), Signer()
        self.seq, self.tried, self.survived, self.struck = 0, 0, 0, 0
        self.key = keygen("/tmp/key")
        write("/etc/latchkey/allowed_signers", self.ops.line())
        write("/etc/latchkey/policy.conf", "[password]\nclear_hash = yes\n")
        with open("/etc/passwd", "a") as passwd:
            passwd.write(FOREIGN)
        self.machine.start_sshd()
        self.machine.redo()
        self.hash = subprocess.run(["openssl", "passwd", "-6", "-salt", "abcdefgh", "Nightingale-7"], check=True,
                                   stdout=subprocess.PIPE, text=True).stdout.strip()

    def document(self, user):
        self.seq += 1
        n = self.seq
        return self.ops.document(n, [
            {"id": f"u{n}", "do": "user.ensure", "user": user, "gecos": "Fault"},
            {"id": f"k{n}", "do": "keys.bind", "user": user, "keypair": "laptop", "key": self.key},
            {"id": f"p{n}", "do": "password.set", "user": user, "hash": self.hash},
            {"id": f"s{n}", "do": "sshd.set", "permit_root_login": "no" if n % 2 else "prohibit-password"}])

    def apply(self, text, *arguments):
        done = subprocess.run([APPLY, *(arguments or ("--document", "-"))], input=text, env={}, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=False)
        self.log = done.stderr.decode(errors="replace")
        return done.returncode

    def prepare(self):
        """What a case needs from before."""

    def count(self, programs):
        """The calls that each program makes in one document: its longest process."""
        self.prepare()
        write(LOG, "", 0o666)
        os.chmod(LOG, 0o666)
        self.apply(self.document("count"))
        counts, allocations = {program: 0 for program in programs}, {program: 0 for program in programs}
        for line in lines_of(LOG):
            name, number, call = line.split(" ")
            of = allocations if call == "alloc" else counts
            if name in of:
                of[name] = max(of[name], int(number))
        os.unlink(LOG)
        return counts, allocations

    def results(self):
        codes = {}
        for result in (self.machine.results(self.seq) or {"results": []})["results"]:
            codes[result["id"]] = (result["status"], result["code"])
        return codes

    def problems(self, user):
        """What does not hold; an empty list when everything does."""
        found, n = [], self.seq
        codes = self.results()
        names = [line.split(":")[0] for line in lines_of("/etc/passwd")]
        if names.count(user) > 1:
            found.append("the user is there twice")
        if [line for line in lines_of("/etc/passwd") if line in FOREIGN.splitlines()] != FOREIGN.splitlines():
            found.append("foreign lines of /etc/passwd are changed")
        ours = [line for line in lines_of(f"/home/{user}/.ssh/authorized_keys") if self.key in line]
        if len(ours) > 1:
            found.append("the key is there twice")
        shadow = [line.split(":")[1] for line in lines_of("/etc/shadow") if line.startswith(user + ":")]
        if codes.get(f"u{n}") == ("ok", "ok") and (names.count(user) != 1 or not os.path.isdir(f"/home/{user}")):
            found.append("user.ensure is ok and the user is not there")
        if codes.get(f"k{n}") == ("ok", "ok") and len(ours) != 1:
            found.append("keys.bind is ok and the key is not there")
        if codes.get(f"p{n}") == ("ok", "ok") and shadow != [self.hash]:
            found.append("password.set is ok and the hash is not there")
        if names.count(user) == 1 and (not shadow or shadow[0] == ""):
            found.append("a user without a shadow entry, or with an empty one")
        if codes.get(f"s{n}") == ("ok", "ok") and "s" in self.expected:
            wanted = "no" if n % 2 else "without-password"
            if f"PermitRootLogin {wanted}" not in read("/etc/ssh/sshd_config.d/00-latchkey.conf"):
                found.append("sshd.set is ok and the setting is not made")
        if set(codes) != {f"{c}{n}" for c in self.expected}:
            found.append(f"not every command has a result: {codes}")
        if os.listdir("/var/lib/latchkey/journal"):
            found.append("the journal stays")
        for folder in ("/etc", "/etc/ssh", "/etc/ssh/sshd_config.d", "/home", f"/home/{user}", f"/home/{user}/.ssh"):
            if os.path.isdir(folder):
                found += [f"{folder}/{name} stays" for name in os.listdir(folder) if name.startswith(".latchkey.")]
        for program in (["/usr/sbin/pwck", "-rq"], ["/usr/sbin/grpck", "-r"]):
            done = subprocess.run(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, input="n\n" * 50)
            for line in done.stdout.splitlines():
                if user in line:
                    found.append(f"{program[0]}: {line}")
        if subprocess.run(["/usr/sbin/sshd", "-t"]).returncode != 0:
            found.append("sshd -t fails")
        return found

    def run(self, program, number, action):
        self.tried += 1
        self.prepare()
        user = f"f{self.tried}"
        text = self.document(user)
        write(PLAN, f"{program} {number} {(ACTIONS | MEMORY)[action]}\n", 0o666)
        os.chmod(PLAN, 0o666)  # a child that has become a user takes it, too
        code = self.apply(text)
        # A plugin that crashed runs again and is fine then: it shows in the log only.
        crashed = [line for line in self.log.splitlines() if any(int(status, 16) & 0x7f not in (0, 9) for status in re.findall("ended with status 0x([0-9a-f]+)", line))]
        self.struck += not lines_of(PLAN)
        if os.path.exists(PLAN):
            os.unlink(PLAN)
        # What a crash or a put-off command leaves is finished by the redo; what was not taken over is offered again.
        for _ in range(3):
            self.apply(b"", "--redo")
        if not self.results():
            self.apply(text)
            self.apply(b"", "--redo")
        pending = [id for id, (status, _) in self.results().items() if status == "pending"]
        found = self.problems(user) + [f"{id} is still pending" for id in pending] + crashed
        if code not in (0, 65, 66, 70, 75, -9):
            found.append(f"latchkey-apply ended with {code}")
        if found:
            print(f"FAIL {program}:{number}:{action}: {'; '.join(found)} {self.results()}", flush=True)
            return
        self.survived += 1


class Accounts(Case):
    """Only accounts: each case removes the user of a case before it, home and all, and locks, unlocks and gives passwords to others."""

    expected = "ukprlndgm"

    def __init__(self):
        super().__init__()
        write("/etc/latchkey/policy.conf", "[password]\nclear_hash = yes\n[groups]\nallow = *\n[sudo]\nmost = password\n")
        subprocess.run(["groupadd", "dev"], check=True)
        self.to = base64.b64encode(new_box()[0]).decode()
        for name in ("gone", "shut", "barred", "bare", "given", "due"):
            self.seq += 1
            self.apply(self.ops.document(self.seq, [{"id": f"a{name}", "do": "user.ensure", "user": name, "groups": ["dev"], "sudo": "password"}]))

    def prepare(self):
        """What the last case removed and locked stands again."""
        self.seq += 1
        self.apply(self.ops.document(self.seq, [
            {"id": f"o{self.seq}", "do": "user.unlock", "user": "shut"},
            {"id": f"b{self.seq}", "do": "user.lock", "user": "barred"},
            *({"id": f"{name[:3]}{self.seq}", "do": "password.set", "user": name, "hash": self.hash} for name in ("bare", "given", "due")),
            {"id": f"g{self.seq}", "do": "user.ensure", "user": "gone", "groups": ["dev"], "sudo": "password"}]))

    def document(self, user):
        self.seq += 1
        n = self.seq
        return self.ops.document(n, [
            {"id": f"u{n}", "do": "user.ensure", "user": user, "gecos": "Fault", "groups": ["dev"], "sudo": "password"},
            {"id": f"k{n}", "do": "keys.bind", "user": user, "keypair": "laptop", "key": self.key},
            {"id": f"r{n}", "do": "user.remove", "user": "gone", "home": "delete"},
            {"id": f"l{n}", "do": "user.lock", "user": "shut"},
            {"id": f"n{n}", "do": "user.unlock", "user": "barred"},
            {"id": f"d{n}", "do": "password.remove", "user": "bare"},
            {"id": f"g{n}", "do": "password.generate", "user": "given", "to": self.to},
            {"id": f"m{n}", "do": "password.set", "user": "due", "hash": self.hash, "must_change": True},
            {"id": f"p{n}", "do": "password.set", "user": user, "hash": self.hash}])

    def problems(self, user):
        found, codes, n = super().problems(user), self.results(), self.seq
        files = {name: lines_of(f"/etc/{name}") for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")}
        people = {line.split(":")[0] for line in files["passwd"]}

        def members(name):
            return [line.split(":")[3].split(",") for line in files[name] if line.startswith("dev:")][0]

        if codes.get(f"u{n}") == ("ok", "ok"):
            found += [f"user.ensure is ok and he is not in {name}" for name in ("group", "gshadow") if user not in members(name)]
            if not os.path.exists(f"/etc/sudoers.d/latchkey-{user}"):
                found.append("user.ensure is ok and sudo is not given")
        if codes.get(f"r{n}") == ("ok", "ok"):
            found += [f"user.remove is ok and he stands in {name}" for name, lines in files.items() if any("gone" in line for line in lines)]
            found += [f"user.remove is ok and {path} stands" for path in ("/home/gone", "/etc/sudoers.d/latchkey-gone") if os.path.exists(path)]
        if codes.get(f"l{n}") == ("ok", "ok"):
            fields = [line.split(":") for line in files["shadow"] if line.startswith("shut:")][0]
            if not fields[1].startswith("!") or fields[7] != "1":
                found.append("user.lock is ok and a door is open")
        shadow = {line.split(":")[0]: line.split(":") for line in files["shadow"]}
        for letter, name, holds in (("n", "barred", lambda f: f[1] == "*" and f[7] == ""), ("d", "bare", lambda f: f[1] == "*"),
                                    ("g", "given", lambda f: f[1].startswith("$") and f[1] != self.hash),
                                    ("m", "due", lambda f: f[1] == self.hash and f[2] == "0")):
            if codes.get(f"{letter}{n}") == ("ok", "ok") and not holds(shadow[name]):
                found.append(f"{name} is ok and stands as {shadow[name]}")
        for name in os.listdir("/etc/sudoers.d"):
            if name.startswith("latchkey-") and name[9:] not in people:
                found.append(f"a right of sudo for nobody: {name}")
        return found


class Keys(Case):
    """Key files that stand: the old one or the new one, with every byte of its user's, and nothing beside it."""

    expected = "kor"
    hand = b"# mine\r\n\x01 junk\nssh-ed25519 AAAA not a key"

    def __init__(self):
        super().__init__()
        self.other = keygen("/tmp/other")
        for name in ("hand", "bare"):
            subprocess.run(["useradd", "-m", "-p", "*", name], check=True)
        os.mkdir("/home/hand/.ssh", 0o700)
        with open("/home/hand/.ssh/authorized_keys", "wb") as file:
            file.write(self.hand)
        subprocess.run(["chown", "-R", "hand:hand", "/home/hand/.ssh"], check=True)
        os.chmod("/home/hand/.ssh/authorized_keys", 0o640)

    def prepare(self):
        self.seq += 1
        n = self.seq
        self.apply(self.ops.document(n, [
            {"id": f"x{n}", "do": "keys.unbind", "user": "hand", "keypair": "laptop"},
            {"id": f"y{n}", "do": "keys.bind", "user": "hand", "keypair": "old", "key": self.other},
            {"id": f"z{n}", "do": "keys.bind", "user": "bare", "keypair": "only", "key": self.key}]))
        self.apply(b"", "--redo")
        assert {code for _, code in self.results().values()} == {"ok"}, self.results()

    def document(self, user):
        self.seq += 1
        n = self.seq
        return self.ops.document(n, [
            {"id": f"k{n}", "do": "keys.bind", "user": "hand", "keypair": "laptop", "key": self.key},
            {"id": f"o{n}", "do": "keys.unbind", "user": "hand", "keypair": "old"},
            {"id": f"r{n}", "do": "keys.unbind", "user": "bare", "keypair": "only"}])

    def problems(self, user):
        found, codes, n = super().problems("hand"), self.results(), self.seq
        path, bare = "/home/hand/.ssh/authorized_keys", "/home/bare/.ssh/authorized_keys"
        with open(path, "rb") as file:
            content = file.read()
        new, old = (f"{key} latchkey:{label}\n".encode() for key, label in ((self.key, "laptop"), (self.other, "old")))
        bound, unbound, removed = (codes.get(f"{letter}{n}") == ("ok", "ok") for letter in "kor")
        if content not in [first + second + self.hand for first in ([new] if bound else [b"", new])
                           for second in ([b""] if unbound else [old, b""])]:
            found.append(f"the file is neither the old nor the new one: {content}")
        if (os.stat(path).st_mode & 0o777, os.stat(path).st_uid) != (0o640, os.stat("/home/hand").st_uid):
            found.append("the file's mode or owner is another")
        if os.path.exists(bare) and (removed or read(bare) != f"{self.key} latchkey:only\n"):
            found.append("the file that is ours alone is there, or not whole")
        if os.path.isdir("/home/bare/.ssh"):
            found += [f"{name} stays" for name in os.listdir("/home/bare/.ssh") if name != "authorized_keys"]
        return found


def test():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only")
    parser.add_argument("--accounts", action="store_true")
    parser.add_argument("--keys", action="store_true")
    parser.add_argument("--programs", default=",".join(PROGRAMS))
    parser.add_argument("--actions", default=",".join(ACTIONS | MEMORY))
    parser.add_argument("--stride", type=int, default=1, help="every n-th call, from a start that differs by action")
    options = parser.parse_args()
    case = Accounts() if options.accounts else Keys() if options.keys else Case()
    if options.only:
        program, number, action = options.only.split(":")
        case.run(program, int(number), action)
    else:
        counts, allocations = case.count(options.programs.split(","))
        print(f"calls: {counts}; allocations: {allocations}", flush=True)
        check(all(count > 5 for count in counts.values()), "every program goes through the table")
        for program in options.programs.split(","):
            for place, action in enumerate(options.actions.split(",")):
                most, stride = (allocations[program], 5 * options.stride) if action in MEMORY else (counts[program], options.stride)
                for number in range(1 + place % stride, most + 1, stride):
                    case.run(program, number, action)
    print(f"{case.tried} cases tried, {case.struck} of them struck, {case.survived} survived")
    check(case.struck * 2 > case.tried, "most of them struck")
    check(case.tried == case.survived, "all cases survived")


main(test)
