#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""P60, P61: where a password is, and where it is not. The account plugin is stopped at every system call it makes and
its whole memory read: the plaintext lies in locked, undumpable mappings and nowhere else, and when the plugin answers it
lies nowhere. Then the whole way of a canary, from the operator's program to shadow: memory, arguments, environment, logs,
state and every file that anything wrote. In the rig: tests/integration/024-account-secrets.py"""
import base64
import glob
import json
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "rig"))
from accounts import IDENTITY, crypt, entry, new_box, read, seal, unseal  # noqa: E402
from console import HOME, Operator  # noqa: E402
from machine import Machine, check, main, wait_for  # noqa: E402
from plugin import Plugin  # noqa: E402

CALLS_MAX = 2000


def mappings(pid):
    """(start, end, name, flags of smaps) of every readable mapping."""
    found, current = [], None
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as smaps:
        for line in smaps:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)", line)
            if head:
                current = (int(head[1], 16), int(head[2], 16), head[4].strip(), head[3])
            elif line.startswith("VmFlags:") and current and current[3].startswith("r") and current[2] not in ("[vvar]", "[vsyscall]"):
                found.append((*current[:3], line.split()[1:]))
    return found


def find(pid, needle):
    """Where the bytes lie in the process' memory: (name of the mapping, its flags)."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end, name, flags in mappings(pid):
            try:
                bytes_ = os.pread(memory.fileno(), end - start, start)
            except OSError:
                continue  # [vvar] and the like
            found += [(name or "anonymous", flags)] * bytes_.count(needle)
    return found


def child_of(pid):
    children = read(f"/proc/{pid}/task/{pid}/children").split()
    return int(children[0]) if children else 0


def stop_at(plugin, verb, commands, when, look, **more):
    """Runs the plugin and looks whenever it makes a call of any kind for the when-th time (strace counts by kind), while it is
    stopped there. The results, and how often it was looked at."""
    strace = ["/usr/bin/strace", "-o", "/tmp/trace", "-e", "trace=all", "-e", "signal=STOP"]
    inject = ["-e", f"inject=all:signal=STOP:when={when}"] if when else []
    open("/tmp/trace", "w").close()
    process = subprocess.Popen([*strace, *inject, *plugin.argv(verb)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}, cwd="/")
    process.stdin.write(json.dumps(plugin.request(commands, **more)).encode())
    process.stdin.close()
    stops, end = 0, time.monotonic() + 120
    while process.poll() is None:
        # strace writes this once the group is stopped; the stops at each call, which it makes itself, are none.
        if when and read("/tmp/trace").count(b"--- stopped by SIGSTOP") > stops:
            pid = child_of(process.pid)
            look(pid)
            stops += 1
            os.kill(pid, signal.SIGCONT)
        if time.monotonic() > end:
            process.kill()
            raise AssertionError(f"{verb} stopped at call {when} does not end")
        time.sleep(0.0005)
    output = process.stdout.read()
    return json.loads(output)["results"] if output else None, stops


def memory_of_the_plugin():
    subprocess.run(["useradd", "-m", "alice"], check=True)
    os.makedirs(IDENTITY, mode=0o700, exist_ok=True)
    public, secret = new_box()
    with open(os.open(f"{IDENTITY}/box", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(secret)
    canary = "Canary-7-" + os.urandom(9).hex()
    plugin = Plugin("account")
    # setpriv, between strace and the plugin, would count its own calls: strace starts what it starts.
    plugin.argv = lambda verb: [plugin.path, verb]
    command = plugin.fill({"id": "c1", "do": "password.set", "user": "alice", "sealed": seal(
        public, {"instance": "i-1", "id": "c1", "user": "alice", "password": canary})})
    planned, _ = stop_at(plugin, "plan", [command], 0, None)
    trace = read("/tmp/trace").decode("utf-8", "replace").splitlines()
    calls = [line.split("(")[0] for line in trace if re.match(r"[a-z_0-9]+\(", line)]
    check(planned[0]["code"] == "ok" and 50 < len(calls) < CALLS_MAX, f"P61: plan of password.set makes {len(calls)} calls")
    most = max(calls.count(name) for name in set(calls))
    seen, wrong, after, stops = [], [], [], 0

    def look(pid):
        at = [line for line in read("/tmp/trace").decode("utf-8", "replace").splitlines() if not line.startswith("---")]
        for place in find(pid, canary.encode()):
            seen.append(at[-1])
            if not {"lo", "dd", "wf"} <= set(place[1]):
                wrong.append((at[-1], place))
            if at[-1].startswith(("write(1,", "exit")):
                after.append(at[-1])
        answered.extend(line for line in at[-1:] if line.startswith("write(1,"))

    answered = []
    for when in range(1, most + 1):
        stops += stop_at(plugin, "plan", [command], when, look)[1]
    check(stops > len(calls) * 0.9, f"P61: it was stopped at {stops} of them and its memory read")
    check(len(set(seen)) > 5, f"P61: the plaintext is there at {len(seen)} of them (else this test would look past it)")
    check(wrong == [], f"P61: and each time only in mappings that are locked, not dumped, wiped on fork {wrong[:3]}")
    check(answered and after == [], f"P61: when the plugin answers, no byte of it is left {after[:3]}")
    places = []
    apply = [{**command, "plan": planned[0]["plan"]}]
    stops = sum(stop_at(plugin, "apply", apply, when, lambda pid: places.extend(find(pid, canary.encode())), redo=when > 1)[1]
                for when in (1, 2, 3, 5, 8, 13))
    check(places == [] and stops > 50, f"P61: apply, stopped {stops} times, never has it: it is not unsealed a second time")
    check(crypt(canary, entry("shadow", "alice")[1]) == entry("shadow", "alice")[1], "  and it is the password")

    # A generated one is known only afterwards: every run is looked at, its memory kept until its answer is opened.
    public, secret = new_box()
    command = plugin.fill({"id": "g1", "do": "password.generate", "user": "alice", "to": base64.b64encode(public).decode()})
    kept = []

    def keep(pid):
        if read("/tmp/trace").rsplit(b"\n--- SIGSTOP", 1)[0].rsplit(b"\n", 1)[-1][:8] != b"write(1,":
            return
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for start, end, name, flags in mappings(pid):
                try:
                    kept.append((name, flags, os.pread(memory.fileno(), end - start, start)))
                except OSError:
                    pass

    results, _ = stop_at(plugin, "plan", [command], 1, keep)
    password = unseal(public, secret, results[0]["plan"]["sealed"])["password"]
    check(kept and not [name for name, _, bytes_ in kept if password.encode() in bytes_],
          "P61: password.generate: when the plugin answers, no byte of it is left either")


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid())]


