#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What latchctl says when the agent's last look is not what is, or when half of the agent is gone: the truth, and what to do."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Machine, Signer, check, keygen, main, wait_for, write  # noqa: E402


def latchctl(*arguments, user=None):
    argv = ["/usr/bin/latchctl", *arguments]
    done = subprocess.run(["/usr/sbin/runuser", "-u", user, "--", *argv] if user else argv, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    return done.returncode, done.stdout, done.stderr


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    subprocess.run(["useradd", "-m", "-s", "/bin/sh", "alice"], check=True)
    machine.start_sshd()
    machine.start_agent()
    wait_for(lambda: latchctl("status")[0] == 0, "the agent answers")
    machine.apply(ops.document(1, [{"id": "k", "do": "keys.bind", "user": "alice", "keypair": "laptop", "key": keygen("/tmp/laptop")}]))
    wait_for(lambda: "laptop" in latchctl("keys")[1], "it shows the key")
    code, out, _ = latchctl("doctor", user="alice")
    check(code == 0 and "last looked" in out and "by key: yes" in out and "but now" not in out, f"alice can log in {out}")

    os.chmod("/home/alice", 0o777)
    code, out, _ = latchctl("doctor", user="alice")
    check(code == 1 and "but now your own files say no" in out and "strict_modes" in out and "chmod go-w '/home/alice'" in out,
          f"she was told so before the home was opened to all: {out}")
    code, out, _ = latchctl("--json", "doctor", user="alice")
    now = json.loads(out)["key_now"]
    check(code == 1 and not now["can"] and now["blockers"][0]["code"] == "strict_modes", "in JSON")
    os.chmod("/home/alice", 0o755)
    os.unlink("/home/alice/.ssh/authorized_keys")
    code, out, _ = latchctl("doctor", user="alice")
    check(code == 1 and "keys_file_missing" in out, "or the file was taken away")

    for arguments, why in ((["policy", "check"], "needs a FILE"), (["doctor", "--key"], "--key"), (["statsu"], "no command"),
                           (["keys", "a b"], "no user's name"), (["--yes", "seal"], "after the command"), (["users", "x"], "too many")):
        code, out, err = latchctl(*arguments)
        check(code == 64 and not out and why in err and err.count("\n") == 1, f"wrong usage in one line: {err.strip()}")

    machine.stop("latchkey-net")
    code, out, err = latchctl("status")
    check(code == 69 and not out and "systemctl status latchkey-net" in err, f"latchkeyd alone answers nobody: {err}")
    machine.stop("latchkeyd")
    code, out, err = latchctl("status")
    check(code == 69 and "systemctl status latchkeyd" in err, f"nobody is there: {err}")


main(test)
