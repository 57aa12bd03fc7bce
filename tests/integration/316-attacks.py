#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""P40, P41, P47: what a user does to the plugin that works in his home. LATCHKEY_ROUNDS=100000 for the whole number of
exchanges; the everyday run makes fewer."""
import base64
import ctypes
import hashlib
import mmap
import os
import pwd
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "rig"))
from plugin import Plugin, check  # noqa: E402
from sshd import Sshd, key_pair, logs_in  # noqa: E402

ROUNDS = int(os.environ.get("LATCHKEY_ROUNDS", "2000"))
POLICY = {"types": ["ed25519"], "options": ["expires"], "locations": ["home", "system", "runtime"]}
keys = Plugin("authorized-keys", POLICY)
FILE = "/home/alice/.ssh/authorized_keys"
LEDGER = "/var/lib/latchkey/plugin/authorized-keys/ledger"
VICTIMS = ("/etc/shadow", "/etc/passwd", "/root/.ssh/authorized_keys", "/root/.ssh", "/root", "/etc", "/root/target",
           "/home/bob", "/home/bob/.ssh", "/home/bob/.ssh/authorized_keys")
FIRST, SECOND, HAND = key_pair("first"), key_pair("second"), key_pair("hand")
libc = ctypes.CDLL(None, use_errno=True)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def put(path, content, user, mode=0o600):
    entry = pwd.getpwnam(user)
    if not os.path.isdir(os.path.dirname(path)):
        os.mkdir(os.path.dirname(path), 0o700)
        os.chown(os.path.dirname(path), entry.pw_uid, entry.pw_gid)
    with open(path, "wb") as file:
        file.write(content)
    os.chown(path, entry.pw_uid, entry.pw_gid)
    os.chmod(path, mode)


def fresh(user="alice"):
    subprocess.run(["userdel", "-f", "-r", user], stderr=subprocess.DEVNULL)
    shutil.rmtree(f"/home/{user}", ignore_errors=True)
    subprocess.run(["useradd", "-m", "-s", "/bin/sh", "-p", "*", user], check=True)
    if os.path.exists(LEDGER):
        os.unlink(LEDGER)
    return pwd.getpwnam(user).pw_uid


def bind(label, key, **more):
    return keys.one({"do": "keys.bind", "user": "alice", "keypair": label, "key": key, **more})


def unbind(label):
    return keys.one({"do": "keys.unbind", "user": "alice", "keypair": label})


def digest(path):
    status = os.lstat(path)
    content = hashlib.sha256(read(path)).hexdigest() if stat.S_ISREG(status.st_mode) else sorted(os.listdir(path))
    return (status.st_uid, status.st_gid, status.st_mode, status.st_nlink, status.st_ino, status.st_mtime_ns, content)


# Each names two things in the home that change places in a tight loop, and makes the other of the two.
EXCHANGES = {
    ".ssh and a link to /root/.ssh": (".ssh", "other", "os.symlink('/root/.ssh', 'other')"),
    ".ssh and a link to bob's": (".ssh", "other", "os.symlink('/home/bob/.ssh', 'other')"),
    ".ssh and a file": (".ssh", "other", "open('other', 'w').close()"),
    ".ssh and another directory": (".ssh", "other", "os.mkdir('other', 0o700); open('other/authorized_keys', 'w').close()"),
    "the file and a link to root's": (".ssh/authorized_keys", ".ssh/other", "os.symlink('/root/target', '.ssh/other')"),
    "the file and a link to /etc/shadow": (".ssh/authorized_keys", ".ssh/other", "os.symlink('/etc/shadow', '.ssh/other')"),
    "the file and a FIFO": (".ssh/authorized_keys", ".ssh/other", "os.mkfifo('.ssh/other')"),
    "the file and a directory": (".ssh/authorized_keys", ".ssh/other", "os.mkdir('.ssh/other')"),
}

FLIP = """
import ctypes, mmap, os, struct, sys
os.chdir('/home/alice')
%s
libc = ctypes.CDLL(None)
count = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 8)
one, other, done = %r, %r, 0
while True:
    if libc.renameat2(-100, one, -100, other, 2) == 0:
        done += 1
        count[0:8] = struct.pack('Q', done)
    elif not os.path.lexists(one) and os.path.lexists(other):
        pass
