#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""latchctl doctor: what it says is so, and what it tells to type helps: each command is typed and the login tried again."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from plugin import check  # noqa: E402
from server import Server, add_user, key_login, make_key, must, password_login, put_keys, write  # noqa: E402

FIRST = "/etc/ssh/sshd_config.d/10-test.conf"
PASSWORD = "correct Horse 7"


def doctor(*arguments, user=None, trace=None):
    argv = ["/usr/bin/latchctl", *arguments]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LOGNAME": user or "root"}
    if trace:
        argv = ["/usr/bin/strace", "-f", "-o", trace, *(["-u", user] if user else []), *argv]
    elif user:
        argv = ["/usr/sbin/runuser", "-u", user, "--", *argv]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
                          stdin=subprocess.DEVNULL, cwd="/", timeout=60)
    return done.returncode, done.stdout, done.stderr


def verdict(*arguments, **more):
    code, out, err = doctor("--json", "doctor", *arguments, **more)
    check(out, f"  an answer ({code}) {err.strip()}")
    return code, json.loads(out)


def codes(method):
    return [blocker["code"] for blocker in method["blockers"]]


def here(answer, method, code):
    return next(blocker["here"] for blocker in answer[method]["blockers"] if blocker["code"] == code)


def what_it_tells_helps(server, public):
    """Each state, the blocker that is named, and whether the command that is printed lets the user in again."""
    everybody = put_keys, "alice", public + "\n"
    for name, break_it, method, code, stdin in (
            ("home 0777", lambda: os.chmod("/home/alice", 0o777), "key", "strict_modes", ""),
            (".ssh of another user", lambda: must("chown", "bob", "/home/alice/.ssh"), "key", "keys_file_unreadable", ""),
            ("no file", lambda: os.unlink("/home/alice/.ssh/authorized_keys"), "key", "keys_file_missing", public),
            ("no key in it", lambda: put_keys("alice", "# none\n"), "key", "no_key", public),
            ("the account has expired", lambda: must("chage", "-E", "1", "alice"), "key", "expired", ""),
            ("no shell", lambda: must("usermod", "-s", "/usr/sbin/nologin", "alice"), "key", "shell_nologin", ""),
            ("a shell that is not there", lambda: must("usermod", "-s", "/bin/none", "alice"), "key", "shell_missing", ""),
            ("/etc/nologin", lambda: write("/etc/nologin", "closed\n", 0o644), "key", "nologin_file", "")):
        everybody[0](*everybody[1:])
        break_it()
        status, answer = verdict("alice")
        check(codes(answer[method]) == [code] and not answer[method]["can"], f"{name}: {codes(answer[method])}")
        check(not key_login("alice", "/tmp/alice"), "  … and ssh agrees")
        command = here(answer, method, code)
        subprocess.run(["/bin/sh", "-c", command], input=stdin.encode() + b"\n", check=True, stdout=subprocess.DEVNULL,
                       cwd="/")
        status, answer = verdict("alice")
        check(status == 0 and answer[method]["can"], f"  typed: {command}")
        check(key_login("alice", "/tmp/alice"), "  … and she is in")
    must("usermod", "-p", "!", "alice")
    status, answer = verdict("alice")
    check(status == 0 and "no_password" in codes(answer["password"]) and
          answer["password"]["blockers"][-1]["console"] == "latchkey reset-password INSTANCE alice", "the console's command")


def one_key(server, public):
    other = make_key("/tmp/other")
    fingerprint = must("ssh-keygen", "-lf", "/tmp/other.pub").split()[1]
    put_keys("alice", public + "\n")
    for key in ("/tmp/other.pub", fingerprint):
        status, answer = verdict("alice", "--key", key)
        check(status == 1 and codes(answer["key"]) == ["key_not_present"] and answer["fingerprint"] == fingerprint and
              "password" not in answer, f"--key {key}: key_not_present, though another key logs in")
    check(verdict("alice")[1]["key"]["can"] and not key_login("alice", "/tmp/other"), "  … and ssh agrees")
    for line, code in ((f'expiry-time="20200101Z" {other}', "key_expired"), (f'from="10.0.0.0/8" {other}', "key_from"),
                       (f'command="/bin/true" {other}', "key_command_only"), (other, None)):
        put_keys("alice", f"{public}\n{line}\n")
        status, answer = verdict("alice", "--key=/tmp/other.pub", "--from", "127.0.0.1")
        check(codes(answer["key"]) == ([code] if code else []) and status == (1 if code else 0), f"--key: {code or 'it logs in'}")
        check(key_login("alice", "/tmp/other") == (not code), "  … and ssh agrees")
    write("/etc/ssh/revoked", other + "\n", 0o644)
    write(FIRST, "RevokedKeys /etc/ssh/revoked\n", 0o644)
    server.reload()
    check(codes(verdict("alice", "--key", "/tmp/other.pub")[1]["key"]) == ["key_revoked"], "--key: key_revoked")
    check(verdict("alice", "--key", "/tmp/alice.pub")[1]["key"]["can"], "  … which another key is not")
    write(FIRST, "PubkeyAcceptedAlgorithms ssh-rsa,rsa-sha2-256\n", 0o644)
    server.reload()
    check(codes(verdict("alice", "--key", "/tmp/other.pub")[1]["key"]) == ["key_type_off"], "--key: key_type_off")
    write(FIRST, "", 0o644)
    server.reload()
    code, out, err = doctor("doctor", "alice", "--key", "/tmp/alice")
    check(code == 65 and "private" in err and not out, f"a private key is refused: {err.strip()}")
    check("OPENSSH" not in err and "b3BlbnNzaC1rZXk" not in err, "  … and not shown")
    check(doctor("doctor", "alice", "--key", "/no/such")[0] == 65, "a file that is not there")
    check(doctor("doctor", "alice", "--from", "nowhere")[0] == 64, "--from nowhere")


