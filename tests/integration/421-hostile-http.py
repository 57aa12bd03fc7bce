#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What an endpoint, or whoever sits in its place, can do with HTTP alone: each answer is met with a back-off or an error,
never with a change, memory that grows, or an agent that hangs; the next good document applies. By bytes on a socket."""
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Machine, Signer, check, confined, main, payload_of, read, wait_for, write  # noqa: E402

NET = "/usr/libexec/latchkey/latchkey-net"
PORT = 8470


class Endpoint:
    """Good to every request but that for the document, which it answers with whatever `script` sends."""

    def __init__(self):
        self.script, self.document, self.number, self.delay = None, None, 0, 0
        self.posted, self.seen, self.done = [], [], threading.Event()
        self.listener = socket.create_server(("127.0.0.1", PORT), backlog=64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            stream = connection.makefile("rb")
            while self.one(connection, stream):
                pass
        except OSError:
            pass
        finally:
            connection.close()

    def one(self, connection, stream):
        line = stream.readline()
        if not line:
            return False
        headers = {}
        while (field := stream.readline().strip()):
            name, value = field.decode().split(":", 1)
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", 0)))
        method, path, _ = line.decode().split()
        self.seen.append((path, headers))
        if method == "POST":
            if path.endswith("/results"):
                self.posted.append(payload_of(body.decode()))
            return self.send(connection, 204)
        if method == "PUT":
            return self.send(connection, 200)
        if not path.endswith("/document"):
            return self.send(connection, 404)
        time.sleep(self.delay)
        script = self.script
        if script:
            self.script = None
            try:
                script(connection)
                self.wait_read(connection)
            finally:
                self.done.set()
            return False
        etag = f'"{self.number}"'
        end = time.monotonic() + 20
        while self.document is None or headers.get("if-none-match") == etag:
            if self.script or time.monotonic() > end:
                return self.send(connection, 304 if self.document else 404)
            time.sleep(0.01)
            etag = f'"{self.number}"'
        return self.send(connection, 200, self.document, f"ETag: {etag}\r\nPreference-Applied: wait\r\n")

    @staticmethod
    def wait_read(connection):
        """Until nothing of the answer waits in the agent's socket: a doorbell before that would drop it unread."""
        port = f":{connection.getpeername()[1]:04X}"

        def unread():
            rows = [line.split() for line in read("/proc/net/tcp").splitlines()[1:]]
            return any(row[1].endswith(port) and int(row[4].split(":")[1], 16) for row in rows)
        end = time.monotonic() + 20
        while unread() and time.monotonic() < end:
            time.sleep(0.001)

    @staticmethod
    def send(connection, status, body=b"", more=""):
        connection.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body)
        return True


