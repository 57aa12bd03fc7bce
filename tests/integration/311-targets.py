#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One command for many instances: real agents, the canaries first; a canary that fails leaves the rest untouched; what was
killed is repeated and does nothing twice."""
import json
import os
import pty
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from console import HOME, Operator  # noqa: E402
from fleet import Fleet  # noqa: E402
from machine import Machine, check, main, wait_for, write  # noqa: E402

NAMES = [f"vm-{n}" for n in range(1, 8)]
LIST = f"{HOME}/all"
DENY = "[users]\nallow = nobody-else\n"


def test():
    machine = Machine()
    operator = Operator(machine)
    machine.start_endpoint()
    operator.initialise()
    fleet = Fleet(machine, operator, NAMES)
    fleet.start()
    write(LIST, "# seven real ones\n" + "".join(f"{name}\n" for name in NAMES[:3]) + "vm-1   # again\n\n" +
          "".join(f"  {name}\n" for name in NAMES[3:]))

    def users(name):
        return {line.split(":")[0] for line in fleet.read(name, "etc/passwd").splitlines()}

    def having(user):
        return [name for name in NAMES if user in users(name)]

    def run(*arguments):
        code, output, error = operator.run(*arguments)
        return code, output.splitlines(), error

    def as_json(*arguments):
        code, output, error = operator.run("--json", *arguments)
        return code, [json.loads(line) for line in output.splitlines()], error

    wait_for(lambda: operator.machine.processes and read_log().count("latched") == len(NAMES), "all have registered")

    # --- who was never met is not trusted -----------------------------------------------------------------------------------
    code, lines, error = run("user", "add", "alice", "--targets", LIST)
    check(code == 4 and len(lines) == 7 and having("alice") == [], "not met before: nothing is sent to any, 4 for all is 4")

    # --- all of them ----------------------------------------------------------------------------------------------------------
    code, lines, error = run("user", "add", "alice", "--targets", LIST, "--accept-new-identity")
    check(code == 0 and having("alice") == NAMES, "every one has the user")
    check(sorted(lines) == [f"{name}: ok, changed" for name in NAMES], "a line for each, also for one named twice")
    check("7 targets: 7 ok (7 changed), 0 failed" in error, "and a summary")
    code, lines, error = as_json("user", "add", "--targets", LIST, "alice")
    check(code == 0 and [line["changed"] for line in lines[:-1]] == [False] * 7 and
          sorted(line["instance"] for line in lines[:-1]) == NAMES, "again, in JSON: nothing to change")
    check(lines[-1] == {"summary": {"targets": 7, "done_before": 0, "ok": 7, "changed": 0, "awaiting_confirm": 0, "failed": 0,
                                     "not_done": []}},
          "and the summary")
    piped = subprocess.run(["/usr/bin/latchkey", "diagnose", "--targets", "-", "alice"], input="vm-3\nvm-1\n", text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=operator.environment, cwd=HOME)
    check(piped.returncode == 0 and sorted(l.split(":")[0] for l in piped.stdout.splitlines()) == ["vm-1", "vm-3"], "from a pipe")
    operator.must("keypair", "create", "laptop")
    code, lines, error = run("bind", "--targets", LIST, "alice", "laptop", "--parallel", "2")
    check(code == 0 and all("latchkey:laptop" in fleet.read(n, "home/alice/.ssh/authorized_keys") for n in NAMES), "a key for all")
    check(operator.must("keypair", "list").count("bound to alice") == 7, "and the bindings are known")
    code, lines, error = run("send", "--targets", LIST, "user.ensure", "--user", "sent")
    check(code == 0 and having("sent") == NAMES, "send")
    code, lines, error = run("status", "--targets", LIST)
    check(code == 0 and len([l for l in lines if "registered" in l]) == 7 and "last seen" in "".join(lines), "status of all")

    # --- canaries ---------------------------------------------------------------------------------------------------------------
    fleet.write("vm-1", "latchkey/policy.conf", DENY)
    code, lines, error = run("user", "add", "bob", "--targets", LIST, "--canary", "10%")
    check(code == 1 and having("bob") == [], "one canary of seven fails: the rest is untouched")
    check(lines == [line for line in lines if line.startswith("vm-1: denied policy")] and len(lines) == 1 and
          "6 not begun, for others failed: vm-2 vm-3" in error, "and it is said who has not got it")
    code, lines, error = as_json("user", "add", "bob", "--targets", LIST, "--canary", "2")
    check(code == 1 and having("bob") == ["vm-2"] and lines[-1]["summary"]["not_done"] == NAMES[2:], "two, as a count")
    code, lines, error = run("user", "add", "bob", "--targets", LIST, "--canary", "2", "--pause-on", "never")
    check(code == 1 and having("bob") == NAMES[1:], "--pause-on never goes on all the same")
    fleet.write("vm-1", "latchkey/policy.conf", "[users]\nallow = *\n")
    code, lines, error = run("user", "add", "carol", "--targets", LIST, "--canary", "30%")
    check(code == 0 and having("carol") == NAMES and "canaries: 3 went well, 0 failed; going on with the other 4" in error,
          "good canaries: the others follow")
    fleet.write("vm-2", "latchkey/policy.conf", DENY)
    code, lines, error = run("user", "add", "dora", "--targets", LIST, "--pause-on", "failed", "--parallel", "1")
    check(code == 1 and having("dora") == ["vm-1"], "--pause-on failed without canaries stops at the first")

    # --- somebody who is asked, and one line that is written over -------------------------------------------------------------------
    for answer, expected in (("no", ["vm-1"]), ("yes", [n for n in NAMES if n != "vm-2"])):
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(HOME)
            os.execve("/usr/bin/latchkey", ["latchkey", "user", "add", "emma", "--targets", LIST, "--canary", "2"], operator.environment)
        shown = b""
        while b"(yes/no)?" not in shown:
            shown += os.read(terminal, 4096)
        os.write(terminal, answer.encode() + b"\n")
        try:
            while True:
                more = os.read(terminal, 4096)
                if not more:
                    break
                shown += more
        except OSError:
            pass
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(terminal)
        check(code == 1 and having("emma") == expected, f"asked, and the answer is {answer}")
        check(b"\r\x1b[K" in shown and b"1 of 2 canaries failed" in shown and b"vm-2: denied policy" in shown,
              "  a terminal sees one line, and what failed")
    os.unlink("/tmp/fleet/vm-2/etc/latchkey/policy.conf")

    # --- killed, and repeated ---------------------------------------------------------------------------------------------------
    done = f"{HOME}/done"
    fleet.stop("vm-7")  # one that does not answer
    held = subprocess.Popen(["/usr/bin/latchkey", "user", "add", "frida", "--targets", LIST, "--done", done], env=operator.environment,
                            cwd=HOME, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: having("frida") == NAMES[:6] and os.path.exists(done) and open(done).read().count("vm-") == 6, "six have it")
    children = subprocess.run(["pgrep", "-P", str(held.pid)], stdout=subprocess.PIPE, text=True).stdout.split()
    held.kill()
    held.wait()
    wait_for(lambda: not any(os.path.exists(f"/proc/{child}") for child in children), "its parts end with it")
    first = {name: fleet.read(name, "var/lib/latchkey/history/current").count('"t":"command"') for name in NAMES[:6]}
    fleet.start("vm-7")
    code, lines, error = run("user", "add", "frida", "--targets", LIST, "--done", done)
    check(code == 0 and [line.split(":")[0] for line in lines] == ["vm-7"] and "6 done before" in error, "only the one that is left")
    check(having("frida") == NAMES, "  has got it now")
    check({name: fleet.read(name, "var/lib/latchkey/history/current").count('"t":"command"') for name in NAMES[:6]} == first,
          "  and the others were asked nothing")
    frida = [line for line in fleet.read("vm-7", "var/lib/latchkey/history/current").splitlines() if '"frida"' in line]
    check(len({json.loads(line)["id"] for line in frida if json.loads(line).get("changed")}) == 1, "done once")
    code, lines, error = run("user", "add", "other", "--targets", LIST, "--done", done)
    check(code == 2 and "begun for another command: # latchkey user add frida" in error, "a list of another command is refused")
    code, lines, error = run("user", "add", "frida", "--targets", LIST)
    check(code == 0 and {line.split(": ", 1)[1] for line in lines} == {"ok, nothing to change"}, "without the list: nothing to change")

    # --- interrupted ----------------------------------------------------------------------------------------------------------
    fleet.stop("vm-1")
    held = subprocess.Popen(["/usr/bin/latchkey", "user", "add", "gina", "--targets", LIST, "--parallel", "1"], env=operator.environment,
                            cwd=HOME, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1)
    held.send_signal(signal.SIGINT)
    output, error = held.communicate()
    check(held.returncode == 1 and "6 not begun, for you stopped it: vm-2" in error, "stopped: it is said who has not got it")
    check(having("gina") == [], "  and they have not")
    code, lines, error = run("user", "add", "gina", "--targets", LIST, "--timeout", "2")
    check(code == 5 and having("gina") == NAMES[1:], "one that does not answer in time: 5")
    fleet.start("vm-1")
    wait_for(lambda: having("gina") == NAMES, "it comes and does it")

    # --- bad lists and options ----------------------------------------------------------------------------------------------------
    for name, text in (("bad", "vm-1\nvm 2\n"), ("worse", "vm-1\n../x\n")):
        write(f"{HOME}/{name}", text)
        code, lines, error = run("user", "add", "x", "--targets", f"{HOME}/{name}")
        check(code == 2 and f"{name}:2" in error, f"{text!r}: 2, with its line")
    for arguments in (["user", "add", "vm-1", "x", "--targets", LIST], ["user", "add", "x", "--targets", "/nowhere"],
                      ["user", "add", "x", "--targets", LIST, "--canary", "0"], ["user", "add", "x", "--targets", LIST, "--parallel", "65"],
                      ["user", "add", "x", "--targets", LIST, "--canary", "1", "--no-wait"], ["reset-password", "x", "--targets", LIST],
                      ["user", "add", "x", "--targets", LIST, "--pause-on", "sunday"]):
        check(run(*arguments)[0] == 2 and having("x") == [], f"{' '.join(arguments[-3:])}: 2")
    machine.stop("endpoint")
    code, lines, error = run("user", "add", "x", "--targets", LIST)
    check(code == 3 and len(lines) == 7, "an endpoint that is gone: 3")


def read_log():
    with open("/tmp/endpoint.log", encoding="utf-8") as log:
        return log.read()


main(test)