def another_user():
    """A user is told nothing about others, not even whether they exist, and no file is opened to find out."""
    seen = []
    for name in ("bob", "root", "no-such-name"):
        code, out, err = doctor("doctor", name, "--key", "/tmp/other.pub", user="alice", trace="/tmp/trace")
        check(code == 77 and not out and "only root" in err, f"alice about {name}: exit 77")
        lines = [line.split(None, 1)[1] for line in open("/tmp/trace", encoding="utf-8")]
        start = max(number for number, line in enumerate(lines) if ".so" in line) + 1
        calls = [line.split("(")[0] for line in lines[start:]]
        opened = [line for line in lines[start:] if "AT_EMPTY_PATH" not in line and
                  line.startswith(("open", "connect", "socket", "exec", "access", "readlink", "stat", "newfstatat"))]
        check(not opened, f"  … and nothing was opened, asked or run {opened}")
        check(not any(name in line for line in lines[start:] if "write(" not in line), "  … nor the name looked up")
        seen.append((calls, err))
    check(seen[0] == seen[1] == seen[2], "whether the name exists cannot be told from the answer")
    for name in ("alice'; id", "../x", "-x", "a b"):
        check(doctor("doctor", name, user="alice")[0] == 64, f"{name!r} is no name")


def oneself(public):
    put_keys("alice", public + "\n")
    for arguments in ((), ("alice",)):
        code, out, err = doctor("doctor", *arguments, user="alice")
        check(code == 0 and "login by key: yes" in out and "1 keys" in out, f"alice about herself {arguments}: {err}{out!r}")
    os.chmod("/home/alice", 0o777)
    status, answer = verdict(user="alice")
    check(status == 1 and answer["by"] == "files" and codes(answer["key"]) == ["strict_modes"] and
          answer["unsafe"]["path"] == "/home/alice", "  home 0777")
    os.chmod("/home/alice", 0o700)
    check(codes(verdict("--key", "/tmp/other.pub", user="alice")[1]["key"]) == ["key_not_present"], "  a key that is not there")
    environment = {"LOGNAME": "bob", "PATH": "/usr/bin"}
    done = subprocess.run(["/usr/sbin/runuser", "-u", "alice", "--", "/usr/bin/env", "LOGNAME=bob", "/usr/bin/latchctl", "doctor",
                           "bob"], stdout=subprocess.PIPE, text=True, env=environment)
    check("bob" not in done.stdout and done.stdout.startswith("alice"), "a LOGNAME that lies shows one's own answer")


def text_and_usage():
    write(FIRST, "PasswordAuthentication no\nKbdInteractiveAuthentication no\n", 0o644)
    code, out, _ = doctor("doctor", "alice")
    print(out)
    check(code == 0 and "password_auth_off" in out and "latchkey sshd set" in out, "a person reads it")
    code, out, _ = doctor("doctor", "nobody-here")
    check(code == 1 and "no_such_user" in out and "useradd -m -s /bin/bash nobody-here" in out, "a user that is not there")
    check(all(" " <= character <= "~" or character == "\n" for character in out), "plain text")
    check(doctor("doctor", "alice", "bob")[0] == 64 and doctor("doctor", "--nope")[0] == 64 and
          doctor("status", "--from", "::1")[0] == 64, "wrong usage")
    write(FIRST, "", 0o644)


def main():
    add_user("alice", PASSWORD)
    add_user("bob")
    public = make_key("/tmp/alice")
    os.chmod("/tmp/alice.pub", 0o644)
    put_keys("alice", public + "\n")
    server = Server()
    try:
        status, answer = verdict("alice")
        check(status == 0 and answer["by"] == "engine" and answer["key"]["can"] and answer["password"]["can"], "all is well")
        check(key_login("alice", "/tmp/alice") and password_login("alice", PASSWORD), "  … and ssh agrees")
        what_it_tells_helps(server, public)
        one_key(server, public)
        another_user()
        oneself(public)
        text_and_usage()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