def flood(piece, megabytes, head=b""):
    """More than anybody would take; ends when the other side hangs up."""
    def send(connection):
        connection.sendall(head)
        for _ in range(megabytes * 1024 * 1024 // len(piece)):
            connection.sendall(piece)
    return send


def dribble(text, seconds, every):
    def send(connection):
        for index in range(int(seconds / every)):
            connection.sendall(text[index % len(text):][:1])
            time.sleep(every)
    return send


def reset(text):
    """RST instead of FIN."""
    def send(connection):
        connection.sendall(text)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return send


def with_each_byte_its_connection_closed(connection):
    connection.sendall(b"H")


def cases(evil):
    """Name -> bytes or function. `evil`: a good document that no case delivers by the rules, or an unsigned text."""
    ok = b"HTTP/1.1 200 OK\r\n"
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(evil), evil)
    length = b"Content-Length: %d\r\n" % len(evil)
    return {
        "closes at once": b"",
        "closes after one byte": with_each_byte_its_connection_closed,
        "no status line": evil,
        "HTTP/0.9": b"<html>\r\n" + evil,
        "a status that is no number": b"HTTP/1.1 abc OK\r\n\r\n",
        "a status of six digits": b"HTTP/1.1 200200 OK\r\n\r\n" + evil,
        "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
        "a million header lines": flood(b"X: y\r\n", 6, ok),
        "a header of a gigabyte": flood(b"a" * 65536, 1024, ok + b"X: "),
        "a header of 9 KiB": ok + b"X: " + b"a" * 9216 + b"\r\n" + length + b"\r\n" + evil,
        "a NUL in a header": ok + b"X: a\0b\r\n" + length + b"\r\n" + evil,
        "two lengths that differ": ok + length + b"Content-Length: 5\r\n\r\n" + evil,
        "two lengths that differ, the other way": ok + b"Content-Length: 5\r\n" + length + b"\r\n" + evil,
        "a length and chunks": ok + length + b"Transfer-Encoding: chunked\r\n\r\n" + chunk,
        "chunks and a length": ok + b"Transfer-Encoding: chunked\r\n" + length + b"\r\n" + chunk,
        "chunked twice": ok + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + chunk,
        "chunks of 2^64-1": ok + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + evil,
        "chunks of -1": ok + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + evil,
        "chunks of 0x10": ok + b"Transfer-Encoding: chunked\r\n\r\n0x10\r\n" + evil,
        "chunks without end": flood(b"10000\r\n" + b"a" * 65536 + b"\r\n", 64, ok + b"Transfer-Encoding: chunked\r\n\r\n"),
        "a chunk of a gigabyte": flood(b"a" * 65536, 64, ok + b"Transfer-Encoding: chunked\r\n\r\n40000000\r\n"),
        "an extension without end": flood(b"a" * 65536, 64, ok + b"Transfer-Encoding: chunked\r\n\r\n10;"),
        "trailers without end": flood(b"X: y\r\n", 6, ok + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"),
        "a body without end": flood(b"a" * 65536, 64, ok + b"\r\n"),
        "a length of 2 MiB": ok + b"Content-Length: 2097152\r\n\r\n" + b"a" * 65536,
        "a length that is negative": ok + b"Content-Length: -1\r\n\r\n" + evil,
        "a length of 2^65": ok + b"Content-Length: 36893488147419103232\r\n\r\n" + evil,
        "a length that is too long": ok + b"Content-Length: %d\r\n\r\n" % (len(evil) + 100) + evil,
        "a body cut short by its length": ok + b"Content-Length: %d\r\n\r\n" % (len(evil) - 100) + evil,
        "a gzip bomb that was not asked for": ok + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + b"\x1f\x8b\x08" + b"\0" * 17,
        "a flood of 100 Continue": flood(b"HTTP/1.1 100 Continue\r\n\r\n", 6),
        "a flood of 103 Early Hints": flood(b"HTTP/1.1 103 X\r\nLink: </x>\r\n\r\n", 6),
        "101 Switching Protocols": b"HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n" + evil,
        "204 with a body": b"HTTP/1.1 204 X\r\n" + length + b"\r\n" + evil,
        "206 partial": b"HTTP/1.1 206 X\r\nContent-Range: bytes 0-9/10\r\n" + length + b"\r\n" + evil,
        "301 to a file": b"HTTP/1.1 301 X\r\nLocation: file:///etc/shadow\r\nContent-Length: 0\r\n\r\n",
        "301 to itself": b"HTTP/1.1 301 X\r\nLocation: /latchkey/v1/instances/vm-1/document\r\nContent-Length: 0\r\n\r\n",
        "302 elsewhere": b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:8471/\r\nContent-Length: 0\r\n\r\n",
        "303 elsewhere": b"HTTP/1.1 303 X\r\nLocation: http://127.0.0.1:8471/\r\nContent-Length: 0\r\n\r\n",
        "307 elsewhere": b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:8471/\r\nContent-Length: 0\r\n\r\n",
        "308 elsewhere": b"HTTP/1.1 308 X\r\nLocation: http://127.0.0.1:8471/\r\nContent-Length: 0\r\n\r\n",
        "a Refresh elsewhere": ok + b"Refresh: 0; url=http://127.0.0.1:8471/\r\nContent-Length: 0\r\n\r\n",
        "401 with a challenge": b"HTTP/1.1 401 X\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n",
        "407 from no proxy": b"HTTP/1.1 407 X\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n",
        "500": b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n",
        "503, Retry-After -1": b"HTTP/1.1 503 X\r\nRetry-After: -1\r\nContent-Length: 0\r\n\r\n",
        "503, Retry-After 10^12": b"HTTP/1.1 503 X\r\nRetry-After: 1000000000000\r\nContent-Length: 0\r\n\r\n",
        "503, Retry-After a date": b"HTTP/1.1 503 X\r\nRetry-After: Fri, 31 Dec 2100 23:59:59 GMT\r\nContent-Length: 0\r\n\r\n",
        "503, Retry-After a word": b"HTTP/1.1 503 X\r\nRetry-After: later\r\nContent-Length: 0\r\n\r\n",
        "an ETag of a mebibyte": ok + b'ETag: "' + b"e" * 1048576 + b'"\r\n' + length + b"\r\n" + evil,
        "a Set-Cookie, a Date of 2100, an Alt-Svc": ok + b"Set-Cookie: a=b\r\nDate: Fri, 31 Dec 2100 23:59:59 GMT\r\nAlt-Svc: h2=\":8471\"\r\n" +
        b"Content-Length: 0\r\n\r\n",
        "reset in the head": reset(b"HTTP/1.1 200 OK\r\nContent-Le"),
        "reset in the body": reset(ok + length + b"\r\n" + evil[:100]),
        "an answer and another that nobody asked for": ok + b"Content-Length: 2\r\n\r\n{}" + ok + length + b"\r\n" + evil,
        "one byte a second": dribble(ok + length + b"\r\n" + evil, 3, 1),
    }


# Where HTTP delivers the text after all, and the signature is what refuses it.
DELIVERED = {"a body cut short by its length", "a gzip bomb that was not asked for", "a Refresh elsewhere",
             "a Set-Cookie, a Date of 2100, an Alt-Svc", "an answer and another that nobody asked for"}


def memory(process):
    return int(re.search(r"VmHWM:\s+(\d+)", read(f"/proc/{process.pid}/status"))[1])


def test():
    machine, ops, stranger = Machine(), Signer(), Signer("/tmp/stranger", "stranger")
    write("/etc/latchkey/allowed_signers", ops.line())
    elsewhere = socket.create_server(("127.0.0.1", 8471))
    elsewhere.setblocking(False)
    endpoint = Endpoint()
    machine.start_agent()
    seq = 0

    def good(what):
        nonlocal seq
        seq += 1
        endpoint.document = ops.document(seq, [{"id": f"g{seq}", "do": "user.ensure", "user": f"u{seq}"}])
        endpoint.number += 1
        wait_for(lambda: any(p.get("seq") == seq and p["results"][0]["code"] == "ok" for p in endpoint.posted), what)
        endpoint.posted.clear()

    def bell():
        machine.processes["latchkeyd"].send_signal(10)

    # What an answer may bring in although it breaks the rules is never one that anybody signed.
    evil = stranger.document(900, [{"id": "evil", "do": "user.ensure", "user": "mallory"}])
    good("a good document before")
    idle, most = memory(machine.processes["latchkey-net"]), 0
    for number, (name, script) in enumerate(cases(evil).items()):
        if number % 3 == 2:  # a new process may ask ten times at once again: the test would only wait for that
            most = max(most, memory(machine.processes["latchkey-net"]))
            machine.stop("latchkey-net")
            machine.start_net()
        accounts, refused = read("/etc/passwd"), read("/tmp/latchkeyd.log").count("document refused")
        endpoint.done.clear()
        endpoint.script = script if callable(script) else lambda connection, text=script: connection.sendall(text)
        bell()
        check(endpoint.done.wait(60), f"{name}: is asked and answered")
        if name in DELIVERED:  # before the next question takes its place
            wait_for(lambda: read("/tmp/latchkeyd.log").count("document refused") > refused, f"{name}: it reaches latchkeyd")
        check(read("/etc/passwd") == accounts and machine.processes["latchkey-net"].poll() is None, "  nothing is changed, it lives")
        bell()
        good(f"a good document after: {name}")
        assert f"u{seq}:" in read("/etc/passwd")
        delivered = read("/tmp/latchkeyd.log").count("document refused") - refused
        check(delivered == (name in DELIVERED) or name == "a status of six digits",  # curl 8 takes it for its first three
              f"  and a good document applies; this one reached latchkeyd {delivered} times")
    grown = max(most, memory(machine.processes["latchkey-net"])) - idle
    check(grown <= 2048, f"P5: after all of them its memory has never been more than 2 MiB above idle ({grown} kB)")
    try:
        elsewhere.accept()
        check(False, "P4: nobody was ever sent elsewhere")
    except BlockingIOError:
        check(True, "P4: nobody was ever sent elsewhere")
    check("mallory" not in read("/etc/passwd"), "P10: what nobody trusted has signed did nothing")
    asked = [headers for path, headers in endpoint.seen]
    check(all(headers.get("latchkey") == "1" and "cookie" not in headers and "authorization" not in headers for headers in asked),
          f"each of {len(asked)} requests says what it is, and brings back nothing that the endpoint gave it")

    # --- a bell that rings faster than the endpoint answers -------------------------------------------------------------------
    machine.stop("latchkey-net")
    machine.start_net()
    good("a document before")
    endpoint.delay, stop = 0.4, threading.Event()

    def ring():
        while not stop.wait(0.02):
            bell()
    ringing = threading.Thread(target=ring)
    ringing.start()
    try:
        time.sleep(1)  # the request that waited since before has gone by then
        good("a document although the bell never stops ringing")
        check(True, "a bell that rings faster than the endpoint answers keeps no answer out")
    finally:
        stop.set()
        ringing.join()
    endpoint.delay = 0

    # --- P8: while the endpoint dribbles, status answers and stopping does not wait for it ---------------------------------
    endpoint.done.clear()
    endpoint.script = dribble(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"{" * 1000000, 600, 0.1)
    bell()
    wait_for(lambda: endpoint.script is None, "it is asked")
    times = []
    for _ in range(20):
        start = time.monotonic()
        check(subprocess.run(["latchctl", "status", "--json"], stdout=subprocess.PIPE, check=True).stdout.startswith(b"{"),
              "P8: status answers while the endpoint dribbles") if not times else \
            subprocess.run(["latchctl", "status", "--json"], stdout=subprocess.PIPE, check=True)
        times.append(time.monotonic() - start)
    print(f"     (median {sorted(times)[10] * 1000:.0f} ms, with the start of latchctl)")
    check(not endpoint.done.is_set(), "P8: all of that in the middle of an answer of ten minutes")
    machine.stop("latchkey-net")
    check(endpoint.done.wait(60), "P8: it stops without waiting for the rest")

    # --- P1, P3: where it connects to -----------------------------------------------------------------------------------------
    environment = {"PATH": "/usr/bin", "http_proxy": "http://127.0.0.1:8471", "https_proxy": "http://127.0.0.1:8471",
                   "all_proxy": "http://127.0.0.1:8471", "ALL_PROXY": "http://127.0.0.1:8471", "no_proxy": "", "LC_ALL": "tr_TR.UTF-8",
                   "HOSTALIASES": "/tmp/aliases", "RES_OPTIONS": "debug", "CURL_HOME": "/tmp", "SSL_CERT_FILE": "/tmp/none",
                   "HOME": "/tmp", "NETRC": "/tmp/netrc"}
    write("/tmp/.curlrc", "proxy = 127.0.0.1:8471\n")
    trace = "/tmp/net.trace"
    process = subprocess.Popen(["strace", "-f", "-o", trace, "-e", "trace=connect,sendto,openat,open,execve,socket", *confined(
        "", "--no-new-privs", "--reuid", "latchkey", "--regid", "latchkey", "--clear-groups", NET)],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open("/tmp/net.log", "a"))
    try:
        good("with a hostile environment")
    finally:  # strace takes no signal while it writes a file; what it traces does
        os.kill(int(read(f"/proc/{process.pid}/task/{process.pid}/children").split()[0]), 15)
        process.wait()
    calls = read(trace)
    peers = set(re.findall(r"connect\(\d+, \{sa_family=AF_INET6?, sin6?_port=htons\((\d+)\).*?\"([0-9.:a-f]+)\"", calls))
    check(peers == {(str(PORT), "127.0.0.1")}, f"P3: it connects to its endpoint alone: {sorted(peers)}")
    names = [name for name in ("/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/var/run/nscd", "libnss_", "htons(53)")
             if name in calls.split(NET)[-1]]
    check(not names, f"P1: an address is not looked up: {names}")
    check(".curlrc" not in calls and "netrc" not in calls, "P3: nor is anybody's curlrc or netrc read")


main(test)
