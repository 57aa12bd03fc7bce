#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""latchkey when something is in the way: a full disk, a lost answer, a signer known only now, an endpoint that refuses to be read,
a file of ten thousand instances. What it says and its exit status must be true."""
import http.client
import http.server
import json
import os
import pty
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from console import HOME, Operator  # noqa: E402
from machine import Machine, check, main, read, wait_for, write  # noqa: E402

STATE = f"{HOME}/.config/latchkey"


class Losing(http.server.BaseHTTPRequestHandler):
    """In front of the endpoint; loses its answer to the first PUT, or answers for it."""
    protocol_version = "HTTP/1.1"
    lose, status = False, None

    def do(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection("127.0.0.1", 8470, timeout=60)
        names = ("Authorization", "If-Match", "If-None-Match", "Prefer")
        connection.request(self.command, self.path, body=body or None,
                           headers={name: self.headers[name] for name in names if self.headers[name]})
        answer = connection.getresponse()
        content, status = answer.read(), answer.status
        connection.close()
        if self.command == "PUT" and Losing.lose:
            Losing.lose = False
            self.close_connection = True
            return
        if Losing.status and self.path.split("?")[0].endswith("/results"):
            status, content = Losing.status, b'{"error":"go away"}'
        self.send_response(status)
        if answer.getheader("ETag"):
            self.send_header("ETag", answer.getheader("ETag"))
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status not in (204, 304):
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do

    def log_message(self, *_):
        pass


def test():
    machine = Machine()
    operator = Operator(machine)
    vm = machine.instance
    operator.start_all()
    operator.must("user", "add", vm, "alice", "--accept-new-identity")
    fingerprint = operator.must("instance", "list").split()[1]

    # --- what could not be printed ------------------------------------------------------------------------------------------
    def full(program, *arguments):
        with open("/dev/full", "w", encoding="utf-8") as disk:
            done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, stdout=disk, stderr=subprocess.PIPE, text=True,
                                  env=operator.environment, cwd=HOME)
        return done.returncode, done.stderr

    for arguments in (("results", vm, "--all"), ("--json", "results", vm, "--all"), ("status", vm), ("user", "add", vm, "alice"),
                      ("instance", "list"), ("--help",)):
        code, error = full("/usr/bin/latchkey", *arguments)
        check(code == 6 and "standard output" in error, f"a full disk: latchkey {' '.join(arguments)}: 6, and it says so")
    for arguments in (("status",), ("--json", "status"), ("metrics",), ("--help",)):
        code, error = full("/usr/bin/latchctl", *arguments)
        check(code == 71 and "standard output" in error, f"  latchctl {' '.join(arguments)}: 71")
    database = ("--database", "/tmp/endpoint.db")
    code, error = full("/usr/sbin/latchkey-endpoint", *database, "token", "add", "lost")
    check(code == 74 and "is none" in error, "  a token that nobody saw: 74")
    listed = subprocess.run(["/usr/sbin/latchkey-endpoint", *database, "token", "list"], stdout=subprocess.PIPE, text=True, check=True)
    check("lost" not in listed.stdout, "    and there is none")

    # --- the pinned key is not the expected one --------------------------------------------------------------------------------
    check(operator.run("status", vm, "--fingerprint", fingerprint)[0] == 0, "the pinned key is the expected one")
    code, output, error = operator.run("user", "add", vm, "nobody1", "--fingerprint", "SHA256:" + "A" * 43)
    check(code == 4 and "not the expected" in error and "\nnobody1:" not in read("/etc/passwd"), "another is expected: 4, nothing is sent")

    # --- a pair that is bound is not deleted --------------------------------------------------------------------------------------
    for label in ("home", "work"):
        operator.must("keypair", "create", label)
        operator.must("bind", vm, "alice", label)
    operator.must("unbind", vm, "alice", "work", "--no-wait")
    wait_for(lambda: "latchkey:work" not in read("/home/alice/.ssh/authorized_keys"), "it is unbound")
    operator.must("bind", vm, "alice", "work")
    check("(unbinding)" not in operator.must("keypair", "list"), "bound again, and not being unbound")
    operator.must("results", vm, "--all")
    check(operator.run("keypair", "delete", "work")[0] == 1, "the end of the earlier unbind is not this binding's")
    operator.must("keypair", "import", "work", "home.pub" if os.path.exists(f"{HOME}/home.pub") else f"{STATE}/keypairs/home.pub",
                  "--replace")
    code, output, error = operator.run("bind", vm, "alice", "work")
    check(code == 1 and "conflict" in output and operator.run("keypair", "delete", "work")[0] == 1,
          "a second bind that fails does not end the first")

    # --- the answer to a PUT is lost -----------------------------------------------------------------------------------------------
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Losing)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    settings = json.loads(read(f"{STATE}/config"))
    write(f"{STATE}/config", json.dumps({**settings, "endpoint": f"http://127.0.0.1:{proxy.server_port}"}), 0o600)
    machine.stop("latchkey-net")
    machine.stop("latchkeyd")
    Losing.lose = True
    operator.must("sshd", "reload", vm, "--no-wait")
    check(not Losing.lose, "an answer is lost")
    machine.start_agent()
    output = operator.must("--json", "results", vm, "--wait", "--timeout", "30")
    check([json.loads(line)["code"] for line in output.splitlines() if "sshd.reload" in line] == ["ok"],
          "the command is done, and stands once in its document")

    # --- an endpoint that does not let us read ---------------------------------------------------------------------------------------
    machine.stop("latchkey-net")
    machine.stop("latchkeyd")
    for status, expected, lines in ((503, 5, 0), (401, 3, 1)):
        process = subprocess.Popen(["/usr/bin/latchkey", "user", "add", vm, "carl", "--timeout", "8"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=operator.environment, cwd=HOME)
        time.sleep(1)
        Losing.status = status
        error = process.communicate()[1]
        Losing.status = None
        check(process.returncode == expected and error.count("the endpoint answered") == lines,
              f"{status} to who waits: {expected}, and it is said {lines} times")
    machine.start_agent()
    proxy.shutdown()
    write(f"{STATE}/config", json.dumps(settings), 0o600)

    # --- mode observe ----------------------------------------------------------------------------------------------------------------
    write("/etc/latchkey/policy.conf", "[policy]\nmode = observe\n")
    code, output, error = operator.run("reset-password", vm, "alice", "--generate")
    check(code == 0 and "would_change" in output and "sealed" not in error, "a password that was only observed is none: 0")
    os.unlink("/etc/latchkey/policy.conf")

    # --- a fleet, at a terminal: what is not for good, and what was interrupted --------------------------------------------------------
    def at_terminal(*arguments, interrupt=None):
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(HOME)
            os.execve("/usr/bin/latchkey", ["latchkey", *arguments], operator.environment)
        if interrupt:
            wait_for(interrupt, "it is under way")
            os.write(terminal, b"\x03")
        shown = b""
        try:
            while part := os.read(terminal, 4096):
                shown += part
        except OSError:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()

    write(f"{HOME}/list", vm + "\n")
    code, shown = at_terminal("sshd", "set", "--targets", "list", "--password-auth=false")
    check(code == 0 and "1 of them go back by themselves: try a login, then run latchkey sshd confirm" in shown, "changes that await confirmation are told of")
    code, shown = at_terminal("sshd", "confirm", "--targets", "list")
    check(code == 0 and "go back" not in shown, "  and are confirmed")
    machine.stop("latchkey-net")
    machine.stop("latchkeyd")
    before = read("/tmp/endpoint.log").count("stored for")
    code, shown = at_terminal("user", "add", "--targets", "list", "dora",
                              interrupt=lambda: read("/tmp/endpoint.log").count("stored for") > before)
    check(code == 1 and "what was sent stands" in shown and "(exit 5)" in shown, "who is interrupted is told that it stands")
    machine.start_agent()
    wait_for(lambda: "\ndora:" in read("/etc/passwd"), "  as it does")

    # --- ten thousand instances ---------------------------------------------------------------------------------------------------------
    known = json.loads(read(f"{STATE}/known_instances"))
    entry = {**known[vm], "report": {**known[vm]["report"], "seq": (1 << 53) - 1}}
    known.update({f"i-{number:05}-" + "x" * 120: entry for number in range(9999)})
    write(f"{STATE}/known_instances", json.dumps(known), 0o600)
    check(operator.run("status", vm)[0] == 0, "ten thousand with the longest names are known")
    known.update({f"j-{number:05}-" + "x" * 120: entry for number in range(20000)})
    text = json.dumps(known, separators=(",", ":"))
    while len(text) + 1 >= 16 << 20:
        known.popitem()
        known.popitem()
        if len(known) % 100 < 2:
            text = json.dumps(known, separators=(",", ":"))
    known["last"] = {"x": "x" * ((16 << 20) - len(text) - 30)}
    write(f"{STATE}/known_instances", json.dumps(known, separators=(",", ":")), 0o600)
    operator.must("instance", "add", "one-more")
    code, output, error = operator.run("user", "add", "one-more", "x", "--no-wait")
    check(code == 6 and "is full" in error, "one more than there is room for: 6")
    check(operator.run("status", vm)[0] in (0, 6), "and the others are not lost")
    check(vm in json.loads(read(f"{STATE}/known_instances")), "  the file can be read")


main(test)
