#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A ban of the real fail2ban: named where it keeps a real login out, from the address that is banned alone, and by
nothing that is not root's."""
import json
import os
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from fail2ban import CLIENT as CLIENT_PROGRAM  # noqa: E402
from fail2ban import DIRECTORY, SOCKET, Fail2ban  # noqa: E402
from plugin import Plugin, check  # noqa: E402
from server import CLIENT, Server, add_user, make_key, must, put_keys, trace, traced, write  # noqa: E402

BANNED, OTHER = "127.0.0.2", "127.0.0.1"
UNKNOWN = f"does not say whether it bans {BANNED}"


def logs_in(address):
    done = subprocess.run(["timeout", "15", "ssh", *CLIENT, "-b", address, "-i", "/tmp/alice", "-o", "BatchMode=yes",
                           "alice@127.0.0.1", "echo in"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL)
    return done.returncode == 0 and b"in" in done.stdout.split()


def diagnose(address, plugin=None):
    command = {"do": "diagnose", "user": "alice", **({"from": address} if address else {})}
    result = (plugin or Plugin("login")).plan(command)[0]
    assert result["code"] == "ok", result
    login = result["login"]["alice"]
    return login["key"]["blockers"], result


def doctor(*arguments):
    done = subprocess.run(["/usr/bin/latchctl", *arguments], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
                          env={"PATH": "/usr/sbin:/usr/bin"}, timeout=60)
    return done.returncode, done.stdout


def named(fail2ban):
    fail2ban.ban("sshd", BANNED)
    check(not logs_in(BANNED) and logs_in(OTHER), f"{BANNED} is kept out by a real rule, {OTHER} is not")
    found, result = diagnose(BANNED)
    check(found == ["address_banned"] and result["login"]["alice"]["password"]["blockers"][0] == "address_banned",
          f"… and that alone is named: {result['detail']}")
    check(f"fail2ban-client unban {BANNED}" in result["detail"] and "jail sshd" in result["detail"], "  with what helps, and the jail")
    check(len(result["detail"]) <= 200, "  in a detail's length")
    check(diagnose(OTHER)[0] == [] and diagnose(None)[0] == [], f"from {OTHER}, or from anywhere, nothing is named")
    for address in ("::1", "2001:db8::7"):
        check(diagnose(address)[0] == [], f"from {address} neither")
    code, text = doctor("doctor", "alice", "--from", BANNED)
    print(text)
    check(code == 1 and "address_banned" in text and f"here:    fail2ban-client unban {BANNED}" in text and
          "fail2ban: by its jail sshd" in text, "latchctl doctor says it too")
    answer = json.loads(doctor("--json", "doctor", "alice", "--from", BANNED)[1])
    check(answer["fail2ban"] == "by its jail sshd" and "console" not in answer["key"]["blockers"][0], "  and as JSON")
    check(doctor("doctor", "alice", "--from", OTHER)[0] == 0 and doctor("doctor", "alice")[0] == 0, f"  not from {OTHER}")


def guard():
    """What passes by itself locks nobody out for good."""
    command = {"do": "login.check", "users": ["alice"], "from": BANNED, "without": {"users": ["root"]}}
    result = Plugin("login").plan(command)[0]
    check(result["anyone"] is True, "the guard does not take a ban for a lock-out")
    check(result["login"]["alice"]["key"]["blockers"] == ["address_banned"], "  though she is told of it")


def several_jails():
    """Only those whose ban reaches sshd are named, and what helps lifts them all."""
    fail2ban = Fail2ban(web=("http,https", "nftables"), sshd=("ssh", "nftables"), all=("0:65535", "nftables"),
                        elsewhere=("2222", "nftables"))
    for jail in ("web", "elsewhere"):
        fail2ban.ban(jail, BANNED)
    found, result = diagnose(BANNED)
    check(logs_in(BANNED) and found == [] and "fail2ban" not in result, f"bans from other ports keep nobody from ssh {found}")
    for jail in ("sshd", "all"):
        fail2ban.ban(jail, BANNED)
    found, result = diagnose(BANNED)
    check(not logs_in(BANNED) and found == ["address_banned"] and sorted(result["fail2ban"].removeprefix("by its jail ").split(", ")) ==
          ["all", "sshd"], f"two jails: {result['fail2ban']}")
    must("sh", "-c", f"fail2ban-client unban {BANNED}")
    check(logs_in(BANNED) and diagnose(BANNED)[0] == [], "what helps lifts both")
    fail2ban.stop()


def P35_how_it_is_asked():
    runs = lambda: [line for line in trace() if "execve(" in line and "fail2ban" in line]  # noqa: E731
    diagnose(None, traced(Plugin("login"), "execve"))
    check(not runs(), "P35: without an address fail2ban is not asked")
    traced_login = traced(Plugin("login"), "execve")
    traced_login.plan({"do": "login.check", "users": ["alice"]})
    check(not runs(), "P35: nor by what every document asks")
    diagnose(BANNED, traced(Plugin("login"), "execve,connect"))
    asked = runs()
    check(len(asked) == 3 and all(f'execve("{CLIENT_PROGRAM}", ["fail2ban-client", "-s", "{SOCKET}"' in line for line in asked),
          f"P35: its client is run by its path: {asked[0]}")
    check(all("/* 3 vars */" in line for line in asked), "P35: with a fixed environment")
    check(not any("/bin/sh" in line or "/bin/bash" in line for line in trace()), "P35: and no shell")


def one_that_hangs(fail2ban):
    os.kill(fail2ban.process.pid, signal.SIGSTOP)
    began = time.monotonic()
    found, result = diagnose(BANNED)
    took = time.monotonic() - began
    os.kill(fail2ban.process.pid, signal.SIGCONT)
    check(found == [] and result["fail2ban"] == UNKNOWN and UNKNOWN in result["detail"],
          f"one that hangs is no blocker, and said: {result['detail']}")
    check(took >= 3, f"  after three seconds ({took:.1f})")
    check(subprocess.run(["pgrep", "-f", "fail2ban-client"], stdout=subprocess.DEVNULL).returncode == 1, "  and nothing of it is left")
    check(diagnose(BANNED)[0] == ["address_banned"], "  when it goes on, its ban is named")


def what_is_not_roots():
    """A socket or a client that somebody else can have made is not used."""
    alice = int(must("id", "-u", "alice"))
    states = (("a socket of alice's", lambda: os.chown(SOCKET, alice, alice), lambda: os.chown(SOCKET, 0, 0)),
              ("its directory of alice's", lambda: os.chown(DIRECTORY, alice, alice), lambda: os.chown(DIRECTORY, 0, 0)),
              ("its directory 0777", lambda: os.chmod(DIRECTORY, 0o777), lambda: os.chmod(DIRECTORY, 0o755)),
              ("its directory a link", lambda: (os.rename(DIRECTORY, "/run/real"), os.symlink("/run/real", DIRECTORY)),
               lambda: (os.unlink(DIRECTORY), os.rename("/run/real", DIRECTORY))),
              ("no socket but a file", lambda: (os.rename(SOCKET, SOCKET + ".kept"), write(SOCKET, "")),
               lambda: (os.unlink(SOCKET), os.rename(SOCKET + ".kept", SOCKET))))
    for name, damage, mend in states:
        damage()
        found, result = diagnose(BANNED, traced(Plugin("login"), "execve,connect"))
        ran = [line for line in trace() if "fail2ban" in line]
        check(found == [] and result["fail2ban"] == UNKNOWN and not ran, f"{name}: not used, and so it is said {ran}")
        mend()
        check(diagnose(BANNED)[0] == ["address_banned"], "  … until it is root's alone again")
    for name, damage in (("a client of alice's", lambda path: os.chown(path, alice, alice)),
                         ("a client that others can write", lambda path: os.chmod(path, 0o777)),
                         ("no client", os.unlink)):
        must("cp", "-p", CLIENT_PROGRAM, "/tmp/client")
        damage(CLIENT_PROGRAM)
        found, result = diagnose(BANNED, traced(Plugin("login"), "execve"))
        ran = [line for line in trace() if "fail2ban" in line]
        check(found == [] and result["fail2ban"] == UNKNOWN and not ran, f"{name}: not run {ran}")
        must("cp", "-p", "/tmp/client", CLIENT_PROGRAM)
        os.chown(CLIENT_PROGRAM, 0, 0)
        check(diagnose(BANNED)[0] == ["address_banned"], "  … until it is root's alone again")


def lie(banned, port="echo ssh", actions=None):
    """A client in place of fail2ban's, honest but for what is given."""
    actions = actions or "echo The jail sshd has the following actions:; echo nftables"
    write(CLIENT_PROGRAM, f"""#!/bin/sh
case "$3 $5" in
get\\ actions) {actions} ;;
get\\ action) {port} ;;
*) {banned} ;;
esac
""", 0o755)


def one_that_lies():
    """A client that answers anything else bans nobody; one whose server is gone neither."""
    must("cp", "-p", CLIENT_PROGRAM, "/tmp/client")
    listener = socket.socket(socket.AF_UNIX)
    os.makedirs(DIRECTORY, exist_ok=True)
    if os.path.exists(SOCKET):
        os.unlink(SOCKET)
    listener.bind(SOCKET)
    check(diagnose(BANNED)[1]["fail2ban"] == UNKNOWN, "a socket that nobody listens at")
    for name, script in (("too much", "head -c 100000 /dev/zero"), ("nothing", "true"), ("an error", "echo \"[['sshd']]\"; exit 1"),
                         ("two addresses", "echo \"[['sshd'], []]\""), ("a warning first", "echo WARNING; echo \"[['sshd']]\""),
                         ("an option's name", "echo \"[['--help']]\""), ("a NUL", "printf \"[['sshd']]\\n\\0\""),
                         ("a terminal's words", "printf \"[['\\033[2J']]\\n\"")):
        lie(script)
        found, result = diagnose(BANNED)
        check(found == [] and result["fail2ban"] == UNKNOWN, f"a client that says {name} bans nobody")
    for name, actions, port, wanted in (("no such actions", "exit 255", "echo ssh", []), ("other words", "echo nftables", "echo ssh", []),
                                        ("no ports", None, "exit 255", []), ("other ports", None, "echo http", []),
                                        ("sshd's port", None, "echo ssh", ["address_banned"])):
        lie("echo \"[['sshd']]\"", port, actions)
        check(diagnose(BANNED)[0] == wanted, f"a jail that says {name}: {wanted}")
    os.unlink(CLIENT_PROGRAM)
    must("cp", "-p", "/tmp/client", CLIENT_PROGRAM)
    listener.close()
    os.unlink(SOCKET)


def main():
    # The staged programs lie over /usr read-only: the client is changed below.
    must("sh", "-c", "cp -a /usr/bin /tmp/bin && mount --bind /tmp/bin /usr/bin")
    add_user("alice", "correct Horse 7")
    put_keys("alice", make_key("/tmp/alice") + "\n")
    server = Server()
    try:
        check(diagnose(BANNED)[0] == [] and "fail2ban" not in diagnose(BANNED)[1] and not os.path.exists(DIRECTORY), "without fail2ban nothing is said of it")
        fail2ban = Fail2ban()
        check(logs_in(BANNED) and diagnose(BANNED)[0] == [], "a fail2ban that bans nobody is in nobody's way")
        named(fail2ban)
        guard()
        P35_how_it_is_asked()
        one_that_hangs(fail2ban)
        what_is_not_roots()
        must("sh", "-c", f"fail2ban-client unban {BANNED}")
        check(logs_in(BANNED) and diagnose(BANNED)[0] == [], "what helps is typed: she is in, and nothing is named")
        fail2ban.stop()
        several_jails()
        one_that_lies()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
