#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The whole chain by the operator's program: every command becomes real, shown by ssh with key and password; passwords
leave no trace; a stolen endpoint is told from the real one."""
import glob
import json
import os
import re
import secrets
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from console import HOME, Operator  # noqa: E402
from machine import Machine, check, main, read, wait_for  # noqa: E402

# Made up at run time: this file lies inside what is searched for it.
CANARY = f"Canary-9-{secrets.token_hex(8)}"
SECOND = "Second-9-Nightingale"


def grep(needle, *folders):
    """The files that hold the text. No link is followed: /var/run leads to the project, and images in it to anywhere."""
    found = []
    for folder in folders:
        for here, _, names in os.walk(folder):
            for path in (os.path.join(here, name) for name in names):
                if os.path.islink(path) or not os.path.isfile(path):
                    continue
                try:
                    with open(path, "rb") as file:
                        if needle.encode() in file.read():
                            found.append(path)
                except OSError:
                    pass
    return found


def test():
    machine = Machine()
    operator = Operator(machine)
    vm = machine.instance
    machine.start_sshd()
    machine.start_endpoint()
    operator.enrol()
    machine.start_agent()

    # --- first use of an instance ----------------------------------------------------------------------------------
    wait_for(lambda: os.path.exists("/var/lib/latchkey/identity/text"), "the instance has an identity")
    wait_for(lambda: "latched" in read("/tmp/endpoint.log"), "the endpoint knows it")
    code, _, error = operator.run("user", "add", vm, "alice")
    check(code != 0 and "SHA256:" in error, "an instance met for the first time is not trusted without being asked")
    operator.must("user", "add", vm, "alice", "--gecos", "Alice Example", "--accept-new-identity")
    check(re.search(r"^alice:x:\d+:\d+:Alice Example:/home/alice:", read("/etc/passwd"), re.M), "user add")
    operator.must("keypair", "create", "laptop")
    check(os.stat(f"{HOME}/laptop").st_mode & 0o777 == 0o600, "keypair create writes a private key that is 0600")
    check(not grep(read(f"{HOME}/laptop").splitlines()[2], f"{HOME}/.config"), "and keeps no copy of it")

    # --- keys ------------------------------------------------------------------------------------------------------
    operator.must("bind", vm, "alice", "laptop")
    check(machine.login_with_key("alice", f"{HOME}/laptop"), "bind: ssh -i logs in")
    code, output, error = operator.run("keypair", "delete", "laptop")
    check(code != 0, "a bound pair is not deleted")
    old = f"{HOME}/old"
    os.rename(f"{HOME}/laptop", old)
    operator.must("keypair", "create", "laptop", "--replace")
    operator.must("rebind", vm, "alice", "laptop")
    check(machine.login_with_key("alice", f"{HOME}/laptop") and not machine.login_with_key("alice", old),
          "rebind: the new key logs in, the old one is refused")
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "3072", "-N", "", "-f", f"{HOME}/rsa"], check=True)
    operator.must("keypair", "import", "desk", f"{HOME}/rsa.pub")
    operator.must("bind", vm, "alice", "desk")
    check(machine.login_with_key("alice", f"{HOME}/rsa"), "keypair import: an RSA key logs in")
    operator.must("unbind", vm, "alice", "desk")
    check(not machine.login_with_key("alice", f"{HOME}/rsa"), "unbind: it is refused")
    check("desk" in operator.must("keypair", "list"), "keypair list")
    operator.must("keypair", "delete", "desk")
    check("desk" not in operator.must("keypair", "list"), "keypair delete")

    # --- passwords ---------------------------------------------------------------------------------------------------
    operator.must("reset-password", vm, "alice", "--password-fd", "9", secret=CANARY)
    check(machine.login_with_password("alice", CANARY), "reset-password: the password logs in")
    check(not machine.login_with_password("alice", "wrong-" + CANARY), "  and another does not")
    traces = grep(CANARY, "/var", "/run/latchkey", "/etc", "/tmp", "/home")
    check(not traces, f"P60_ the password stands in no file {traces}")
    hash = next(line.split(":")[1] for line in read("/etc/shadow").splitlines() if line.startswith("alice:"))
    traces = grep(hash, "/var/lib", "/run/latchkey", "/tmp")
    check(not traces, f"P60_ its hash neither, once it is done {traces}")
    code, output, error = operator.run("reset-password", vm, "alice", "--password-fd", "9", secret="short")
    check(code == 1 and "password_weak" in output + error, "a weak password is denied with its reason")
    check(machine.login_with_password("alice", CANARY), "  and the old one stands")
    generated = operator.must("reset-password", vm, "alice", "--generate", "--json")
    words = [word for word in re.findall(r'"password":"([^"]+)"', generated)] or [json.loads(generated).get("password")]
    check(words[0] and machine.login_with_password("alice", words[0]), "reset-password --generate: the answer logs in")
    check(not machine.login_with_password("alice", CANARY), "  the former password does not")
    operator.must("reset-password", vm, "alice", "--password-fd", "9", secret=SECOND)
    check(machine.login_with_password("alice", SECOND), "after the box key was rotated twice a password still opens")

    # --- sshd ------------------------------------------------------------------------------------------------------
    operator.must("sshd", "set", vm, "--password-auth=false")
    check(not machine.login_with_password("alice", SECOND), "P59_ password login off: neither password nor keyboard")
    check(machine.login_with_key("alice", f"{HOME}/laptop"), "  the key still logs in")
    operator.must("sshd", "confirm", vm)
    check(not os.listdir("/var/lib/latchkey/revert"), "sshd confirm: nothing waits to be taken back")
    operator.must("sshd", "set", vm, "--password-auth")
    check(machine.login_with_password("alice", SECOND), "password login on again")
    code, _, _ = operator.run("sshd", "set", vm, "--password-auth=false", "--confirm-within", "3")
    check(not machine.login_with_password("alice", SECOND), "password login off for three seconds")
    wait_for(lambda: machine.login_with_password("alice", SECOND), "it comes back by itself")
    check(True, "  unconfirmed it comes back by itself")
    wait_for(lambda: "unconfirmed" in operator.run("results", vm, "--all")[1], "the results say unconfirmed")
    for verb in ("reload", "restart"):
        operator.must("sshd", verb, vm)
        check(machine.login_with_key("alice", f"{HOME}/laptop"), f"sshd {verb}: it answers afterwards")

    # --- lock-out, lock, remove ---------------------------------------------------------------------------------------------
    operator.must("sshd", "set", vm, "--password-auth=false", "--confirm-within", "0")
    for command in (["unbind", vm, "alice", "laptop"], ["user", "lock", vm, "alice"], ["user", "remove", vm, "alice"],
                    ["sshd", "set", vm, "--pubkey-auth=false"]):
        code, output, error = operator.run(*command)
        check(code == 1 and "would_lock_out" in output + error, f"{' '.join(command)}: would_lock_out")
    check(machine.login_with_key("alice", f"{HOME}/laptop"), "  and the key still logs in")
    operator.must("user", "add", vm, "bob")
    operator.must("keypair", "create", "bobs")
    operator.must("bind", vm, "bob", "bobs")
    operator.must("user", "lock", vm, "alice")
    check(not machine.login_with_key("alice", f"{HOME}/laptop"), "P103_ user lock: the key is refused")
    operator.must("user", "unlock", vm, "alice")
    check(machine.login_with_key("alice", f"{HOME}/laptop"), "P103_ user unlock: it logs in again")
    output = operator.must("diagnose", vm, "alice")
    check("password_auth_off" in output, "diagnose names what blocks the password")
    operator.must("user", "remove", vm, "alice")
    check("alice:" not in read("/etc/passwd") and not machine.login_with_key("alice", f"{HOME}/laptop"),
          "user remove: the account is gone")
    check(os.path.isdir("/home/alice"), "  and its home is kept")

    # --- results, status, tokens -----------------------------------------------------------------------------------------------
    check("would_lock_out" in operator.run("results", vm, "--all")[1], "results")
    check(vm in operator.must("status"), "status")
    check(vm in operator.must("instance", "list"), "instance list")

    # --- P101: an endpoint in other hands ------------------------------------------------------------------------------------
    identity = read("/var/lib/latchkey/identity/text")
    machine.stop("latchkey-net")
    machine.stop("latchkeyd")
    operator.must("instance", "reset", vm)
    for name in glob.glob("/var/lib/latchkey/identity/*"):
        os.unlink(name)
    machine.redo()
    check(read("/var/lib/latchkey/identity/text") != identity, "the instance has another identity now")
    secret = json.loads(operator.must("instance", "reset", vm, "--json"))["enrol"]
    with open("/etc/latchkey/enrol", "w") as file:
        file.write(secret + "\n")
    machine.start_agent()
    code, output, error = operator.run("status", vm)
    wait_for(lambda: operator.run("reset-password", vm, "bob", "--password-fd", "9", secret=CANARY)[0] == 4,
             "the CLI refuses the new identity")
    check(True, "P101_ a password is not sealed to an identity that changed: exit 4")


main(test)
