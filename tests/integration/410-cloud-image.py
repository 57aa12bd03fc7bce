#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The policy for cloud images, on which the console's buttons are meant for root and for the image's default user: key
and password of both, by the operator's program, and what really logs in afterwards."""
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from console import HOME, Operator  # noqa: E402
from machine import Machine, check, main, read, write  # noqa: E402

ROOTS, USERS = "Root-Pass-7-horse", "User-Pass-7-horse"


def test():
    machine = Machine()
    operator = Operator(machine)
    vm = machine.instance
    # As an image has it: a default user who may become root, no password anywhere.
    subprocess.run(["useradd", "-m", "-s", "/bin/bash", "-p", "!", "debian"], check=True)
    write("/etc/sudoers.d/90-cloud-init-users", "debian ALL=(ALL) NOPASSWD:ALL\n", 0o440)
    operator.start_all()
    operator.must("keypair", "create", "laptop")

    # --- the default policy says no, and which rule does ------------------------------------------------------------
    for user, rule in (("root", "[users] root"), ("debian", "[users] privileged")):
        code, output, error = operator.run("bind", vm, user, "laptop", "--accept-new-identity")
        check(code == 1 and "denied" in output and rule in output, f"default policy, {user}: denied by {rule} ({output})")
        code, output, error = operator.run("reset-password", vm, user, "--password-fd", "9", secret=USERS)
        check(code == 1 and rule in output, f"  its password neither ({output} {error})")
    check(not os.path.exists("/root/.ssh/authorized_keys") and not os.path.exists("/home/debian/.ssh"), "  nothing is made")

    # --- the policy for cloud images, without a restart -----------------------------------------------------------------
    os.makedirs("/etc/latchkey/policy.conf.d", exist_ok=True)
    shutil.copy("/usr/share/latchkey/policy-cloud-image.conf", "/etc/latchkey/policy.conf.d/cloud-image.conf")
    operator.must("bind", vm, "debian", "laptop")
    check(machine.login_with_key("debian", f"{HOME}/laptop"), "the default user logs in by key, though his hash is !")
    operator.must("reset-password", vm, "debian", "--password-fd", "9", secret=USERS)
    check(machine.login_with_password("debian", USERS), "  and by password")
    check(read("/etc/sudoers.d/90-cloud-init-users") == "debian ALL=(ALL) NOPASSWD:ALL\n", "  his sudo rule is untouched")

    output = operator.must("bind", vm, "root", "laptop")
    check(machine.login_with_key("root", f"{HOME}/laptop"), "root logs in by key")
    check("login by key works" in output, f"  and the result says so ({output})")
    output = operator.must("reset-password", vm, "root", "--password-fd", "9", secret=ROOTS)
    hash = next(line.split(":")[1] for line in read("/etc/shadow").splitlines() if line.startswith("root:"))
    check(hash.startswith("$y$"), "root's password is reset")
    check("root_password_off" in output, f"  and the result says that sshd takes none of root's ({output})")
    check(not machine.login_with_password("root", ROOTS), "  which is so: PermitRootLogin prohibit-password")
    check("root_password_off" in str(operator.run("diagnose", vm, "root")), "  diagnose says it too")
    output = operator.must("sshd", "set", vm, "--permit-root-login=yes")
    check(machine.login_with_password("root", ROOTS), "with PermitRootLogin yes root's password logs in")
    output = operator.must("sshd", "set", vm, "--permit-root-login=prohibit-password")
    check(not machine.login_with_password("root", ROOTS) and machine.login_with_key("root", f"{HOME}/laptop"),
          "and back: the key alone")
    check("awaiting_confirm" in output or "confirm" in output, f"  on trial ({output})")
    operator.must("sshd", "confirm", vm)

    # --- a user with sudo by the agent itself -----------------------------------------------------------------------------
    operator.must("user", "add", vm, "carol", "--sudo=nopasswd", "--groups=adm")
    operator.must("bind", vm, "carol", "laptop")
    check(machine.login_with_key("carol", f"{HOME}/laptop"), "a user with sudo is made")
    check("carol" in subprocess.run(["sudo", "-l", "-U", "carol"], stdout=subprocess.PIPE, text=True).stdout
          if shutil.which("sudo") else "adm" in subprocess.run(["id", "carol"], stdout=subprocess.PIPE, text=True).stdout,
          "  and may become root")
    operator.must("unbind", vm, "root", "laptop")
    check(not machine.login_with_key("root", f"{HOME}/laptop"), "root's key is taken away again")


main(test)
