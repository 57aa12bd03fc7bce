#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Where a key can go and log in, and where it cannot: homes behind root's own links, disks that are full, read-only or
frozen, homes that hang, labels, expiry at its edge under several time zones. Each way in is a real login."""
import ctypes
import os
import pwd
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "rig"))
from plugin import Plugin, check  # noqa: E402
from sshd import Sshd, key_pair, logs_in  # noqa: E402

POLICY = {"types": ["ed25519"], "options": ["expires"], "locations": ["home", "system", "runtime"]}
DROP_IN = "AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/latchkey_keys/%u /run/latchkey/authorized_keys/%u\n"
keys = Plugin("authorized-keys", POLICY)
FIRST, SECOND = key_pair("first"), key_pair("second")
libc = ctypes.CDLL(None, use_errno=True)


def run(*argv):
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def new_user(name, home):
    subprocess.run(["userdel", "-f", name], stderr=subprocess.DEVNULL)
    shutil.rmtree(home, ignore_errors=True)
    run("useradd", "-M", "-d", home, "-s", "/bin/sh", "-p", "*", name)
    return pwd.getpwnam(name).pw_uid


def own_home(name, home, uid):
    os.makedirs(home)
    os.chown(home, uid, uid)
    os.chmod(home, 0o700)


def bind(label, key, user="alice", **more):
    return keys.one({"do": "keys.bind", "user": user, "keypair": label, "key": key, **more})


def unbind(label, user="alice"):
    return keys.one({"do": "keys.unbind", "user": user, "keypair": label})


def links_above_the_home():
    """/home -> var/home, as image-based systems have it; and what a user could have made, which is not followed."""
    os.makedirs("/var/real/homes")
    os.makedirs("/var/open/homes")
    os.chmod("/var/open", 0o777)
    os.symlink("real/homes", "/var/relative")
    os.symlink("/var/real/homes", "/var/absolute")
    os.symlink("relative", "/var/twice")
    os.symlink("../var/real/homes", "/var/up")
    for link in ("relative", "absolute", "twice", "up"):
        uid = new_user("alice", f"/var/{link}/alice")
        shutil.rmtree("/var/real/homes/alice", ignore_errors=True)
        own_home("alice", "/var/real/homes/alice", uid)
        result = bind("k1", FIRST)
        check(result["code"] == "ok" and logs_in("alice", "first"), f"a home behind root's {link} link: bound, and logs in {result['detail']}")
        status = os.lstat("/var/real/homes/alice/.ssh/authorized_keys")
        check((status.st_uid, status.st_mode & 0o777) == (uid, 0o600), "  his own file, 0600")
        check(unbind("k1")["code"] == "ok" and not logs_in("alice", "first"), "  and unbound")
    os.symlink("/var/real/homes/alice", "/var/real/homes/linked")
    new_user("alice", "/var/real/homes/linked")
    os.chown("/var/real/homes/alice", pwd.getpwnam("alice").pw_uid, pwd.getpwnam("alice").pw_uid)
    shutil.rmtree("/var/real/homes/alice/.ssh", ignore_errors=True)
    check(bind("k1", FIRST)["code"] == "ok" and logs_in("alice", "first"), "a home that is root's link itself")
    unbind("k1")

    def refused(name, home):
        uid = new_user("alice", home)
        shutil.rmtree("/var/real/homes/alice", ignore_errors=True)
        own_home("alice", "/var/real/homes/alice", uid)
        before = os.listdir("/var/real/homes/alice")
        result = bind("k1", FIRST)
        check(result["code"] in ("symlink", "home_unsafe") and os.listdir("/var/real/homes/alice") == before, f"{name}: {result['code']}")

    os.symlink("/var/real/homes", "/var/open/link")
    refused("root's link in a directory that anybody can write to", "/var/open/link/alice")
    os.symlink("/var/real/homes", "/var/his")
    os.lchown("/var/his", 1, 1)
    refused("another's link in root's directory", "/var/his/alice")
    os.symlink("loop2", "/var/loop1")
    os.symlink("loop1", "/var/loop2")
    refused("links in a circle", "/var/loop1/alice")
    os.symlink("/nowhere", "/var/dangling")
    refused("a link to nowhere", "/var/dangling/alice")
    for number in range(12):
        os.symlink("/var/real/homes" if number == 0 else f"chain{number - 1}", f"/var/chain{number}")
    refused("a chain of twelve", "/var/chain11/alice")


def try_everywhere(name, expected):
    """One bind for each location; the ones that say ok must log in, and afterwards no more."""
    for location, code in expected.items():
        result = bind(f"at-{location}", SECOND, location=location)
        check(result["code"] in code, f"{name}: {location}: {result['code']} {result['detail']}")
        good = result["code"] == "ok"
        if logs_in("alice", "second") != good:
            check(False, f"{name}: {location}: logs in: {not good}")
        check(good or not result["changed"], "  logs in" if good else "  nothing was changed")
        if good and unbind(f"at-{location}")["code"] == "ok":
            check(not logs_in("alice", "second"), "  and not any more")


def P105_ways_in():
    sshd.configure("00-latchkey", DROP_IN)
    uid = new_user("alice", "/home/alice")
    os.makedirs("/home/alice")
    run("mount", "-t", "tmpfs", "-o", f"size=64k,uid={uid},gid={uid},mode=700", "tmpfs", "/home/alice")
    try_everywhere("all is well", {"home": ["ok"], "system": ["ok"], "runtime": ["ok"]})
    subprocess.run("dd if=/dev/zero of=/home/alice/fill bs=1k 2>/dev/null", shell=True)
    try_everywhere("his disk is full", {"home": ["no_space"], "system": ["ok"], "runtime": ["ok"]})
    os.unlink("/home/alice/fill")
    run("mount", "-o", "remount,ro", "/home/alice")
    try_everywhere("his disk is read-only", {"home": ["read_only"], "system": ["ok"], "runtime": ["ok"]})
    os.makedirs("/etc/ssh/latchkey_keys", exist_ok=True)
    run("mount", "--bind", "/etc/ssh/latchkey_keys", "/etc/ssh/latchkey_keys")
    run("mount", "-o", "remount,bind,ro", "/etc/ssh/latchkey_keys")
    run("mount", "--bind", "/var/lib/latchkey", "/var/lib/latchkey")
    run("mount", "-o", "remount,bind,ro", "/var/lib/latchkey")
    try_everywhere("every disk is read-only", {"home": ["read_only"], "system": ["read_only"], "runtime": ["ok"]})
    for path in ("/var/lib/latchkey", "/etc/ssh/latchkey_keys", "/home/alice"):
        run("umount", "-l", path)

    # Immutable: on a file system that has the flag.
    with open("/var/tmp/disk", "wb") as file:
        file.truncate(8 << 20)
    run("mkfs.ext4", "-q", "/var/tmp/disk")
    run("mount", "-o", "loop", "/var/tmp/disk", "/home/alice")
    os.chown("/home/alice", uid, uid)
    own_home("alice", "/home/alice/.ssh", uid)
    path = "/home/alice/.ssh/authorized_keys"
    with open(path, "w", encoding="utf-8") as file:
        file.write(FIRST + "\n")
    os.chown(path, uid, uid)
    os.chmod(path, 0o600)
    before = open(path, encoding="utf-8").read()
    for frozen in (path, "/home/alice/.ssh"):
        run("chattr", "+i", frozen)
        try_everywhere(f"chattr +i {frozen}", {"home": ["immutable", "lsm_denied", "owner"], "runtime": ["ok"]})
        run("chattr", "-i", frozen)
        check(open(path, encoding="utf-8").read() == before and os.listdir("/home/alice/.ssh") == ["authorized_keys"], "  nothing lost or left")
    run("umount", "-l", "/home/alice")
    os.unlink("/var/tmp/disk")

    # A home that hangs: the key at runtime must not wait for more than its deadline.
    device = os.open("/dev/fuse", os.O_RDWR)
    if libc.mount(b"hung", b"/home/alice", b"fuse", 6, f"fd={device},rootmode=40000,user_id={uid},group_id={uid}".encode()) != 0:
        check(False, f"mount fuse: {os.strerror(ctypes.get_errno())}")
    started = time.monotonic()
    result = bind("hung", SECOND, location="runtime")
    check(result["code"] == "ok" and time.monotonic() - started < 25, f"a home that hangs: runtime {result} {time.monotonic() - started:.0f} s")
    libc.umount2(b"/home/alice", 2)
    os.close(device)
    check(logs_in("alice", "second") and unbind("hung")["code"] == "ok", "  and it logs in once sshd gets over the home")
    sshd.configure("00-latchkey", None)


def T29_expiry_and_time_zones():
    """The very second: sshd refuses from its time on, whatever zone it and the machine live in."""
    uid = new_user("alice", "/home/alice")
    own_home("alice", "/home/alice", uid)
    for zone in ("Asia/Tokyo", "America/Los_Angeles", "UTC"):
        if os.path.lexists("/etc/localtime"):
            os.unlink("/etc/localtime")
        os.symlink(f"/usr/share/zoneinfo/{zone}", "/etc/localtime")
        check(os.path.exists("/etc/localtime"), f"tzdata has {zone}")
        os.environ["TZ"] = zone
        time.tzset()
        sshd.stop()
        sshd.start()
        end = int(time.time()) + 3
        result = bind("brief", FIRST, expires=end)
        check(result["code"] == "ok" and logs_in("alice", "first"), f"TZ={zone}: good before its end {result['detail']}")
        while time.time() < end + 1.2:
            time.sleep(0.1)
        check(not logs_in("alice", "first"), f"TZ={zone}: refused a second after")
        far = bind("brief", FIRST, expires=int(time.time()) + 86400)
        check(far["code"] == "ok" and logs_in("alice", "first"), f"TZ={zone}: a day is a day")
        unbind("brief")
    del os.environ["TZ"]
    time.tzset()
    for wrong, code in ((0, "expired"), (1, "expired"), (2**53 - 1, "field_invalid"), (253402300800, "field_invalid")):
        check(bind("brief", FIRST, expires=wrong)["code"] == code, f"T29: expires {wrong}: {code}")
    result = bind("brief", FIRST, expires=2**31 + 5)
    check(result["code"] == "ok" and logs_in("alice", "first"), "T29: beyond 2038")
    unbind("brief")


sshd = Sshd().start()
try:
    for test in (links_above_the_home, T29_expiry_and_time_zones, P105_ways_in):
        print(f"# {test.__name__}", flush=True)
        test()
finally:
    sshd.stop()
print("all good", flush=True)