def whole_way():
    machine = Machine()
    operator = Operator(machine)
    machine.start_sshd()
    machine.start_endpoint()
    operator.enrol()
    machine.start_agent()
    wait_for(lambda: "latched" in read("/tmp/endpoint.log").decode(), "the endpoint knows it")
    operator.must("user", "add", machine.instance, "bob", "--accept-new-identity")
    with open("/etc/latchkey/latchkey.conf", "a") as file:
        file.write("[log]\nlevel = debug\n")
    canary = "Canary-8-" + os.urandom(9).hex()
    reading, writing = os.pipe()
    os.write(writing, canary.encode() + b"\n")
    os.close(writing)
    before = entry("shadow", "bob")[1]
    machine.stop("latchkeyd")  # so that the operator's program has to wait
    machine.stop("latchkey-net")
    os.dup2(reading, 9, inheritable=True)
    os.close(reading)
    client = subprocess.Popen(["/usr/bin/latchkey", "reset-password", machine.instance, "bob", "--password-fd", "9"], env=operator.environment,
                              cwd=HOME, pass_fds=(9,), stdin=subprocess.DEVNULL, stdout=open("/tmp/client.log", "w"), stderr=subprocess.STDOUT)
    os.close(9)
    wait_for(lambda: subprocess.run(["grep", "-qc", "password.set", "/tmp/endpoint.db"]).returncode == 0
             or subprocess.run("grep -qa password.set /tmp/endpoint.db*", shell=True).returncode == 0, "the document is at the endpoint")
    time.sleep(0.5)
    check(client.poll() is None and find(client.pid, canary.encode()) == [], "P61: sealed and sent, the operator's program has forgotten it")
    machine.start_agent()
    seen = {}
    while client.poll() is None:
        for pid in processes():
            try:
                name = open(f"/proc/{pid}/comm").read().strip()
                if canary.encode() in read(f"/proc/{pid}/cmdline") + read(f"/proc/{pid}/environ"):
                    check(False, f"P60: in the arguments or the environment of {name}")
                if name == "latchkeyd" or name.startswith("latchkey-"):
                    seen[name] = seen.get(name, 0) + 1
                    if find(pid, canary.encode()):
                        check(False, f"P61: in the memory of {name}")
            except (FileNotFoundError, ProcessLookupError, PermissionError, OSError):
                continue  # it ended meanwhile
    check(client.returncode == 0 and entry("shadow", "bob")[1] != before, f"the reset is done {read('/tmp/client.log').decode()!r}")
    check(crypt(canary, entry("shadow", "bob")[1]) == entry("shadow", "bob")[1], "  and the canary is the password")
    check(len(seen) > 2, f"P61: looked into meanwhile: {seen}")
    hash_ = entry("shadow", "bob")[1].encode()
    left = []
    for pid in processes():
        try:
            if find(pid, canary.encode()):
                left.append((pid, open(f"/proc/{pid}/comm").read().strip()))
        except OSError:
            continue  # it ended meanwhile
    check(left == [], f"P61: afterwards no process has it {left}")
    folders = [path for path in ("/etc", "/var", "/run", "/tmp", "/home", "/root", "/dev/shm") if os.path.isdir(path)]
    # The rig shows the project itself below /run.
    found = subprocess.run(["grep", "-rlaFs", "--exclude-dir=project", canary, *folders], stdout=subprocess.PIPE).stdout
    check(found == b"", f"P60: no file has it {found}")
    found = subprocess.run(["grep", "-rlaFs", "--exclude-dir=project", hash_.decode(), *folders], stdout=subprocess.PIPE).stdout
    check(found.split() == [b"/etc/shadow"], f"P60: its hash stands in shadow alone {found}")
    sealed = base64.b64encode(canary.encode())[:16]
    found = subprocess.run(["grep", "-rlaFs", "--exclude-dir=project", sealed.decode(), *folders], stdout=subprocess.PIPE).stdout
    check(found == b"", f"P60: nor in base64 {found}")
    logs = b"".join(read(path) for path in glob.glob("/tmp/*.log"))
    check(canary.encode() not in logs and hash_ not in logs and b"password.set" in logs, "P60: nor a log at its most talkative")
    results = glob.glob("/var/lib/latchkey/history/*") + glob.glob("/run/latchkey/view") + glob.glob("/run/latchkey/status.json")
    check(all(canary.encode() not in read(path) and hash_ not in read(path) for path in results if os.path.isfile(path)), "P60: nor status and history")
    check(machine.login_with_password("bob", canary), "it logs in")


def test():
    memory_of_the_plugin()
    for path in (f"{IDENTITY}/box", "/tmp/trace"):
        os.unlink(path)
    whole_way()


main(test)
