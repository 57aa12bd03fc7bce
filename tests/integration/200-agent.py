#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The resident pair: a document put to the endpoint takes effect at once, also the very first one; results come back;
bad answers of the endpoint change nothing and recovery is by itself; the agent survives the death of each part."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import ENDPOINT, Machine, Signer, check, main, payload_of, read, wait_for, write  # noqa: E402


class Console:
    """The operator's HTTP calls, as the CLI makes them."""

    def __init__(self, token, instance="vm-1"):
        self.token, self.base = token, f"{ENDPOINT}/latchkey/v1/instances/{instance}"

    def call(self, method, url, body=None, **headers):
        request = urllib.request.Request(url, method=method, data=body, headers={
            "Authorization": f"Bearer {self.token}", **{k.replace("_", "-"): v for k, v in headers.items()}})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read().decode(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), error.headers

    def create(self):
        status, body, _ = self.call("POST", f"{ENDPOINT}/latchkey/v1/instances",
                                    json.dumps({"instance": "vm-1"}).encode())
        check(status == 201, "the operator creates the instance")
        return json.loads(body)["enrol"]

    def put(self, document):
        status, _, headers = self.call("GET", self.base + "/document")
        match = {"If_Match": headers["ETag"]} if status == 200 else {"If_None_Match": "*"}
        status, body, _ = self.call("PUT", self.base + "/document", document, **match)
        check(status == 204, f"a document is put ({status} {body.strip()})")

    def results(self):
        found = {}
        _, body, _ = self.call("GET", self.base + "/results?after=0")
        for text in json.loads(body)["results"]:
            payload = payload_of(text)
            for result in payload["results"]:
                found[result["id"]] = result
            if payload["document"] != "ok":
                found["document"] = payload
        return found


class Odd(BaseHTTPRequestHandler):
    """An endpoint that answers as told; counts who asked."""
    answer, seen = (503, b"busy", {}), 0

    def do_GET(self):
        Odd.seen += 1
        status, body, headers = Odd.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except BrokenPipeError:
            pass  # over the cap, the agent hangs up

    do_PUT = do_POST = do_GET

    def log_message(self, *arguments):
        pass


