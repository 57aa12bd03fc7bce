#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The unsolicited report: made when something changed and once a day, signed by the instance, delivered behind the
results, kept by the endpoint in small number, and read by the operator against everything that he has seen before."""
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from console import HOME, Operator  # noqa: E402
from machine import ENDPOINT, RUN, STATE, Machine, check, keygen, main, payload_of, read, wait_for, write  # noqa: E402

FOLDER = f"{RUN}/report"
POLICY = "/etc/latchkey/policy.conf"


def exchange(method, url, body=None, **headers):
    request = urllib.request.Request(url, method=method, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def ask(method, url, body=None, **headers):
    return exchange(method, url, body, **headers)[:2]


class Front(http.server.BaseHTTPRequestHandler):
    """In front of the real endpoint: passes everything on but what it is told to answer itself; counts."""
    instead, seen = {}, []

    def do(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        leaf = self.path.split("?")[0].rsplit("/", 1)[1]
        Front.seen.append((self.command, leaf))
        headers = {}
        if (self.command, leaf) in Front.instead:
            status, content = Front.instead[(self.command, leaf)]
        else:
            status, content, headers = exchange(
                self.command, f"http://127.0.0.1:8470{self.path}", body or None,
                **{n: v for n, v in self.headers.items() if n.lower() in (
                    "authorization", "latchkey", "latchkey-enrol", "if-match", "if-none-match", "prefer")})
        self.send_response(status)
        for name in ("ETag", "Preference-Applied"):
            if headers.get(name):
                self.send_header(name, headers[name])
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status not in (204, 304):
            try:
                self.wfile.write(content)
            except OSError:
                pass  # a held request whose client has gone

    do_GET = do_PUT = do_POST = do

    def log_message(self, *arguments):
        pass


def deadlines():
    return [int(name) for name in os.listdir(FOLDER) if name.isdigit()]


def test():
    machine = Machine(url="http://127.0.0.1:8471")
    operator = Operator(machine)
    vm = machine.instance
    machine.start_sshd()
    machine.start_endpoint()
    operator.enrol()
    front = http.server.ThreadingHTTPServer(("127.0.0.1", 8471), Front)
    threading.Thread(target=front.serve_forever, daemon=True).start()
    reader = machine.token("watcher", "reader")
    report_url = f"{ENDPOINT}/latchkey/v1/instances/{vm}/report"

    def reports():
        return json.loads(ask("GET", report_url, Authorization=f"Bearer {reader}")[1])["reports"]

    def newest():
        return payload_of(reports()[-1]["report"]) if reports() else {}

    def posts():
        return Front.seen.count(("POST", "report"))

    def status(*more):
        code, output, error = operator.run("status", vm, "--json", *more)
        return code, json.loads(output)["report"] if output else None, error

    # --- at boot, by itself ---------------------------------------------------------------------------------------------
    machine.start_agent()
    wait_for(lambda: reports(), "the report of this boot")
    first = newest()
    check(first["instance"] == vm and first["agent"] and first["mode"] == "enforce" and first["seq"] == 0 and
          first["trust"] == 0 and first["users"] == first["keys"] == [], "a boot reports, also with nothing managed")
    check(first["sshd"]["state"] == "ok" and first["sshd"]["version"] == "OpenSSH_" + re.search(
        r"OpenSSH_(\d+\.\d+)", subprocess.run(["/usr/sbin/sshd", "-V"], stderr=subprocess.PIPE, text=True).stderr)[1],
        "sshd's version is the installed one's")
    effective = dict(line.split(" ", 1) for line in subprocess.run(
        ["/usr/sbin/sshd", "-T", "-C", "user=root"], stdout=subprocess.PIPE, text=True).stdout.splitlines() if " " in line)
    check(first["sshd"]["settings"] and all(effective[k] == v for k, v in first["sshd"]["settings"].items()),
          "P50_ its settings are what sshd -T says")
    wait_for(lambda: sorted(n for n in os.listdir(FOLDER) if not n.isdigit()) == ["content"], "delivered, it is removed")
    check(len(deadlines()) == 1 and 77000 < deadlines()[0] - time.time() <= 86400, "the next is due within a day, jittered")

    # --- on change, and only then -----------------------------------------------------------------------------------------
    operator.must("user", "add", vm, "alice", "--accept-new-identity")
    operator.must("keypair", "create", "laptop")
    operator.must("bind", vm, "alice", "laptop")
    wait_for(lambda: newest()["key_count"] == 1, "the report with the key")
    now = newest()
    check([(u["user"], u["key"], u["password"]) for u in now["users"]] == [("alice", True, False)], "who can log in")
    fingerprint = subprocess.run(["ssh-keygen", "-lf", f"{HOME}/laptop"], stdout=subprocess.PIPE, text=True).stdout.split()[1]
    check([(k["user"], k["keypair"], k["fingerprint"], k["state"]) for k in now["keys"]] ==
          [("alice", "laptop", fingerprint, "present")], "and with which keys")
    check(now["seq"] == 2 and now["floor"] > 0 and now["generation"] == 1, "seq, time floor and generation")
    before = posts()
    machine.apply(b"", "--view")
    machine.apply(b"", "--redo")
    check(not os.path.exists(f"{FOLDER}/text") and posts() == before, "nothing changed: no report")
    write(POLICY, "[users]\nroot = no\ncreate = no\n")
    machine.apply(b"", "--view")
    os.kill(machine.processes["latchkeyd"].pid, 10)
    check(payload_of(read(f"{FOLDER}/text"))["policy"] != now["policy"], "another policy is another digest")
    os.unlink(POLICY)
    machine.apply(b"", "--view")
    check(payload_of(read(f"{FOLDER}/text"))["policy"] == now["policy"], "the same policy is the same, and replaces it")
    content = read(f"{FOLDER}/text")
    check("PRIVATE" not in content and "ssh-ed25519 AAAA" not in content and fingerprint in content,
          "fingerprints are in it, and neither keys nor secrets")

    # --- daily ------------------------------------------------------------------------------------------------------------
    os.unlink(f"{FOLDER}/text")
    for name in deadlines():
        os.rename(f"{FOLDER}/{name}", f"{FOLDER}/{int(time.time()) - 1}")
    before, stood = posts(), len(reports())
    # A sign of life moves latchkeyd's timer; of itself it would have slept until then.
    machine.stop("latchkey-net")
    machine.start_net()
    wait_for(lambda: posts() > before and newest()["time"] >= now["time"], "what is due is reported without a change")
    wait_for(lambda: len(deadlines()) == 1 and deadlines()[0] > time.time() + 77000, "and the next is a day away")

    # --- the operator's view ------------------------------------------------------------------------------------------------
    code, shown, error = status()
    check(code == 0 and shown["state"] == "ok" and shown["went_back"] == [] and shown["strange"] == 0, "status verifies it")
    check(shown["content"]["users"][0]["user"] == "alice", "  and has its content")
    text = operator.must("status", vm)
    check(all(word in text for word in ("last seen 20", "OpenSSH_", "passwordauthentication yes", fingerprint,
                                        "user alice: login by key works, by password does not work")), "  also for people")
    shutil.rmtree("/home/alice/.ssh")
    machine.apply(b"", "--sweep")
    os.kill(machine.processes["latchkeyd"].pid, 10)
    machine.stop("latchkey-net")
    machine.start_net()
    wait_for(lambda: newest()["drift"]["missing"] == 1, "drift is reported")
    text = operator.must("status", vm)
    check("problems: drift" in text and "1 keys missing" in text, "  and shown")

    # --- who may post, and what is kept -----------------------------------------------------------------------------------------
    genuine = reports()[-1]["report"].encode()
    keygen("/tmp/stranger")

    def signed(payload, namespace="latchkey-report@1", key="/tmp/stranger"):
        return payload + subprocess.run(["ssh-keygen", "-Y", "sign", "-q", "-f", key, "-n", namespace], input=payload,
                                        stdout=subprocess.PIPE, check=True).stdout

    payload = genuine[:genuine.index(b"-----BEGIN")]
    for what, body, expected in (("the same again", genuine, 204), ("unsigned", payload, 401),
                                 ("another key's", signed(payload), 401),
                                 ("changed", genuine.replace(b'"mode":"enforce"', b'"mode":"observe"'), 401),
                                 ("results in its place", read_results(machine), 401), ("1 MiB and more", b"x" * (1 << 21), 413)):
        stood = len(reports())
        check((ask("POST", report_url, body, Latchkey="1")[0], len(reports())) == (expected, stood), f"{what}: {expected}")
    check(ask("POST", report_url.replace(vm, "vm-9"), genuine, Latchkey="1")[0] == 401, "of an instance that nobody created: 401")
    check(ask("POST", report_url, genuine)[0] == 400, "without the agent's header: 400")
    check(ask("GET", report_url)[0] == 401 and ask("GET", report_url.replace(vm, "vm-9"),
                                                   Authorization=f"Bearer {reader}")[0] == 404, "GET: a token, and 404")
    machine.stop("latchkey-net")  # from here on the test delivers
    machine.stop("latchkeyd")
    for turn in range(12):
        write(POLICY, f"[password]\nmin = {9 + turn}\n")
        machine.apply(b"", "--view")
        check(ask("POST", report_url, read(f"{FOLDER}/text").encode(), Latchkey="1")[0] == 204, f"report {turn}")
    check(len(reports()) == 8, "the endpoint keeps the newest eight")
    check(status()[0] == 0, "and status is well")

    # --- a malicious endpoint -----------------------------------------------------------------------------------------------------
    settings = json.load(open(f"{HOME}/.config/latchkey/config"))
    settings["endpoint"] = "http://127.0.0.1:8471"
    json.dump(settings, open(f"{HOME}/.config/latchkey/config", "w"))

    def offer(*texts):
        Front.instead[("GET", "report")] = (200, json.dumps(
            {"reports": [{"received": int(time.time()), "report": t if isinstance(t, str) else t.decode()} for t in texts]}).encode())

    time.sleep(1.1)  # a report's time has whole seconds
    write(POLICY, "[password]\nmin = 30\n")
    machine.apply(b"", "--view")
    fresh = read(f"{FOLDER}/text")
    offer(fresh)
    check(status()[1]["state"] == "ok", "a newer report is taken")
    offer(genuine)
    code, shown, error = status()
    check((code, shown["state"]) == (4, "replayed") and "old report" in error, "an old genuine report is shown as such: 4")
    check("THIS IS AN OLD REPORT" in operator.run("status", vm)[1], "  also for people")
    offer()
    code, shown, error = status()
    check((code, shown["state"]) == (4, "lost") and "lost" in error, "no report although there was one: 4")
    offer(signed(payload), fresh)
    code, shown, error = status()
    check((code, shown["state"], shown["strange"]) == (4, "ok", 1), "one of another key does not count: 4")
    offer(signed(fresh[:fresh.index("-----BEGIN")].encode(), "latchkey-results@1"))
    check(status()[1]["strange"] == 1, "  nor one in another namespace")
    Front.instead[("GET", "report")] = (200, b"<html>")
    check(status()[0] == 3, "HTML: 3")
    for number in (404, 405):
        Front.instead[("GET", "report")] = (number, b"")
        code, shown, _ = status()
        check((code, shown["state"]) == (0, "unsupported"), f"an endpoint without reports ({number}) is no fault")

    # --- a restored snapshot --------------------------------------------------------------------------------------------------------
    Front.instead = {}
    os.unlink(POLICY)
    subprocess.run(["cp", "-a", STATE, "/tmp/snapshot"], check=True)
    machine.start_agent()
    for name in ("bob", "carol"):
        operator.must("user", "add", vm, name)
    wait_for(lambda: newest()["seq"] == 4, "two documents later")
    check(status()[1]["went_back"] == [], "all is well before")
    machine.stop("latchkey-net")
    machine.stop("latchkeyd")
    shutil.rmtree(STATE)
    subprocess.run(["cp", "-a", "/tmp/snapshot", STATE], check=True)
    shutil.rmtree(FOLDER)  # a boot
    time.sleep(1.1)
    code, log = machine.apply(b"", "--redo")
    restored = read(f"{FOLDER}/text")
    check(ask("POST", report_url, restored.encode(), Latchkey="1")[0] == 204, "the restored machine reports")
    code, shown, error = status()
    check({w["what"]: (w["before"], w["now"]) for w in shown["went_back"]}["seq"] == (4, 2), "what went back in time shows")
    check("floor" in [w["what"] for w in shown["went_back"]], "  the time floor too")
    check("WENT BACK IN TIME: seq is 2 and was 4" in operator.run("status", vm)[1], "  also for people")

    # --- an endpoint without the resource costs nothing ---------------------------------------------------------------------------------
    machine.start_agent()
    wait_for(lambda: newest()["seq"] == 4, "what the snapshot did not know is done again")
    machine.stop("latchkey-net")
    machine.stop("latchkeyd")
    for number in (404, 405, 501):
        Front.instead = {("POST", "report"): (number, b"")}
        shutil.rmtree(FOLDER)
        before = posts()
        machine.start_agent()
        wait_for(lambda: posts() > before, f"it is offered once to an endpoint that answers {number}")
        wait_for(lambda: not os.path.exists(f"{FOLDER}/text"), "and dropped")
        before = posts()
        time.sleep(2)
        check(posts() == before and not os.path.exists(f"{FOLDER}/text"), f"{number}: tried once, until the next change")
        machine.stop("latchkey-net")
        machine.stop("latchkeyd")
    Front.instead = {("POST", "report"): (503, b"")}
    shutil.rmtree(FOLDER)
    before = posts()
    machine.start_agent()
    wait_for(lambda: posts() > before, "503")
    Front.instead = {}
    wait_for(lambda: not os.path.exists(f"{FOLDER}/text") and newest()["seq"] >= 2, "503 is tried again, in the end it arrives")

    # --- bounded ------------------------------------------------------------------------------------------------------------------
    machine.stop("latchkey-net")
    machine.stop("latchkeyd")
    ledger = f"{STATE}/plugin/authorized-keys/ledger"
    line = json.loads(read(ledger).splitlines()[0])
    with open(ledger, "w", encoding="utf-8") as file:
        for n in range(10000):
            file.write(json.dumps({**line, "keypair": f"key-{n}-" + "x" * 50}) + "\n")
    machine.apply(b"", "--view")
    big = read(f"{FOLDER}/text")
    content = payload_of(big)
    check(len(big) < 1 << 20 and content["key_count"] == 10000 and 1000 < len(content["keys"]) < 10000,
          f"10,000 keys: {len(content['keys'])} of them named, in {len(big)} bytes")
    check(ask("POST", report_url, big.encode(), Latchkey="1")[0] == 204, "  the endpoint takes it")
    code, shown, error = status()
    check(shown["content"]["key_count"] == 10000, "  and the operator reads it")
    front.shutdown()


def read_results(machine):
    """A text that the instance did sign, but as results."""
    token = machine.token("looker", "reader")
    body = ask("GET", f"{ENDPOINT}/latchkey/v1/instances/{machine.instance}/results?after=0", Authorization=f"Bearer {token}")[1]
    return json.loads(body)["results"][-1].encode()


main(test)
