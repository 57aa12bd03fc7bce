#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""P110: which key opened a session is known from the journal's own fields alone; what a user writes there ends nothing
and proves nothing. keys.unbind … end_sessions and sessions.end by fingerprint, with a real sshd and a real journald."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "rig"))
from journal import Log, forge  # noqa: E402
from machine import wait_for, write  # noqa: E402
from plugin import Plugin, check  # noqa: E402
from sshd import SSH, key_pair, Sshd  # noqa: E402

keys = Plugin("authorized-keys", {"types": ["ed25519"], "locations": ["home"]})
names = {name: key_pair(name) for name in ("first", "second")}


def fingerprint(name):
    return subprocess.run(["ssh-keygen", "-lf", f"/tmp/{name}.pub"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[1]


class Server(Sshd):
    """Logs to syslog, as it does as a service."""

    def start(self):
        self.process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-p", "2222"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: subprocess.run(["bash", "-c", "echo > /dev/tcp/127.0.0.1/2222"], stderr=subprocess.DEVNULL).returncode == 0,
                 "sshd listens")
        return self


def user(name):
    subprocess.run(["useradd", "-m", "-s", "/bin/sh", "-p", "*", name], check=True)


def bind(label, name, who="alice"):
    result = keys.one({"do": "keys.bind", "user": who, "keypair": label, "key": names[name]})
    assert result["code"] == "ok", result


def open_session(name, who="alice"):
    session = subprocess.Popen([*SSH, "-i", f"/tmp/{name}", f"{who}@127.0.0.1", "echo in; exec sleep 300"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert session.stdout.readline() == b"in\n"
    return session


def is_open(session):
    return session.poll() is None


def end(who="alice", **more):
    return keys.one({"do": "sessions.end", "user": who, **more})


def ends(*sessions):
    return all(session.wait(20) != 0 for session in sessions)


def test_fingerprint():
    sessions = {name: open_session(name) for name in ("first", "second")}
    bobs, roots = open_session("first", "bob"), open_session("first", "root")
    result = end(fingerprint=fingerprint("first"))
    check(result["code"] == "ok" and result["changed"] and result["detail"] == "1 sessions ended", f"P110: by fingerprint {result}")
    check(ends(sessions["first"]), "the session that the key opened is gone")
    check(all(map(is_open, (sessions["second"], bobs, roots))), "his other one, bob's and root's with the same key go on")
    result = end(fingerprint=fingerprint("first"))
    check(result["code"] == "ok" and not result["changed"], "none is left")
    check(end(fingerprint="SHA256:x")["code"] == "field_invalid", "no fingerprint")
    result = end("root", fingerprint=fingerprint("first"))
    check(result["code"] == "ok" and ends(roots), f"root's own session, which has no second process {result}")
    check(is_open(bobs), "bob's goes on")
    check(end()["detail"] == "1 sessions ended" and ends(sessions["second"]), "without a fingerprint all of his")
    bobs.kill()
    bobs.wait()


def test_unbind():
    bind("k1", "first")
    first, second = open_session("first"), open_session("second")
    result = keys.one({"do": "keys.unbind", "user": "alice", "keypair": "k1", "end_sessions": True})
    check(result["code"] == "ok" and "1 sessions ended" in result["detail"] and ends(first), f"keys.unbind … end_sessions {result}")
    check(is_open(second), "the other key's session goes on")
    bind("k1", "first")
    first = open_session("first")
    result = keys.one({"do": "keys.unbind", "user": "alice", "keypair": "k1"})
    check(result["code"] == "ok" and is_open(first), "without end_sessions it goes on")
    bind("k1", "first")
    command = {"do": "keys.unbind", "user": "alice", "keypair": "k1", "end_sessions": True}
    planned = keys.plan(command)
    keys.one({"do": "keys.unbind", "user": "alice", "keypair": "k1"})
    result = keys.apply([command], planned, redo=True)[0]
    check(result["code"] == "ok" and ends(first), f"a redo that finds the line gone still ends what it opened {result}")
    check(end()["code"] == "ok" and ends(second), "and so on")


def test_forged():
    bobs = open_session("second", "bob")
    lines = subprocess.run(["ps", "-eo", "pid=,args="], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    pid = next(line.split()[0] for line in lines if ": bob [priv]" in line)
    text = f"Accepted publickey for bob from 127.0.0.1 port 4 ssh2: ED25519 {fingerprint('first')}"
    forge(text, pid)
    forge("Accepted password for bob from 127.0.0.1 port 4 ssh2", pid)
    subprocess.run(["logger", "-p", "auth.info", "-t", "sshd", f"--id={pid}", text], check=True)  # root, but no sshd
    time.sleep(0.5)
    result = end("bob", fingerprint=fingerprint("first"))
    check(result["code"] == "ok" and not result["changed"] and is_open(bobs), f"P110: what was forged ends nothing {result}")
    result = end("bob", fingerprint=fingerprint("second"))
    check(result["changed"] and ends(bobs), f"P110: and hides nothing {result}")


def test_no_journal(log):
    session = open_session("second")
    log.stop()
    for path in os.listdir("/run/log/journal"):
        subprocess.run(["rm", "-rf", f"/run/log/journal/{path}"], check=True)
    result = end(fingerprint=fingerprint("first"))
    check(result["code"] == "cannot_validate" and is_open(session), f"without a journal nobody guesses {result}")
    bind("k9", "first")
    result = keys.one({"do": "keys.unbind", "user": "alice", "keypair": "k9", "end_sessions": True})
    check(result["code"] == "ok" and result["changed"] and "sessions.end" in result["detail"], f"and an unbind says so {result}")
    check(end()["changed"] and ends(session), "all of his can be ended")


log, sshd = Log(), Server()
log.start()
sshd.start()
try:
    for name in ("alice", "bob"):
        user(name)
    os.makedirs("/root/.ssh", mode=0o700, exist_ok=True)
    for path, who in (("/home/alice", "alice"), ("/home/bob", "bob"), ("/root", "root")):
        write(f"{path}/.ssh/authorized_keys", f"{names['first']} by hand\n{names['second']}\n", 0o600)
        subprocess.run(["chown", "-R", f"{who}:", f"{path}/.ssh"], check=True)
        os.chmod(f"{path}/.ssh", 0o700)
    test_fingerprint()
    write("/home/alice/.ssh/authorized_keys", f"{names['second']}\n", 0o600)
    test_unbind()
    test_forged()
    test_no_journal(log)
finally:
    sshd.stop()
    log.stop()
print("all good", flush=True)
