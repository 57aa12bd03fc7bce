#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The endpoint as a directory (url = file:///DIR), and behind a local socket (url = unix:/PATH): documents take effect,
trust documents too, what is wrong changes nothing, and the status says where results go."""
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import ENDPOINT, Machine, Signer, check, main, payload_of, read, wait_for, write  # noqa: E402

TREE = "/tmp/tree"
FOLDER = f"{TREE}/latchkey/v1/instances/vm-1"
RESULTS = "/var/lib/latchkey/results"
LOCAL = "/tmp/endpoint.socket"


def put(name, text):
    """As a careful writer does: complete, and then there."""
    with open(f"{FOLDER}/.new", "wb") as file:
        file.write(text)
    os.chmod(f"{FOLDER}/.new", 0o644)
    os.rename(f"{FOLDER}/.new", f"{FOLDER}/{name}")


def exists(user):
    return f"\n{user}:" in read("/etc/passwd")


def ensure(ops, seq, user):
    return ops.document(seq, [{"id": f"{user}-id", "do": "user.ensure", "user": user}])


def forward(source, target):
    """One direction of a connection, byte for byte."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve_local(listener):
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", 8470))
        for pair in ((client, server), (server, client)):
            threading.Thread(target=forward, args=pair, daemon=True).start()


def test_files():
    machine, ops = Machine(url=f"file://{TREE}"), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    roots = Signer("/tmp/root1", "root1")
    write("/etc/latchkey/trust_roots", roots.line(options='namespaces="latchkey-trust@1"'))

    def state():
        return os.path.exists("/run/latchkey/status.json") and machine.status()["endpoint"]["state"]

    machine.start_agent()
    wait_for(lambda: state() == "unreachable", "a directory that is not there is an endpoint that cannot be reached")
    check(any(TREE in p["detail"] for p in machine.status()["problems"]), "  and the status names it")
    os.makedirs(FOLDER)
    machine.processes["latchkeyd"].send_signal(10)  # the doorbell
    wait_for(lambda: state() == "files", "it is there now: no restart is needed")
    said = subprocess.run(["/usr/bin/latchctl", "status"], stdout=subprocess.PIPE, text=True).stdout
    check("endpoint: files since" in said and "results stay on this machine" in said, "latchctl says where results stay")
    check(machine.status()["health"] == "ok", "which is no fault of the machine")
    net = machine.processes["latchkey-net"].pid
    status = dict(line.split(":\t", 1) for line in read(f"/proc/{net}/status").splitlines() if ":\t" in line)
    check(status["Seccomp"].strip() == "2" and status["NoNewPrivs"] == "1", "P9_ latchkey-net is under its filter")

    put("document", ensure(ops, 1, "alice"))
    wait_for(lambda: exists("alice"), "a document takes effect when it is moved there")
    result = wait_for(lambda: machine.results(1), "its result")
    check(result["results"][0]["code"] == "ok", "its result stays here")
    with open(f"{FOLDER}/document", "wb") as file:
        file.write(ensure(ops, 2, "bob"))
    wait_for(lambda: exists("bob"), "also when it is written in place")
    check(exists("bob"), "a document takes effect when it is written in place")

    # --- what is wrong changes nothing, and the next good one is taken -------------------------------------------------------
    passwd = read("/etc/passwd")
    stranger = Signer("/tmp/stranger", "stranger")
    os.rename(f"{FOLDER}/document", "/tmp/elsewhere")
    os.symlink("/tmp/elsewhere", f"{FOLDER}/document")
    machine.processes["latchkeyd"].send_signal(10)
    wait_for(lambda: state() == "unreachable", "a symbolic link is not followed")
    os.unlink(f"{FOLDER}/document")
    os.mkfifo(f"{FOLDER}/document", 0o644)
    machine.processes["latchkeyd"].send_signal(10)
    for bad in (b"", b"x" * (2 << 20), b"no document\n", ensure(stranger, 3, "mallory"), ensure(ops, 3, "eve")[:-200]):
        put("document", bad)
    put("document", ensure(ops, 3, "carol"))
    wait_for(lambda: exists("carol"), "after what is wrong the next good one is taken", 400)
    check(passwd in read("/etc/passwd") and not exists("mallory") and not exists("eve"), "what is wrong changes nothing")
    wait_for(lambda: state() == "files", "and the endpoint is in order again")

    # --- a trust document, a restart, a directory in place of the other ----------------------------------------------------
    write(f"{TREE}/latchkey/v1/trust", roots.sign(json.dumps(
        {"v": 1, "version": 1, "signers": [stranger.line().strip()], "revoked": []}) + "\n", "latchkey-trust@1").decode())
    put("document", ensure(stranger, 4, "dora"))
    wait_for(lambda: exists("dora"), "an unknown signer: the trust document is read, which names him", 400)
    check(exists("dora"), "trust documents come from there as well")
    machine.stop("latchkey-net")
    machine.start_net()
    os.rename(FOLDER, FOLDER + ".old")
    os.makedirs(FOLDER)
    machine.processes["latchkeyd"].send_signal(10)
    wait_for(lambda: state() == "files", "a directory that came in its place")
    machine.processes["latchkeyd"].send_signal(10)
    put("document", ensure(ops, 5, "emma"))
    machine.processes["latchkeyd"].send_signal(10)
    wait_for(lambda: exists("emma"), "is the endpoint from then on")
    check(sorted(name for name in os.listdir(RESULTS) if name != "0") == ["1", "2", "3", "4", "5"],
          "every result is kept, each once")
    machine.stop_all()


def test_local():
    machine, ops = Machine(url=f"unix:{LOCAL}"), Signer("/tmp/signer2", "ops2")
    write("/etc/latchkey/allowed_signers", ops.line())
    machine.start_endpoint()
    token = machine.token()

    def call(method, path, body=None, **headers):
        request = urllib.request.Request(f"{ENDPOINT}/latchkey/v1/instances{path}", method=method, data=body, headers={
            "Authorization": f"Bearer {token}", **headers})
        with urllib.request.urlopen(request) as answer:
            return answer.read().decode()

    write("/etc/latchkey/enrol", json.loads(call("POST", "", json.dumps({"instance": "vm-1"}).encode()))["enrol"] + "\n", 0o644)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(LOCAL)
    os.chmod(LOCAL, 0o666)
    listener.listen()
    threading.Thread(target=serve_local, args=(listener,), daemon=True).start()
    machine.start_agent()
    wait_for(lambda: os.path.exists("/run/latchkey/status.json") and machine.status()["endpoint"]["state"] == "ok", "the endpoint behind a local socket answers")
    call("PUT", "/vm-1/document", ensure(ops, 6, "fay"), **{"If-None-Match": "*"})
    wait_for(lambda: exists("fay"), "a document takes effect through it")
    texts = wait_for(lambda: json.loads(call("GET", "/vm-1/results?after=0"))["results"], "results")
    wait_for(lambda: not [name for name in os.listdir(RESULTS) if name != "0"], "all results are delivered, also what files kept")
    texts = json.loads(call("GET", "/vm-1/results?after=0"))["results"]
    check({"fay-id", "alice-id"} <= {r["id"] for text in texts for r in payload_of(text)["results"]},
          "results arrive through it, also those that were kept while the endpoint was a directory")


def test():
    test_files()
    test_local()


if __name__ == "__main__":
    main(test)
