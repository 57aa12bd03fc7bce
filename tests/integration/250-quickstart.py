#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""latchkey quickstart: from nothing to a login, with the real endpoint, agent and sshd; the machine is made from the user-data that it
prints; and again, which leaves out what was done."""
import json
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Machine, check, main, read, wait_for, write  # noqa: E402

HOME = "/tmp/operator"
ENVIRONMENT = {"HOME": HOME, "PATH": "/usr/bin:/bin", "TERM": "dumb"}


def write_files(text):
    """What cloud-init's write_files would do, for the little of YAML that is used."""
    check(text.startswith("#cloud-config\n"), "it is a cloud-config")
    written = {}
    for part in re.split(r"^  - path: ", text.split("runcmd:")[0], flags=re.M)[1:]:
        path, rest = part.split("\n", 1)
        mode = int(re.search(r"permissions: '(\d+)'", rest)[1], 8)
        content = "".join(line[6:] + "\n" for line in rest.split("content: |\n")[1].splitlines())
        write(path, content, mode)
        owner = re.search(r"owner: root:(\w+)", rest)
        if owner:
            group = next(l for l in read("/etc/group").splitlines() if l.startswith(owner[1] + ":")).split(":")[2]
            os.chown(path, 0, int(group))
        written[path] = mode
    return written


def run(*arguments):
    return subprocess.run(["/usr/bin/latchkey", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=HOME)


def test():
    machine = Machine(instance="not-yet", url=None)
    os.makedirs(HOME, 0o700, exist_ok=True)
    machine.start_sshd()
    endpoint = 0
    try:
        # --- bad words ----------------------------------------------------------------------------------------------------
        for word in ("-oProxyCommand=x", "a b@127.0.0.1", "127.0.0.1:0", "127.0.0.1:x", "@127.0.0.1", "x@", "a@-x"):
            check(run("quickstart", "--", word).returncode == 2, f"{word!r}: 2")
        check(run("quickstart", "127.0.0.1", "--endpoint", "http://127.0.0.1:1", "--listen", "127.0.0.1:2").returncode == 2,
              "--listen and --endpoint: 2")
        check("[USER@]HOST[:PORT]" in run("quickstart", "--help").stdout, "--help")

        # --- from nothing ---------------------------------------------------------------------------------------------------
        first = subprocess.Popen(["/usr/bin/latchkey", "quickstart", "anna@127.0.0.1", "--instance", "vm-1", "--json",
                                  "--accept-new-identity"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=HOME)
        told = json.loads(first.stdout.readline())
        endpoint = told["endpoint_process"]
        check(endpoint > 0 and told["endpoint"] == "http://127.0.0.1:8470", "an endpoint where the host sees this machine")
        check(os.stat(f"{HOME}/.config/latchkey/endpoint.db").st_mode & 0o077 == 0, "its database is closed to others")
        # It is killed here once, as by somebody who closes his terminal.
        first.kill()
        first.wait()
        check(os.path.exists(f"/proc/{endpoint}"), "the endpoint goes on")
        again = subprocess.Popen(["/usr/bin/latchkey", "quickstart", "anna@127.0.0.1", "--instance", "vm-1", "--user-data",
                                  f"{HOME}/user-data", "--accept-new-identity"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=HOME)
        wait_for(lambda: os.path.exists(f"{HOME}/user-data"), "the user-data in a file")
        check(os.stat(f"{HOME}/user-data").st_mode & 0o777 == 0o600, "which is closed to others: a secret is in it")
        written = write_files(read(f"{HOME}/user-data"))
        check(written == {"/etc/latchkey/allowed_signers": 0o644, "/etc/latchkey/enrol": 0o640,
                          "/etc/latchkey/latchkey.conf": 0o644}, "the three files")
        check(read("/etc/latchkey/enrol").strip() != told["enrol"], "the secret that was lost is not good any more")
        check(again.poll() is None, "it waits for the machine" + ("" if again.poll() is None else str(again.communicate())))
        machine.start_agent()
        output, error = again.communicate()
        check(again.returncode == 0, f"and ends well\n{output}{error}")
        fingerprint = json.loads(subprocess.run(["/usr/bin/latchctl", "status", "--json"], stdout=subprocess.PIPE,
                                                text=True).stdout)["identity"]
        check(fingerprint in error, "the fingerprint is shown, and is the machine's")
        check("You are in." in output and machine.login_with_key("anna", f"{HOME}/quickstart"), "it was in, and so are we")
        command = re.search(r"^  (ssh .*)$", output, re.M)[1].split()
        done = subprocess.run([*command[:1], "-F", "none", *command[1:], "id", "-un"], stdout=subprocess.PIPE, text=True,
                              stdin=subprocess.DEVNULL, env=ENVIRONMENT)
        check(done.stdout.strip() == "anna", "the line that it prints logs in")

        # --- again ------------------------------------------------------------------------------------------------------------
        done = run("quickstart", "anna@127.0.0.1", "--instance", "vm-1")
        check(done.returncode == 0 and "nothing to change" in done.stdout and "cloud-config" not in done.stdout,
              "again: nothing is made anew")
        check(done.stderr.count("process") == 0, "  and no second endpoint")
        known = f"{HOME}/.config/latchkey/known_hosts"
        others = "192.0.2.7 ssh-ed25519 AAAA\n[127.0.0.1]:2222 ssh-ed25519 AAAA\n127.0.0.10 ssh-ed25519 AAAA\n"
        write(known, others + read(known))
        done = run("quickstart", "127.0.0.1", "--instance", "vm-1")
        lines = read(known)
        check(lines.startswith(others) and lines.count("\n127.0.0.1 ssh-ed25519 ") == 1, f"other hosts' keys stay known\n{lines}")
        check(done.returncode == 0 and "quickstart@127.0.0.1" in done.stdout, f"without USER it logs in too\n{done.stdout}{done.stderr}")
        os.kill(endpoint, signal.SIGTERM)
        wait_for(lambda: not os.path.exists(f"/proc/{endpoint}") or read(f"/proc/{endpoint}/stat").split()[2] == "Z", "it is stopped")
        done = run("quickstart", "anna@127.0.0.1", "--instance", "vm-1")
        check(done.returncode == 0, "an endpoint that was stopped is started again")
        endpoint = int(re.search(r"process (\d+) at", done.stderr)[1])
        check(run("quickstart", "127.0.0.1", "--listen", "127.0.0.1:8475").returncode == 2,
              "a state that is for another endpoint is left alone")
        # Another sshd's host keys are not those that were signed.
        subprocess.run(["sed", "-i", "s/ ssh-ed25519 .*/ ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl/",
                        f"{HOME}/.config/latchkey/known_hosts"], check=True)
        done = subprocess.run(["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "HostKeyAlgorithms=ssh-ed25519", *command[1:], "true"],
                              stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, env=ENVIRONMENT)
        check(done.returncode != 0 and "HOST IDENTIFICATION HAS CHANGED" in done.stderr, "host keys are those that were signed")
        done = run("quickstart", "anna@127.0.0.1", "--instance", "vm-2", "--timeout", "2")
        check(done.returncode == 5 and "has not registered" in done.stderr, "a machine that does not come: 5")
    finally:
        if endpoint:
            try:
                os.kill(endpoint, signal.SIGTERM)
            except ProcessLookupError:
                pass


main(test)
