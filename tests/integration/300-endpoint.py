#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""latchkey-endpoint over real HTTP: the table of the interface, held requests, tokens, enrolment, limits.

Runs the installed program, or the one named by LATCHKEY_ENDPOINT; real ssh-keygen makes every signature."""
import base64
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

ENDPOINT = os.environ.get("LATCHKEY_ENDPOINT", "/usr/sbin/latchkey-endpoint")
work = tempfile.mkdtemp(prefix="latchkey-endpoint-test.")
checks = 0


def check(what, got, expected):
    global checks
    checks += 1
    if got != expected:
        print(f"FAILED {what}: got {got!r}, expected {expected!r}")
        raise SystemExit(1)
    print(f"ok {what}")


def keygen(name):
    path = os.path.join(work, name)
    subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path], check=True)
    return path


def public(path):
    return " ".join(open(path + ".pub").read().split()[:2])


def sign(path, namespace, payload):
    text = json.dumps(payload) + "\n"
    signature = subprocess.run(["/usr/bin/ssh-keygen", "-q", "-Y", "sign", "-f", path, "-n", namespace],
                               input=text.encode(), check=True, stdout=subprocess.PIPE).stdout
    return text.encode() + signature


class Endpoint:
    def __init__(self, *extra):
        self.process = subprocess.Popen([ENDPOINT, "--database", os.path.join(work, "db"), "--listen", "127.0.0.1:0",
                                         *extra], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("listening on 127.0.0.1:"), line
        self.port = int(line.strip().rsplit(":", 1)[1])

    def stop(self):
        self.process.terminate()
        return self.process.wait(timeout=10)

    def ask(self, method, path, body=None, agent=False, token=None, timeout=30, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if agent:
            sent["Latchkey"] = "1"
        if token:
            sent["Authorization"] = "Bearer " + token
        connection.request(method, "/latchkey/v1" + path, body=body, headers=sent)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, dict((k.lower(), v) for k, v in response.getheaders()), content


def token(name, role):
    return subprocess.run([ENDPOINT, "--database", os.path.join(work, "db"), "token", "add", name, "--role", role],
                          check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def identity(key, instance="i-1", generation=1, box=b"b" * 32, **more):
    return sign(key, "latchkey-identity@1", {
        "v": 1, "instance": instance, "generation": generation, "sign": public(key),
        "box": base64.b64encode(box).decode(), "host_keys": [public(host)], "agent": "1.0.0", **more})


def document(seq, instance="i-1", key=None, **more):
    now = int(time.time())
    return sign(key or signer, "latchkey-document@1", {
        "v": 1, "instance": instance, "seq": seq, "issued": now, "expires": now + 3600, "actor": "test",
        "commands": [], **more})


def results(key, instance="i-1", seq=1, namespace="latchkey-results@1"):
    return sign(key, namespace, {"v": 1, "instance": instance, "seq": seq, "digest": "0" * 64, "document": "ok",
                                 "agent": "1.0.0", "time": int(time.time()), "results": [], "host_keys": []})


def rss(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1])


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def settled_descriptors(pid):
    """The connections of earlier requests are closed a moment after their answers."""
    count, since = descriptors(pid), time.monotonic()
    while time.monotonic() - since < 0.5:
        time.sleep(0.02)
        if descriptors(pid) != count:
            count, since = descriptors(pid), time.monotonic()
    return count


try:
    signer, instance_key, other_key, host = keygen("signer"), keygen("instance"), keygen("other"), keygen("host")
    endpoint = Endpoint()
    operator, helpdesk, reader = token("op", "operator"), token("desk", "helpdesk"), token("see", "reader")
    ask = endpoint.ask
    DOCUMENT, IDENTITY, RESULTS = "/instances/i-1/document", "/instances/i-1/identity", "/instances/i-1/results"

    # root adds a token before the service, another user, has ever run
    theirs = tempfile.mkdtemp()
    os.chown(theirs, 65534, 65534)
    subprocess.run([ENDPOINT, "--database", f"{theirs}/db", "token", "add", "op"], check=True, stdout=subprocess.DEVNULL)
    check("its database is the service's", {(name, os.stat(f"{theirs}/{name}").st_uid) for name in os.listdir(theirs)}, {("db", 65534)})
    check("which can open it", subprocess.run([ENDPOINT, "--database", f"{theirs}/db", "token", "list"], user=65534, group=65534,
                                              stdout=subprocess.DEVNULL).returncode, 0)
    shutil.rmtree(theirs)

    # who may ask
    check("no header, no token: 400", ask("GET", DOCUMENT)[0], 400)
    check("agent without header: 400", ask("POST", RESULTS, b"x")[0], 400)
    check("console without token: 401", ask("GET", "/instances")[0], 401)
    check("wrong token: 401", ask("GET", "/instances", token="wrong")[0], 401)
    check("the agent's header is no token: 401", ask("GET", "/instances", agent=True)[0], 401)
    check("reader may list", ask("GET", "/instances", token=reader)[0], 200)
    check("reader may not create: 403", ask("POST", "/instances", b'{"instance":"i-1"}', token=reader)[0], 403)
    check("helpdesk may not create: 403", ask("POST", "/instances", b'{"instance":"i-1"}', token=helpdesk)[0], 403)
    check("reader may not put: 403", ask("PUT", DOCUMENT, b"x", token=reader, If_None_Match="*")[0], 403)
    check("unknown path: 404", ask("GET", "/nothing", token=operator)[0], 404)
    check("unknown method: 405", ask("DELETE", DOCUMENT, token=operator)[0], 405)
    check("bad instance id: 400", ask("GET", "/instances/-x/document", agent=True)[0], 400)

    # P100: only what the operator created registers, with its secret, and stays latched
    check("P100 not created: 403", ask("PUT", IDENTITY, identity(instance_key), agent=True)[0], 403)
    status, _, body = ask("POST", "/instances", b'{"instance":"i-1"}', token=operator)
    enrol = json.loads(body)["enrol"]
    check("created: 201", (status, json.loads(body)["instance"], len(enrol)), (201, "i-1", 43))
    check("twice: 409", ask("POST", "/instances", b'{"instance":"i-1"}', token=operator)[0], 409)
    check("bad body: 422", ask("POST", "/instances", b'{"instance":"i 1"}', token=operator)[0], 422)
    check("no identity yet: 404", ask("GET", IDENTITY, token=reader)[0], 404)
    check("P100 no secret: 403", ask("PUT", IDENTITY, identity(instance_key), agent=True)[0], 403)
    check("P100 wrong secret: 403",
          ask("PUT", IDENTITY, identity(instance_key), agent=True, Latchkey_Enrol="x" * 43)[0], 403)
    check("identity of another instance: 422",
          ask("PUT", IDENTITY, identity(instance_key, "i-2"), agent=True, Latchkey_Enrol=enrol)[0], 422)
    check("identity signed by another key: 422",
          ask("PUT", IDENTITY, identity(other_key, sign=public(instance_key)), agent=True, Latchkey_Enrol=enrol)[0], 422)
    check("not latched by any of these", ask("GET", IDENTITY, token=reader)[0], 404)
    first = identity(instance_key)
    check("latched: 201", ask("PUT", IDENTITY, first, agent=True, Latchkey_Enrol=enrol)[0], 201)
    check("again: 200, without the secret", ask("PUT", IDENTITY, first, agent=True)[0], 200)
    check("P100 another key with the secret: 409",
          ask("PUT", IDENTITY, identity(other_key), agent=True, Latchkey_Enrol=enrol)[0], 409)
    check("another box in the same generation: 409",
          ask("PUT", IDENTITY, identity(instance_key, box=b"c" * 32), agent=True)[0], 409)
    second = identity(instance_key, generation=2, box=b"c" * 32)
    check("higher generation by the latched key: 200", ask("PUT", IDENTITY, second, agent=True)[0], 200)
    check("lower generation: 409", ask("PUT", IDENTITY, first, agent=True)[0], 409)
    check("the signed text itself is handed out", ask("GET", IDENTITY, token=reader)[2], second)

    # documents
    check("none: 404", ask("GET", DOCUMENT, agent=True)[0], 404)
    one = document(1)
    check("no precondition: 412", ask("PUT", DOCUMENT, one, token=operator)[0], 412)
    check("If-Match with none there: 412", ask("PUT", DOCUMENT, one, token=operator, If_Match='"x"')[0], 412)
    check("instance not created: 404",
          ask("PUT", "/instances/i-9/document", document(1, "i-9"), token=operator, If_None_Match="*")[0], 404)
    for what, text in (("no signature", b'{"v":1}\n'), ("no JSON", b"x\n" + one[one.index(b"-----BEGIN"):]),
                       ("another instance", document(1, "i-2")), ("seq 0", document(0)), ("v 2", document(1, v=2)),
                       ("duplicate key", one.replace(b'{"v": 1,', b'{"v": 1,"v": 1,'))):
        check(f"{what}: 422", ask("PUT", DOCUMENT, text, token=operator, If_None_Match="*")[0], 422)
    status, headers, _ = ask("PUT", DOCUMENT, one, token=helpdesk, If_None_Match="*")
    etag = headers["etag"]
    check("put by helpdesk: 204 with an etag", (status, etag.startswith('"')), (204, True))
    check("If-None-Match: * with one there: 412", ask("PUT", DOCUMENT, document(2), token=operator, If_None_Match="*")[0], 412)
    check("seq not above: 422", ask("PUT", DOCUMENT, document(1), token=operator, If_Match=etag)[0], 422)
    status, headers, body = ask("GET", DOCUMENT, agent=True)
    check("get by the agent: the same bytes", (status, headers["etag"], body), (200, etag, one))
    check("get by a token", ask("GET", DOCUMENT, token=reader)[2], one)
    check("If-None-Match: 304", ask("GET", DOCUMENT, agent=True, If_None_Match=etag)[0], 304)
    two = document(2)
    check("If-Match: 204", ask("PUT", DOCUMENT, two, token=operator, If_Match=etag)[0], 204)
    check("lost race: 412", ask("PUT", DOCUMENT, document(3), token=operator, If_Match=etag)[0], 412)
    etag = ask("GET", DOCUMENT, agent=True)[1]["etag"]

    # limits
    check("1 MiB + 1: 413", ask("PUT", DOCUMENT, b"x" * (1048576 + 1), token=operator, If_Match=etag)[0], 413)
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=30)
    connection.putrequest("PUT", "/latchkey/v1" + DOCUMENT)
    for name, value in (("Authorization", "Bearer " + operator), ("If-Match", etag), ("Transfer-Encoding", "chunked")):
        connection.putheader(name, value)
    connection.endheaders()
    try:
        for _ in range(40):
            connection.send(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        connection.send(b"0\r\n\r\n")
        check("1.25 MiB in chunks: 413", connection.getresponse().status, 413)
    except (BrokenPipeError, ConnectionResetError):
        check("1.25 MiB in chunks: cut off", True, True)
    connection.close()
    text = document(3, **{"x-pad": "y" * (1048576 - 2000)})
    status, headers, _ = ask("PUT", DOCUMENT, text, token=operator, If_Match=etag)
    check("P112 almost 1 MiB passes", (status, ask("GET", DOCUMENT, agent=True)[2] == text), (204, True))
    etag = headers["etag"]
    check("64 KiB of headers are refused", ask("GET", DOCUMENT, agent=True, X_Long="y" * 65536)[0] in (413, 431), True)

    # holding
    def later(seconds, method, path, body, **headers):
        answer = []
        thread = threading.Thread(target=lambda: (time.sleep(seconds), answer.append(ask(method, path, body, **headers))))
        thread.start()
        return thread, answer

    begin = time.monotonic()
    status, headers, _ = ask("GET", DOCUMENT, agent=True, If_None_Match=etag, Prefer="wait=1")
    took = time.monotonic() - begin
    check("held to the end: 304", (status, headers.get("preference-applied"), 0.9 < took), (304, "wait", True))
    ask("POST", "/instances", b'{"instance":"i-2"}', token=operator)
    begin = time.monotonic()
    status, headers, _ = ask("GET", "/instances/i-2/document", agent=True, Prefer="wait=1")
    took = time.monotonic() - begin
    check("held without a document: 404", (status, headers.get("preference-applied"), 0.9 < took), (404, "wait", True))
    check("a new etag is not held", ask("GET", DOCUMENT, agent=True, If_None_Match='"old"', Prefer="wait=60")[0], 200)
    check("no Prefer, no Preference-Applied", ask("GET", DOCUMENT, agent=True)[1].get("preference-applied"), None)
    thread, answer = later(0.5, "PUT", DOCUMENT, document(4), token=operator, If_Match=etag)
    status, headers, body = ask("GET", DOCUMENT, agent=True, If_None_Match=etag, Prefer="respond-async, wait=60")
    arrived = time.monotonic()
    thread.join()
    check("a put wakes it", (answer[0][0], status, json.loads(body.split(b"\n")[0])["seq"]), (204, 200, 4))
    check("the new etag comes with it", headers["etag"], answer[0][1]["etag"])
    etag = headers["etag"]
    thread, answer = later(0.3, "PUT", "/instances/i-2/document", document(1, "i-2"), token=operator, If_None_Match="*")
    status, _, _ = ask("GET", "/instances/i-2/document", agent=True, Prefer="wait=60")
    thread.join()
    check("the very first document wakes it", (answer[0][0], status), (204, 200))

    # Held clients that die leave nothing behind
    before = settled_descriptors(endpoint.process.pid)
    clients = []
    for _ in range(12):
        client = socket.create_connection(("127.0.0.1", endpoint.port))
        client.sendall(f"GET /latchkey/v1{DOCUMENT} HTTP/1.1\r\nHost: x\r\nLatchkey: 1\r\nPrefer: wait=600\r\n"
                       f"If-None-Match: {etag}\r\n\r\n".encode())
        clients.append(client)
    deadline = time.monotonic() + 60
    while descriptors(endpoint.process.pid) < before + 12 and time.monotonic() < deadline:
        time.sleep(0.01)
    check("12 are held", descriptors(endpoint.process.pid), before + 12)
    for client in clients:
        client.close()
    while descriptors(endpoint.process.pid) > before and time.monotonic() < deadline:
        time.sleep(0.01)
    check("the death of each is noticed", descriptors(endpoint.process.pid), before)

    # Over the cap the answer comes at once and says that the wait was not applied
    clients = []
    for _ in range(16):
        client = socket.create_connection(("127.0.0.1", endpoint.port))
        client.sendall(f"GET /latchkey/v1{DOCUMENT} HTTP/1.1\r\nHost: x\r\nLatchkey: 1\r\nPrefer: wait=600\r\n"
                       f"If-None-Match: {etag}\r\n\r\n".encode())
        clients.append(client)
    while descriptors(endpoint.process.pid) < before + 16 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    status, headers, _ = ask("GET", DOCUMENT, agent=True, If_None_Match=etag, Prefer="wait=60")
    check("the 17th of one instance is not held", (status, headers.get("preference-applied")), (304, None))
    check("another instance still is", ask("GET", "/instances/i-2/document", agent=True, Prefer="wait=1",
                                           If_None_Match="*")[1].get("preference-applied"), "wait")
    for client in clients:
        client.close()

    # An idle endpoint sleeps although requests are held
    client = socket.create_connection(("127.0.0.1", endpoint.port))
    client.sendall(f"GET /latchkey/v1{DOCUMENT} HTTP/1.1\r\nHost: x\r\nLatchkey: 1\r\nPrefer: wait=600\r\n"
                   f"If-None-Match: {etag}\r\n\r\n".encode())
    time.sleep(0.5)

    def switches():
        return sum(int(line.split()[1]) for line in open(f"/proc/{endpoint.process.pid}/status") if "ctxt_switches" in line)

    start = switches()
    time.sleep(2)
    check("no busy loop while one is held", switches() - start <= 4, True)
    client.close()

    # results
    check("no results yet", json.loads(ask("GET", RESULTS + "?after=0", token=reader)[2]), {"next": 0, "results": []})
    check("by another key: 401", ask("POST", RESULTS, results(other_key), agent=True)[0], 401)
    check("in another namespace: 401",
          ask("POST", RESULTS, results(instance_key, namespace="latchkey-document@1"), agent=True)[0], 401)
    check("of another instance: 422", ask("POST", RESULTS, results(instance_key, "i-2"), agent=True)[0], 422)
    check("not latched: 401", ask("POST", "/instances/i-2/results", results(instance_key, "i-2"), agent=True)[0], 401)
    text = results(instance_key)
    check("P18 taken: 204", ask("POST", RESULTS, text, agent=True)[0], 204)
    check("P18 a repeat: 204", ask("POST", RESULTS, text, agent=True)[0], 204)
    status, headers, body = ask("GET", RESULTS + "?after=0", token=reader)
    check("once, as it came", (status, json.loads(body)), (200, {"next": 1, "results": [text.decode()]}))
    check("after=1: none", json.loads(ask("GET", RESULTS + "?after=1", token=reader)[2]), {"next": 1, "results": []})
    check("after=9: next brings back", json.loads(ask("GET", RESULTS + "?after=9", token=reader)[2]), {"next": 1, "results": []})
    check("bad after: 400", ask("GET", RESULTS + "?after=-1", token=reader)[0], 400)
    check("304", ask("GET", RESULTS + "?after=1", token=reader, If_None_Match=headers["etag"])[0], 304)
    more = results(instance_key, seq=2)
    thread, answer = later(0.5, "POST", RESULTS, more, agent=True)
    status, _, body = ask("GET", RESULTS + "?after=1", token=reader, If_None_Match=headers["etag"], Prefer="wait=60")
    thread.join()
    check("a post wakes the console", (answer[0][0], status, json.loads(body)),
          (204, 200, {"next": 2, "results": [more.decode()]}))

    # who has no token stalls in the middle of as many bodies as he likes
    before, clients, status = rss(endpoint.process.pid), [], None
    while status != 503 and len(clients) < 192:
        client = socket.create_connection(("127.0.0.1", endpoint.port))
        client.sendall(f"POST /latchkey/v1{RESULTS} HTTP/1.1\r\nHost: x\r\nLatchkey: 1\r\nContent-Length: 1048576\r\n\r\n".encode()
                       + b"x" * 1000000)
        clients.append(client)
        status = ask("POST", RESULTS, b"x" * 1000000, agent=True)[0]
    check(f"a body more than 64 MiB: 503, beside {len(clients)}", status, 503)
    kept = rss(endpoint.process.pid) - before
    check(f"not all of them are kept ({kept} kB)", kept < 80 << 10, True)
    check("with a token: taken and judged", ask("PUT", DOCUMENT, b"x" * 1000000, token=operator, If_Match="*")[0], 422)
    for client in clients:
        client.close()
    for _ in range(200):  # until the server has seen that they are gone
        status = ask("POST", RESULTS, more, agent=True)[0]
        if status != 503:
            break
        time.sleep(0.05)
    check("what is gone makes room", status, 204)

    # trust
    check("no trust document: 404", ask("GET", "/trust", agent=True)[0], 404)
    trust = {"v": 1, "version": 3, "signers": [], "revoked": []}
    text = sign(signer, "latchkey-trust@1", trust)
    check("helpdesk may not put it: 403", ask("PUT", "/trust", text, token=helpdesk, If_None_Match="*")[0], 403)
    status, headers, _ = ask("PUT", "/trust", text, token=operator, If_None_Match="*")
    check("put: 204", status, 204)
    check("version not above: 422", ask("PUT", "/trust", text, token=operator, If_Match=headers["etag"])[0], 422)
    check("two signatures pass", ask("PUT", "/trust", sign(signer, "latchkey-trust@1", {**trust, "version": 4}) +
                                     text[text.index(b"-----BEGIN"):], token=operator, If_Match=headers["etag"])[0], 204)

    # reset, restart, tokens
    status, _, body = ask("POST", "/instances/i-1/reset", b"", token=operator)
    check("reset: a new secret", (status, json.loads(body)["enrol"] != enrol), (200, True))
    check("reset of nothing: 404", ask("POST", "/instances/i-9/reset", b"", token=operator)[0], 404)
    check("the old secret does not fit: 403",
          ask("PUT", IDENTITY, identity(other_key), agent=True, Latchkey_Enrol=enrol)[0], 403)
    check("the new one does: 201",
          ask("PUT", IDENTITY, identity(other_key), agent=True, Latchkey_Enrol=json.loads(body)["enrol"])[0], 201)
    check("list", json.loads(ask("GET", "/instances", token=reader)[2]), {"instances": ["i-1", "i-2"]})
    subprocess.run([ENDPOINT, "--database", os.path.join(work, "db"), "token", "delete", "see"], check=True)
    check("a deleted token: 401 at once", ask("GET", "/instances", token=reader)[0], 401)
    with open(os.path.join(work, "db"), "rb") as stored:
        content = stored.read()
    if os.path.exists(os.path.join(work, "db-wal")):
        content += open(os.path.join(work, "db-wal"), "rb").read()
    check("no token or secret is stored", [secret for secret in (operator, helpdesk, reader, enrol)
                                           if secret.encode() in content], [])
    check("the database is private", oct(os.stat(os.path.join(work, "db")).st_mode & 0o777), "0o600")
    check("ends by itself on SIGTERM", endpoint.stop(), 0)
    endpoint = Endpoint()
    check("a restart keeps the document", endpoint.ask("GET", DOCUMENT, agent=True)[1]["etag"], etag)
    check("and the results", json.loads(endpoint.ask("GET", RESULTS, token=operator)[2])["next"], 2)
    endpoint.stop()

    # --allowed-signers
    with open(os.path.join(work, "allowed"), "w") as allowed:
        allowed.write(f'i-1 namespaces="latchkey-document@1" {public(signer)} tester\n')
    endpoint = Endpoint("--allowed-signers", os.path.join(work, "allowed"))
    ask = endpoint.ask
    check("by a stranger: 422", ask("PUT", DOCUMENT, document(5, key=other_key), token=operator, If_Match=etag)[0], 422)
    bad = bytearray(document(5))
    bad[bad.index(b'"actor": "test"') + 11] ^= 1
    check("changed after signing: 422", ask("PUT", DOCUMENT, bytes(bad), token=operator, If_Match=etag)[0], 422)
    check("by the signer: 204", ask("PUT", DOCUMENT, document(5), token=operator, If_Match=etag)[0], 204)
    client = socket.create_connection(("127.0.0.1", endpoint.port))
    client.sendall(f"GET /latchkey/v1/trust HTTP/1.1\r\nHost: x\r\nLatchkey: 1\r\nPrefer: wait=600\r\n"
                   f"If-None-Match: *\r\n\r\n".encode())
    time.sleep(0.3)
    check("and still ends by itself", endpoint.stop(), 0)
    print(f"{checks} checks")
finally:
    if "endpoint" in globals() and endpoint.process.poll() is None:
        endpoint.process.kill()
    shutil.rmtree(work)