"""


def P40_exchanges():
    fresh("bob")
    put("/home/bob/.ssh/authorized_keys", b"bob's own\n", "bob")
    os.makedirs("/root/.ssh", mode=0o700, exist_ok=True)
    for path in ("/root/.ssh/authorized_keys", "/root/target"):
        with open(path, "w", encoding="utf-8") as file:
            file.write("root's own\n")
    before = {path: digest(path) for path in VICTIMS if path not in ("/etc/shadow", "/etc/passwd", "/etc")}
    total, calls = 0, 0
    share = ROUNDS // len(EXCHANGES) + 1
    for name, (one, other, make) in EXCHANGES.items():
        uid = fresh()
        put(FILE, HAND.encode() + b"\n", "alice")
        system = {path: digest(path) for path in ("/etc/shadow", "/etc/passwd", "/etc")}
        with open("/tmp/count", "wb") as file:
            file.write(bytes(8))
        os.chmod("/tmp/count", 0o666)
        flip = subprocess.Popen([sys.executable, "-c", FLIP % (make, one.encode(), other.encode()), "/tmp/count"], user=uid, group=uid,
                                extra_groups=[], stderr=subprocess.DEVNULL)
        codes, number, rounds = {}, 0, 0
        # At least so many binds and so many exchanges; where a bind replaces what is exchanged, the loop goes on with that.
        while (rounds < share or number < max(20, ROUNDS // 200)) and number < 20000:
            result = bind(f"r{number}", FIRST if number % 2 else SECOND)
            codes[result["code"]] = codes.get(result["code"], 0) + 1
            unbind(f"r{number}")
            number += 1
            rounds = struct.unpack("Q", read("/tmp/count"))[0]
        flip.kill()
        flip.wait()
        total, calls = total + rounds, calls + number
        check(set(codes) <= {"ok", "symlink", "busy", "io_error", "not_regular", "hard_link", "owner"} and rounds >= share,
              f"P40: {name}: {rounds} exchanges, {codes}")
        for path, was in {**before, **system}.items():
            if digest(path) != was:
                check(False, f"P40: {name}: {path} was {was}, is {digest(path)}")
        left = [entry for folder, _, files in os.walk("/home/alice") for entry in files if entry.startswith(".latchkey.")]
        check(len(left) == 0, f"P40: {name}: no litter {left}")
    check(total >= ROUNDS, f"P40: {total} exchanges during {calls} binds; every victim is as it was")


PATH_CALLS = "openat,openat2,open,mkdirat,renameat2,renameat,unlinkat,linkat,symlinkat,newfstatat,statx,readlink,readlinkat,chdir,access,faccessat"


class Traced(Plugin):
    """strace outside of setpriv: inside it could not read the memory of what is not dumpable."""

    def argv(self, verb):
        return ["/usr/bin/strace", "-f", "-y", "-o", "/tmp/trace", "-e",
                f"trace=setgroups,setresgid,setresuid,timer_settime,{PATH_CALLS}", *super().argv(verb)]


def P41_the_uid_comes_first():
    uid = fresh()
    gid = pwd.getpwnam("alice").pw_gid
    subprocess.run(["groupadd", "-f", "-g", "5005", "extra"], check=True)
    subprocess.run(["usermod", "-aG", "extra", "alice"], check=True)
    tracing = Traced("authorized-keys", POLICY)
    command = {"do": "keys.bind", "user": "alice", "keypair": "k1", "key": FIRST}
    planned = None
    for verb in ("plan", "apply"):
        if verb == "plan":
            planned = tracing.plan(command)
        else:
            check(tracing.apply([command], planned)[0]["code"] == "ok", "bound under strace")
        seen, homes = {}, 0
        for line in read("/tmp/trace").decode(errors="replace").splitlines():
            pid, call = line.split(None, 1)
            steps = seen.setdefault(pid, [])
            for name in ("timer_settime", "setgroups", "setresgid", "setresuid"):
                if call.startswith(name) and call.rstrip().endswith("= 0"):
                    steps.append(call)
            # -y shows where a descriptor leads: below /home, or the name "home" itself from the root on.
            if not re.search(r'</home(/[^>]*)?>, "|"/home/', call) or "/home/alice" not in call and "alice" not in call:
                continue
            homes += 1
            order = [step.split("(")[0] for step in steps[:4]]
            check_order = order == ["timer_settime", "setgroups", "setresgid", "setresuid"]
            if not check_order or not steps[1].startswith("setgroups(2, [") or "5005" not in steps[1] or \
                    not steps[2].startswith(f"setresgid({gid}, {gid}, {gid})") or not steps[3].startswith(f"setresuid({uid}, {uid}, {uid})"):
                check(False, f"P41: {verb}: {call} after {steps}")
        check(homes > 2, f"P41, P42: {verb}: {homes} path calls in the home, each after the timer, setgroups, setresgid, setresuid")


def hung_mount(path, uid):
    """A FUSE file system whose server never answers."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={uid},group_id={uid}"
    if libc.mount(b"hung", path.encode(), b"fuse", 6, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), "mount fuse")
    return device


