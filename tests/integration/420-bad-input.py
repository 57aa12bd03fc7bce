#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every bad input through the network, one check each: a document that any endpoint, honest or not, may hand out is
refused with its own code, changes nothing, and the next good one still applies. The endpoint here is a hostile one: it
hands out whatever it is told. It is also down, slow, and answers HTML."""
import hashlib
import json
import os
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Machine, Signer, check, keygen, main, payload_of, read, wait_for, write  # noqa: E402

FILES = ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/ssh/sshd_config",
         "/etc/ssh/sshd_config.d/00-latchkey.conf", "/home/alice/.ssh/authorized_keys")


class Hostile(BaseHTTPRequestHandler):
    """Hands out one text as the document; keeps what is posted. `slow`: seconds between the bytes of an answer."""
    protocol_version = "HTTP/1.1"
    document, number, slow, posted, asked = None, 0, 0, [], 0

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass

    def do_GET(self):
        cls = type(self)
        if not self.path.endswith("/document"):
            return self.answer(404)
        cls.asked += 1
        if cls.slow:
            try:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: \"slow\"\r\n\r\n")
                for _ in range(1000):
                    self.wfile.write(b"{")
                    self.wfile.flush()
                    time.sleep(cls.slow)
            except OSError:
                pass
            return None
        etag = f'"{cls.number}"'
        if self.headers.get("If-None-Match") == etag or cls.document is None:
            end = time.monotonic() + 30
            while cls.document is None or etag == f'"{cls.number}"':
                if time.monotonic() > end:
                    return self.answer(304 if cls.document else 404)
                time.sleep(0.01)
            etag = f'"{cls.number}"'
        return self.answer(200, cls.document, ETag=etag, **{"Preference-Applied": "wait"})

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200)

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path.endswith("/results"):
            type(self).posted.append(payload_of(text))
        self.answer(204)

    def log_message(self, *arguments):
        pass


def digest():
    whole = hashlib.sha256()
    for path in FILES:
        whole.update(read(path).encode() if os.path.exists(path) else b"-")
    return whole.hexdigest()


def test():
    machine, ops = Machine(), Signer()
    stranger, other = Signer("/tmp/stranger", "stranger"), Signer("/tmp/other", "other")
    late, revoked = Signer("/tmp/late", "late"), Signer("/tmp/revoked", "revoked")
    root = Signer("/tmp/root", "root")
    document_only = 'namespaces="latchkey-document@1"'
    write("/etc/latchkey/allowed_signers", ops.line() + other.line("vm-2") + revoked.line() +
          late.line("*", document_only + ',valid-before="20200101Z"'))
    write("/etc/latchkey/trust_roots", root.line("*", 'namespaces="latchkey-trust@1"'))
    fingerprint = os.popen("ssh-keygen -lf /tmp/revoked.pub").read().split()[1]
    code, log = machine.apply(root.sign(json.dumps({"v": 1, "version": 1, "signers": [], "revoked": [fingerprint]}) + "\n",
                                        "latchkey-trust@1"), "--trust", "-")
    check(code == 0, f"one signer is revoked {log}")
    machine.start_sshd()
    server = ThreadingHTTPServer(("127.0.0.1", 8470), Hostile)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    machine.start_agent()
    key = keygen("/tmp/alice")
    seq = 0

    def hand_out(text):
        Hostile.document = text
        Hostile.number += 1

    def results_of(seq):
        return next((p for p in Hostile.posted if p.get("seq") == seq and p["document"] == "ok"), None)

    def good(*commands):
        nonlocal seq
        seq += 1
        hand_out(ops.document(seq, [{"id": f"g{seq}", "do": "user.ensure", "user": "alice"}, *commands]))
        results = wait_for(lambda: results_of(seq), f"the good document {seq} is done")
        return {result["id"]: result for result in results["results"]}

    check(good({"id": "k1", "do": "keys.bind", "user": "alice", "keypair": "laptop", "key": key})["k1"]["code"] == "ok" and
          machine.login_with_key("alice", "/tmp/alice"), "a good document first")

    # --- whole documents -------------------------------------------------------------------------------------------
    harm = [{"id": "harm", "do": "user.ensure", "user": "mallory"}]

    def text(**more):
        now = int(time.time())
        return json.dumps({"v": 1, "instance": "vm-1", "seq": seq + 1, "issued": now, "expires": now + 3600, "actor": "a",
                           "commands": harm, **more}) + "\n"

    def by(signer, **more):
        return signer.sign(text(**more))

    now = int(time.time())
    documents = {
        "signature_missing": lambda: text().encode(),
        "signature_invalid": lambda: by(ops).replace(b"mallory", b"mallorz"),
        "signature_invalid (another namespace)": lambda: ops.sign(text(), "latchkey-results@1"),
        "signer_unknown": lambda: by(stranger),
        "signer_unknown (another instance's)": lambda: by(other),
        "signer_expired": lambda: by(late),
        "signer_revoked": lambda: by(revoked),
        "wrong_instance": lambda: by(ops, instance="vm-2"),
        "replayed": lambda: by(ops, seq=1),
        "seq_gap": lambda: by(ops, seq=1 << 20),
        "expired": lambda: by(ops, issued=now - 7200, expires=now - 3600),
        "not_yet_valid": lambda: by(ops, issued=now + 86400, expires=now + 90000),
        "validity_too_long": lambda: by(ops, expires=now + 900000),
        "version": lambda: by(ops, v=2),
        "malformed": lambda: ops.sign(text()[:-3] + "\n"),
        "malformed (an unknown member)": lambda: by(ops, force=True),
        "malformed (a repeated member)": lambda: ops.sign(text().replace('"v": 1,', '"v": 1, "v": 1,')),
        "malformed (a null)": lambda: by(ops, actor=None),
    }
    for name, make in documents.items():
        code = name.split()[0]
        before = digest()
        Hostile.posted.clear()
        hand_out(make())
        refusal = wait_for(lambda: next((p for p in Hostile.posted if p["document"] != "ok"), None), f"a refusal: {name}", 90)
        check(refusal["document"] == code and not refusal["results"], f"{name} ({refusal['document']})")
        check(digest() == before and "mallory" not in read("/etc/passwd"), "  nothing is changed")
        check(good()[f"g{seq}"]["code"] == "ok", "  the next good document applies")

    # --- commands, each beside a good one ---------------------------------------------------------------------------------
    bind = {"do": "keys.bind", "user": "alice", "keypair": "x"}
    commands = {
        "unknown_command": {"do": "user.explode", "user": "alice"},
        "unknown_field": {"do": "user.lock", "user": "alice", "force": True},
        "field_missing": {"do": "user.lock"},
        "field_invalid": {"do": "user.lock", "user": 7},
        "name_invalid": {"do": "user.ensure", "user": "../root"},
        "key_invalid": {**bind, "key": "ssh-ed25519 AAAA"},
        "key_is_private": {**bind, "key": "-----BEGIN OPENSSH PRIVATE KEY-----"},
        "key_format": {**bind, "key": "---- BEGIN SSH2 PUBLIC KEY ----"},
        "expired": {"do": "user.lock", "user": "alice", "until": 1000},
        "clear_hash": {"do": "password.set", "user": "alice", "hash": "$6$salt$" + "x" * 86},
        "unseal_failed": {"do": "password.set", "user": "alice", "sealed": "QUJD" * 40},
        "no_such_user": {"do": "user.unlock", "user": "nobodyhere"},
        "privileged": {"do": "user.unlock", "user": "root"},
    }
    for number, (code, command) in enumerate(commands.items()):
        before = digest()
        results = good({"id": f"b{number}", **command})
        check(results[f"b{number}"]["code"] == code, f"{code} ({results[f'b{number}']})")
        check(results[f"g{seq}"]["code"] == "ok" and digest() == before, "  the command beside it is done, nothing is changed")
    policy = read("/etc/latchkey/policy.conf")
    write("/etc/latchkey/policy.conf", "[password]\nclear_hash = yes\n")
    for code, hash in (("hash_invalid", "not a hash"), ("hash_unsupported", "$9$" + "x" * 40)):
        before = digest()
        found = good({"id": f"h-{code}", "do": "password.set", "user": "alice", "hash": hash})[f"h-{code}"]
        check(found["code"] == code and digest() == before, f"{code} ({found['detail']})")
    write("/etc/latchkey/policy.conf", policy)

    # --- the endpoint itself -----------------------------------------------------------------------------------------------
    before = digest()
    hand_out(b"<html><body>Please accept the terms of this network</body></html>")
    time.sleep(2)
    check(digest() == before, "an endpoint that answers HTML changes nothing")
    check(good()[f"g{seq}"]["code"] == "ok", "  and is recovered from")
    Hostile.slow, asked = 0.2, Hostile.asked
    hand_out(ops.document(seq + 1, harm))
    machine.stop("latchkey-net")
    machine.start_net()
    wait_for(lambda: Hostile.asked > asked, "it is asked")
    time.sleep(3)
    check(digest() == before and machine.processes["latchkey-net"].poll() is None, "an endpoint that dribbles changes nothing")
    Hostile.slow = 0
    machine.stop("latchkey-net")
    machine.start_net()
    check(good()[f"g{seq}"]["code"] == "ok", "  and is recovered from")
    server.shutdown()
    server.server_close()
    machine.stop("latchkey-net")
    machine.start_net()
    wait_for(lambda: machine.status()["endpoint"]["state"] == "unreachable", "the status says that it cannot be reached")
    check(digest() == before, "an endpoint that is down changes nothing")
    mute = socket.create_server(("127.0.0.1", 8470))
    time.sleep(3)
    check(digest() == before, "nor does one that takes the connection and says nothing")
    mute.close()
    machine.stop("latchkey-net")
    machine.start_net()
    server = ThreadingHTTPServer(("127.0.0.1", 8470), Hostile)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    check(good()[f"g{seq}"]["code"] == "ok", "  and is recovered from, by itself")
    server.shutdown()
    check("mallory" not in read("/etc/passwd") and machine.login_with_key("alice", "/tmp/alice"), "after all of it alice logs in")


main(test)
