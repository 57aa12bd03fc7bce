#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The account plugin on real files, as it is shipped: tests/rig/enter -- /usr/bin/python3 tests/integration/020-account.py"""
import base64
import contextlib
import ctypes
import fcntl
import grp
import itertools
import json
import os
import pwd
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "rig"))
from accounts import crypt, put, seal, unseal  # noqa: E402
from plugin import Plugin, check  # noqa: E402

sodium = ctypes.CDLL("libsodium.so.23")
account = Plugin("account")
LEDGER = "/var/lib/latchkey/plugin/account/ledger"


def read(path):
    with open(path, "rb") as file:
        return file.read()


def fields(path, name):
    for line in read(path).decode("utf-8", "replace").splitlines():
        if line.split(":")[0] == name:
            return line.split(":")
    return None


def shadow(name):
    return fields("/etc/shadow", name)


def ledger(name):
    entries = [json.loads(line) for line in read(LEDGER).splitlines()]
    return [entry for entry in entries if entry["user"] == name and not entry.get("gone")]


def ledger_uid(name):
    """Of the newest entry, gone or not."""
    return [json.loads(line) for line in read(LEDGER).splitlines() if json.loads(line)["user"] == name][-1]["uid"]


def complaints():
    """What pwck and grpck find, without the homes that this image never had."""
    out = subprocess.run("pwck -r; grpck -r", shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
    return [line for line in out.decode().splitlines() if line and "does not exist" not in line and "no changes" not in line]


def clean(text):
    check(complaints() == [], f"{text}: pwck and grpck find nothing {complaints()}")


def ensure(user, **more):
    return account.one({"do": "user.ensure", "user": user, **more})


def expect(result, code, changed=None, text=None):
    good = result["code"] == code and (changed is None or result.get("changed", False) == changed)
    check(good, f"{text or code}: {result['code']} {result.get('detail', '')}")


# --- sealing, with libsodium itself -----------------------------------------------------------------------------------
def new_box(path):
    public, secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
    sodium.crypto_box_keypair(public, secret)
    if path:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secret.raw)
    return public.raw, secret.raw


os.makedirs("/var/lib/latchkey/identity", mode=0o700, exist_ok=True)
box, _ = new_box("/var/lib/latchkey/identity/box")


def set_password(user, password, public=None, bound=None, kind="password", **more):
    value = {"instance": "i-1", "id": "c1", "user": user, kind: password, **(bound or {})}
    return account.one({"id": "c1", "do": "password.set", "user": user, "sealed": seal(public or box, value), **more})


def test_create():
    subprocess.run(["useradd", "-m", "reference"], check=True)
    expect(ensure("alice", gecos="Alice A."), "ok", True, "user.ensure makes an account")
    clean("a new account")
    mine, theirs = fields("/etc/passwd", "alice"), fields("/etc/passwd", "reference")
    check(mine[6] == theirs[6] and mine[5] == "/home/alice" and mine[1] == "x", f"as useradd makes it: {mine}")
    check(int(mine[2]) == int(theirs[2]) + 1, "one above the highest uid")
    check(shadow("alice")[2:] == shadow("reference")[2:], "shadow's ages as useradd writes them")
    check(shadow("alice")[1] == "*", "P33: a new account has the hash *")
    check(fields("/etc/group", "alice")[2] == mine[3], "a group of its own")
    check(fields("/etc/subuid", "alice")[2] == fields("/etc/subuid", "reference")[2], "subordinate ids")
    status, reference = os.stat("/home/alice"), os.stat("/home/reference")
    check((status.st_uid, oct(status.st_mode)) == (int(mine[2]), oct(reference.st_mode)), "home owner and mode")
    check(sorted(os.listdir("/home/alice")) == sorted(os.listdir("/home/reference")), "the skeleton")
    check(oct(os.stat("/etc/shadow-").st_mode & 0o777) == "0o600", "a backup with mode 0600")
    expect(ensure("alice", gecos="Alice A."), "ok", False, "again: nothing to do")
    for name in ("passwd", "shadow", "group", "gshadow"):
        check(os.stat(f"/etc/{name}").st_uid == 0, f"{name} is root's")
    check(subprocess.run(["stat", "-c", "%U:%G %a", "/etc/shadow"], stdout=subprocess.PIPE).stdout
          == b"root:shadow 640\n", "P23: shadow's owner and mode are kept")


def test_refusals():
    before = {name: read(f"/etc/{name}") for name in ("passwd", "shadow", "group", "gshadow", "subuid")}
    uid = int(fields("/etc/passwd", "alice")[2])
    expect(ensure("bob", uid=uid), "uid_taken")
    expect(ensure("alice", uid=uid + 500), "conflict", None, "an account's uid never changes")
    expect(ensure("bob", groups=["nosuchgroup"]), "group_missing")
    expect(ensure("bob", home="/etc"), "home_unsafe")
    expect(ensure("bob", home="/"), "home_unsafe")
    expect(ensure("bob", home="/home/alice"), "home_exists")
    expect(ensure("bob", home="/home/alice/sub"), "home_unsafe", None, "a home in another's home")
    os.symlink("/etc", "/home/link")
    expect(ensure("bob", home="/home/link"), "symlink")
    expect(ensure("bob", home="/home/link/x"), "symlink")
    os.unlink("/home/link")
    expect(ensure("bob", shell="/bin/nosuchshell"), "field_invalid")
    for user in ("bob", "alice"):
        for text in ("x:/root:/bin/sh", "a\nroot2::0:0::/:/bin/sh", "a\rb", "\x1b[0m"):
            expect(ensure(user, gecos=text), "field_invalid", None, "P29")
    planned = account.plan({"do": "user.ensure", "user": "bob"})
    planned[0]["plan"]["facets"]["shell"][1] = "/bin/sh\nroot2::0:0::/:/bin/sh"
    expect(account.apply([{"do": "user.ensure", "user": "bob"}], planned, redo=True)[0], "field_invalid", False,
           "P29: nor from a plan")
    expect(ensure("docker1", expires=0), "field_invalid")
    expect(ensure("daemon"), "system_account")
    subprocess.run(["groupadd", "-r", "systemgroup"], check=True)
    expect(ensure("systemgroup"), "conflict", None, "a system group of that name is not joined")
    subprocess.run(["groupdel", "systemgroup"], check=True)
    subprocess.run(["groupadd", "somegroup"], check=True)
    expect(ensure("somegroup"), "conflict", None, "nor an empty one among people's: who knows what it opens")
    subprocess.run(["groupdel", "somegroup"], check=True)
    for do in ("user.lock", "user.unlock", "password.remove"):
        expect(account.one({"do": do, "user": "nobodyhere"}), "no_such_user")
    expect(Plugin("account", {"create": False}).one({"do": "user.ensure", "user": "bob"}), "policy")
    after = {name: read(f"/etc/{name}") for name in before}
    check(before == after, "refused: not one byte changed")
    with open("/etc/passwd", "ab") as file:
        file.write(b"twin:x:5000:5000::/home/twin:/bin/sh\ntwin:x:5001:5001::/home/twin:/bin/sh\n")
    for command in ({"do": "user.lock", "user": "twin"}, {"do": "user.ensure", "user": "twin"}):
        expect(account.one(command), "duplicate_entry")
    with open("/etc/passwd", "wb") as file:
        file.write(before["passwd"])