def P47_hung_fuse():
    uid = fresh()
    os.mkdir("/home/alice/.ssh", 0o700)
    os.chown("/home/alice/.ssh", uid, uid)
    for path in ("/home/alice/.ssh", "/home/alice"):
        device = hung_mount(path, uid)
        started = time.monotonic()
        result = bind("k1", FIRST)
        waited = time.monotonic() - started
        check(result["code"] == "timeout" and waited < 14, f"P47: {path} on a hung FUSE mount: {waited:.1f} s {result['detail']}")
        started = time.monotonic()
        results = keys.run({"do": "keys.bind", "user": "alice", "keypair": "k1", "key": FIRST},
                           {"do": "keys.bind", "user": "bob", "keypair": "k1", "key": FIRST})
        waited = time.monotonic() - started
        check([r["code"] for r in results] == ["timeout", "ok"] and waited < 25, f"P47: and bob gets his key {waited:.1f} s")
        check(bind("k2", FIRST, location="system")["code"] in ("timeout", "ok", "keys_file_none"), "P47: another location")
        libc.umount2(path.encode(), 2)
        os.close(device)
        keys.one({"do": "keys.unbind", "user": "bob", "keypair": "k1"})
        unbind("k2")
    check(bind("k1", FIRST)["code"] == "ok", "P47: and once it is gone")


def P47_quota():
    """EDQUOT where a kernel says it: at the write, and (NFS) at the fsync. Real quotas need a kernel that has them."""
    for call in ("write", "fsync"):
        fresh()
        put(FILE, HAND.encode() + b"\n", "alice")
        over = Plugin("authorized-keys", POLICY)
        over.prefix = ["/usr/bin/strace", "-f", "-o", "/dev/null", "-e", f"inject={call}:error=EDQUOT:when=1"]
        command = {"do": "keys.bind", "user": "alice", "keypair": "k1", "key": FIRST}
        planned = keys.plan(command)
        # The first write of the child is into its new file; the plugin's own first is its reply, which then is none.
        done = over.call("apply", over.with_plans([command], planned), may_fail=True)
        result = done[0] if done else {"code": "quota", "changed": False}
        check(result["code"] == "quota" and not result["changed"], f"T06: over his quota at the {call} {result}")
        check(read(FILE) == HAND.encode() + b"\n" and os.listdir("/home/alice/.ssh") == ["authorized_keys"], "T06: nothing lost or left")
        check(bind("k1", FIRST)["code"] == "ok" and logs_in("alice", "first"), "T06: with room again")


def T32_large_files():
    fresh()
    lines = b"".join(b"# line %d of many\n" % number for number in range(50000))
    put(FILE, lines, "alice")
    started = time.monotonic()
    check(bind("k1", FIRST)["code"] == "ok" and logs_in("alice", "first"), f"T32: 50,000 lines: {time.monotonic() - started:.2f} s")
    check(unbind("k1")["code"] == "ok" and read(FILE) == lines, "T32: and back, byte for byte")
    put(FILE, b"#\n" * 100000, "alice")
    started = time.monotonic()
    check(bind("k1", FIRST)["code"] == "ok" and unbind("k1")["code"] == "ok" and time.monotonic() - started < 10, "T32: 100,000 short lines")
    commands = [{"do": "keys.bind", "user": "alice", "keypair": f"n{number}", "key": FIRST if number % 2 else SECOND} for number in range(512)]
    for text, name in ((b"\n" * 900000, "900,000 empty lines"), (b"".join(b"ssh-ed25519 %s x\n" % base64.b64encode(
            b"\0\0\0\x0bssh-ed25519\0\0\0 " + number.to_bytes(32, "big")) for number in range(8000)), "8,000 keys")):
        put(FILE, text, "alice")
        check({result["code"] for result in keys.run(*commands)} == {"ok"}, f"T32: 512 keys to {name}")
        check({result["code"] for result in keys.run(*({"do": "keys.unbind", "user": "alice", "keypair": f"n{number}"}
                                                       for number in range(512)))} == {"ok"} and read(FILE) == text, "T32: and away again")
    lines = b"".join(b"# line %d of very many\n" % number for number in range(100000))
    put(FILE, lines, "alice")
    result = bind("k1", FIRST)
    check(result["code"] == "too_large" and "1048576" in result["detail"] and read(FILE) == lines, f"T32: over the named limit {result['detail']}")
    for size in (1 << 40, (1 << 20) + 1):
        with open(FILE, "wb") as file:
            file.truncate(size)
        started = time.monotonic()
        check(bind("k1", FIRST)["code"] == "too_large" and time.monotonic() - started < 5, f"T32: a sparse file of {size} bytes, at once")
        check(os.stat(FILE).st_size == size, "T32: which stays")
    fresh()
    results = keys.run(*({"do": "keys.bind", "user": "alice", "keypair": f"n{number}", "key": FIRST} for number in range(1000)))
    check(all(result["code"] == "ok" for result in results) and read(FILE).count(b"latchkey:") == 1000, "1,000 keys in one file")
    check(subprocess.run(["ssh-keygen", "-lf", FILE], stdout=subprocess.PIPE, check=True).stdout.count(b"\n") == 1000, "P43: ssh-keygen reads each")


