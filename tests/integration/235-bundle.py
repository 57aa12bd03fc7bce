#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""latchctl bundle: canaries of every kind are put wherever the agent and the operator keep such things, and none comes out; what a
helper needs does."""
import glob
import json
import os
import pty
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from journal import Log  # noqa: E402
from machine import STATE, Machine, Signer, check, keygen, main, read, wait_for, write  # noqa: E402

OUT = "/tmp/bundle.txt"
ENROL, PROXY, QUERY, LOGGED = "EnrolCanary9z", "proxyCanary7", "queryCanary5", "loggedCanary3"


def latchctl(*arguments, user=None):
    argv = ["/usr/bin/latchctl", *arguments]
    done = subprocess.run(["/usr/sbin/runuser", "-u", user, "--", *argv] if user else argv, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=120, cwd="/tmp", stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


def asked(answer):
    """On a terminal, as a person."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir("/tmp")
        os.execv("/usr/bin/latchctl", ["latchctl", "bundle", "--output", OUT])
    shown = b""
    while b"[yes/no]" not in shown:
        shown += os.read(terminal, 4096)
    os.write(terminal, answer + b"\n")
    try:
        while more := os.read(terminal, 4096):
            shown += more
    except OSError:
        pass
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test():
    log, machine, ops = Log(), Machine(url=None), Signer()
    log.start()
    try:
        write("/etc/latchkey/allowed_signers", ops.line())
        write("/etc/latchkey/enrol", ENROL + "\n")
        os.makedirs("/etc/latchkey/latchkey.conf.d", exist_ok=True)
        write("/etc/latchkey/latchkey.conf.d/10-url.conf",
              f"[endpoint]\nurl = https://anna:{PROXY}@endpoint.example/x?{QUERY}\n")
        subprocess.run(["useradd", "-m", "alice"], check=True)
        key = keygen("/tmp/laptop")
        machine.apply(ops.document(1, [{"id": "k", "do": "keys.bind", "user": "alice", "keypair": "laptop", "key": key}]))
        write("/etc/latchkey/policy.conf.d/10-note.conf", f"# password = {LOGGED}\n[policy]\nmode = enforce\n")
        private = read("/tmp/laptop")
        write(f"{STATE}/history/zz-canary", f"token={LOGGED}\n{private}\n$6$salt$hashCanary11\n{key}\n\x1b[2J\n")
        code, out, err = latchctl("bundle", "--output", OUT, "--yes")
        check(code == 0 and os.stat(OUT).st_mode & 0o777 == 0o600, f"a bundle of {os.path.getsize(OUT)} bytes, mode 0600 {err}")
        text = read(OUT)
        secrets = [ENROL, PROXY, QUERY, LOGGED, "hashCanary11", key.split()[1], ops.public.split()[1],
                   *[line for line in private.split("\n")[1:-2] if line]]
        for name in ("sign", "box"):
            secrets.append(open(f"{STATE}/identity/{name}", "rb").read().decode("latin-1").strip()[:40])
        for secret in secrets:
            check(secret not in text, f"  {secret[:12]!a}… is not in it")
        fingerprint = subprocess.run(["ssh-keygen", "-lf", "/tmp/laptop.pub"], stdout=subprocess.PIPE, text=True).stdout.split()[1]
        for wanted in ("==== versions", "keys.bind", fingerprint, "passwordauthentication", "ops SHA256:", "endpoint.example",
                       "identity/sign", "mode = enforce", "PRETTY_NAME="):
            check(wanted in text, f"  {wanted} is")
        check(all(" " <= c <= "~" or c in "\n\t" for c in text), "  plain text")
        check("policy.conf" in err and "journalctl" in err and out == "", "what goes in is listed")
        check(latchctl("bundle", "--output", OUT, "--yes")[0] == 71 and read(OUT) == text, "an existing file is never overwritten")
        os.symlink("/tmp/elsewhere", "/tmp/link")
        check(latchctl("bundle", "--output", "/tmp/link", "--yes")[0] == 71 and not os.path.exists("/tmp/elsewhere"), "nor a link followed")
        os.unlink(OUT)
        check(latchctl("bundle", "--output", OUT)[0] == 64 and not os.path.exists(OUT), "without a terminal --yes is needed")
        code, shown = asked(b"no")
        check(code == 64 and not os.path.exists(OUT), "a person says no")
        code, shown = asked(b"yes")
        check(code == 0 and os.path.exists(OUT) and "without keys" in shown, "… or yes")
        code, out, _ = latchctl("bundle", "--yes", "--output=-")
        check(code == 0 and out.startswith("==== versions"), "to standard output")
        code, out, _ = latchctl("--json", "bundle", "--yes")
        answer = json.loads(out)
        check(code == 0 and glob.glob("/tmp/" + answer["file"]) and answer["sections"][0]["name"] == "versions", "in JSON, by its own name")
        check(latchctl("bundle", "--yes", user="alice")[0] == 77, "root's alone")
    finally:
        log.stop()


main(test)
