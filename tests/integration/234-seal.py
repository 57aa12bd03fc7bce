#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""latchctl seal: what goes is gone, what stays stays, a kill at any removal is made good by doing it again, and the sealed image comes
up as a new instance that takes a first document."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import RUN, STATE, Machine, Signer, check, keygen, main, read, wait_for, write  # noqa: E402

SECRET = "enrol-Secret-77aa"
HAND = "# by hand\n"


def latchctl(*arguments, user=None, prefix=()):
    argv = ["/usr/bin/latchctl", *arguments]
    done = subprocess.run([*prefix, *(["/usr/sbin/runuser", "-u", user, "--"] if user else []), *argv], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=120, cwd="/", stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


def keys_of(user):
    return read(f"/home/{user}/.ssh/authorized_keys")


def build(machine, ops, pairs, seq):
    """What a builder's machine looks like after some work."""
    write("/etc/latchkey/enrol", SECRET + "\n")
    for user in ("alice", "bob"):
        write(f"/home/{user}/.ssh/authorized_keys", HAND + pairs["hand"] + " by hand\n")
        subprocess.run(["chown", "-R", f"{user}:", f"/home/{user}/.ssh"], check=True)
    listed = [{"id": f"b{seq}{user}{pair}", "do": "keys.bind", "user": user, "keypair": pair, "key": pairs[pair],
               "location": "runtime" if pair == "badge" else "home"} for user in ("alice", "bob") for pair in ("laptop", "badge")]
    status, err = machine.apply(ops.document(seq, listed))
    check(status == 0 and "latchkey:laptop" in keys_of("alice"), f"the builder's keys are bound {err}")
    for name in ("results/9", "history/current"):  # as of a disk that took nothing more
        write(f"{RUN}/{name}", "{}\n")
    return open(f"{STATE}/identity/box", "rb").read(), open(f"{STATE}/identity/sign", "rb").read()


def files():
    found = {}
    for top in ("/etc", "/var/lib", "/run", "/home", "/root"):
        for folder, below, names in os.walk(top):
            if folder == "/run":
                below.remove("project")
            for name in names:
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) < 4 << 20:
                    with open(path, "rb") as file:
                        found[path] = file.read()
    return found


def sealed(identity, sign, pairs):
    left = sorted(name for name in os.listdir(STATE) if name != "lock")
    check(left == [], f"  the state is empty {left}")
    left = [name for name in ("results", "history", "report", "view", "journal") if os.path.exists(f"{RUN}/{name}")]
    check(left == [], f"  nor is there anything to tell or to redo in /run {left}")
    check(not os.path.exists("/etc/latchkey/enrol"), "  the enrol secret is gone")
    for user in ("alice", "bob"):
        check(keys_of(user) == HAND + pairs["hand"] + " by hand\n", f"  {user}'s own line is there, byte by byte, and no other")
    everything = files()
    for what, bytes_ in (("the signing key", sign), ("the enrol secret", SECRET.encode()), ("the builder's key", pairs["laptop"].encode()),
                         ("the runtime key", pairs["badge"].encode()), ("the box key", identity)):
        where = [path for path, text in everything.items() if bytes_ in text]
        check(not where, f"  {what} stands in no file {where}")
    check("allowed_signers" in os.listdir("/etc/latchkey"), "  who may sign stays")


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    pairs = {name: keygen(f"/tmp/{name}") for name in ("laptop", "badge", "hand")}
    for user in ("alice", "bob"):
        subprocess.run(["useradd", "-m", "-s", "/bin/sh", user], check=True)
    identity, sign = build(machine, ops, pairs, 1)
    before = files()
    code, out, err = latchctl("seal", "--list")
    print(out)
    check(code == 0 and "the key laptop of alice" in out and "/var/lib/latchkey/identity" in out and "Stays:" in out, "--list")
    listed = json.loads(latchctl("--json", "seal", "--list")[1])
    check(not listed["sealed"] and "/etc/latchkey/enrol" in listed["goes"] and listed["stays"], "--list in JSON")
    check({path: text for path, text in files().items()} == before, "  changes nothing")
    check(latchctl("seal", user="alice")[0] == 77 and latchctl("seal", "--list", user="alice")[0] == 77, "root's alone")
    code, out, err = latchctl("seal")
    check(code == 64 and "--yes" in err and os.path.exists(f"{STATE}/identity/sign"), "without a terminal and --yes nothing is done")
    machine.start_agent()
    wait_for(lambda: os.path.exists(f"{RUN}/status.json"), "the agent runs")
    code, out, err = latchctl("seal", "--yes")
    check(code == 1 and "systemctl stop" in err and os.path.exists(f"{STATE}/identity/sign"), "refused while the agent runs")
    machine.stop_all()
    wait_for(lambda: subprocess.run(["pidof", "latchkey-apply"], stdout=subprocess.DEVNULL).returncode != 0, "no latchkey-apply is at work")

    code, out, err = latchctl("seal", "--yes")
    check(code == 0 and "Sealed" in out, f"sealed {err}")
    check("latchkey.conf:2" in err and "every machine of this image vm-1" in err, "a name that is no longer one machine's is told")
    sealed(identity, sign, pairs)
    check(latchctl("seal", "--yes")[0] == 0, "sealing what is sealed is no error")

    seq, killed = 1, 0
    for at in (1, 2, 3, 5, 8, 13, 21):
        identity, sign = build(machine, ops, pairs, seq)
        latchctl("seal", "--yes", prefix=["/usr/bin/strace", "-o", "/dev/null", "-e", "trace=unlinkat", "-e",
                                          f"inject=unlinkat:signal=KILL:when={at}"])
        killed += os.path.exists(f"{STATE}/identity") or len(os.listdir(STATE)) > 1
        code, out, err = latchctl("seal", "--yes")
        check(code == 0, f"killed at removal {at}, and again {err}")
        sealed(identity, sign, pairs)
    check(killed >= 4, f"{killed} of the kills left something")

    status, err = machine.apply(ops.document(1, [{"id": "new", "do": "keys.bind", "user": "alice", "keypair": "laptop",
                                                  "key": pairs["laptop"]}]))
    check(status == 0 and machine.result(1, "new")["code"] == "ok", f"a new instance takes its first document {err}")
    check(open(f"{STATE}/identity/sign", "rb").read() != sign and open(f"{STATE}/identity/box", "rb").read() != identity,
          "with an identity of its own")


main(test)