def P47_frozen():
    """Stopped and continued at random while it writes: old file or new file, nothing in between."""
    uid = fresh()
    put(FILE, HAND.encode() + b"\n", "alice")
    stopper = subprocess.Popen([sys.executable, "-c",
                                "import os,signal,time\nme=os.getpid()\nwhile True:\n"
                                " for pid in os.listdir('/proc'):\n  if pid.isdigit() and int(pid)!=me:\n"
                                "   for s in (signal.SIGSTOP, signal.SIGCONT, signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV):\n"
                                "    try: os.kill(int(pid),s)\n    except OSError: pass\n"],
                               user=uid, group=uid, extra_groups=[])
    codes = {}
    try:
        for number in range(30):
            result = bind(f"k{number}", FIRST)
            codes[result["code"]] = codes.get(result["code"], 0) + 1
            check_whole = read(FILE).endswith(HAND.encode() + b"\n") and read(FILE).count(b"\n") <= number + 2
            if not check_whole:
                check(False, f"P47: {read(FILE)}")
    finally:
        stopper.send_signal(signal.SIGKILL)
        stopper.wait()
    check(set(codes) <= {"ok", "timeout", "busy"}, f"P47: what he ends or stops is tried again: stopped, continued and killed at random: {codes}")
    check(bind("after", SECOND)["code"] == "ok" and logs_in("alice", "second") and logs_in("alice", "hand"), "P47: and afterwards")


def P47_one_user_stops_what_serves_all():
    """New files of one batch come to disk together, as one of their users: he cannot keep the others from their keys."""
    uid = fresh()
    fresh("bob")
    stopper = subprocess.Popen([sys.executable, "-c",
                                "import os,signal\nwhile True:\n for pid in os.listdir('/proc'):\n  if pid.isdigit():\n"
                                "   try:\n    if open(f'/proc/{pid}/comm').read() == 'keys:sync\\n': os.kill(int(pid), signal.SIGSTOP)\n"
                                "   except OSError: pass\n"], user=uid, group=uid, extra_groups=[])
    slow = Plugin("authorized-keys", POLICY)
    # Long enough for him to see it.
    slow.prefix = ["/usr/bin/strace", "-f", "-o", "/dev/null", "-e", "inject=syncfs:delay_enter=500000"]
    commands = [{"id": f"c{number}", "do": "keys.bind", "user": user, "keypair": f"k{number}", "key": FIRST}
                for number, user in enumerate(("alice", "alice", "bob", "bob"))]
    try:
        results = slow.apply(commands, keys.plan(*commands))
    finally:
        stopper.kill()
        stopper.wait()
    check([result["code"] for result in results] == ["timeout", "timeout", "ok", "ok"], f"P47: he stops his own alone {results}")
    check([result["code"] for result in keys.run(*commands)] == ["ok"] * 4, "P47: and afterwards")


sshd = Sshd().start()
try:
    for test in (P47_one_user_stops_what_serves_all, P41_the_uid_comes_first, P40_exchanges, P47_hung_fuse, P47_quota, P47_frozen, T32_large_files):
        print(f"# {test.__name__}", flush=True)
        test()
finally:
    sshd.stop()
print("all good", flush=True)
