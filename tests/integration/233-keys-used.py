#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""latchctl keys --used: the last login with each managed key, by what sshd really said in a real journal; forged lines do not count."""
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from journal import Log, forge  # noqa: E402
from machine import Machine, Signer, check, keygen, main, wait_for, write  # noqa: E402


def latchctl(*arguments, user=None):
    argv = ["/usr/bin/latchctl", *arguments]
    done = subprocess.run(["/usr/sbin/runuser", "-u", user, "--", *argv] if user else argv, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=90, cwd="/")
    return done.returncode, done.stdout, done.stderr


def used(**more):
    code, out, err = latchctl("--json", "keys", "--used", **more)
    check(code == 0, f"  asked {err.strip()}")
    return {(key["user"], key["keypair"]): key.get("used") for key in json.loads(out)}


def fingerprint(path):
    return subprocess.run(["ssh-keygen", "-lf", path + ".pub"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[1]


def test():
    log, machine, ops = Log(), Machine(url=None), Signer()
    log.start()
    try:
        write("/etc/latchkey/allowed_signers", ops.line())
        pairs = {name: keygen(f"/tmp/{name}") for name in ("laptop", "tablet")}
        for user in ("alice", "bob"):
            subprocess.run(["useradd", "-m", "-s", "/bin/sh", user], check=True)
        listed = [{"id": f"b{user}{pair}", "do": "keys.bind", "user": user, "keypair": pair, "key": key}
                  for user in ("alice", "bob") for pair, key in pairs.items()]
        machine.apply(ops.document(1, listed))
        machine.start_agent()
        machine.start_sshd()
        wait_for(lambda: latchctl("keys")[0] == 0, "the agent answers")
        check(set(used()) == {(user, pair) for user in ("alice", "bob") for pair in pairs} and not any(used().values()),
              "nobody logged in yet")
        before = int(time.time())
        check(machine.login_with_key("alice", "/tmp/laptop"), "alice logs in with the laptop's key")
        wait_for(lambda: used()[("alice", "laptop")], "the journal has it")
        found = used()
        check(before <= found[("alice", "laptop")] <= time.time() and sum(map(bool, found.values())) == 1,
              "her key was used, bob's with the same fingerprint was not, nor her other one")
        forge(f"Accepted publickey for bob from 127.0.0.1 port 4 ssh2: ED25519 {fingerprint('/tmp/tablet')}", os.getpid())
        forge(f"Accepted publickey for alice from 127.0.0.1 port 4 ssh2: ED25519 {fingerprint('/tmp/tablet')}", os.getpid())
        time.sleep(0.5)
        check(used() == found, "P110: forged lines do not count")
        code, out, err = latchctl("keys", "--used")
        print(out)
        check(code == 0 and out.count("not in the journal") == 3 and time.strftime("%Y-%m-%d ") in out, "a person reads it")
        code, out, err = latchctl("keys", "alice", "--used", user="alice")
        check(code == 0 and out.count("unknown") == 2 and "systemd-journal" in err, "alice may not read the journal, and is told so")
        check(latchctl("keys", "bob", "--used", user="alice")[0] == 77, "nor bob's keys")
        check(latchctl("users", "--used")[0] == 64, "usage")
    finally:
        log.stop()


main(test)
