#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The commands of docs/OPERATIONS.md, as they stand there: what somebody types who is locked out, or whose signer's key has leaked."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from console import HOME, Operator  # noqa: E402
from machine import Machine, check, keygen, main, read, wait_for, write  # noqa: E402


def typed(operator, heading):
    """The indented lines of a section, run by a shell in the operator's home."""
    section = re.search(rf"^## {heading}\n(.*?)^## ", read("/run/project/docs/OPERATIONS.md"), re.M | re.S)[1]
    lines = [line.strip() for line in section.splitlines() if re.match(r" {4,}\S", line)]
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", "\n".join(lines)], cwd=HOME, env=operator.environment,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    check(lines and done.returncode == 0, f"{heading}: what stands there works\n{done.stdout}")


def test():
    machine = Machine()
    operator = Operator(machine)
    vm = machine.instance
    root = keygen(f"{HOME}/trust_root")
    write("/etc/latchkey/trust_roots", f'* namespaces="latchkey-trust@1" {root} root\n')
    operator.start_all()
    operator.must("user", "add", vm, "alice", "--accept-new-identity")

    keygen(f"{HOME}/rescue")
    typed(operator, "Locked out")
    code, _ = machine.apply(read(f"{HOME}/1.doc"))
    check(code == 0 and read(f"{HOME}/1.doc").startswith(f'{{"v":1,"instance":"{vm}",'), "the endpoint's document is taken (again)")
    check(machine.apply(read(f"{HOME}/2.doc"))[0] == 0 and machine.login_with_key("alice", f"{HOME}/rescue"), "one made by hand lets her in")
    code, output, error = operator.run("user", "add", vm, "bob")
    check(code == 1 and "replayed" in error and f"latchkey status {vm}" in error, f"the console knows nothing of its number {output}{error}")
    wait_for(lambda: "newest document 42" in operator.must("status", vm), "the report says it")
    operator.must("user", "add", vm, "bob")

    os.rename(f"{HOME}/.config/latchkey/signing_key.pub", f"{HOME}/leaked.pub")
    os.link(f"{HOME}/leaked.pub", f"{HOME}/.config/latchkey/signing_key.pub")
    typed(operator, "Signers")
    code, output, error = operator.run("user", "add", vm, "carol")
    check(code == 0 or "signer_revoked" in error, "until the next look at the trust document")
    machine.stop("latchkey-net")
    machine.start_net()
    wait_for(lambda: "trust document 1 is in force" in read("/tmp/latchkeyd.log"), "the trust document is in force")
    code, output, error = operator.run("user", "add", vm, "dave")
    check(code == 1 and "signer_revoked" in error, f"the leaked key is refused {output}{error}")
    keygen(f"{HOME}/new")
    line = operator.must("init", "--endpoint", "http://127.0.0.1:8470", "--signing-key", f"{HOME}/new", "--name", "new",
                         "--token-fd", "9", secret=read(f"{HOME}/.config/latchkey/token").strip())
    write("/etc/latchkey/allowed_signers", line)
    check("new" in read(f"{HOME}/.config/latchkey/allowed_signers"), "a new key for the same state")
    operator.must("user", "add", vm, "erin")


main(test)
