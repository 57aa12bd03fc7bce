#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""latchctl policy check: what it says would be decided is what latchkey-apply then decides, and the line it names is the line."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Machine, Signer, check, keygen, main, write  # noqa: E402

POLICY, DROP_IN = "/etc/latchkey/policy.conf", "/etc/latchkey/policy.conf.d/10-site.conf"
KEY = None


def latchctl(*arguments, text=b"", user=None):
    argv = ["/usr/bin/latchctl", *arguments]
    done = subprocess.run(["/usr/sbin/runuser", "-u", user, "--", *argv] if user else argv,
                          input=text if isinstance(text, bytes) else text.encode(), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, cwd="/", timeout=60)
    return done.returncode, done.stdout.decode("ascii"), done.stderr.decode("ascii")


def commands():
    yield {"do": "keys.bind", "user": "alice", "keypair": "laptop", "key": KEY}
    yield {"do": "user.ensure", "user": "dora", "sudo": "nopasswd"}
    yield {"do": "user.ensure", "user": "eve", "groups": ["docker"]}
    yield {"do": "user.lock", "user": "root"}
    yield {"do": "user.lock", "user": "daemon"}
    yield {"do": "user.lock", "user": "boss"}
    yield {"do": "user.remove", "user": "nobody-here"}
    yield {"do": "keys.bind", "user": "alice", "keypair": "tablet", "key": KEY, "location": "system"}
    yield {"do": "user.unlock", "user": "carol"}
    yield {"do": "no.such"}
    yield {"do": "keys.bind", "user": "alice"}
    yield {"do": "login.check"}


def run():
    global KEY
    KEY = keygen("/tmp/laptop")
    machine, ops, other = Machine(url=None), Signer(), Signer("/tmp/signer2", "night")
    write("/etc/latchkey/allowed_signers", ops.line() + other.line())
    write(POLICY, "[policy]\ncommands = *\n\n[users]\nallow = * !carol\n\n[signer night]\ncommands = keys.* diagnose\n")
    os.makedirs(os.path.dirname(DROP_IN), exist_ok=True)
    write(DROP_IN, "[sudo]\nmost = password\n")
    for user in ("alice", "carol", "boss"):
        subprocess.run(["useradd", "-m", user], check=True)
    subprocess.run(["groupadd", "-f", "docker"], check=True)
    subprocess.run(["usermod", "-aG", "sudo", "boss"], check=True)
    listed = [{"id": f"c{number}", **command} for number, command in enumerate(commands())]
    for number, (signer, seq) in enumerate(((ops, 1), (other, 2))):
        listed = [{**command, "id": f"s{number}{command['id']}"} for command in listed]
        text = signer.document(seq, listed)
        status, out, err = latchctl("--json", "policy", "check", "-", text=text)
        said = {command["id"]: command for command in json.loads(out)["commands"]}
        check(status == 1 and len(said) == len(listed), f"{signer.name}: a verdict on each of {len(said)} {err}")
        machine.apply(text)
        for command in listed:
            code, rule = said[command["id"]]["code"], said[command["id"]]["rule"]
            real = machine.result(seq, command["id"])["code"]
            check(code == real or (code == "ok" and real not in ("policy", "signer", "privileged", "group_privileged",
                                                                "system_account", "unsigned", "unknown_command")),
                  f"  {command['do']} {command.get('user', '')}: {code} ({rule}), and so it was: {real}")
        rules = " ".join(command["rule"] for command in said.values())
        check("policy.conf:5" in rules and "10-site.conf:2" in rules if signer is ops else "policy.conf:8" in rules,
              "  the lines are named")
    return ops, listed


def forms(ops, listed):
    payload = json.dumps({"v": 1, "commands": listed})
    status, out, _ = latchctl("policy", "check", "-", text=payload)
    check(status == 1 and "unsigned" in out.splitlines()[0] and out.count("unsigned commands") + out.count("[unsigned] commands") > 3,
          "a payload alone is judged as unsigned")
    status, out, _ = latchctl("policy", "check", "-", "--signer", "ops", text=json.dumps(listed[0]))
    check(status == 0 and "keys.bind" in out and "[policy] commands = * (policy.conf:2)" in out, "one command, as if ops had signed it")
    print(latchctl("policy", "check", "-", "--signer=ops", text=payload)[1])
    stranger = Signer("/tmp/stranger", "stranger")
    check(latchctl("policy", "check", "-", text=stranger.document(9, listed))[0] == 1, "a key that may not sign: exit 1")
    broken = ops.document(9, listed).replace(b'"do"', b'"dO"', 1)
    check(latchctl("policy", "check", "-", text=broken)[0] == 65, "a signature that does not fit: exit 65")
    for text in ("", "[]", "{", "{\"a\":1,\"a\":2}"):
        check(latchctl("policy", "check", "-", text=text)[0] == 65, f"{text!r}: exit 65")
    check(latchctl("policy", "check", "-", text=payload, user="alice")[0] == 77, "not root: exit 77")
    check(latchctl("policy", "check")[0] == 64 and latchctl("policy")[0] == 64 and latchctl("policy", "x", "-")[0] == 64, "usage")
    evil = json.dumps({"do": "x\u001b[2J"})
    status, out, err = latchctl("policy", "check", "-", text=evil)
    check("\x1b" not in out and "\x1b" not in err, "printed escaped")
    write(POLICY, "[policy]\nmode = enforce\nnonsense\n")
    status, out, err = latchctl("policy", "check", "-", text=payload)
    check("observe (the file is refused)" in out and "policy.conf:3" in err, "a bad policy says so, with its line")


def whole(ops, listed):
    """What is refused whole is not told to be allowed."""
    one = listed[:1]
    write(POLICY, "[policy]\nmode = enforce\ncommands = *\n")
    check(latchctl("policy", "check", "-", text=ops.document(9, one))[0] == 0, "it would be done")
    status, out, err = latchctl("policy", "check", "-", text=ops.document(9, one, instance="vm-2"))
    check(status == 1 and "wrong_instance" in err and "vm-2" in err and "vm-1" in err, f"another machine's: {err.strip()}")
    status, out, err = latchctl("policy", "check", "-", text=ops.sign(json.dumps(
        {"v": 1, "instance": "vm-1", "seq": 9, "issued": 1, "expires": 2, "actor": "a", "commands": one}) + "\n"))
    check(status == 1 and "expired" in err, f"an old one: {err.strip()}")
    write(POLICY, "[policy]\nmode = off\n")
    status, out, err = latchctl("policy", "check", "-", text=ops.document(9, one))
    check(status == 1 and "mode_off" in out and "policy.conf:2" in out, f"mode = off: {out}")


def test():
    ops, listed = run()
    forms(ops, listed)
    whole(ops, listed)


main(test)
