#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""313-other-sshd.py [DIR…]: the keys plugin with another sshd than the machine's. Each DIR is the root of an installed
OpenSSH (usr/sbin/sshd and what belongs to it, libraries too); without one it is the machine's own. Bound, expired at the
edge in two time zones, revoked, sessions ended: real logins for each."""
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "rig"))
from plugin import Plugin, check  # noqa: E402
from sshd import SSH, Sshd, key_pair, logs_in  # noqa: E402

POLICY = {"types": ["ed25519"], "options": ["expires", "from"], "locations": ["home", "runtime"]}
keys = Plugin("authorized-keys", POLICY)
FIRST, SECOND, HAND = key_pair("first"), key_pair("second"), key_pair("hand")
FILE = "/home/alice/.ssh/authorized_keys"
LIST = "/etc/ssh/latchkey_revoked_keys"
CONFIG = "/etc/ssh/sshd_config"
BASE = "HostKey /etc/ssh/ssh_host_ed25519_key\nAuthorizedKeysFile .ssh/authorized_keys /run/latchkey/authorized_keys/%u\n"


def run(*argv):
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def install(root):
    """Its programs in the place of the machine's, its libraries behind them."""
    for folder in ("usr/lib/openssh",):
        if os.path.isdir(f"{root}/{folder}") and os.path.isdir(f"/{folder}"):
            run("mount", "--bind", f"{root}/{folder}", f"/{folder}")
    run("mount", "--bind", f"{root}/usr/sbin/sshd", "/usr/sbin/sshd")
    libraries = [f"{root}/{folder}" for folder in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu") if os.path.isdir(f"{root}/{folder}")]
    if libraries:
        with open("/etc/ld.so.conf.d/other.conf", "w", encoding="utf-8") as file:
            file.write("\n".join(libraries) + "\n")
        run("ldconfig")


def uninstall():
    for path in ("/usr/sbin/sshd", "/usr/lib/openssh"):
        while subprocess.run(["mountpoint", "-q", path]).returncode == 0:
            run("umount", "-l", path)
    if os.path.exists("/etc/ld.so.conf.d/other.conf"):
        os.unlink("/etc/ld.so.conf.d/other.conf")
        run("ldconfig")


def configure(text=""):
    with open(CONFIG, "w", encoding="utf-8") as file:
        file.write(text + BASE)


def version():
    text = subprocess.run(["/usr/sbin/sshd", "-V"], stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True).stdout
    number = text[text.index("OpenSSH_") + 8:].split("p")[0].split(",")[0].split()[0]
    return tuple(int(part) for part in number.split(".")[:2])


def bind(label, key, **more):
    return keys.one({"do": "keys.bind", "user": "alice", "keypair": label, "key": key, **more})


def unbind(label):
    return keys.one({"do": "keys.unbind", "user": "alice", "keypair": label})


def zone(name):
    os.unlink("/etc/localtime") if os.path.lexists("/etc/localtime") else None
    os.symlink(f"/usr/share/zoneinfo/{name}", "/etc/localtime")
    os.environ["TZ"] = name
    time.tzset()


def test(root):
    configure()
    if root:
        install(root)
    major, minor = version()
    name = f"OpenSSH {major}.{minor}"
    subprocess.run(["userdel", "-f", "-r", "alice"], stderr=subprocess.DEVNULL)
    shutil.rmtree("/home/alice", ignore_errors=True)
    run("useradd", "-m", "-s", "/bin/sh", "-p", "*", "alice")
    for path in (LIST, "/var/lib/latchkey/plugin/authorized-keys/revoked", "/var/lib/latchkey/plugin/authorized-keys/ledger"):
        if os.path.exists(path):
            os.unlink(path)
    sshd = Sshd().start()
    try:
        result = bind("k1", FIRST)
        check(result["code"] == "ok" and logs_in("alice", "first"), f"{name}: bound, logs in {result['detail']}")
        check(unbind("k1")["code"] == "ok" and not logs_in("alice", "first"), f"{name}: unbound, refused")
        check(bind("k1", FIRST, location="runtime")["code"] == "ok" and logs_in("alice", "first"), f"{name}: runtime")
        unbind("k1")
        check(bind("k1", FIRST, **{"from": ["127.0.0.0/8"]})["code"] == "ok" and logs_in("alice", "first"), f"{name}: from=")
        unbind("k1")
        for place in ("Asia/Tokyo", "America/Los_Angeles"):
            zone(place)
            sshd.stop()
            sshd.start()
            end = int(time.time()) + 4
            result = bind("brief", FIRST, expires=end)
            if (major, minor) < (7, 7):
                check(result["code"] == "expiry_unsupported" and not logs_in("alice", "first"), f"{name}: no expiry-time")
                break
            with open(FILE, encoding="utf-8") as file:
                utc = 'Z" ' in file.read()
            check(result["code"] == "ok" and utc == ((major, minor) >= (9, 1)), f"{name}: expiry-time {'in UTC' if utc else 'in local time'}")
            check(logs_in("alice", "first") and time.time() < end, f"{name}: TZ={place}: good before its end")
            while time.time() < end + 1.2:
                time.sleep(0.1)
            check(not logs_in("alice", "first"), f"{name}: TZ={place}: refused a second after")
        bind("k1", FIRST)
        bind("k2", SECOND)
        fingerprint = subprocess.run(["ssh-keygen", "-lf", "/tmp/first.pub"], stdout=subprocess.PIPE, text=True).stdout.split()[1]
        result = keys.one({"do": "keys.revoke", "fingerprint": fingerprint})
        if (major, minor) < (7, 9):
            check(result["code"] == "unsupported" and not os.path.exists(LIST), f"{name}: revokes nothing by fingerprint")
        else:
            configure(f"RevokedKeys {LIST}\n")
            sshd.stop()
            sshd.start()
            check(result["code"] == "ok" and not logs_in("alice", "first") and logs_in("alice", "second"), f"{name}: revoked, the other is not")
        session = subprocess.Popen([*SSH, "-i", "/tmp/second", "alice@127.0.0.1", "echo in; exec sleep 60"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        session.stdout.readline()
        result = keys.one({"do": "sessions.end", "user": "alice"})
        check(result["code"] == "ok" and "1 sessions" in result["detail"] and session.wait(10) != 0, f"{name}: sessions.end {result['detail']}")
    finally:
        sshd.stop()
        uninstall()


for root in sys.argv[1:] or [None]:
    print(f"# {root or 'the machine’s own'}", flush=True)
    test(root)
print("all good", flush=True)
