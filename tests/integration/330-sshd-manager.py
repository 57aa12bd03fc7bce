#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The sshd plugin where a service manager owns sshd. The manager is tests/rig/service_manager.c (the rig has no systemd),
its sshd is real. Run inside tests/rig/enter; argument: the path of the manager program."""
import os
import socket
import subprocess
import sys

sys.path.insert(0, "/run/project/tests/rig")
from plugin import Plugin, check  # noqa: E402
from server import Server, add_user, must, password_login, wait_for, write  # noqa: E402

DROP_IN = "/etc/ssh/sshd_config.d/00-latchkey.conf"
PASSWORD = "correct Horse 7"
LOG, PID, REFUSE = "/run/manager/log", "/run/manager/pid", "/run/manager/refuse"

plugin = Plugin("sshd", {"locations": []})
listening = Server.__new__(Server)
listening.port = 22


def read(path):
    try:
        with open(path, encoding="utf-8") as text:
            return text.read()
    except FileNotFoundError:
        return ""


def jobs():
    """What the manager was asked to do since the last look."""
    text = read(LOG).splitlines()
    write(LOG, "", 0o644)
    return text


def expect(result, code, changed, wanted_jobs, what):
    done = jobs()
    check(result["code"] == code and result["changed"] == changed and done == wanted_jobs,
          f"{what}: {result['code']}, changed {result['changed']}, “{result['detail']}”, jobs {done}")


def set_(**fields):
    return plugin.one({"do": "sshd.set", **fields})


def pid():
    return int(read(PID) or 0)


def start(program, unit):
    process = subprocess.Popen([program, unit], stdin=subprocess.DEVNULL)
    wait_for(lambda: os.path.exists("/run/systemd/private"), "the manager listens")
    return process


def start_sshd():
    process = subprocess.Popen(["/usr/sbin/sshd", "-D"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    write(PID, f"{process.pid}\n", 0o644)
    wait_for(listening.listens, "sshd listens")
    return process


def stop_sshd(process):
    process.terminate()
    process.wait(30)
    wait_for(lambda: not listening.listens(), "sshd has let go of its port")


def main():
    os.makedirs("/run/systemd/system")
    os.makedirs("/run/manager")
    add_user("alice", PASSWORD)
    manager = start(sys.argv[1], "sshd.service")
    sshd = start_sshd()

    expect(set_(password_auth=False), "ok", True, ["ReloadUnit sshd.service fail"],
           "T12: ssh.service is not there, sshd.service is")
    check(not password_login("alice", PASSWORD), "… and the new values are in force")
    expect(set_(password_auth=False), "ok", False, [], "T12: nothing changed, nothing reloaded")
    expect(set_(password_auth=True), "ok", True, ["ReloadUnit sshd.service fail"], "… and open again")
    expect(plugin.one({"do": "sshd.reload"}), "ok", True, ["ReloadUnit sshd.service fail"], "sshd.reload")

    before = read(DROP_IN)
    write(REFUSE, "org.freedesktop.systemd1.TransactionIsDestructive", 0o644)
    expect(set_(password_auth=False), "service_busy", False, ["ReloadUnit sshd.service fail"],
           "another job in the way is not pushed aside")
    check(read(DROP_IN) == before, "… and our bytes are back")
    write(REFUSE, "org.freedesktop.systemd1.JobTypeNotApplicable", 0o644)
    expect(set_(password_auth=False), "ok", True, ["ReloadUnit sshd.service fail"],
           "a unit that cannot reload: SIGHUP to its main process")
    check(not password_login("alice", PASSWORD), "… and the new values are in force")
    before = read(DROP_IN)
    write(REFUSE, "org.freedesktop.DBus.Error.AccessDenied", 0o644)
    expect(set_(password_auth=True), "reload_failed", False, ["ReloadUnit sshd.service fail"], "a refused job")
    check(read(DROP_IN) == before, "… and our bytes are back")
    os.unlink(REFUSE)

    old = sshd
    expect(plugin.one({"do": "sshd.restart"}), "ok", True, ["RestartUnit sshd.service fail"], "sshd.restart")
    old.wait(30)
    check(pid() not in (0, old.pid) and listening.listens(), "… is another process")

    write("/etc/ssh/sshd_config.d/10-port.conf", "Port 2222\n")
    blocker = socket.socket(socket.AF_INET6)
    blocker.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    blocker.bind(("::", 2222))
    blocker.listen()
    before, died = read(DROP_IN), pid()
    result = set_(password_auth=True)
    expect(result, "listener_gone", False, ["ReloadUnit sshd.service fail", "StartUnit sshd.service fail"],
           "P54: sshd that ended is started again by the manager")
    check(read(DROP_IN) == before and pid() != died, "… with the old bytes")
    blocker.close()
    os.unlink("/etc/ssh/sshd_config.d/10-port.conf")
    must("/bin/sh", "-c", f"kill {pid()} 2>/dev/null; true")
    sshd = start_sshd()

    stop_sshd(sshd)
    expect(set_(password_auth=True), "ok", True, [], "T12: a stopped unit is not started")
    expect(plugin.one({"do": "sshd.restart"}), "ok", False, [], "T12: … not even by sshd.restart")
    check(not listening.listens(), "T12: … and nobody listens")

    sshd = start_sshd()
    manager.kill()
    manager.wait(30)
    expect(set_(password_auth=False), "ok", True, [], "a manager that does not answer: the process is found all the same")
    check(not password_login("alice", PASSWORD), "… and the new values are in force")
    stop_sshd(sshd)

    manager = start(sys.argv[1], "ssh.service")
    sshd = start_sshd()
    expect(set_(password_auth=True), "ok", True, ["ReloadUnit ssh.service fail"], "T12: ssh.service comes first")
    stop_sshd(sshd)
    manager.kill()
    manager.wait(30)


if __name__ == "__main__":
    main()