def ask(method, uid=0, **parameters):
    """One Varlink call as that uid."""
    left, right = os.pipe()
    child = os.fork()
    if child == 0:
        if uid:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        client = socket.socket(socket.AF_UNIX)
        client.connect("/run/latchkey/io.latchkey.Agent")
        client.sendall(json.dumps({"method": method, "parameters": parameters}).encode() + b"\0")
        data = b""
        while not data.endswith(b"\0"):
            more = client.recv(65536)
            if not more:
                break
            data += more
        os.write(right, data.rstrip(b"\0") or b"null")
        os._exit(0)
    os.close(right)
    with os.fdopen(left, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    return json.loads(data)


def test():
    machine, ops = Machine(), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    machine.start_sshd()
    machine.start_endpoint()
    console = Console(machine.token())
    write("/etc/latchkey/enrol", console.create() + "\n", 0o640)
    os.chown("/etc/latchkey/enrol", 0, int(next(l for l in read("/etc/passwd").splitlines()
                                                if l.startswith("latchkey:")).split(":")[3]))

    # --- what the processes are ---------------------------------------------------------------------------------------
    machine.start_agent()
    wait_for(lambda: console.call("GET", console.base + "/identity")[0] == 200, "the identity is latched")
    net, daemon = machine.processes["latchkey-net"].pid, machine.processes["latchkeyd"].pid
    status = dict(line.split(":\t", 1) for line in read(f"/proc/{net}/status").splitlines() if ":\t" in line)
    check(status["CapEff"] == status["CapPrm"] == status["CapBnd"] == "0" * 16 and status["NoNewPrivs"] == "1" and
          status["Uid"].split()[0] != "0", "P9_ latchkey-net has its own uid, no capability and no new privileges")
    check(all("\nSeccomp:\t2\n" in read(f"/proc/{pid}/status") for pid in (net, daemon)), "both halves are under their filters")
    uid, gid = (int(status[name].split()[0]) for name in ("Uid", "Gid"))
    for opened in ("mem", "environ", "root"):
        done = subprocess.run([sys.executable, "-c", f"import os; os.open('/proc/{net}/{opened}', os.O_RDONLY)"], user=uid, group=gid,
                              extra_groups=[], stderr=subprocess.PIPE, text=True)
        check("PermissionError" in done.stderr, f"P62_ its own uid may not trace it: /proc/PID/{opened}")
    limits = [read(f"/proc/{pid}/limits") for pid in (net, daemon)]
    check(all(re.search(r"Max core file size +0 +0 ", text) for text in limits), "P62_ and no half of it leaves a core")

    # --- at once ---------------------------------------------------------------------------------------------------
    console.put(ops.document(1, [{"id": "u1", "do": "user.ensure", "user": "alice"}]))
    wait_for(lambda: "alice:" in read("/etc/passwd"), "the very first document takes effect")
    started = time.monotonic()
    console.put(ops.document(2, [{"id": "u2", "do": "user.ensure", "user": "bob"}]))
    wait_for(lambda: "bob:" in read("/etc/passwd"), "the second document takes effect")
    check(True, f"a document takes effect {1000 * (time.monotonic() - started):.0f} ms after it was put")
    wait_for(lambda: {"u1", "u2"} <= console.results().keys(), "the results arrive")
    check(console.results()["u1"]["code"] == "ok", "the results are ok")
    wait_for(lambda: not os.listdir("/var/lib/latchkey/results"), "delivered results are removed")

    # --- bad input through the whole chain ------------------------------------------------------------------------------
    stranger = Signer("/tmp/stranger", "stranger")
    console.put(stranger.document(3, [{"id": "m1", "do": "user.ensure", "user": "mallory"}]))
    wait_for(lambda: console.results().get("document", {}).get("document") == "signer_unknown", "the refusal arrives")
    check("mallory:" not in read("/etc/passwd"), "a stranger's document changes nothing")
    console.put(ops.document(4, [{"id": "u4", "do": "user.ensure", "user": "carol"}]))
    wait_for(lambda: "carol:" in read("/etc/passwd"), "the next good document is applied")

    # --- the status socket ------------------------------------------------------------------------------------------------
    def is_current():
        status = ask("io.latchkey.Agent.GetStatus", uid=65534)["parameters"]
        return status["seq"] == 4 and status["endpoint"]["state"] == "ok"

    wait_for(is_current, "the status says what was applied")
    check(True, "P70_ anyone may ask for the status")
    check([u["user"] for u in ask("io.latchkey.Agent.ListUsers")["parameters"]["users"]] == ["alice", "bob", "carol"],
          "root sees all users")
    uid = int(next(l for l in read("/etc/passwd").splitlines() if l.startswith("bob:")).split(":")[2])
    check([u["user"] for u in ask("io.latchkey.Agent.ListUsers", uid=uid)["parameters"]["users"]] == ["bob"],
          "bob sees bob")
    check(ask("io.latchkey.Agent.ListKeys", uid=uid, user="alice")["error"] ==
          "org.varlink.service.PermissionDenied", "and is denied alice's keys")
    check(ask("io.latchkey.Agent.Nope")["error"] == "org.varlink.service.MethodNotFound", "an unknown method is named")

    # --- killed parts ---------------------------------------------------------------------------------------------------------
    machine.stop("latchkey-net", signal.SIGKILL)
    console.put(ops.document(5, [{"id": "u5", "do": "user.ensure", "user": "dora"}]))
    machine.start_net()
    wait_for(lambda: "dora:" in read("/etc/passwd"), "a restarted latchkey-net brings what waited")
    machine.stop("latchkeyd", signal.SIGKILL)
    machine.processes["latchkey-net"].wait()
    machine.processes.pop("latchkey-net")
    console.put(ops.document(6, [{"id": "u6", "do": "user.ensure", "user": "emma"}]))
    machine.start_agent()
    wait_for(lambda: "emma:" in read("/etc/passwd"), "a restarted latchkeyd too")
    wait_for(lambda: console.results().get("u6", {}).get("code") == "ok", "its result arrives")
    check(len([1 for r in console.results() if r == "u5"]) == 1, "each result once")

    # --- an endpoint that is down, slow or wrong ------------------------------------------------------------------------------
    machine.stop("endpoint")
    wait_for(lambda: machine.status()["endpoint"]["state"] == "unreachable", "status says the endpoint is unreachable")
    check("endpoint_unreachable" in [p["code"] for p in machine.status()["problems"]], "and names it as a problem")
    passwd = read("/etc/passwd")
    odd = ThreadingHTTPServer(("127.0.0.1", 8470), Odd)
    threading.Thread(target=odd.serve_forever, daemon=True).start()
    elsewhere = ThreadingHTTPServer(("127.0.0.1", 8471), Odd)
    for answer in [(503, b"busy", {"Retry-After": "1"}), (200, b"<html>captive portal</html>", {}),
                   (302, b"", {"Location": "http://127.0.0.1:8471/", "Retry-After": "1"}),
                   (200, b"x" * (2 << 20), {}), (500, b"", {"Retry-After": "1"})]:
        Odd.answer, Odd.seen = answer, 0
        machine.stop("latchkey-net")
        machine.start_net()
        wait_for(lambda: Odd.seen >= 2, f"it is asked again after {answer[0]} with {len(answer[1])} bytes")
        check(read("/etc/passwd") == passwd, f"T15_ {answer[0]} with {len(answer[1])} bytes changes nothing")
    odd.shutdown()
    odd.server_close()
    elsewhere.server_close()
    machine.start_endpoint()
    machine.stop("latchkey-net")
    machine.start_net()
    console.put(ops.document(7, [{"id": "u7", "do": "user.ensure", "user": "fay"}]))
    wait_for(lambda: "fay:" in read("/etc/passwd"), "afterwards the next good document applies")


main(test)
