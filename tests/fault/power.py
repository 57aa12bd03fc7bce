#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""power.py [--stride N] [--only SCENARIO:NUMBER] [--scenarios NAME,…]

P21: the power fails, at every moment of a document, with every legal rest of what was not yet on disk. The programs that ship
run once under strace; every change to a file system is taken down. From that log the trees that a disk may show after the
power came back are built, by these rules:

- what fsync(2), fdatasync(2) or syncfs(2) covered before the failure is there: a file's bytes, owner and mode by its own
  sync, an entry by its directory's;
- of the rest anything may be there or not, but the changes of one directory come in their order, a rename is there whole or
  not at all, and nothing is in a directory that is not;
- of bytes that were not synced all, none or half are there.

Each tree becomes the machine's, /run is empty, and the boot's redo runs; then the endpoint hands out the same document
again. It must be done, once: account files whole at once and clean after (pwck, grpck), everybody's keys and lines as they
were, one result for each command, no litter, and the next document applies. Prints how many trees were tried and survived;
--only replays one."""
import argparse
import difflib
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import APPLY, STATE, Machine, Signer, check, keygen, main, payload_of, read, write  # noqa: E402
from oplog import CALLS, crashes, load_world, record, remove, store_world, tree_of  # noqa: E402

ACCOUNT_FILES = ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")
HELD = [f"/etc/{name}" for name in ACCOUNT_FILES] + ["/etc/ssh/sshd_config.d/00-latchkey.conf", "/home/alice/.ssh/authorized_keys",
                                                     "/etc/ssh/latchkey_revoked_keys", "/etc/sudoers.d/latchkey-gone", f"{STATE}/trust/document"]
# What a run makes by its own clock, chance, or for the next time.
OWN = re.compile(r"/(spare|lock|effective|login/version|sweep/.*|identity/.*|results/.*|history/.*|journal/.*|\.pwd\.lock|passwd-|shadow-|group-|gshadow-|subuid-|subgid-)$")


def contents(world):
    found = {}
    for path in HELD:
        number = 0
        for name in path.split("/")[1:]:
            number = world[number].entries.get(name) if number is not None and number in world else None
        found[path] = None if number is None else world[number].content
    return found


def seen_contents(base, recorder):
    """Path -> every content that the name stood for while nothing failed."""
    world, seen = base.copy(), {path: {content} for path, content in contents(base).items()}
    for change in recorder.changes:
        change.apply(world, recorder.births)
        if change.places:
            for path, content in contents(world).items():
                seen[path].add(content)
    return seen


def walk(world, number=0, path=""):
    node = world[number]
    if path:
        yield path, node
    for name, inner in sorted(node.entries.items()):
        yield from walk(world, inner, f"{path}/{name}")


def facts(world):
    """What the document is about, without clocks."""
    found = {}
    for path, node in walk(world):
        if OWN.search(path):
            continue
        content = node.content if node.kind != "directory" else None
        if isinstance(content, bytes) and path.startswith(STATE):
            content = re.sub(rb'"(bound|time|seen)":\d+', rb"", content)
        if path == "/etc/ssh/latchkey_revoked_keys" and content:
            content = content[:12] + content[28:]  # its version and date (PROTOCOL.krl of OpenSSH)
        found[path] = (node.kind, oct(node.mode), node.uid, node.gid, content)
    return found


def differences(before, after):
    found = []
    for path in sorted(set(before) | set(after)):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        if old and new and old[:4] == new[:4]:
            lines = difflib.unified_diff(*(content.decode(errors="replace").splitlines() for content in (old[4], new[4])), lineterm="", n=0)
            old, new = "as it should be", " | ".join([line for line in lines][2:])
        found.append(f"{path}: {old} is {new}"[:400])
    return found


class Scenario:
    """A machine, what stood on it before, and the one step in which the power fails."""

    def __init__(self, case, name, commands=(), arguments=("--document", "-"), text=None, ids=()):
        self.case, self.name, self.arguments = case, name, arguments
        self.ids = ids or [command["id"] for command in commands]
        self.text = case.document(commands) if text is None else text
        self.seq = case.seq

    def record(self):
        self.base = load_world()
        log = f"/tmp/power-{self.name}.strace"
        done = subprocess.run(["strace", "-f", "-y", "-xx", "-s", "4000000", "-o", log, "-e", "trace=" + CALLS, APPLY, *self.arguments],
                              input=self.text, env={}, stderr=subprocess.PIPE)
        check(done.returncode == 0, f"{self.name}: done once, undisturbed {done.stderr.decode()[-300:] if done.returncode else ''}")
        codes = self.case.codes(self.seq) if self.ids else {}
        check(all(code == ("ok", "ok") for code in codes.values()) and set(codes) == set(self.ids), f"  each command ok: {codes}")
        self.recorder = record(log, self.base.copy())
        self.after = load_world()
        named = {path: (node.kind, oct(node.mode), node.uid, node.gid, node.content) for path, node in walk(self.recorder.world)}
        real = {path: (node.kind, oct(node.mode), node.uid, node.gid, node.content) for path, node in walk(self.after)}
        check(not differences(real, named), f"  and the log says the same as the disk: {differences(real, named)[:3]}")
        self.wanted, self.seen, self.codes = facts(self.after), seen_contents(self.base, self.recorder), self.case.codes(self.seq)
        self.cases = list(crashes(self.recorder))
        synced = sum(change.durable_at is not None for change in self.recorder.changes)
        print(f"     {len(self.recorder.changes)} changes, {synced} of them synced, {len(self.cases)} trees", flush=True)

    def try_one(self, number):
        text, there, half = self.cases[number]
        world, found = tree_of(self.base, self.recorder, there, half), []
        found += [f"{path} is neither old nor new" for path, content in contents(world).items() if content not in self.seen[path]]
        store_world(world)
        for name in os.listdir("/run/latchkey"):
            remove(f"/run/latchkey/{name}")
        self.case.apply(b"", "--redo")
        code = self.case.apply(self.text, *self.arguments)
        after = load_world()
        if code != 0:
            found.append(f"the second time it ends with {code}")
        found += differences(self.wanted, facts(after))
        if self.ids and self.case.codes(self.seq) != self.codes:
            found.append(f"results: {self.case.codes(self.seq)}, and {self.codes} undisturbed")
        history = [json.loads(line)["id"] for line in self.case.history() if '"id"' in line]
        if sorted(history) != sorted(set(history)) or not set(self.ids) <= set(history):
            found.append(f"history: {history}")
        if os.path.isdir(f"{STATE}/journal") and os.listdir(f"{STATE}/journal") or not os.path.exists(f"{STATE}/spare"):
            found.append("a journal stays, or no spare")
        for program in (["/usr/sbin/pwck", "-rq"], ["/usr/sbin/grpck", "-r"]):
            done = subprocess.run(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, input="n\n" * 50)
            found += [line for line in done.stdout.splitlines() if any(name in line for name in ("alice", "bob", "gone", "shut"))]
        self.case.seq = self.seq
        if self.case.apply(self.case.document([{"id": "next", "do": "user.ensure", "user": "alice", "gecos": "Next"}])) != 0 or \
                self.case.codes() != {"next": ("ok", "ok")}:
            found.append(f"the next document: {self.case.codes()}")
        return [f"after “{text}”" + (f", half of “{half.text}”" if half else "")] + found if found else []


class Case:
    def __init__(self):
        self.machine, self.ops, self.root = Machine(url=None), Signer(), Signer("/tmp/root", "root")
        self.seq, self.key, self.other = 0, keygen("/tmp/key"), keygen("/tmp/other")
        write("/etc/latchkey/allowed_signers", self.ops.line())
        write("/etc/latchkey/trust_roots", self.root.line("*", 'namespaces="latchkey-trust@1"'))
        write("/etc/latchkey/policy.conf", "[password]\nclear_hash = yes\naccept_lockout = yes\n[groups]\nallow = *\n[sudo]\nmost = password\n")
        subprocess.run(["groupadd", "dev"], check=True)
        self.machine.redo()
        self.hash = subprocess.run(["openssl", "passwd", "-6", "-salt", "abcdefgh", "Nightingale-7"], check=True,
                                   stdout=subprocess.PIPE, text=True).stdout.strip()
        people = [{"id": f"p{name}", "do": "user.ensure", "user": name, "groups": ["dev"], "sudo": "password"} for name in ("alice", "gone", "shut")]
        self.apply(self.document(people))
        own = "# my own keys\n" + keygen("/tmp/own") + " alice@laptop\n"
        os.makedirs("/home/alice/.ssh", 0o700, exist_ok=True)
        write("/home/alice/.ssh/authorized_keys", own, 0o600)
        for path in ("/home/alice/.ssh", "/home/alice/.ssh/authorized_keys"):
            shutil.chown(path, "alice", "alice")

    def document(self, commands):
        self.seq += 1
        return self.ops.document(self.seq, commands)

    def apply(self, text, *arguments):
        return subprocess.run([APPLY, *(arguments or ("--document", "-"))], input=text, env={}, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode

    def codes(self, seq=None):
        path = f"{STATE}/results/{seq or self.seq}"
        if not os.path.exists(path):
            return {}
        return {result["id"]: (result["status"], result["code"]) for result in payload_of(read(path))["results"]}

    def history(self):
        return [line for name in sorted(os.listdir(f"{STATE}/history")) for line in read(f"{STATE}/history/{name}").splitlines()]


def scenarios(case, earlier):
    """Each is made when its turn comes, on what the one before, the last of `earlier`, has left."""
    fingerprint = os.popen("ssh-keygen -lf /tmp/other.pub").read().split()[1]
    bind = {"do": "keys.bind", "user": "alice", "keypair": "k", "key": case.key}

    def empty():
        """A machine that has never run: no identity yet."""
        for name in os.listdir(STATE):
            remove(f"{STATE}/{name}")
        case.seq = 0

    yield "login", lambda: Scenario(case, "login", [
        {"id": "u", "do": "user.ensure", "user": "bob", "groups": ["dev"], "sudo": "password"}, {"id": "kb", **bind, "user": "bob"}, {"id": "ka", **bind},
        {"id": "p", "do": "password.set", "user": "bob", "hash": case.hash}, {"id": "s", "do": "sshd.set", "permit_root_login": "no", "accept_lockout": True}])


    def again():
        """The power fails a second time, in the redo after the first: when the accounts were half written."""
        first = earlier[-1]
        at = max(number for number, (text, _, _) in enumerate(first.cases) if "renameat" in text and '"shadow-"' in text)
        _, there, half = first.cases[at]
        store_world(tree_of(first.base, first.recorder, there, half))
        return Scenario(case, "again", arguments=("--redo",), text=b"", ids=first.ids)
    yield "again", again
    yield "closing", lambda: Scenario(case, "closing", [
        {"id": "r", "do": "user.remove", "user": "gone", "home": "delete", "accept_lockout": True}, {"id": "l", "do": "user.lock", "user": "shut", "accept_lockout": True},
        {"id": "n", "do": "keys.unbind", "user": "alice", "keypair": "k", "accept_lockout": True},
        {"id": "v", "do": "keys.revoke", "fingerprint": fingerprint, "accept_lockout": True}])
    yield "first", lambda: empty() or Scenario(case, "first", arguments=("--redo",), text=b"")
    yield "trust", lambda: Scenario(case, "trust", arguments=("--trust", "-"), text=case.root.sign(
        json.dumps({"v": 1, "version": 7, "signers": [], "revoked": [fingerprint]}) + "\n", "latchkey-trust@1"))


def test():
    parser = argparse.ArgumentParser()
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--only")
    parser.add_argument("--scenarios")
    options = parser.parse_args()
    chosen = options.only.split(":")[0] if options.only else options.scenarios
    case, tried, survived, earlier = Case(), 0, 0, []
    for name, make in scenarios(case, earlier):
        scenario = make()
        earlier.append(scenario)
        scenario.record()
        done = load_world()
        if not chosen or name in chosen.split(","):
            numbers = [int(options.only.split(":")[1])] if options.only else range(0, len(scenario.cases), options.stride)
            for number in numbers:
                found = scenario.try_one(number)
                tried += 1
                survived += not found
                if found:
                    print(f"FAIL {name}:{number} {found[0]}\n     " + "\n     ".join(found[1:8]), flush=True)
        store_world(done)
        case.seq = scenario.seq
    check(tried > 0 and survived == tried, f"P21: {survived} of {tried} trees survived")


main(test)
