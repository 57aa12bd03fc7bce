#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""SIGKILL of latchkey-apply, of each plugin and of latchkeyd at every step of the journal and beyond: whatever was in
hand is done exactly once afterwards. latchkey-apply is killed at each of its durable steps (every fdatasync, fsync and
rename) with strace; each plugin at each of its own."""
import json
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import APPLY, Machine, Signer, check, keygen, main, read, wait_for, write  # noqa: E402

STEPS = "fdatasync,fsync,rename,renameat,renameat2,unlinkat"


def strace(*inject):
    return ["/usr/bin/strace", "-qq", "-o", "/tmp/trace", *inject]


def count_steps(machine, text, follow, program):
    """How many durable steps the program makes for this document; applies it."""
    subprocess.run(["/usr/bin/strace", "-qq", *follow, "-e", "trace=execve," + STEPS, "-o", "/tmp/trace", APPLY,
                    "--document", "-"], input=text, check=True, env={}, stderr=subprocess.DEVNULL)
    counts, programs = {}, {}
    for line in read("/tmp/trace").splitlines():
        match = re.match(r"(\d+ +)?(\w+)\((.*)", line)
        if not match:
            continue
        pid = (match[1] or "0").strip()
        if match[2] == "execve":
            programs[pid] = re.match(r'"([^"]+)"', match[3])[1]
        elif programs.get(pid) == program:
            counts.setdefault(pid, 0)
            counts[pid] += 1
    return max(counts.values(), default=0)


def lines_of(path):
    try:
        return read(path).splitlines()
    except FileNotFoundError:
        return []


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    machine.start_sshd()
    machine.redo()
    key = keygen("/tmp/key")
    seq = 0

    def document(user):
        nonlocal seq
        seq += 1
        return ops.document(seq, [
            {"id": f"u{seq}", "do": "user.ensure", "user": user},
            {"id": f"k{seq}", "do": "keys.bind", "user": user, "keypair": "laptop", "key": key},
            {"id": f"s{seq}", "do": "sshd.set", "permit_root_login": "no" if seq % 2 else "prohibit-password"}])

    def expect_whole(user, what):
        check([line.split(":")[0] for line in lines_of("/etc/passwd")].count(user) == 1, f"{what}: the user is there once")
        check(lines_of(f"/home/{user}/.ssh/authorized_keys") == [f"{key} latchkey:laptop"] or
              len([line for line in lines_of(f"/home/{user}/.ssh/authorized_keys") if key in line]) == 1,
              "  the key is there once")
        results = {result["id"]: result for result in machine.results(seq)["results"]}
        codes = {id: result["code"] for id, result in results.items()}
        check(codes == {f"u{seq}": "ok", f"k{seq}": "ok", f"s{seq}": "ok"}, f"  the results are all ok ({codes})")
        wanted = "no" if seq % 2 else "without-password"  # the name that every sshd knows
        check(f"PermitRootLogin {wanted}" in read("/etc/ssh/sshd_config.d/00-latchkey.conf"), "  the setting is made")
        check(not os.listdir("/var/lib/latchkey/journal"), "  the journal is gone")
        machine.redo()  # the boot sweeps what a crash of latchkey-apply itself left
        litter = [name for folder in ("/etc", "/etc/ssh/sshd_config.d", f"/home/{user}/.ssh", "/home", "/run/latchkey",
                                      "/var/lib/latchkey/results", "/var/lib/latchkey/identity") for name in
                  os.listdir(folder) if name.startswith(".latchkey.")]
        check(not litter, f"  no temporary file stays {litter}")
        history = [json.loads(line) for line in lines_of("/var/lib/latchkey/history/current")]
        ids = [line["id"] for line in history if line["t"] == "command" and line["seq"] == seq and line["status"] == "ok"]
        check(sorted(ids) == sorted(codes), "  the history has each command once")
        subprocess.run(["/usr/sbin/pwck", "-rq"], check=True)
        subprocess.run(["/usr/sbin/grpck", "-r"], check=True, stdout=subprocess.DEVNULL)

    # --- latchkey-apply at each durable step ------------------------------------------------------------------------
    steps = count_steps(machine, document("first"), ["-f"], APPLY)
    expect_whole("first", "without a crash")
    check(steps >= 10, f"latchkey-apply makes {steps} durable steps for the document")
    for step in range(1, steps + 1):
        user = f"apply{step}"
        killed = subprocess.run([*strace("-e", f"trace={STEPS}", "-e", f"inject={STEPS}:signal=KILL:when={step}"), APPLY,
                                 "--document", "-"], input=document(user), env={}, stderr=subprocess.DEVNULL)
        journal = os.path.isdir("/var/lib/latchkey/journal") and os.listdir("/var/lib/latchkey/journal")
        taken = bool(journal) or f'"seq":{seq},' in read("/var/lib/latchkey/history/current")
        if taken:
            machine.redo()
        else:  # it was never taken over, so nothing may have been done, and it is offered again
            check(user not in read("/etc/passwd"), f"killed at step {step}, before it was taken over: nothing is done")
            machine.apply(ops.document(seq, [
                {"id": f"u{seq}", "do": "user.ensure", "user": user},
                {"id": f"k{seq}", "do": "keys.bind", "user": user, "keypair": "laptop", "key": key},
                {"id": f"s{seq}", "do": "sshd.set", "permit_root_login": "no" if seq % 2 else "prohibit-password"}]))
        check(killed.returncode in (-9, 137, 0), f"latchkey-apply killed at step {step} of {steps}")
        expect_whole(user, f"redo after step {step}")

    # --- each plugin at each durable step -------------------------------------------------------------------------------
    for plugin in ("account", "authorized-keys", "sshd"):
        path = f"/usr/libexec/latchkey/plugins/{plugin}"
        steps = count_steps(machine, document(f"count-{plugin}"), ["-f"], path)
        expect_whole(f"count-{plugin}", "without a crash")
        for step in range(1, steps + 1):
            user = f"{plugin[:4]}{step}"
            text = document(user)
            # The first process of that plugin to reach the step dies; latchkey-apply runs the batch again.
            kill_plugin(machine, text, path, step)
            expect_whole(user, f"plugin {plugin} killed at step {step} of {steps}")

    # --- latchkeyd -----------------------------------------------------------------------------------------------------------
    machine.start_daemon()
    wait_for(lambda: os.path.exists("/run/latchkey/view"), "the boot redo")
    machine.stop("latchkeyd", signal.SIGKILL)
    text = document("resident")
    subprocess.run([*strace("-e", "trace=fdatasync", "-e", "inject=fdatasync:signal=KILL:when=3"), APPLY, "--document",
                    "-"], input=text, env={}, stderr=subprocess.DEVNULL)
    check(os.listdir("/var/lib/latchkey/journal") == [str(seq)], "a crash leaves a journal")
    machine.start_daemon()
    wait_for(lambda: not os.listdir("/var/lib/latchkey/journal"), "the started latchkeyd finishes it")
    expect_whole("resident", "latchkeyd at its start")
    litter = [os.path.join(folder, name) for folder, _, names in os.walk("/var/lib/latchkey") for name in names
              if name.startswith(".latchkey.")]
    check(not litter, f"after a start no temporary file of a killed plugin stays in the state {litter}")


def kill_plugin(machine, text, path, step):
    """Runs the document under strace -f and kills the first process of that plugin when it makes its step."""
    tracer = subprocess.Popen(["/usr/bin/strace", "-f", "-qq", "-e", f"trace=execve,{STEPS}", "-o", "|/usr/bin/cat", APPLY,
                               "--document", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin"})
    tracer.stdin.write(text)
    tracer.stdin.close()
    counts, programs, killed = {}, {}, False
    for raw in tracer.stdout:
        match = re.match(r"(\d+) +(\w+)\((.*)", raw.decode(errors="replace"))
        if not match:
            continue
        pid, call, rest = match[1], match[2], match[3]
        if call == "execve":
            found = re.match(r'"([^"]+)"', rest)
            programs[pid] = found[1] if found else ""
        elif programs.get(pid) == path and not killed:
            counts[pid] = counts.get(pid, 0) + 1
            if counts[pid] == step:
                killed = True
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
    tracer.wait()


main(test)
