#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the endpoint or the instance did not know a moment ago: an identity that a backup did not have, a signer that only a trust
document names."""
import json
import os
import shutil
import subprocess
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from console import Operator  # noqa: E402
from machine import ENDPOINT, Machine, Signer, check, main, read, wait_for, write  # noqa: E402

DATABASE = [f"/tmp/endpoint.db{end}" for end in ("", "-wal", "-shm")]


def copy(source, target):
    for name in DATABASE:
        old, new = name.replace("/tmp/endpoint", source), name.replace("/tmp/endpoint", target)
        if os.path.exists(new):
            os.unlink(new)
        if os.path.exists(old):
            shutil.copy(old, new)


def status():
    return subprocess.run(["/usr/bin/latchctl", "status"], stdout=subprocess.PIPE, text=True).stdout


def test():
    machine, root = Machine(), Signer("/tmp/root", "root")
    operator = Operator(machine)
    vm = machine.instance
    machine.start_sshd()
    machine.start_endpoint()
    operator.enrol()
    write("/etc/latchkey/allowed_signers", Signer("/tmp/other", "other").line())
    write("/etc/latchkey/trust_roots", root.line(options='namespaces="latchkey-trust@1"'))
    machine.stop("endpoint")
    copy("/tmp/endpoint", "/tmp/backup")
    machine.start_endpoint()
    machine.start_agent()
    wait_for(lambda: "latched" in read("/tmp/endpoint.log"), "the endpoint knows it")

    # --- a trust document that the instance asks for only when the signer is unknown ------------------------------------------
    token = machine.token("trust")

    def put_trust(version, signers, **condition):
        text = root.sign(json.dumps({"v": 1, "version": version, "signers": signers, "revoked": []}) + "\n", "latchkey-trust@1")
        request = urllib.request.Request(f"{ENDPOINT}/latchkey/v1/trust", data=text, method="PUT", headers={
            "Authorization": f"Bearer {token}", **condition})
        return urllib.request.urlopen(request).headers["ETag"]

    wait_for(lambda: status().count("endpoint: ok") == 1, "it has asked for one, and there was none")
    etag = put_trust(1, [operator.signer_line], **{"If-None-Match": "*"})
    output = operator.must("user", "add", vm, "alice", "--accept-new-identity")
    check("ok: user.ensure alice" in output and "signer_unknown" in read("/tmp/latchkeyd.log"), "refused at first, then done: 0")
    put_trust(2, [], **{"If-Match": etag})
    machine.stop("latchkey-net")
    machine.stop("latchkeyd")
    machine.start_agent()
    wait_for(lambda: "trust document 2 is in force" in read("/tmp/latchkeyd.log"), "he is named no more")
    code, output, error = operator.run("user", "add", vm, "nobody1", "--timeout", "60")
    check(code == 1 and "refused the whole document 2: signer_unknown" in error, "a signer that nothing names: 1")
    check("perhaps a trust document" in error, "  and what it waited for is said")
    write("/etc/latchkey/allowed_signers", operator.signer_line + "\n")

    # --- a backup from before it registered ---------------------------------------------------------------------------------
    machine.stop("endpoint")
    copy("/tmp/backup", "/tmp/endpoint")
    machine.start_endpoint()
    output = operator.must("user", "add", vm, "bob", "--discard-pending", "--timeout", "60")
    check("ok: user.ensure bob" in output, "the enrolment secret still fits: it registers again by itself, and the result arrives")

    # --- the operator has reset it: the old secret fits no more --------------------------------------------------------------
    operator.must("instance", "reset", vm)
    code, output, error = operator.run("user", "add", vm, "carol", "--timeout", "3")
    check(code == 5, "no result without an identity: 5")
    wait_for(lambda: "not_registered" in status(), "the instance says that the endpoint does not know it")
    check("health: ok" not in status(), "  and is not well")


main(test)
