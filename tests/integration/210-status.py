#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The status socket as the wire rules have it: every vector, the limits per uid and in all, and clients that misbehave by
the thousand while a document is applied."""
import array
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Machine, Signer, check, main, read, wait_for, write  # noqa: E402

PATH = "/run/latchkey/io.latchkey.Agent"
SERVICE, AGENT = "org.varlink.service", "io.latchkey.Agent"


def connect(uid=0):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    os.seteuid(uid)
    try:
        client.connect(PATH)
    finally:
        os.seteuid(0)
    return client


def until_closed(client):
    data = b""
    try:
        while more := client.recv(65536):
            data += more
    except ConnectionResetError:
        pass
    return data


def replies(data):
    return [json.loads(part) for part in data.split(b"\0") if part]


def exchange(*writes, uid=0):
    """Writes, says that no more comes, and returns all replies."""
    client = connect(uid)
    try:
        for data in writes:
            client.sendall(data)
            time.sleep(0.02 if len(writes) > 1 else 0)
        client.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # closed while we wrote
    return replies(until_closed(client))


def call(method, **more):
    return json.dumps({"method": method, **more}).encode() + b"\0"


def vectors():
    info, status = call(f"{SERVICE}.GetInfo"), call(f"{AGENT}.GetStatus")
    answer = exchange(info)
    check(len(answer) == 1 and answer[0]["parameters"]["interfaces"] == [AGENT, SERVICE], "GetInfo")
    check(exchange(call(f"{SERVICE}.GetInfo", parameters=None)) == answer, "  the same with parameters null")
    for name, data, error, parameters in (
            ("an unknown parameter", call(f"{AGENT}.GetStatus", parameters={"x": 1}), "InvalidParameter", {"parameter": "x"}),
            ("an unknown method", call(f"{AGENT}.Nope"), "MethodNotFound", {"method": f"{AGENT}.Nope"}),
            ("an unknown interface", call("org.nope.Foo"), "InterfaceNotFound", {"interface": "org.nope"}),
            ("Monitor without more", call(f"{AGENT}.Monitor"), "ExpectedMore", {}),
            ("a mistyped parameter", call(f"{AGENT}.ListCommands", parameters={"limit": "x"}), "InvalidParameter",
             {"parameter": "limit"}),
            ("a missing parameter", call(f"{AGENT}.GetCommand"), "InvalidParameter", {"parameter": "id"})):
        check(exchange(data) == [{"error": f"{SERVICE}.{error}", "parameters": parameters}], f"P70_ {name}")
    check(exchange(call(f"{AGENT}.GetCommand", parameters={"id": "none"})) ==
          [{"error": f"{AGENT}.NoSuchCommand", "parameters": {"id": "none"}}], "P70_ our own error")
    description = exchange(call(f"{SERVICE}.GetInterfaceDescription", parameters={"interface": AGENT}))
    check("method GetStatus()" in description[0]["parameters"]["description"], "the description is served")
    for data in (call(f"{AGENT}.GetStatus", oneway=True), call("org.nope.Foo", oneway=True)):
        client = connect()
        client.sendall(data + info)
        client.shutdown(socket.SHUT_WR)
        check(replies(until_closed(client)) == answer, "P70_ oneway: nothing, and the connection stays")
    for name, data in (("more and oneway", call(f"{AGENT}.Monitor", more=True, oneway=True)),
                       ("an unknown key", call(f"{SERVICE}.GetInfo", x=1)),
                       ("a duplicate method", b'{"method":"a.B","method":"a.B"}\0'),
                       ("a NUL in the method", b'{"method":"a.B\\u0000"}\0'),
                       ("trailing text", b'{"method":"a.B"} x\0'), ("an empty frame", b"\0"), ("an array", b"[]\0"),
                       ("upgrade", call(f"{SERVICE}.GetInfo", upgrade=True)), ("bad UTF-8", b'{"method":"a.\xff"}\0'),
                       ("70,000 bytes without NUL", b"x" * 70000), ("deep nesting", b"[" * 60000 + b"\0"),
                       ("a method without a dot", call("GetInfo")), ("no method", b"{}\0")):
        client = connect()
        try:
            client.sendall(data)
        except OSError:
            pass
        check(until_closed(client) == b"", f"P70_ {name}: closed, nothing sent")
    check(exchange(call(f"{SERVICE}.GetInfo", **{"com.acme.trace": "x"})) == answer, "P70_ an extension's key is ignored")
    check(len(exchange(info + call(f"{AGENT}.GetStatus", oneway=True) + info)) == 2, "P70_ three calls, one of them oneway")
    check(exchange(info[:5], info[5:20], info[20:]) == answer, "P70_ one call in three writes")
    check(exchange(info[:-1] + b"\n") == [], "P70_ a newline is no NUL")
    many = exchange(status * 700)
    check(len(many) == 700 and all("parameters" in reply for reply in many), "P70_ 700 calls in one write: 700 replies, in order")


def answers(client):
    try:
        client.sendall(call(f"{SERVICE}.GetInfo"))
        return client.recv(65536) != b""
    except OSError:
        return False


def limits():
    nobody = [connect(65534) for _ in range(20)]
    alive = sum(answers(client) for client in nobody)
    check(alive == 16, f"P71_ of 20 connections of one uid 16 answer ({alive})")
    others = [connect(uid) for uid in (2001, 2002, 2003, 2004) for _ in range(16)]
    check(len(exchange(call(f"{SERVICE}.GetInfo"))) == 1, "P71_ root has room when all others are taken")
    check(len(exchange(call(f"{SERVICE}.GetInfo"), uid=2005)) == 1, "P71_ and so has a user who holds none, where a few hold all")
    held = [answers(client) for client in nobody[:16] + others]
    shares = [sum(held[first:first + 16]) for first in range(0, 80, 16)]
    check(62 <= sum(held) <= 63 and min(shares) >= 10, f"P71_   for which one gave up one: no more than his share {shares}")
    for client in nobody + others:
        client.close()
    wait_for(lambda: len(exchange(call(f"{SERVICE}.GetInfo"), uid=65534)) == 1, "and then there is room again")


def monitor(machine, serve):
    """Each command once, also when a removed user's old lines are nobody's any more."""
    write("/etc/latchkey/policy.conf", "[password]\naccept_lockout = yes\n")
    wait_for(lambda: exchange(call(f"{AGENT}.GetStatus"))[0]["parameters"]["seq"] == 3, "nothing is on its way")
    client = connect()
    client.sendall(call(f"{AGENT}.Monitor", more=True) + call(f"{SERVICE}.GetInfo"))
    check("vendor" in json.loads(client.recv(65536).rstrip(b"\0"))["parameters"], "Monitor: nothing yet, and other calls are answered")
    for seq, command in ((4, {"do": "user.ensure"}), (5, {"do": "user.remove", "accept_lockout": True}), (6, {"do": "user.ensure"})):
        serve(seq, [{"id": f"m{seq}", "user": "watched", **command}])
        wait_for(lambda: machine.status()["seq"] == seq, "a document is applied")
    data = b""
    while b'"m6"' not in data:
        more = client.recv(65536)
        assert more, data
        data += more
    check([reply["parameters"]["command"]["code"] for reply in replies(data)] == ["ok", "ok", "home_exists"], "he came and went")
    told = [(reply["parameters"]["command"]["id"], reply["continues"]) for reply in replies(data)]
    check(told == [("m4", True), ("m5", True), ("m6", True)], f"Monitor: each command once {told}")
    client.close()


def endpoint_is_explained(machine, handler, server):
    """Why the endpoint is no help stays in the status when the view is written for another reason."""
    def problem(code):
        return next((p["detail"] for p in machine.status()["problems"] if p["code"] == code), None)

    def ask_until(code):
        os.kill(machine.processes["latchkeyd"].pid, 10)
        return problem(code)

    handler.status = 500
    wait_for(lambda: ask_until("endpoint_refused"), "the endpoint answers 500")
    check("500" in problem("endpoint_refused"), f"endpoint_refused says with what: {problem('endpoint_refused')}")
    server.shutdown()
    server.server_close()
    why = wait_for(lambda: ask_until("endpoint_unreachable"), "the endpoint is gone")
    machine.apply(b"", "--redo")
    check(problem("endpoint_unreachable") == why, f"endpoint_unreachable still says why: {why}")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def test():
    machine, ops = Machine(), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    document = ops.document(1, [{"id": f"u{i}", "do": "user.ensure", "user": f"user{i}"} for i in range(40)])
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Static(BaseHTTPRequestHandler):
        served, status = None, None

        def do_GET(self):
            body = Static.served if self.path.endswith("document") else None
            if Static.status:
                body = None
            self.send_response(Static.status or (200 if body else 404))
            if body:
                self.send_header("ETag", '"%d"' % len(body))
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 8470), Static)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Static.served = document
    machine.start_agent()
    wait_for(lambda: os.path.exists("/run/latchkey/status.json") and machine.status()["seq"] == 1, "a document is applied")
    wait_for(lambda: exchange(call(f"{AGENT}.GetStatus"))[0]["parameters"]["seq"] == 1, "and shown")
    vectors()
    limits()

    # --- descriptors that nobody asked for ---------------------------------------------------------------------------------
    net = machine.processes["latchkey-net"]
    before = descriptors(net.pid)
    client = connect()
    for _ in range(50):
        client.sendmsg([b"{"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 20))])
    check(descriptors(net.pid) <= before + 1, "P70_ descriptors that a client passes are not kept")
    client.close()

    # --- 1,000 clients that say nothing --------------------------------------------------------------------------------------
    started, idle = time.monotonic(), []
    for i in range(1000):
        try:
            idle.append(connect(4000 + i % 100))
        except OSError:
            pass
        if i == 500:
            Static.served = ops.document(2, [{"id": "idle", "do": "user.ensure", "user": "idler"}])
            os.kill(machine.processes["latchkeyd"].pid, 10)
    wait_for(lambda: "idler:" in read("/etc/passwd"), "P71_ a document is applied meanwhile")
    check(len(exchange(call(f"{AGENT}.GetStatus"))) == 1, f"P71_ 1,000 clients are idle, a document is applied, root is answered "
          f"({time.monotonic() - started:.1f} s)")
    for client in idle:
        client.close()

    # --- 1,000 clients -----------------------------------------------------------------------------------------------------------
    started = time.monotonic()
    flood = call(f"{AGENT}.GetMetrics") * 1000
    clients = []
    for i in range(1000):
        try:
            client = connect(3000 + i % 10)
            client.setblocking(False)
            clients.append(client)
            client.send((flood, b"x" * 60000, call(f"{AGENT}.Monitor", more=True), b"\0", call(f"{AGENT}.ListUsers") * 900)[i % 5])
        except OSError:
            pass
        if i == 500:
            Static.served = ops.document(3, [{"id": "late", "do": "user.ensure", "user": "late"}])
            os.kill(machine.processes["latchkeyd"].pid, 10)
    wait_for(lambda: "late:" in read("/etc/passwd"), "P71_ a document is applied meanwhile")
    check(True, f"P71_ 1,000 clients misbehave and a document is applied ({time.monotonic() - started:.1f} s)")
    memory = int(next(l for l in read(f"/proc/{net.pid}/status").splitlines() if l.startswith("VmHWM:")).split()[1])
    check(net.poll() is None and memory < 98304, f"P71_ latchkey-net stays up and below 96 MiB ({memory} kB)")
    for client in clients:
        client.close()
    wait_for(lambda: descriptors(net.pid) <= before + 1, "and every connection goes")

    def serve(seq, commands):
        Static.served = ops.document(seq, commands)
        os.kill(machine.processes["latchkeyd"].pid, 10)

    monitor(machine, serve)
    endpoint_is_explained(machine, Static, server)


main(test)