def test_details():
    """P46, T03: the skeleton, login.defs, an account of the image and what adopt allows."""
    os.symlink("/etc/shadow", "/etc/skel/link")
    os.makedirs("/etc/skel/a/b", mode=0o750)
    with open("/etc/skel/a/b/script", "w") as file:
        file.write("x")
    os.chmod("/etc/skel/a/b/script", 0o750)
    os.mkfifo("/etc/skel/fifo")
    defs = read("/etc/login.defs")
    with open("/etc/login.defs", "ab") as file:
        file.write(b"HOME_MODE 0711\nPASS_MAX_DAYS 90\n")
    expect(ensure("kim", uid=1500, home="/srv/people/kim", shell="/bin/bash", expires=1893542400), "ok", True)
    entry = pwd.getpwnam("kim")
    check((entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell) == (1500, 1500, "/srv/people/kim", "/bin/bash"), "as named")
    check(oct(os.stat(entry.pw_dir).st_mode & 0o777) == "0o711" and shadow("kim")[4] == "90", "login.defs is honoured")
    check(shadow("kim")[7] == str(1893542400 // 86400), "expires is a day")
    check(os.readlink("/srv/people/kim/link") == "/etc/shadow" and os.lstat("/srv/people/kim/link").st_uid == 1500
          and os.stat("/etc/shadow").st_uid == 0, "P46: a link in the skeleton is copied as a link")
    status = os.stat("/srv/people/kim/a/b/script")
    check((status.st_uid, status.st_mode & 0o777) == (1500, 0o750) and not os.path.exists("/srv/people/kim/fifo"), "P46: the tree")
    os.makedirs("/home/ready")
    os.chown("/home/ready", 1600, 1600)
    open("/home/ready/mine", "w").close()
    expect(ensure("ready", uid=1600), "ok", True, "a home of that very uid stands already")
    check(sorted(os.listdir("/home/ready")) == ["mine"], "and is left as it is")
    expect(account.one({"do": "user.remove", "user": "ready"}), "ok", True)
    with open("/etc/login.defs", "wb") as file:
        file.write(defs.replace(b"USERGROUPS_ENAB yes", b"USERGROUPS_ENAB no"))
    expect(ensure("lee"), "ok", True)
    check(pwd.getpwnam("lee").pw_gid == 100 and not fields("/etc/group", "lee"), "USERGROUPS_ENAB no: the common group")
    with open("/etc/login.defs", "wb") as file:
        file.write(defs)
    for path in ("/etc/skel/link", "/etc/skel/fifo", "/etc/skel/a/b/script"):
        os.unlink(path)
    os.removedirs("/etc/skel/a/b")
    before = fields("/etc/passwd", "reference")
    expect(ensure("reference", shell="/bin/bash"), "not_ours", False, "T03: an account of the image")
    expect(ensure("reference", home="/srv"), "not_ours", False)
    expect(ensure("reference", uid=4711), "conflict", False)
    check(fields("/etc/passwd", "reference") == before, "T03: unchanged")
    expect(ensure("reference", gecos="named", groups=["users"]), "ok", True, "what is named changes")
    expect(ensure("reference", shell="/bin/bash", adopt=True), "ok", True, "the shell with adopt")
    check(fields("/etc/passwd", "reference") == before[:4] + ["named", before[5], "/bin/bash"], "and nothing else")
    expect(account.one({"do": "user.remove", "user": "reference"}), "not_ours", False, "T03: never removed")
    os.rename("/etc/.pwd.lock", "/etc/.pwd.lock.real")
    os.symlink("/etc/shadow", "/etc/.pwd.lock")
    expect(ensure("lee", gecos="x"), "symlink", False, ".pwd.lock is a link")
    os.unlink("/etc/.pwd.lock")
    if subprocess.run(["chattr", "+i", "/etc/passwd"], stderr=subprocess.DEVNULL).returncode == 0:
        files = {name: read(f"/etc/{name}") for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")}
        expect(ensure("lee", gecos="x"), "immutable", False, "chattr +i /etc/passwd")
        expect(ensure("mia"), "immutable", False)
        check(files == {name: read(f"/etc/{name}") for name in files}, "and no other file was written first")
        subprocess.run(["chattr", "-i", "/etc/passwd"], check=True)
    expect(ensure("lee", gecos="x"), "ok", True)
    clean("details")


def test_groups_and_sudo():
    for group in ("dev", "ops"):
        subprocess.run(["groupadd", group], check=True)
    subprocess.run(["useradd", "-m", "bobby"], check=True)
    subprocess.run(["gpasswd", "-a", "bobby", "dev"], check=True, stdout=subprocess.DEVNULL)
    expect(ensure("bob", groups=["dev"], sudo="password"), "ok", True)
    clean("bob in dev with sudo")
    check(grp.getgrnam("dev").gr_mem == ["bobby", "bob"], "bob joined bobby")
    status = os.stat("/etc/sudoers.d/latchkey-bob")
    check((status.st_uid, oct(status.st_mode & 0o777)) == (0, "0o440"), "T24: sudoers file is root's 0440")
    check(subprocess.run(["visudo", "-c"], stdout=subprocess.DEVNULL).returncode == 0, "T24: visudo agrees")
    subprocess.run(["gpasswd", "-a", "bob", "ops"], check=True, stdout=subprocess.DEVNULL)
    expect(ensure("bob", groups=[], sudo="none"), "ok", True)
    check(grp.getgrnam("dev").gr_mem == ["bobby"], "T20: what we gave is taken, bobby stays")
    check(grp.getgrnam("ops").gr_mem == ["bob"], "T24: what an administrator gave stays")
    check(not os.path.exists("/etc/sudoers.d/latchkey-bob"), "sudo is taken")
    expect(ensure("bob", groups=["ops"]), "ok", False)
    expect(ensure("bob", groups=[]), "ok", False, "a membership that was there before is never ours")
    check(grp.getgrnam("ops").gr_mem == ["bob"], "and stays")
    clean("groups")


def test_lock():
    expect(set_password("bob", "Correct-Horse7"), "ok", True)
    subprocess.run(["chage", "-E", "2030-01-02", "bob"], check=True)
    before = read("/etc/shadow")
    expect(account.one({"do": "user.lock", "user": "bob"}), "ok", True)
    check(shadow("bob")[1].startswith("!$") and shadow("bob")[7] == "1", "P103: locked by hash and by date")
    expect(account.one({"do": "user.lock", "user": "bob"}), "ok", False)
    expect(ensure("bob", expires=1900000000), "ok", True)
    check(shadow("bob")[7] == "1", "naming a date does not open half of the lock")
    expect(ensure("bob", expires=1893542400), "ok", True)
    expect(account.one({"do": "user.unlock", "user": "bob"}), "ok", True)
    check(read("/etc/shadow") == before, "P103: unlock restores exactly what was")
    expect(account.one({"do": "user.lock", "user": "bob"}), "ok", True)
    expect(set_password("bob", "Another-Horse8"), "ok", True)
    check(shadow("bob")[1].startswith("!$"), "a new password does not unlock")
    expect(account.one({"do": "user.unlock", "user": "bob"}), "ok", True)
    check(crypt("Another-Horse8", shadow("bob")[1]) == shadow("bob")[1], "after unlock the new one counts")
    # Both doors opened by hand: the lock is over, whatever the ledger remembers of it.
    expect(account.one({"do": "user.lock", "user": "bob"}), "ok", True)
    subprocess.run(["usermod", "-U", "-e", "", "bob"], check=True)
    expect(ensure("bob", expires=1893542400), "ok", True)
    check(shadow("bob")[7] == str(1893542400 // 86400), "a date counts at once where an administrator has unlocked")
    expect(set_password("bob", "Another-Horse9"), "ok", True)
    check(crypt("Another-Horse9", shadow("bob")[1]) == shadow("bob")[1], "and so does a password")
    before = read("/etc/shadow")
    for do in ("user.lock", "user.unlock"):
        expect(account.one({"do": do, "user": "bob"}), "ok", True)
    check(read("/etc/shadow") == before, "P103: locked again and unlocked: exactly what was")
    # Removed and made anew by hand: what the ledger knows is about another account.
    expect(ensure("anew", groups=["dev"]), "ok", True)
    expect(account.one({"do": "user.lock", "user": "anew"}), "ok", True)
    subprocess.run(["userdel", "anew"], check=True)
    subprocess.run(["useradd", "-u", "1777", "-G", "dev", "anew"], check=True)
    expect(ensure("anew", groups=[]), "ok", False, "T20: the groups of an account of the same name are not ours to take")
    expect(ensure("anew", expires=1893542400), "ok", True)
    check("anew" in grp.getgrnam("dev").gr_mem and shadow("anew")[7] == str(1893542400 // 86400), "nor is it locked")
    expect(account.one({"do": "user.remove", "user": "anew"}), "not_ours", False)
    subprocess.run(["userdel", "anew"], check=True)
    subprocess.run(["usermod", "-p", "!", "bobby"], check=True)
    expect(account.one({"do": "user.unlock", "user": "bobby"}), "ok", True)
    check(shadow("bobby")[1] == "*", "T14: ! with nothing behind becomes *, never empty")
    clean("lock and unlock")


def test_passwords():
    day = str(int(time.time()) // 86400)
    for password in ("Correct-Horse7", "a:B'c\"d$e%f\\g9", " Leading 1 and trailing ", "pässwörter-Ω1", "x" * 120 + "Aa1-"):
        expect(set_password("alice", password), "ok", True, "T17: a password")
        stored = shadow("alice")[1]
        check(stored.startswith("$y$") and crypt(password, stored) == stored, "T17: exactly that password counts")
    check(shadow("alice")[2] == day, "changed today")
    expect(set_password("alice", "Correct-Horse7", must_change=True), "ok", True)
    check(shadow("alice")[2] == "0", "must_change")
    clean("passwords")
    before = read("/etc/shadow")
    for weak in ("Aa1-567", "alllowercase", "password1!A", "P@ssw0rd!", "Qwerty123!", "x" * 125 + "Aa1-", "aaaaaaA1"[:7]):
        expect(set_password("alice", weak), "password_weak")
    expect(ensure("Zx9longname".lower()), "ok", True)
    strict = Plugin("account", {"min": 4, "classes": 1})
    for name in ("zx9longname", "emangnol9xz", "ZX9LONGNAME"):
        value = {"instance": "i-1", "id": "c1", "user": "zx9longname", "password": name}
        expect(strict.one({"id": "c1", "do": "password.set", "user": "zx9longname", "sealed": seal(box, value)}),
               "password_weak", None, "the name or its reverse")
    before = read("/etc/shadow")
    other, _ = new_box(None)
    for bound, public in (({"user": "bob"}, None), ({"id": "c2"}, None), ({"instance": "i-2"}, None), ({"x": "y"}, None),
                          ({}, other)):
        expect(set_password("alice", "Correct-Horse7", public, bound), "unseal_failed")
    good = seal(box, {"instance": "i-1", "id": "c1", "user": "alice", "password": "Correct-Horse7"})
    for sealed in ("", good[:-8], good[:100], "AAAA" + good[4:], "A" * 4096):
        expect(account.one({"id": "c1", "do": "password.set", "user": "alice", "sealed": sealed}), "unseal_failed")
    check(read("/etc/shadow") == before, "refused: shadow is byte-identical")
    # hashes, sealed
    sha = crypt("Sealed-Hash-9", "$6$rounds=100000$abcdefgh")
    expect(set_password("alice", sha, kind="hash"), "ok", True)
    check(shadow("alice")[1] == sha, "a sealed hash is written as it is")
    expect(set_password("alice", sha, kind="hash"), "ok", False)
    for bad, code in (("*", "hash_invalid"), ("$6$x:y$" + "a" * 86, "hash_invalid"), ("$6$salt$short", "hash_invalid"),
                      ("$1$ab$" + "a" * 22, "hash_unsupported"), ("a" * 13, "hash_unsupported"),
                      ("$6$rounds=999999999$ab$" + "a" * 86, "hash_cost"), ("$2b$15$" + "a" * 53, "hash_cost")):
        expect(set_password("alice", bad, kind="hash"), code)
    expect(set_password("alice", "aaa\nroot:" + sha, kind="hash"), "hash_invalid")
    expect(account.one({"do": "password.set", "user": "alice", "hash": sha}), "clear_hash")
    open_policy = Plugin("account", {"clear_hash": True})
    yescrypt = crypt("In-Clear-10", "$y$j9T$abcdefgh")
    expect(open_policy.one({"do": "password.set", "user": "alice", "hash": yescrypt}), "ok", True)
    check(shadow("alice")[1] == yescrypt, "a hash in clear where the policy allows it")
    expect(account.one({"do": "password.remove", "user": "alice"}), "ok", True)
    check(shadow("alice")[1] == "*", "password.remove")
    expect(account.one({"do": "password.remove", "user": "alice"}), "ok", False)
    # An empty field in passwd is a login without a password, whatever stands in shadow.
    subprocess.run(["useradd", "blank"], check=True)
    for do, hash_ in (("password.remove", "*"), ("user.lock", "!"), ("user.unlock", "*")):
        put("/etc/passwd", read("/etc/passwd").replace(b"\nblank:x:", b"\nblank::"))
        expect(account.one({"do": do, "user": "blank"}), "ok", True)
        check((fields("/etc/passwd", "blank")[1], shadow("blank")[1]) == ("x", hash_), f"P33: {do} closes it")
    subprocess.run(["userdel", "blank"], check=True)
    # the key before this one
    old_public = box
    shutil.copy("/var/lib/latchkey/identity/box", "/var/lib/latchkey/identity/box.previous")
    new_public, _ = new_box("/var/lib/latchkey/identity/box")
    expect(set_password("alice", "Correct-Horse7", old_public), "ok", True, "sealed to box.previous")
    expect(set_password("alice", "Correct-Horse8", new_public), "ok", True, "sealed to the new box")
    shutil.copy("/var/lib/latchkey/identity/box.previous", "/var/lib/latchkey/identity/box")


def test_no_secret_leaves():
    """P60, P62, T23: the canary is in no system call's bytes, no argument, no environment, no core, no file."""
    canary = "Canary-7-" + os.urandom(8).hex()  # made up here: this file lies in what is searched
    value = {"instance": "i-1", "id": "c1", "user": "alice", "password": canary}
    command = {"id": "c1", "do": "password.set", "user": "alice", "sealed": seal(box, value)}
    traced = Plugin("account")
    traced.prefix = ["/usr/bin/strace", "-f", "-s", "65535", "-v", "-e", "trace=!read", "-o", "/tmp/trace"]
    planned = traced.plan(command)
    trace = read("/tmp/trace")
    traced.prefix[-1] = "/tmp/trace2"
    expect(traced.apply([command], planned)[0], "ok", True)
    trace += read("/tmp/trace2")
    check(crypt(canary, shadow("alice")[1]) == shadow("alice")[1], "the canary is the password now")
    check(b"openat" in trace and canary.encode() not in trace, "P60: strace of plan and apply does not show it")
    check(trace.count(b"execve(") == 2, "and no program but the plugin ran")
    check(b"PR_SET_DUMPABLE, SUID_DUMP_DISABLE" in trace and b"RLIMIT_CORE" in trace, "P62: no core, not dumpable")
    hash_ = shadow("alice")[1].encode()
    found = subprocess.run(["grep", "-rlF", canary, "/etc", "/home", "/var/lib/latchkey", "/run/latchkey", "/root"],
                           stdout=subprocess.PIPE).stdout
    check(found == b"", f"P60: in no file {found}")
    found = subprocess.run(["grep", "-rlF", hash_, "/etc", "/var/lib/latchkey", "/run/latchkey"], stdout=subprocess.PIPE).stdout
    check(found.split() == [b"/etc/shadow"], f"P60: the hash only in shadow {found}")
    os.unlink("/tmp/trace")
    os.unlink("/tmp/trace2")


def test_faillock():
    """T26."""
    os.makedirs("/run/faillock", exist_ok=True)
    with open("/run/faillock/alice", "wb") as file:
        file.write(b"\1" * 64)
    expect(set_password("alice", "Correct-Horse7"), "ok", True)
    check(os.path.getsize("/run/faillock/alice") == 64, "T26: not unless asked")
    expect(set_password("alice", "Correct-Horse8", clear_faillock=True), "ok", True)
    check(os.path.getsize("/run/faillock/alice") == 0, "T26: the tally is cleared")


def test_generate():
    public, secret = new_box(None)
    to = base64.b64encode(public).decode()
    seen = set()
    for length in (12, 20, 64):
        command = {"id": "g1", "do": "password.generate", "user": "alice", "to": to, "length": length}
        planned = account.plan(command)
        text = json.dumps(planned)
        applied = account.apply([command], planned)[0]
        value = unseal(public, secret, applied["sealed"])
        password = value.pop("password")
        check(value == {"instance": "i-1", "id": "g1", "user": "alice"} and len(password) == length, "bound and long")
        check(crypt(password, shadow("alice")[1]) == shadow("alice")[1], "what came back sealed is the password")
        check(password not in text and password not in json.dumps(applied), "P60: in clear nowhere")
        again = account.apply([command], planned, redo=True)[0]
        check(again["code"] == "ok" and not again["changed"] and again["sealed"] == applied["sealed"], "a redo")
        seen.add(password)
    check(len(seen) == 3, "each another one")
    expect(account.one({"do": "password.generate", "user": "alice", "to": base64.b64encode(b"\0" * 32).decode()}),
           "field_invalid", None, "a key of small order")


def test_compare_and_set():
    """T25: somebody else changes the very field between plan and apply, and between apply and redo."""
    command = {"id": "c1", "do": "password.set", "user": "alice",
               "sealed": seal(box, {"instance": "i-1", "id": "c1", "user": "alice", "password": "Planned-Word1"})}
    planned = account.plan(command)
    subprocess.run(["chpasswd"], input=b"alice:Meanwhile-Word2\n", check=True)
    expect(account.apply([command], planned)[0], "ok", True, "moved between plan and apply: the command wins")
    check(crypt("Planned-Word1", shadow("alice")[1]) == shadow("alice")[1], "with the planned password")
    subprocess.run(["chpasswd"], input=b"alice:Newer-Word3\n", check=True)
    mine = shadow("alice")[1]
    expect(account.apply([command], planned, redo=True)[0], "superseded", False, "T25: a redo leaves the newer one")
    check(shadow("alice")[1] == mine, "and writes nothing")
    command = {"do": "user.ensure", "user": "carol"}
    planned = account.plan(command)
    subprocess.run(["useradd", "-m", "dave"], check=True)
    expect(account.apply([command], planned)[0], "ok", True, "the planned uid was taken meanwhile: planned again")
    check(len({pwd.getpwnam("carol").pw_uid, pwd.getpwnam("dave").pw_uid}) == 2, "two accounts, two uids")
    moved = {"do": "user.lock", "user": "carol", "resolved": {"uid": 4711, "privileged": False}}
    planned = account.plan(moved)
    expect(account.apply([moved], planned)[0], "busy", False, "not the account that was decided on")
    stale = {"do": "user.lock", "user": "carol",
             "resolved": {"uid": pwd.getpwnam("carol").pw_uid, "privileged": False, "stamp": 1}}
    expect(account.apply([stale], account.plan(stale))[0], "busy", False, "P104: nor in the groups that it was in")
    # What latchkey-apply saw and what stands there under the lock; it is the one that decides on privilege.
    before = read("/etc/passwd")
    appears = {"do": "user.ensure", "user": "toor2", "gecos": "me", "resolved": {}}
    planned = account.plan(appears)
    with open("/etc/passwd", "a") as file:
        file.write("toor2:x:0:0::/root:/bin/sh\n")
    expect(account.apply([appears], planned)[0], "busy", False, "P104: an account that came after the decision")
    with open("/etc/passwd", "wb") as file:
        file.write(before)
    again = {"do": "user.ensure", "user": "edgar", "resolved": {}}
    planned = account.plan(again)
    expect(account.apply([again], planned)[0], "ok", True)
    expect(account.apply([again], planned)[0], "ok", False, "but one that this plan made is no surprise")
    account.one({"do": "user.remove", "user": "edgar", "home": "delete"})
    clean("compare and set")


def test_remove():
    account_any = Plugin("account", {"remove": "any"})
    expect(account.one({"do": "user.remove", "user": "bobby"}), "not_ours", None, "T03")
    expect(Plugin("account", {"remove": "no"}).one({"do": "user.remove", "user": "bob"}), "policy")
    expect(account_any.one({"do": "user.remove", "user": "root"}), "system_account")
    uid = pwd.getpwnam("carol").pw_uid
    process = subprocess.Popen(["/usr/bin/sleep", "60"], user=uid)
    result = account.one({"do": "user.remove", "user": "carol", "home": "delete"})
    expect(result, "busy", True, "T22: still running: locked first")
    check(shadow("carol")[7] == "1", "nobody logs in meanwhile")
    expect(account.one({"do": "user.remove", "user": "carol"}), "busy", False)
    process.kill()
    process.wait()
    os.makedirs("/home/carol/mnt")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/home/carol/mnt"], check=True)
    open("/home/carol/mnt/file", "w").close()
    expect(account.one({"do": "user.remove", "user": "carol", "home": "delete"}), "home_unsafe", None,
           "T22: a mount below the home is not crossed")
    check(os.path.exists("/home/carol/mnt/file") and not fields("/etc/passwd", "carol"), "the account is gone, the mount not")
    subprocess.run(["umount", "/home/carol/mnt"], check=True)
    expect(account.one({"do": "user.remove", "user": "carol"}), "ok", False, "already gone")
    expect(ensure("erin", groups=["dev"], sudo="nopasswd"), "ok", True)
    check(pwd.getpwnam("erin").pw_uid > uid, "a uid that was given out once is not given again")
    os.symlink("/etc/passwd", "/home/erin/link")
    for path in ("/etc/ssh/latchkey_keys", "/run/latchkey/authorized_keys"):
        os.makedirs(path)
        open(path + "/erin", "w").close()
        open(path + "/erinna", "w").close()
    expect(account.one({"do": "user.remove", "user": "erin", "home": "delete"}), "ok", True)
    for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid"):
        check(b"erin" not in read(f"/etc/{name}"), f"gone from {name}")
    check(not os.path.exists("/home/erin") and not os.path.exists("/etc/sudoers.d/latchkey-erin"), "home and sudo too")
    check([os.listdir(path) for path in ("/etc/ssh/latchkey_keys", "/run/latchkey/authorized_keys")] == [["erinna"]] * 2,
          "and the keys that the next erin must not inherit")
    subprocess.run(["useradd", "-d", "/home/bob/inner", "inner"], check=True)
    expect(account.one({"do": "user.remove", "user": "bob", "home": "delete"}), "home_unsafe", None,
           "T22: another's home inside")
    subprocess.run(["userdel", "inner"], check=True, stderr=subprocess.DEVNULL)
    clean("removal")


def test_remove_in_parts():
    """A home that was deleted only in part is known afterwards, though passwd names it no more."""
    command = {"do": "user.remove", "user": "ida", "home": "delete"}
    for fault, code in (("error=EROFS", "read_only"), ("error=EMFILE", "busy"), ("delay_enter=100000", "timeout")):
        expect(ensure("ida"), "ok", True)
        for number in range(150):
            open(f"/home/ida/{number}", "w").close()
        planned = account.plan(command)
        slow = Plugin("account")
        slow.prefix = ["/usr/bin/strace", "-o", "/dev/null", "-e", "trace=unlinkat", "-e", f"inject=unlinkat:{fault}"]
        expect(slow.call("apply", slow.with_plans([command], planned))[0], code, True, f"{code} while the home is deleted")
        check(os.path.isdir("/home/ida") and not fields("/etc/passwd", "ida"), "the account is gone, the home not all")
        expect(account.one({"do": "user.remove", "user": "ida"}), "ok", False, "which nobody asks for here")
        expect(Plugin("account", {"remove": "no"}).one(command), "ok", False, "nor where policy lets nobody be removed")
        check(os.path.isdir("/home/ida"), "so it stands")
        expect(account.one(command), "ok", True, "the next try goes on")
        check(not os.path.exists("/home/ida"), "to the end")
        expect(account.one(command), "ok", False)
    # What has become somebody else's stays.
    uid = ledger_uid("ida")
    os.mkdir("/home/ida")
    expect(account.one(command), "ok", False, "another's directory of that name")
    os.chown("/home/ida", uid, uid)
    subprocess.run(["useradd", "-M", "-o", "-u", str(uid), "later"], check=True)
    expect(account.one(command), "home_unsafe", False, "another account's uid")
    subprocess.run(["userdel", "later"], check=True)
    os.rmdir("/home/ida")
    # A uid is remembered whoever made its account, and homes are compared however they are written.
    account_any = Plugin("account", {"remove": "any"})
    subprocess.run(["useradd", "-m", "theirs"], check=True)
    uid = pwd.getpwnam("theirs").pw_uid
    expect(account_any.one({"do": "user.remove", "user": "theirs"}), "ok", True)
    expect(ensure("heir"), "ok", True)
    check(pwd.getpwnam("heir").pw_uid > uid, "a uid that an administrator gave out is not given again either")
    subprocess.run(["useradd", "-M", "-d", "/home/heir", "sharer"], check=True)
    put("/etc/passwd", read("/etc/passwd").replace(b":/home/heir:", b":/home//heir/:", 1))
    expect(account.one({"do": "user.remove", "user": "heir", "home": "delete"}), "home_unsafe", False)
    subprocess.run(["userdel", "sharer"], check=True)
    os.rename("/home/heir", "/home/elsewhere")
    os.symlink("elsewhere", "/home/heir")
    expect(account.one({"do": "user.remove", "user": "heir", "home": "delete"}), "symlink", False)
    os.unlink("/home/heir")
    expect(account.one({"do": "user.remove", "user": "heir", "home": "delete"}), "ok", True)
    shutil.rmtree("/home/elsewhere")
    clean("removal in parts")


def test_ugly_files():
    """P22: every byte that is not the command's stays."""
    ugly = b"# a comment\n\nnot a line\r\njunk:with:too:many:fields:::::::\n\xff\xfe:x\n+@netgroup::::::\n-bad::::::"
    saved = {name: read(f"/etc/{name}") for name in ("passwd", "shadow", "group", "gshadow")}
    for name, bytes_ in saved.items():
        with open(f"/etc/{name}", "wb") as file:
            file.write(bytes_ + ugly)
    expect(ensure("frank", groups=["dev"]), "ok", True)
    for name, bytes_ in saved.items():
        now = read(f"/etc/{name}")
        check(now.endswith(b"+@netgroup::::::\n-bad::::::") and b"# a comment\n\nnot a line\r\njunk" in now, f"{name}: what is not ours stays")
        check(now.index(b"frank:") < now.index(b"+@netgroup"), f"{name}: the new line stands before NIS")
    put("/etc/passwd", read("/etc/passwd").replace(b"/home/frank:/bin/sh\n", b"/home/frank:/bin/sh\r\n"))
    expect(ensure("frank", shell="/bin/bash"), "ok", True, "a line of CRLF")
    check(b"/home/frank:/bin/bash\r\n" in read("/etc/passwd"), "which stays one")
    expect(account.one({"do": "user.remove", "user": "frank", "home": "delete"}), "ok", True)
    for name, bytes_ in saved.items():
        check(read(f"/etc/{name}") == bytes_ + ugly, f"{name}: byte-identical after removal")
        with open(f"/etc/{name}", "wb") as file:
            file.write(bytes_)


def test_locks():
    """P25, P26, T21."""
    for name in ("passwd", "shadow", "group", "gshadow"):
        open(f"/etc/{name}.lock", "w").close()
    expect(ensure("gina"), "ok", True, "P26: stale .lock files do not block")
    for name in ("passwd", "shadow", "group", "gshadow"):
        check(os.path.exists(f"/etc/{name}.lock"), f"P26: {name}.lock is not removed")
        os.unlink(f"/etc/{name}.lock")
    holder = subprocess.Popen([sys.executable, "-c",
                               "import fcntl,os,time\nf=os.open('/etc/.pwd.lock',os.O_RDWR|os.O_CREAT,0o600)\n"
                               "fcntl.lockf(f,fcntl.LOCK_EX)\nprint(1,flush=True)\ntime.sleep(100)"],
                              stdout=subprocess.PIPE)
    holder.stdout.readline()
    started = time.monotonic()
    result = account.one({"do": "user.lock", "user": "gina"})
    waited = time.monotonic() - started
    expect(result, "busy", False, "P25: the lock is held for ever")
    check(25 < waited < 40 and str(holder.pid) in result["detail"], f"after {waited:.0f} s, with the holder's pid")
    holder.kill()
    holder.wait()
    expect(account.one({"do": "user.lock", "user": "gina"}), "ok", True)


def lock_holder():
    """The pid that holds /etc/.pwd.lock, 0 without."""
    descriptor = os.open("/etc/.pwd.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        asked = fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
        kind, _, _, _, pid = struct.unpack("hhqqi4x", asked)
        return 0 if kind == fcntl.F_UNLCK else pid
    finally:
        os.close(descriptor)


def stop_with_lock(argv):
    """Runs it until it is caught with the lock, and stopped there. Its process and the pid that holds the lock."""
    for _ in range(2000):
        process = subprocess.Popen(argv(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            pid = lock_holder()
            if pid:
                os.kill(pid, signal.SIGSTOP)
                time.sleep(0.05)
                if lock_holder() == pid:
                    return process, pid
                os.kill(pid, signal.SIGCONT)
        process.wait()
    raise AssertionError("never caught with the lock")


def hand_on(stop, process, pid, argv):
    """Lets go who holds the lock only when others wait for it, and stops the one of them that gets it; until `stop`."""
    started = [process]
    while not stop.wait(7):
        started += [subprocess.Popen(argv(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(4)]
        time.sleep(0.5)
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            os.kill(pid, signal.SIGCONT)
        while not stop.is_set() and any(process.poll() is None for process in started):
            holder = lock_holder()
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                if holder in (0, pid) or read(f"/proc/{holder}/comm") != b"chfn\n":
                    continue
                os.kill(holder, signal.SIGSTOP)
                time.sleep(0.01)
                if lock_holder() == holder:
                    pid = holder
                    break
                os.kill(holder, signal.SIGCONT)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    for process in started:
        process.wait()


def test_stopped_holder():
    """P111: whoever may run chfn may stop it while it holds the lock."""
    expect(ensure("holger"), "ok", True)
    uid = fields("/etc/passwd", "holger")[2]
    for name in ("chfn", "chsh"):
        with open(f"/etc/pam.d/{name}", "w") as file:
            file.write("auth sufficient pam_permit.so\naccount sufficient pam_permit.so\nsession sufficient pam_permit.so\n")
    counter = itertools.count()
    shells = itertools.cycle(("/bin/bash", "/bin/sh"))
    prefix = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "sh", "-c"]
    for name, command in (("chfn", lambda: f"chfn -r {next(counter)}; exit"), ("chsh", lambda: f"chsh -s {next(shells)}; exit")):
        process, pid = stop_with_lock(lambda: [*prefix, command()])
        started = time.monotonic()
        result = set_password("holger", f"Frozen-Lake-{name}-7")
        waited = time.monotonic() - started
        expect(result, "ok", True, f"P111: {name} stopped with the lock delays a reset by {waited:.0f} s")
        check(25 < waited < 45 and not os.path.exists(f"/proc/{pid}"), "no more than the deadline; it was ended")
        process.wait()
    # Several of them that hand the lock from one to the next: none holds it for the whole time.
    process, pid = stop_with_lock(lambda: [*prefix, f"chfn -r {next(counter)}; exit"])
    stop = threading.Event()
    thread = threading.Thread(target=hand_on, args=(stop, process, pid, lambda: [*prefix, f"chfn -r {next(counter)}; exit"]))
    thread.start()
    result = set_password("holger", "Handed-Lake-7")
    stop.set()
    thread.join()
    expect(result, "ok", True, "P111: nor do several that hand the lock from one to the next")
    # Root's own is named and left alone.
    process, pid = stop_with_lock(lambda: ["chfn", "-r", str(next(counter)), "holger"])
    result = account.one({"do": "user.lock", "user": "holger"})
    expect(result, "busy", False, "P111: an administrator's chfn is not ended")
    check(f"{pid} chfn" in result["detail"], "it is named with pid and name")
    os.kill(pid, signal.SIGKILL)
    process.wait()
    clean("stopped holders")


def test_file_states():
    """T21, T06: files that cannot be replaced."""
    before = read("/etc/passwd")
    os.rename("/etc/group", "/etc/group.real")
    os.symlink("/etc/group.real", "/etc/group")
    expect(ensure("henry"), "unsupported_backend")
    os.unlink("/etc/group")
    expect(ensure("henry"), "unsupported_backend", None, "no group file")
    os.rename("/etc/group.real", "/etc/group")
    gshadow = read("/etc/gshadow")
    os.unlink("/etc/gshadow")
    expect(ensure("henry"), "ok", True, "without gshadow")
    check(not os.path.exists("/etc/gshadow"), "which is not made")
    with open("/etc/gshadow", "wb") as file:
        file.write(gshadow)
    os.chmod("/etc/gshadow", 0o640)
    subprocess.run(["grpconv"], check=True)
    os.chmod("/etc/shadow", 0)
    expect(account.one({"do": "user.lock", "user": "henry"}), "ok", True, "shadow 0000, as on RHEL")
    check(os.stat("/etc/shadow").st_mode & 0o777 == 0, "and stays so")
    os.chmod("/etc/shadow", 0o640)
    check(b"henry" in read("/etc/passwd") and read("/etc/passwd").startswith(before), "appended")


def test_other_root():
    """--root: nothing of the host is touched."""
    root = "/tmp/disk"
    os.makedirs(root + "/etc")
    os.makedirs(root + "/var/lib/latchkey")
    os.makedirs(root + "/home")
    for name, text in (("passwd", "root:x:0:0::/root:/bin/sh\n"), ("shadow", "root:*:1::::::\n"), ("group", "root:x:0:\n")):
        with open(f"{root}/etc/{name}", "w") as file:
            file.write(text)
    host = read("/etc/passwd")
    other = Plugin("account", root=root)
    expect(other.one({"do": "user.ensure", "user": "rescue", "sudo": "nopasswd"}), "ok", True)
    check(b"rescue:x:1000:1000::/home/rescue:/bin/sh\n" in read(root + "/etc/passwd"), "made in DIR")
    check(os.stat(root + "/home/rescue").st_uid == 1000 and os.path.exists(root + "/etc/sudoers.d/latchkey-rescue"), "home")
    check(read("/etc/passwd") == host and not os.path.exists("/home/rescue"), "the host is as it was")


def test_many():
    """P36: a batch of 1,000 users."""
    before = os.times()
    results = account.run(*({"do": "user.ensure", "user": f"many{number:04}"} for number in range(1000)))
    after = os.times()
    cpu = (after.children_user + after.children_system) - (before.children_user + before.children_system)
    check(all(result["code"] == "ok" and result["changed"] for result in results), "1,000 users in one batch")
    clean("1,000 users")
    print(f"     {cpu:.2f} s CPU, plan and apply", flush=True)
    names = [f"many{number:04}" for number in range(1000)]
    while names:
        results = account.run(*({"do": "user.remove", "user": name, "home": "delete"} for name in names))
        check(all(result["code"] in ("ok", "timeout") and result["changed"] for result in results), "and removed again")
        names = [name for name, result in zip(names, results) if result["code"] == "timeout"]
    clean("removed")


OPERATIONS = int(os.environ.get("LATCHKEY_OPERATIONS", "75"))  # of each writer; 500 is what P24 says


def test_concurrency():
    """P24: no lost update beside useradd, chpasswd and usermod (gpasswd -a reads before it locks, and loses others')."""
    count = OPERATIONS // 3
    script = ("for i in $(seq 1 COUNT); do useradd wN$i && echo wN$i:Some-WordN | chpasswd && usermod -a -G dev wN$i || "
              "echo wN$i; done")
    writers = [subprocess.Popen(script.replace("COUNT", str(count)).replace("N", str(number)), shell=True,
                                stdout=subprocess.PIPE, text=True) for number in range(3)]
    for number in range(count):
        results = [ensure(f"mine{number}", groups=["dev"]), set_password(f"mine{number}", f"Own-Word-{number}-x"),
                   ensure(f"mine{number}", gecos=f"Number {number}")]
        if any(result["code"] != "ok" or not result["changed"] for result in results):
            check(False, f"P24: beside three writers: {results}")
    failed = "".join(writer.communicate()[0] for writer in writers).split()
    check(failed == [], f"none of their commands failed {failed[:5]}")
    theirs, mine = {f"w{number}{i}" for number in range(3) for i in range(1, count + 1)}, {f"mine{number}" for number in range(count)}
    have = {entry.pw_name: entry for entry in pwd.getpwall()}
    check(theirs | mine <= set(have), f"P24: 4 writers x {3 * count}: nobody was lost {sorted((theirs | mine) - set(have))[:5]}")
    members = set(grp.getgrnam("dev").gr_mem)
    check(theirs | mine <= members, f"P24: nor a membership {sorted((theirs | mine) - members)[:5]}")
    hashes = {line.split(":")[0]: line.split(":")[1] for line in read("/etc/shadow").decode("utf-8", "replace").splitlines()
              if line.count(":") > 1}
    check(all(hashes[name].startswith("$") for name in theirs | mine), "nor a password")
    check(all(have[f"mine{number}"].pw_gecos == f"Number {number}" for number in range(count)), "nor a field")
    clean("concurrency")


def kill_at_each(syscall, command, finished):
    """SIGKILL at each such call of the apply, then the redo. How often it was killed."""
    victim = Plugin("account")
    when = 0
    while True:
        when += 1
        if when >= 500:
            check(False, "a run that is not interrupted ends")
        planned = account.plan(command)
        if planned[0]["code"] != "ok":
            check(False, f"{syscall} {when}: {planned}")
        victim.prefix = ["/usr/bin/strace", "-o", "/dev/null", "-e", f"inject={syscall}:signal=KILL:when={when}"]
        done = victim.call("apply", victim.with_plans([command], planned), may_fail=True)
        if not done:
            if fields("/etc/passwd", "victim") and command["do"] == "user.ensure" and (
                    not shadow("victim") or complaints()):
                check(False, f"killed at {syscall} {when}: passwd stands without the rest {complaints()}")
            redone = account.call("apply", account.with_plans([command], planned), redo=True)[0]
            why = finished(planned[0]["plan"]["facets"])
            if redone["code"] != "ok" or why or complaints():
                check(False, f"killed at {syscall} {when}: the redo left {redone} {why} {complaints()}")
        # back to where it began
        account.one({"do": "user.remove", "user": "victim", "home": "delete"})
        if command["do"] == "user.remove":
            ensure("victim", groups=["dev"], sudo="password")
        if done:
            return when - 1


def test_kill_everywhere():
    """P20: SIGKILL at every system call that changes anything, then the redo."""
    def made(facets):
        entry = pwd.getpwnam("victim")
        return [text for good, text in (
            (shadow("victim"), "shadow"), ("victim" in grp.getgrnam("dev").gr_mem, "groups"),
            (os.stat("/home/victim").st_uid == entry.pw_uid, "home"),
            (f"{entry.pw_uid}:{entry.pw_gid}" == facets["account"][1], "P36: uid and gid as planned"),
            (os.path.exists("/etc/sudoers.d/latchkey-victim"), "sudo"), (ledger("victim")[0]["groups"] == ["dev"], "ledger"),
        ) if not good]

    def gone(_):
        return [name for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")
                if b"victim" in read(f"/etc/{name}")] + [
                    path for path in ("/home/victim", "/etc/sudoers.d/latchkey-victim") if os.path.exists(path)]

    calls = ("write", "fsync", "renameat", "renameat2", "fchown", "fchmod", "mkdirat", "unlinkat", "openat")
    create = {"do": "user.ensure", "user": "victim", "groups": ["dev"], "sudo": "password"}
    killed = sum(kill_at_each(call, create, made) for call in calls)
    check(killed > 100, f"P20: user.ensure killed {killed} times, each time finished by the redo")
    ensure("victim", groups=["dev"], sudo="password")
    remove = {"do": "user.remove", "user": "victim", "home": "delete"}
    killed = sum(kill_at_each(call, remove, gone) for call in calls[:-1])
    check(killed > 40, f"P20: user.remove killed {killed} times, each time finished by the redo")
    clean("after all that")
    left = [name for path in ("/etc", "/etc/sudoers.d", "/home", "/var/lib/latchkey/plugin/account")
            for name in os.listdir(path) if name.startswith(".latchkey.")]
    check(left == [], f"no temporary file stays {left}")


def test_errors_everywhere():
    """P27, P23, P28: each call failing once with what it may fail with: a precise code, nothing torn, then it works."""
    command = {"do": "user.ensure", "user": "victim", "groups": ["dev"], "sudo": "password"}
    codes = {"ENOSPC": "no_space", "EDQUOT": "quota", "EROFS": "read_only", "EPERM": "immutable", "EIO": "io_error",
             "EMFILE": "busy"}
    failed = 0
    for syscall, errors in (("write", ("ENOSPC", "EIO")), ("fsync", ("EIO", "ENOSPC")), ("renameat", ("EPERM", "EROFS")), ("renameat2", ("EPERM",)),
                            ("fchown", ("EPERM",)), ("fchmod", ("EPERM",)), ("mkdirat", ("EDQUOT", "EROFS")),
                            ("openat", ("EMFILE",))):
        for error in errors:
            when = 0
            while True:
                when += 1
                if when >= 500:
                    check(False, "a run that is not interrupted ends")
                planned = account.plan(command)
                broken = Plugin("account")
                broken.prefix = ["/usr/bin/strace", "-o", "/tmp/trace", "-e", f"inject={syscall}:error={error}:when={when}"]
                done = broken.call("apply", broken.with_plans([command], planned), may_fail=True)
                injected = b"(INJECTED)" in read("/tmp/trace")
                # A helper's own failure (sweeping, the backup of nothing) and a reply that cannot be written are no result.
                code = done[0]["code"] if done else "crashed"
                # Without its state directory the plugin cannot note what it gives, whatever the reason was.
                if injected and done and code not in ("ok", codes[error], *(["read_only"] * (syscall in ("mkdirat", "openat")))):
                    check(False, f"{syscall} {when} {error}: {done}")
                failed += injected and code == codes[error]
                for name in ("passwd", "shadow", "group", "gshadow"):
                    if b"root" not in read(f"/etc/{name}"):
                        check(False, f"{syscall} {when} {error}: {name} is torn")
                if fields("/etc/passwd", "victim") and complaints():
                    check(False, f"{syscall} {when} {error}: passwd stands without the rest {complaints()}")
                left = [name for path in ("/etc", "/etc/sudoers.d", "/home") for name in os.listdir(path)
                        if name.startswith(".latchkey.")]
                if left and done:
                    check(False, f"{syscall} {when} {error}: {left} stays")
                again = ensure("victim", groups=["dev"], sudo="password")
                if again["code"] != "ok" or complaints():
                    check(False, f"{syscall} {when} {error}: not finished by the next run {again} {complaints()}")
                account.one({"do": "user.remove", "user": "victim", "home": "delete"})
                if not injected:
                    break
    remove = {"do": "user.remove", "user": "victim", "home": "delete"}
    for syscall, error in (("renameat", "EROFS"), ("fsync", "EIO"), ("unlinkat", "EIO"), ("openat", "EMFILE")):
        when = 0
        while True:
            when += 1
            if when >= 500:
                check(False, "a run that is not interrupted ends")
            ensure("victim", groups=["dev"], sudo="password")
            planned = account.plan(remove)
            broken = Plugin("account")
            broken.prefix = ["/usr/bin/strace", "-o", "/tmp/trace", "-e", f"inject={syscall}:error={error}:when={when}"]
            done = broken.call("apply", broken.with_plans([remove], planned), may_fail=True)
            injected = b"(INJECTED)" in read("/tmp/trace")
            failed += injected and bool(done) and done[0]["code"] == codes[error]
            again = account.one({"do": "user.remove", "user": "victim"})
            left = [name for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")
                    if b"victim" in read(f"/etc/{name}")]
            if again["code"] != "ok" or left or complaints():
                check(False, f"remove: {syscall} {when} {error}: {done} then {again} {left} {complaints()}")
            shutil.rmtree("/home/victim", ignore_errors=True)
            if not injected:
                break
    os.unlink("/tmp/trace")
    check(failed > 90, f"P27: {failed} failures, each with its code, nothing torn, finished by the next run")


TESTS = (test_create, test_refusals, test_details, test_groups_and_sudo, test_passwords, test_lock, test_no_secret_leaves,
         test_faillock, test_generate, test_compare_and_set, test_remove, test_remove_in_parts, test_ugly_files, test_file_states, test_other_root,
         test_many, test_concurrency, test_kill_everywhere, test_errors_everywhere, test_locks, test_stopped_holder)
for test in TESTS:
    if sys.argv[1:] and test.__name__ not in sys.argv[1:]:
        continue
    print(f"# {test.__name__}", flush=True)
    test()
print("all good", flush=True)
