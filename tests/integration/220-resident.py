#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The resident pair against endpoints and peers that do not do what they should: an endpoint that comes late, one that
repeats itself, and a latchkey-net that somebody else has taken over."""
import array
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Machine, Signer, check, main, payload_of, read, wait_for, write  # noqa: E402


class Scripted(BaseHTTPRequestHandler):
    """Answers GETs of the document as told and notes every request."""
    protocol_version = "HTTP/1.1"
    document = (404, b"", {})
    trust = (404, b"")
    identity = 200
    results = 204
    seen = []

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status not in (204, 304):
            try:
                self.wfile.write(body)
            except OSError:
                pass

    def do_GET(self):
        Scripted.seen.append(("GET", self.path.rsplit("/", 1)[1], b""))
        if self.path.endswith("/trust"):
            return self.answer(*Scripted.trust)
        return self.answer(*Scripted.document)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Scripted.seen.append((self.command, self.path.rsplit("/", 1)[1], body))
        self.answer(Scripted.identity if self.path.endswith("/identity") else Scripted.results(body)
                    if callable(Scripted.results) else Scripted.results)

    do_POST = do_PUT

    def log_message(self, *arguments):
        pass


def count(what):
    return len([1 for method, leaf, _ in Scripted.seen if (method, leaf) == what])


def posted():
    """Ids of every command whose result has been delivered."""
    return {r["id"] for method, leaf, body in Scripted.seen if leaf == "results"
            for r in payload_of(body.decode())["results"]}


def serve():
    server = ThreadingHTTPServer(("127.0.0.1", 8470), Scripted)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Peer:
    """A latchkey-net in other hands: its uid, its socket, its own ideas."""
    SIZE = 512

    def __init__(self):
        uid = int(next(l for l in read("/etc/passwd").splitlines() if l.startswith("latchkey:")).split(":")[2])
        os.seteuid(uid)
        try:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.socket.connect("/run/latchkey/link")
        finally:
            os.seteuid(0)

    @staticmethod
    def message(kind, code=0, seq=0, size=0, etag=b"", text=b""):
        return struct.pack("=IIQQ128s256s104x", kind, code, seq, size, etag, text)

    def send(self, data, *descriptors):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.socket.sendmsg([data], rights)

    def greet(self):
        self.send(self.message(17, 1))
        data, ancillary, *_ = self.socket.recvmsg(512, 1024)
        check(struct.unpack_from("=I", data)[0] == 1, "  HELLO answers READY")
        return self

    def is_closed(self):
        """Reads until the other side hangs up."""
        self.socket.settimeout(30)
        try:
            while self.socket.recv(512):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return False
        return True


def memfd(content, seals=True):
    descriptor = os.memfd_create("body", os.MFD_ALLOW_SEALING)
    os.write(descriptor, content)
    if seals:
        fcntl.fcntl(descriptor, 1033, 0x2 | 0x4 | 0x8)  # F_ADD_SEALS: SHRINK, GROW, WRITE
    return descriptor


def rss(pid):
    return int(next(l for l in read(f"/proc/{pid}/status").splitlines() if l.startswith("VmRSS:")).split()[1])


def test():
    machine, ops = Machine(), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())

    # --- an endpoint that comes later than the agent --------------------------------------------------------------------
    machine.start_agent()
    wait_for(lambda: os.path.exists("/run/latchkey/status.json") and
             machine.status()["endpoint"]["state"] == "unreachable", "nobody answers yet")
    machine.apply(ops.document(1, [{"id": "u1", "do": "user.ensure", "user": "alice"}]))
    Scripted.identity = 403
    server = serve()
    wait_for(lambda: count(("PUT", "identity")) >= 1, "the identity is offered to an endpoint that came late")
    check(not posted(), "P20_ an endpoint that does not know the instance gets no results")

    def problems():
        return [p["code"] for p in machine.status()["problems"]]
    wait_for(lambda: "not_registered" in problems(), "which status says", 120)
    Scripted.identity = 409
    wait_for(lambda: "identity_taken" in problems() and "not_registered" not in problems(), "… and that another has its name", 240)
    Scripted.identity = 201
    wait_for(lambda: "u1" in posted(), "once the operator has created the instance the results arrive", 120)
    check(True, "P20_ once the operator has created the instance the results arrive")
    wait_for(lambda: not {"not_registered", "identity_taken"} & set(problems()), "and status is content", 120)
    wait_for(lambda: count(("GET", "trust")) >= 1, "the trust document is asked for", 120)
    check(True, "P113_ the trust document is asked for without any document that needs it")

    # --- one text that the endpoint will never take does not hold up the others ------------------------------------------
    Scripted.results = lambda body: 422 if payload_of(body.decode()).get("seq") == 2 else 204
    machine.apply(ops.document(2, [{"id": "u2", "do": "diagnose", "user": "alice"}]))
    machine.apply(ops.document(3, [{"id": "u3", "do": "diagnose", "user": "alice"}]))
    machine.stop("latchkey-net")
    machine.start_net()
    wait_for(lambda: "u3" in posted() and os.listdir("/var/lib/latchkey/results") == ["2"],
             "results behind one that is not taken arrive", 120)
    Scripted.results = 204
    wait_for(lambda: not os.listdir("/var/lib/latchkey/results"), "and that one when it is taken", 240)

    # --- servers that do not hold, and repeat themselves ------------------------------------------------------------------
    configuration = read("/etc/latchkey/latchkey.conf")
    document = ops.document(4, [{"id": "u4", "do": "user.ensure", "user": "bob"}])
    for name, extra, answer in (("304 without a hold, wait = 0", "wait = 0\n", (404, b"", {})),
                                ("the same 200 again and again", "", (200, document, {"ETag": '"same"'}))):
        write("/etc/latchkey/latchkey.conf", configuration + extra)
        machine.stop("latchkey-net")
        Scripted.document, Scripted.seen = answer, []
        machine.start_net()
        wait_for(lambda: count(("GET", "document")) >= 1, name)
        time.sleep(3)
        check(count(("GET", "document")) <= 3, f"P18_ {name}: polled, not hammered ({count(('GET', 'document'))})")
    check("bob:" in read("/etc/passwd"), "  and its document is applied")
    write("/etc/latchkey/latchkey.conf", configuration)

    # --- an unknown signer and a trust document that does not name him ------------------------------------------------------
    stranger, root = Signer("/tmp/stranger", "stranger"), Signer("/tmp/root", "root")
    write("/etc/latchkey/trust_roots", root.line(options='namespaces="latchkey-trust@1"'))
    machine.stop("latchkey-net")
    Scripted.trust = (200, root.sign(json.dumps({"v": 1, "version": 1, "signers": [], "revoked": []}) + "\n",
                                     "latchkey-trust@1"))
    Scripted.document, Scripted.seen = (200, stranger.document(5, []), {"ETag": '"strange"'}), []
    machine.start_net()
    wait_for(lambda: os.path.exists("/var/lib/latchkey/trust/document"), "the trust document is taken over")
    wait_for(lambda: count(("GET", "document")) >= 2, "the stranger's document is looked at again")
    time.sleep(5)
    check(count(("GET", "trust")) <= 3 and count(("GET", "document")) <= 8,
          f"an unknown signer is no hot loop (trust {count(('GET', 'trust'))}, document {count(('GET', 'document'))})")
    machine.stop("latchkey-net")

    # --- a latchkey-net in other hands -----------------------------------------------------------------------------------------
    daemon = machine.processes["latchkeyd"]
    good = memfd(b"x" * 100)
    null = os.open("/dev/null", os.O_RDONLY)
    first, second = os.pipe()
    on_disk = os.open("/tmp/body", os.O_RDWR | os.O_CREAT)
    os.write(on_disk, b"x" * 100)
    before_hello = [("a DOCUMENT before READY", Peer.message(18, size=100), [good]), ("a wrong version",
                    Peer.message(17, 2), []), ("a short message", b"x" * 100, []), ("a long message", b"x" * 600, []),
                    ("READY with a descriptor", Peer.message(17, 1), [null]), ("nothing at all", b"", [])]
    for name, data, descriptors in before_hello:
        peer = Peer()
        peer.send(data, *descriptors)
        check(peer.is_closed(), f"P58_ {name}: closed")
    bad = [("READY twice", Peer.message(17, 1), []), ("a type of the other side", Peer.message(1), []),
           ("an unknown type", Peer.message(99), []), ("DOCUMENT without a body", Peer.message(18, size=5), []),
           ("ENDPOINT with a descriptor", Peer.message(22, 200), [null]),
           ("DELIVERED with a body", Peer.message(21, 204), [good]),
           ("a body that is a device", Peer.message(18, size=0), [null]),
           ("a body that is a pipe", Peer.message(18, size=0), [first]),
           ("a body on a disk", Peer.message(18, size=100), [on_disk]),
           ("a body that can still change", Peer.message(18, size=100), [memfd(b"x" * 100, seals=False)]),
           ("a body that is shorter than it says", Peer.message(18, size=101), [good]),
           ("a body over a MiB", Peer.message(19, size=(1 << 20) + 1), [memfd(b"x" * ((1 << 20) + 1))]),
           ("two descriptors", Peer.message(18, size=100), [good, good]),
           ("nine descriptors", Peer.message(18, size=100), [good] * 9),
           ("an etag without end", struct.pack("=IIQQ128s256s104x", 22, 200, 0, 0, b"x" * 128, b""), []),
           ("a text without end", struct.pack("=IIQQ128s256s104x", 22, 200, 0, 0, b"", b"x" * 256), [])]
    for name, data, descriptors in bad:
        peer = Peer().greet()
        peer.send(data, *descriptors)
        check(peer.is_closed(), f"P58_ {name}: closed")
    open_before = len(os.listdir(f"/proc/{daemon.pid}/fd"))

    peer = Peer().greet()
    peer.socket.settimeout(0.5)
    stop_at, sent = time.monotonic() + 4, 0
    signer_checks = read("/tmp/latchkeyd.log").count("document refused")
    while time.monotonic() < stop_at:
        try:
            peer.send(Peer.message(18, size=100, etag=b'"x"'), good)
            peer.send(Peer.message(19, size=100), good)
            peer.send(Peer.message(22, 200 + sent % 2 * 303))
            sent += 3
            peer.socket.recv(512, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
        except (TimeoutError, ConnectionError, BrokenPipeError):
            break
    checks = read("/tmp/latchkeyd.log").count("document refused") - signer_checks
    checks += read("/tmp/latchkeyd.log").count("the trust document is not a signed text")
    check(checks <= 16, f"a flood of {sent} messages: never more than a burst of signature checks ({checks})")
    check(daemon.poll() is None and rss(daemon.pid) < 16384, f"P58_ root stays up and small ({rss(daemon.pid)} kB)")
    os.kill(daemon.pid, signal.SIGUSR1)
    silent = Peer()
    silent.send(Peer.message(17, 1))
    try:
        for i in range(5000):
            silent.send(Peer.message(22, 200 + i % 2))
    except OSError:
        pass
    silent.socket.close()
    peer.socket.close()
    wait_for(lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) <= open_before, "no descriptor is left behind")

    Scripted.document, Scripted.trust, Scripted.seen = (200, ops.document(6, [
        {"id": "u6", "do": "user.ensure", "user": "carol"}]), {"ETag": '"six"'}), (404, b""), []
    machine.start_net()
    wait_for(lambda: "carol:" in read("/etc/passwd"), "afterwards an honest latchkey-net works")
    wait_for(lambda: "u6" in posted(), "and its results arrive")
    children = [p for p in os.listdir("/proc") if p.isdigit() and os.path.exists(f"/proc/{p}/stat") and
                read(f"/proc/{p}/stat").rsplit(")", 1)[1].split()[0:2] == ["Z", str(daemon.pid)]]
    check(not children, "no zombie is left")
    machine.stop("latchkeyd")
    machine.processes.pop("latchkey-net").wait()
    server.shutdown()


main(test)
