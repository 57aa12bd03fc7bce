#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""latchctl explain: real `ssh -v` outputs of logins that really fail, each explained, and then the doctor's word on the user and
each key. With KEEP=DIR in the environment the outputs are written there (the seeds of the fuzz target)."""
import json
import os
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from plugin import check  # noqa: E402
from server import Server, add_user, make_key, must, put_keys, write  # noqa: E402

FIRST, KNOWN = "/etc/ssh/sshd_config.d/10-test.conf", "/tmp/known"
PASSWORD = "correct Horse 7"
COMMON = ["-F", "none", "-o", f"UserKnownHostsFile={KNOWN}", "-o", "GlobalKnownHostsFile=/dev/null", "-o", "ConnectTimeout=5",
          "-o", "IdentityAgent=none", "-o", "IdentitiesOnly=yes", "-o", "NumberOfPasswordPrompts=1"]
NEW = ["-o", "StrictHostKeyChecking=no"]
KEY_ONLY = [*NEW, "-o", "BatchMode=yes", "-o", "PreferredAuthentications=publickey"]
failures = 0


def ssh(*options, user="alice", host="127.0.0.1", port=22, password=None, level="-v", environment=None):
    argv = ["ssh", level, "-p", str(port), *options, *COMMON, f"{user}@{host}", "echo in"]
    if password:
        argv = ["sshpass", "-p", password, *argv]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=60,
                          env={"PATH": "/usr/bin:/bin", "HOME": "/root", **(environment or {})})
    return done.returncode, done.stdout


def latchctl(*arguments, text=b"", user=None):
    argv = ["/usr/bin/latchctl", *arguments]
    done = subprocess.run(["/usr/sbin/runuser", "-u", user, "--", *argv] if user else argv, input=text, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, cwd="/", timeout=60)
    return done.returncode, done.stdout.decode("ascii"), done.stderr.decode("ascii")


def explained(text, *arguments):
    code, out, err = latchctl("--json", "explain", "-", *arguments, text=text)
    check(code == 0, f"  explained {err}")
    return json.loads(out)


def case(name, output, ended, *findings, keys=None, blockers=None, this_machine=None):
    """One login that failed: where it ended, what went wrong on the way, and what the doctor says."""
    global failures
    status, text = output
    if os.environ.get("KEEP"):
        with open(os.path.join(os.environ["KEEP"], name.replace(" ", "_").replace("/", "")), "wb") as file:
            file.write(text)
    check(status != 0 or ended == "authenticated", f"{name}: ssh says {status}")
    answer = explained(text)
    found = {finding["code"] for finding in answer["findings"]}
    check(answer["ended"] == ended, f"  ended with {answer['ended']!r}" + ("" if answer["ended"] == ended else text.decode()))
    check(found == {ended, *findings}, f"  findings {sorted(found)}" + ("" if found == {ended, *findings} else text.decode()))
    if keys is not None:
        check([key["state"] for key in answer["keys"]] == keys, f"  keys {answer['keys']}")
    if this_machine is not None:
        check(answer["this_machine"] is this_machine, f"  this machine: {this_machine}")
    if blockers is not None:
        said = [[blocker["code"] for blocker in verdict["key"]["blockers"]] for verdict in answer["verdicts"]]
        check(said == blockers, f"  the doctor: {said}")
    failures += status != 0
    return answer


class Listener:
    """Something on a port that is no sshd."""

    def __init__(self, answer, backlog=5):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(backlog)
        self.port = self.socket.getsockname()[1]
        self.answer, self.held = answer, []
        if answer is not None:
            threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        connection, _ = self.socket.accept()
        self.held.append(connection)
        self.answer(connection)


def greet_badly(connection):
    connection.recv(10)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n" + b"\x1b[2J\xff\n" * 3000)
    connection.close()


def before_the_login():
    case("refused", ssh(*NEW, port=2), "connection_refused")
    case("no name", ssh(*NEW, host="no-such-host.invalid"), "name_not_resolved")
    case("unreachable", ssh(*NEW, host="198.51.100.1"), "unreachable")
    full = Listener(None, backlog=0)
    fill = [socket.socket() for _ in range(8)]
    for client in fill:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", full.port))
    case("timeout", ssh(*NEW, "-o", "ConnectTimeout=2", port=full.port), "connection_timeout")
    silent = Listener(lambda connection: None)
    case("silent", ssh(*NEW, "-o", "ConnectTimeout=2", port=silent.port), "banner_timeout")
    closing = Listener(lambda connection: (connection.recv(10), connection.close()))
    case("closed at once", ssh(*NEW, port=closing.port), "reset_before_banner")
    web = Listener(greet_badly)
    case("a web server", ssh(*NEW, port=web.port), "not_ssh")
    # sshd's own words from 9.8 on, to an address that has failed too often.
    penalty = Listener(lambda connection: (connection.sendall(b"Not allowed at this time\r\n"), connection.close()))
    case("a penalty", ssh(*NEW, port=penalty.port), "turned_away")
    write("/etc/hosts.deny", "sshd: ALL\n", 0o644)
    case("hosts.deny", ssh(*NEW, "-o", "ConnectTimeout=50"), "reset_before_banner")
    write("/etc/hosts.deny", "", 0o644)
    case("an old client", ssh(*NEW, "-o", "KexAlgorithms=diffie-hellman-group1-sha1"), "no_common_algorithm")


def too_many_at_once(server):
    write(FIRST, "MaxStartups 1:100:1\n", 0o644)
    server.reload()
    with socket.create_connection(("127.0.0.1", 22)) as first:
        check(first.recv(64).startswith(b"SSH-2.0"), "one logs in")
        case("MaxStartups", ssh(*NEW), "turned_away")
    write(FIRST, "", 0o644)
    server.reload()


def host_keys():
    write(KNOWN, "")
    case("unknown host", ssh("-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"), "host_key_unknown", this_machine=True)
    other = make_key("/tmp/other_host")
    write(KNOWN, f"127.0.0.1 {other}\n")
    case("host key changed", ssh("-o", "StrictHostKeyChecking=yes", "-o", "HostKeyAlgorithms=ssh-ed25519"), "host_key_changed",
         this_machine=True)
    write(KNOWN, "")


def keys(server):
    alice = ["-i", "/tmp/alice"]
    case("a key that is not there", ssh(*KEY_ONLY, "-i", "/tmp/bob"), "permission_denied", "no_key_accepted", keys=["not accepted"],
         blockers=[["key_not_present"]], this_machine=True)
    case("no key at all", ssh(*KEY_ONLY, "-i", "/dev/null"), "permission_denied", "no_key_offered", "key_file_permissions", keys=[])
    case("no such file", ssh(*KEY_ONLY, "-i", "/tmp/none"), "permission_denied", "no_key_offered", "key_file_missing", keys=[])
    os.chmod("/tmp/alice", 0o644)
    case("private key 0644", ssh(*KEY_ONLY, *alice), "permission_denied", "key_file_permissions", keys=["accepted"])
    os.chmod("/tmp/alice", 0o600)
    case("vvv", ssh(*KEY_ONLY, "-i", "/tmp/bob", level="-vvv"), "permission_denied", "no_key_accepted", blockers=[["key_not_present"]])
    must("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret Phrase 7", "-f", "/tmp/locked")
    with open("/tmp/locked.pub", encoding="ascii") as public:
        put_keys("alice", open("/tmp/alice.pub", encoding="ascii").read() + public.read())
    case("passphrase", ssh(*KEY_ONLY, "-i", "/tmp/locked"), "permission_denied", "key_passphrase", keys=["accepted"], blockers=[[]])
    case("wrong passphrase", ssh(*NEW, "-o", "PreferredAuthentications=publickey", "-i", "/tmp/locked", environment={
        "SSH_ASKPASS": "/bin/true", "SSH_ASKPASS_REQUIRE": "force"}), "permission_denied", "key_passphrase", keys=["accepted"])
    os.chmod("/home/alice", 0o777)
    case("home 0777", ssh(*KEY_ONLY, *alice), "permission_denied", "no_key_accepted", blockers=[["strict_modes"]])
    os.chmod("/home/alice", 0o700)
    make_key("/tmp/rsa", "rsa")
    write(FIRST, "PubkeyAcceptedAlgorithms ssh-ed25519\n", 0o644)
    server.reload()
    put_keys("alice", open("/tmp/alice.pub", encoding="ascii").read() + open("/tmp/rsa.pub", encoding="ascii").read())
    case("algorithm off", ssh(*KEY_ONLY, "-i", "/tmp/rsa"), "permission_denied", "no_key_accepted", blockers=[["key_type_off"]])
    case("algorithm off at the client", ssh(*KEY_ONLY, "-i", "/tmp/rsa", "-o", "PubkeyAcceptedAlgorithms=ssh-ed25519"),
         "permission_denied", "no_mutual_signature_algorithm", "no_key_offered", keys=[])
    write(FIRST, "AuthenticationMethods publickey,password\n", 0o644)
    server.reload()
    case("two methods", ssh(*KEY_ONLY, *alice), "permission_denied", "partial_success", keys=["accepted"],
         blockers=[["authentication_methods"]])
    write(FIRST, "PubkeyAuthentication no\n", 0o644)
    server.reload()
    answer = case("keys off", ssh(*KEY_ONLY, *alice), "permission_denied", keys=[], blockers=[["pubkey_auth_off"]])
    check("publickey" not in answer["methods"], "  methods " + answer["methods"])
    write(FIRST, "", 0o644)
    server.reload()


def agent_with_many_keys():
    started = must("ssh-agent", "-s", "-a", "/tmp/agent.sock")
    pid = int(started.split("SSH_AGENT_PID=")[1].split(";")[0])
    try:
        for number in range(8):
            make_key(f"/tmp/many{number}")
            must("ssh-add", "-q", f"/tmp/many{number}", env={"SSH_AUTH_SOCK": "/tmp/agent.sock", "PATH": "/usr/bin"})
        answer = case("many keys", ssh(*KEY_ONLY, "-o", "IdentityAgent=/tmp/agent.sock", "-o", "IdentitiesOnly=no", "-i", "/tmp/alice"),
                      "too_many_failures", "agent_offers_too_many_keys", "no_key_accepted")
        check(len(answer["keys"]) >= 5 and len(answer["verdicts"]) == len(answer["keys"]) and
              all(not verdict["key"]["can"] for verdict in answer["verdicts"]), "  a verdict on each")
    finally:
        os.kill(pid, 15)


def accounts():
    alice = ["-i", "/tmp/alice"]
    case("wrong password", ssh(*NEW, "-o", "PubkeyAuthentication=no", password="wrong"), "permission_denied", "password_refused", "no_key_offered")
    must("chage", "-E", "1", "alice")
    case("account expired", ssh(*KEY_ONLY, *alice), "closed", keys=["accepted"], blockers=[["expired"]])
    must("chage", "-E", "-1", "alice")
    must("usermod", "-s", "/usr/sbin/nologin", "alice")
    case("nologin", ssh(*KEY_ONLY, *alice), "authenticated", "no_shell", keys=["accepted"], blockers=[["shell_nologin"]])
    must("usermod", "-s", "/bin/bash", "alice")
    case("nobody of that name", ssh(*KEY_ONLY, *alice, user="mallory"), "permission_denied", "no_key_accepted",
         blockers=[["no_such_user"]])
    status, text = ssh(*KEY_ONLY, *alice)
    answer = case("it works", (status, text), "authenticated", keys=["accepted"], blockers=[[]])
    check(status == 0 and answer["verdicts"][0]["key"]["can"], "  and so says the doctor")
    return text


def who_may_ask(text):
    code, out, err = latchctl("explain", "-", text=text, user="bob")
    check(code == 77 and "wanted to log in" in out and "login by key" not in out and "only root" in err,
          "bob reads alice's log, and nothing about alice on this machine")
    code, out, err = latchctl("explain", "-", text=text.replace(b"'alice'", b"'no-such'"), user="bob")
    check(code == 77 and "login by key" not in out, "  … nor whether a name exists")


def rubbish(text):
    for name, bytes_ in (("nothing", b""), ("zeros", bytes(5000)), ("another program's", b"hello\nworld\n")):
        check(latchctl("explain", "-", text=bytes_)[0] == 65, f"{name}: exit 65")
    evil = text.replace(b"'alice'", b"'al\x1b[2Jice\xff'")
    code, out, _ = latchctl("explain", "-", text=evil)
    check(code == 0 and "\\x1b" in out and "\x1b" not in out, "a name that moves the cursor is shown escaped")
    check(json.loads(latchctl("--json", "explain", "-", text=evil)[1])["user"] == "al\\x1b[2Jice\\xff", "  … in JSON too")
    other = text.replace(b"Server host key: ssh-ed25519 SHA256:", b"Server host key: ssh-ed25519 SHA256:" + b"A" * 42 + b"E x")
    answer = json.loads(latchctl("--json", "explain", "-", text=other)[1])
    check(answer["this_machine"] is False and answer["verdicts"] == [], "another machine's host key: no verdict about this one")
    check(latchctl("explain")[0] == 64 and latchctl("explain", "/no/such")[0] == 65 and
          latchctl("explain", "-", "--from", "x")[0] == 64, "wrong usage")


def main():
    common = open("/etc/pam.d/common-auth", encoding="utf-8").read()
    write("/etc/pam.d/common-auth", common.replace("pam_unix.so", "pam_unix.so nodelay"), 0o644)
    write(KNOWN, "")
    add_user("alice", PASSWORD)
    add_user("bob")
    public = make_key("/tmp/alice")
    make_key("/tmp/bob")
    put_keys("alice", public + "\n")
    server = Server()
    try:
        before_the_login()
        too_many_at_once(server)
        host_keys()
        keys(server)
        agent_with_many_keys()
        text = accounts()
        who_may_ask(text)
        rubbish(text)
        print(latchctl("explain", "-", text=ssh(*KEY_ONLY, "-i", "/tmp/bob")[1])[1])
        check(failures >= 10, f"{failures} real failures were explained")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
