#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every result code of accounts: the code, the words, and not one byte of the account files or of sudoers.d changed. A
table; each row is one signed document on the machine as it ships, or a batch of the plugin where only a fault leads
there. Names that a directory knows, and one that hangs, are in 021. In the rig: tests/integration/022-account-refusals.py"""
import contextlib
import fcntl
import grp
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "rig"))
from accounts import box_public, complaints, crypt, differences, entry, new_box, put, read, seal, snapshot  # noqa: E402
from machine import Machine, Signer, check, keygen, main, write  # noqa: E402
from plugin import Plugin  # noqa: E402

MORE = "[groups]\nallow = *\n[sudo]\nmost = password\n"
SHA = crypt("Sealed-Hash-9", "$6$rounds=100000$abcdefgh")
GOOD = "Correct-Horse7"


def must(*argv, **more):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more).stdout


# --- states of the machine in which a row is tried ----------------------------------------------------------------------
@contextlib.contextmanager
def edited(path, change):
    """The file with other bytes, and back."""
    before = read(path)
    put(path, change(before))
    yield
    put(path, before)


@contextlib.contextmanager
def linked(name):
    os.rename(f"/etc/{name}", f"/etc/{name}.real")
    os.symlink(f"{name}.real", f"/etc/{name}")
    yield
    os.unlink(f"/etc/{name}")
    os.rename(f"/etc/{name}.real", f"/etc/{name}")


@contextlib.contextmanager
def missing(name):
    os.rename(f"/etc/{name}", f"/etc/{name}.real")
    yield
    os.rename(f"/etc/{name}.real", f"/etc/{name}")


@contextlib.contextmanager
def read_only():
    must("mount", "-o", "remount,ro", "/etc")
    yield
    must("mount", "-o", "remount,rw", "/etc")


@contextlib.contextmanager
def full():
    """/etc on a file system of its own without a free block."""
    os.makedirs("/tmp/etc")
    must("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", "/tmp/etc")
    must("cp", "-a", "/etc/.", "/tmp/etc")
    with open("/tmp/etc/filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))
    must("mount", "--bind", "/tmp/etc", "/etc")
    yield
    must("umount", "/etc")
    must("umount", "/tmp/etc")
    os.rmdir("/tmp/etc")


@contextlib.contextmanager
def immutable(name):
    must("chattr", "+i", f"/etc/{name}")
    yield
    must("chattr", "-i", f"/etc/{name}")


@contextlib.contextmanager
def huge(name):
    """Larger than any account file is, but sparse."""
    size = os.path.getsize(f"/etc/{name}")
    os.truncate(f"/etc/{name}", (64 << 20) + 1)
    yield
    os.truncate(f"/etc/{name}", size)


@contextlib.contextmanager
def locked_files():
    holder = os.open("/etc/.pwd.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.lockf(holder, fcntl.LOCK_EX)
    yield
    os.close(holder)


@contextlib.contextmanager
def symlink(path, target):
    os.symlink(target, path)
    yield
    os.unlink(path)


@contextlib.contextmanager
def group(*arguments):
    must("groupadd", *arguments)
    yield
    must("groupdel", arguments[-1])


def append(path, text):
    return edited(path, lambda before: before + text.encode())


# --- the table ------------------------------------------------------------------------------------------------------
def rows():
    """(code, words of the detail, command, policy, state). A sealed value is made when the row is run."""
    new, old = {"do": "user.ensure", "user": "newcomer"}, {"do": "user.ensure", "user": "alice"}
    alice, theirs = {"user": "alice"}, {"user": "packer"}
    uid = int(entry("passwd", "alice")[2])

    # names
    for name in ("Alice", "a:b", "-rf", "--help", "../x", ".", "..", "root\nevil", "a b", "alice ", "0", "1abc", "a$", "+", "+@ng",
                 "$(id)", "ALL", "\u00dcn\u00ef", "\u0430lice", "x" * 33, "x" * 300, ""):
        yield "name_invalid", "", {**new, "user": name}
    for name in ("a:b", "-rf", "../x", "root\nevil", "x" * 33):
        yield "name_invalid", "", {"do": "user.lock", "user": name}
    for name in (0, True, ["alice"], {}):
        yield "field_invalid", "", {**new, "user": name}

    # fields: T30 among them
    yield "field_missing", "user", {"do": "user.ensure"}
    yield "unknown_field", "admin", {**new, "admin": True}
    yield "unknown_command", "user.destroy", {"do": "user.destroy", "user": "alice"}
    for field, values in {"uid": (0, -1, 999, 60001, 4294967295, "1000"), "adopt": ("false", 0, "true"),
                          "home": ("x", "home/x", "/home/../etc", "/home//x", "/home/x:y", "/" + "x" * 256),
                          "shell": ("bash", "/bin/sh -c x", "/bin/nosuchshell", "/etc/passwd", "/bin"),
                          "gecos": ("a:b", "a\nroot2::0:0::/:/bin/sh", "a\rb", "\x1b[0m", "\u009b", "x" * 129),
                          "groups": ("dev", [1], ["a b"], ["dev"] * 33), "sudo": ("all", True), "expires": (0, -1, "never")}.items():
        for value in values:
            yield "field_invalid", field, {**new, field: value}, MORE
    for do in ("password.set", "password.generate"):
        yield "field_missing", "", {"do": do, **alice}
    for to in ("", "AAAA", "A" * 44, "=" * 44):
        yield "field_invalid", "to", {"do": "password.generate", **alice, "to": to}
    yield "field_invalid", "length", {"do": "password.generate", **alice, "to": "A" * 43 + "=", "length": 11}
    yield "field_invalid", "X25519", {"do": "password.generate", **alice, "to": "A" * 43 + "="}
    yield "field_invalid", "home", {"do": "user.remove", **alice, "home": "maybe"}

    # contradictions
    yield "conflict", "never changed", {**old, "uid": uid + 1}
    yield "conflict", "", {"do": "password.set", **alice, "password": GOOD, "hash": SHA}, "[password]\nclear_hash = yes\n"
    yield "conflict", "group of that name", new, "", group("-r", "newcomer")
    yield "conflict", "group of that name", new, "", group("newcomer")

    # the owner's veto
    yield "policy", "[users] create", new, "[users]\ncreate = no\n"
    yield "policy", "[users] allow", old, "[users]\nallow = bob\n"
    yield "policy", "[users] allow", old, "[users]\nallow = * !alice\n"
    yield "policy", "[policy] commands", old, "[policy]\ncommands = * !user.*\n"
    yield "policy", "[sudo] most", {**old, "sudo": "password"}
    yield "policy", "[sudo] most", {**old, "sudo": "nopasswd"}, "[sudo]\nmost = password\n"
    yield "policy", "[groups] allow", {**old, "groups": ["dev"]}
    yield "policy", "[users] remove", {"do": "user.remove", **alice}, "[users]\nremove = no\n"
    yield "policy", "[password] accept_lockout", {"do": "user.lock", **alice, "accept_lockout": True}
    yield "signer", "[signer ops]", old, "[signer ops]\nusers = bob\n"
    yield "signer", "[signer ops]", {**old, "sudo": "password"}, MORE + "[signer ops]\nsudo = none\n"
    yield "group_privileged", "docker", {**old, "groups": ["docker"]}, MORE, group("-r", "docker")
    yield "group_privileged", "like", {**old, "groups": ["likesudo"]}, MORE, group("-o", "-g", "27", "likesudo")
    dev = grp.getgrnam("dev").gr_gid
    for rule in ("%dev", f"%#{dev}", "bob, !carol, %dev", "User_Alias CREW = bob, %dev\nCREW"):
        yield "group_privileged", "dev can become root", {**old, "groups": ["dev"]}, MORE, append("/etc/sudoers", rule + " ALL=(ALL) NOPASSWD: ALL\n")
    for do in ("user.ensure", "user.lock", "user.unlock", "user.remove", "password.remove", "password.set"):
        more = {"password": GOOD} if do == "password.set" else {}
        yield "privileged", "[users] root", {"do": do, "user": "root", **more} if do != "user.ensure" else {"do": do, "user": "root"}
        yield "privileged", "sudoers", {"do": do, **theirs, **more}, "", append("/etc/sudoers", "packer ALL=(ALL) NOPASSWD: ALL\n")
        yield "privileged", "group docker", {"do": do, **theirs, **more}, "", append("/etc/group", "docker:x:900:packer\n")
        yield "system_account", "uid 1 ", {"do": do, "user": "daemon", **more}
        yield "system_account", "uid 65534 ", {"do": do, "user": "nobody", **more}
    yield "privileged", "sudoers", new, "", append("/etc/sudoers", "newcomer ALL=(ALL) NOPASSWD: ALL\n")
    yield "privileged", "sudoers", new, "", append("/etc/sudoers", "%newcomer ALL=(ALL) NOPASSWD: ALL\n")
    for rule in ("#1777", "%#1777"):
        yield "privileged", "sudoers", {**new, "uid": 1777}, "", append("/etc/sudoers", rule + " ALL=(ALL) NOPASSWD: ALL\n")
    yield "privileged", "group docker", {"do": "user.ensure", "user": "docker"}, "", group("docker")
    yield "privileged", "group admin", {"do": "user.ensure", "user": "admin"}
    yield "not_ours", "adopt", {"do": "user.ensure", **theirs, "shell": "/bin/sh"}
    yield "not_ours", "adopt", {"do": "user.ensure", **theirs, "home": "/srv/packer"}
    yield "not_ours", "not created", {"do": "user.remove", **theirs}
    yield "clear_hash", "clear_hash", {"do": "password.set", **alice, "hash": SHA}

    # passwords and hashes
    for password, why in (("Aa1-567", "shorter"), ("x" * 125 + "Aa1-", "longer"), ("alllowercase", "too few"), ("password1!A", "common"),
                          ("P@ssw0rd!", "common"), ("C1-\u009babcdefg", "control")):
        yield "password_weak", why, {"do": "password.set", **alice, "password": password}
    for name in ("alice", "ecila", "ALICE"):
        yield "password_weak", "name", {"do": "password.set", **alice, "password": name}, "[password]\nmin = 4\nclasses = 1\n"
    for hash_, code in (("*", "hash_invalid"), ("!", "hash_invalid"), ("x", "hash_invalid"), ("$6$x:y$" + "a" * 86, "hash_invalid"),
                        ("$6$salt$short", "hash_invalid"), ("$1$ab$" + "a" * 22, "hash_unsupported"), ("a" * 13, "hash_unsupported"),
                        ("$7$CU..../....abcd$" + "a" * 43, "hash_unsupported"), ("$6$rounds=999999999$ab$" + "a" * 86, "hash_cost"),
                        ("$2b$15$" + "a" * 53, "hash_cost"), ("$y$jCT$abcdefgh$" + "a" * 43, "hash_cost")):
        yield code, "", {"do": "password.set", **alice, "sealed-hash": hash_}
        if ":" not in hash_:
            yield code, "", {"do": "password.set", **alice, "hash": hash_}, "[password]\nclear_hash = yes\n"
    yield "hash_invalid", "not a hash", {"do": "password.set", **alice, "sealed-hash": "aaa\nroot:" + SHA}
    for bound in ({"user": "packer"}, {"id": "c2"}, {"instance": "vm-2"}, {"extra": "x"}, {"password": ""}, {"password": "x" * 513}):
        yield "unseal_failed", "not sealed", {"do": "password.set", **alice, "password": GOOD, "bound": bound}
    yield "unseal_failed", "not sealed", {"do": "password.set", **alice, "password": GOOD, "key": new_box()[0]}
    for sealed in ("AAAA", "A" * 4096):
        yield "unseal_failed", "not sealed", {"do": "password.set", **alice, "sealed": sealed}

    # who and where
    for do in ("user.lock", "user.unlock", "password.remove", "password.set"):
        more = {"password": GOOD} if do == "password.set" else {}
        yield "no_such_user", "there is no user", {"do": do, "user": "nobodyhere", **more}
    twins = "twin:x:5000:5000::/home/twin:/bin/sh\ntwin:x:5001:5001::/home/twin:/bin/sh\n"
    for do in ("user.ensure", "user.lock", "user.unlock", "user.remove", "password.remove"):
        # Policy is strict about a name that it cannot judge; where it lets such pass the plugin has the word.
        yield "duplicate_entry", "more than once", {"do": do, "user": "twin"}, "[users]\nprivileged = allow\n", append("/etc/passwd", twins)
        yield "privileged", "damaged", {"do": do, "user": "twin"}, "", append("/etc/passwd", twins)
        yield "io_error", "fields", {"do": do, "user": "broken"}, "[users]\nprivileged = allow\n", append("/etc/passwd", "broken:x:5000\n")
    yield "duplicate_entry", "more than once", {"do": "user.lock", **alice}, "", append("/etc/shadow", "alice:*:1::::::\n")
    yield "duplicate_entry", "dev stands more than once", {**old, "groups": ["dev"]}, MORE, append("/etc/group", "dev:x:5005:\n")
    yield "uid_taken", "another account", {**new, "uid": uid}
    yield "uid_exhausted", "no free uid", new, "", append("/etc/login.defs", f"UID_MIN {uid}\nUID_MAX {uid}\n")
    yield "uid_exhausted", "no free group id", {**new, "uid": 50000}, "", append("/etc/login.defs", f"GID_MIN {uid}\nGID_MAX {uid}\n")
    yield "group_missing", "no group nosuch", {**new, "groups": ["nosuch"]}, MORE
    yield "group_missing", "no group nosuch", {**old, "groups": ["dev", "nosuch"]}, MORE
    yield "home_exists", "another user", {**new, "home": "/home/alice"}
    for home in ("/", "/etc", "/usr/newcomer", "/etc/newcomer", "/tmp/newcomer", "/run/newcomer", "/home/alice/sub",
                 "/root/.ssh", "/var/lib/latchkey/journal/60000", "/var/lib/cloud/scripts/per-boot", "/var/spool/cron/newcomer"):
        yield "home_unsafe", "", {**new, "home": home}
    # Whoever owned it would own what the other runs when he logs in.
    for home, other in (("/srv/late", "/srv/late"), ("/srv/late", "/srv//late/"), ("/srv/late", "/srv/late/there"), ("/home/newcomer", None)):
        named = {"home": home} if other else {}
        yield "home_unsafe", "is or holds the home of late", {**new, **named}, "", append(
            "/etc/passwd", f"late:x:5000:5000::{other or home}:/bin/sh\n")
    yield "home_unsafe", "not his", {**old, "home": "/home/nosuch"}
    yield "symlink", "", {**new, "home": "/home/link"}, "", symlink("/home/link", "/etc")
    yield "symlink", "", {**new, "home": "/home/link/x"}, "", symlink("/home/link", "/etc")

    # files that are not as they should be
    for name in ("passwd", "shadow", "group"):
        yield "unsupported_backend", f"/etc/{name}", old, "", linked(name)
    yield "unsupported_backend", "/etc/shadow", {"do": "user.lock", **alice}, "", missing("shadow")
    yield "too_large", "shadow", {"do": "user.lock", **alice}, "", huge("shadow")
    changes = {**new, "groups": ["dev"], "sudo": "password"}
    yield "symlink", "", {**old, "gecos": "x"}, "", linked(".pwd.lock")
    yield "read_only", "Read-only", changes, MORE, read_only()
    yield "no_space", "No space", changes, MORE, full()
    for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid"):
        yield "immutable", name, changes, MORE, immutable(name)
    yield "immutable", "shadow", {"do": "password.set", **alice, "password": GOOD}, "", immutable("shadow")
    yield "busy", f"locked by {os.getpid()} ", {"do": "user.lock", **alice}, "", locked_files()


class Table:
    def __init__(self, machine, ops):
        self.machine, self.ops, self.seq, self.policy, self.wrong = machine, ops, 0, None, 0

    def set_policy(self, policy):
        if policy != self.policy:
            self.policy = policy
            write("/etc/latchkey/policy.conf", policy)

    def send(self, command, policy=""):
        """One document of that one command; its result."""
        self.seq += 1
        self.set_policy(policy)
        command = {"id": f"c{self.seq}", **command}
        kind = "hash" if "sealed-hash" in command else "password"
        value = command.pop("sealed-hash", command.pop("password", None))
        if value is not None:
            bound = {"instance": "vm-1", "id": command["id"], "user": command["user"], kind: value, **command.pop("bound", {})}
            command["sealed"] = seal(command.pop("key", None) or box_public(), bound)
        code, log = self.machine.apply(self.ops.document(self.seq, [command]))
        if code != 0:
            raise AssertionError(f"{command}: exit {code} {log}")
        return self.machine.result(self.seq, command["id"])

    def refused(self, code, words, command, policy="", state=None):
        self.set_policy(policy)
        with state or contextlib.nullcontext():
            before = snapshot()
            result = self.send(command, policy)
            changed = differences(before, snapshot())
        good = result["code"] == code and words in result["detail"] and not result["changed"] and changed == []
        shown = {key: value for key, value in command.items() if key not in ("password", "key")}
        self.wrong += not good
        print("ok  " if good else "FAIL", f"{code}: {str(shown)[:110]} [{result['detail']}] {result['code'] if not good else ''}{changed or ''}", flush=True)
        return result["status"]


def faults():
    """What only a failing call leads to. The plugin by itself, for the journal would be struck, too."""
    command = {"do": "user.ensure", "user": "newcomer", "groups": ["dev"], "sudo": "password"}
    account = Plugin("account")
    for call, error, code in (("renameat", "EDQUOT", "quota"), ("renameat2", "EDQUOT", "quota"), ("fsync", "EIO", "io_error"), ("fchown", "EPERM", "immutable"),
                              ("renameat", "EACCES", "lsm_denied"), ("write", "ENOSPC", "no_space"), ("fchmod", "EIO", "io_error")):
        when, struck, codes = 0, True, set()
        while struck and when < 200:
            when += 1
            planned = account.plan(command)
            broken = Plugin("account")
            broken.prefix = ["/usr/bin/strace", "-o", "/tmp/trace", "-e", f"inject={call}:error={error}:when={when}"]
            before = snapshot()
            done = broken.call("apply", broken.with_plans([command], planned), may_fail=True)
            struck = b"(INJECTED)" in read("/tmp/trace")
            changed = differences(before, snapshot())
            if not struck:
                break
            if done and done[0]["code"] != "ok":
                codes.add(done[0]["code"])
                # Once the account files stand, what follows them may be missing, and the code says so.
                if changed and "the account stands" not in done[0]["detail"]:
                    check(False, f"{code}: {call} {when}: {done} {changed}")
            account.one({"do": "user.remove", "user": "newcomer", "home": "delete"})
            shutil.rmtree("/home/newcomer", ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink("/etc/sudoers.d/latchkey-newcomer")
        account.one({"do": "user.remove", "user": "newcomer", "home": "delete"})
        check(code in codes, f"{code}: {call} failing with {error} at each of {when - 1} calls: {sorted(codes)}, nothing changed")
    os.unlink("/tmp/trace")


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    machine.start_sshd()
    machine.redo()
    must("useradd", "-m", "-s", "/bin/bash", "packer")
    must("groupadd", "dev")
    table = Table(machine, ops)
    key = keygen("/tmp/key")
    for command in ({"do": "user.ensure", "user": "alice"}, {"do": "user.ensure", "user": "anchor"},
                    {"do": "keys.bind", "user": "anchor", "keypair": "k", "key": key},
                    {"do": "password.set", "user": "alice", "password": "First-Horse-7"}):
        check(table.send(command)["code"] == "ok", f"{command['do']} {command['user']}")
    statuses = {}
    for row in rows():
        statuses.setdefault(row[0], table.refused(*row))
    count = table.seq - 4
    check(table.wrong == 0, f"{count} refusals, {table.wrong} of them wrong")

    # Somebody becomes root's equal between decision and lock: what was allowed is not done.
    holder = os.open("/etc/.pwd.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.lockf(holder, fcntl.LOCK_EX)
    write("/etc/latchkey/policy.conf", "")
    table.policy = ""
    before, table.seq = snapshot(), table.seq + 1
    text = ops.document(table.seq, [{"id": "race", "do": "user.lock", "user": "packer"}])
    process = subprocess.Popen(["/usr/sbin/latchkey-apply", "--document", "-"], stdin=subprocess.PIPE, env={})
    process.stdin.write(text)
    process.stdin.close()
    while not subprocess.run(["grep", "-qa", '"t":"plan"', f"/var/lib/latchkey/journal/{table.seq}"], stderr=subprocess.DEVNULL).returncode == 0:
        time.sleep(0.01)
    with append("/etc/sudoers", "packer ALL=(ALL) NOPASSWD: ALL\n"):
        os.close(holder)
        process.wait()
        result = machine.result(table.seq, "race")
        check(result["code"] == "busy" and "changed while" in result["detail"],
              f"P104: a rule of sudo that appears between decision and lock: {result['code']} {result['detail']}")
        machine.redo()
        result = machine.result(table.seq, "race")
        check(result["code"] == "privileged", f"P104: and the next try is denied: {result['code']} {result['detail']}")
        check(differences(before, snapshot()) == [], "  nothing was touched")

    # The last way in.
    os.rename("/home/anchor/.ssh", "/home/anchor/.ssh.away")
    machine.stop("sshd")
    machine.start_sshd(config="PasswordAuthentication yes\n")
    must("chpasswd", input=b"alice:First-Horse-7\n")
    for command in ({"do": "user.lock", "user": "alice"}, {"do": "password.remove", "user": "alice"},
                    {"do": "user.remove", "user": "alice"}, {"do": "user.ensure", "user": "alice", "shell": "/usr/sbin/nologin"},
                    {"do": "user.ensure", "user": "alice", "expires": 86400}):
        statuses.setdefault("would_lock_out", table.refused("would_lock_out", "nobody could log in", command))
    os.rename("/home/anchor/.ssh.away", "/home/anchor/.ssh")

    faults()
    wanted = {"pending": "busy no_space read_only", "rejected": "unknown_command unknown_field field_missing field_invalid "
              "name_invalid conflict hash_invalid hash_unsupported hash_cost unseal_failed", "denied": "policy signer "
              "system_account privileged not_ours clear_hash password_weak group_privileged", "refused": "would_lock_out",
              "failed": "no_such_user duplicate_entry uid_taken uid_exhausted group_missing home_exists home_unsafe symlink "
              "too_large immutable io_error unsupported_backend"}
    wanted = {code: status for status, codes in wanted.items() for code in codes.split()}
    check(statuses == wanted, f"{count} refusals, {len(statuses)} codes, each with its status {set(wanted.items()) ^ set(statuses.items()) or ''}")
    check(complaints() == [], f"pwck and grpck find nothing {complaints()}")


main(test)
