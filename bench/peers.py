#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench/run peers: 200 users with 5 keys each, and one more key for one user: google-guest-agent (Debian's package, in a
chroot of its own, with a metadata server that holds its GET) and this agent, in turn in one run. The clock runs from the
moment the new state can be fetched until the last file is complete. Run inside tests/rig/enter."""
import base64
import grp
import http.server
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "rig"))
from machine import ENDPOINT, Machine, Signer, main, wait_for, write  # noqa: E402

PEERS = "/run/project/build/peers"  # bench/run makes it
USERS, KEYS, ROUNDS = 200, 5, 11
PEER_ADDRESS = ("169.254.169.254", 80)


def key(number):
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + number.to_bytes(32, "big")
    return "ssh-ed25519 " + base64.b64encode(blob).decode()


def users(prefix):
    return {f"{prefix}{n:03}": [key(1000 * n + k) for k in range(KEYS)] for n in range(USERS)}


def has(home, user, wanted):
    try:
        with open(f"{home}/{user}/.ssh/authorized_keys") as file:
            text = file.read()
    except OSError:
        return False
    return all(one in text for one in wanted)


def until_complete(home, wanted, started):
    """Looks at one user after the other: what is complete stays so, and looking costs next to nothing."""
    for user, keys in wanted.items():
        while not has(home, user, keys):
            assert time.monotonic() < started + 300, f"{user} was not made"
            time.sleep(0.0005)
    return time.monotonic() - started


class Metadata(http.server.ThreadingHTTPServer):
    """The part of Google's metadata server that the guest agent asks for."""
    daemon_threads = True

    def __init__(self):
        super().__init__(PEER_ADDRESS, Handler)
        self.changed, self.etag, self.keys = threading.Condition(), 1, ""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # the agent hangs up when it is stopped

    def set(self, keys):
        with self.changed:
            self.keys, self.etag = keys, self.etag + 1
            self.changed.notify_all()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        with server.changed:
            if "wait_for_change=true" in self.path and f"last_etag={server.etag}&" in self.path + "&":
                server.changed.wait(60)
            etag = server.etag
            tree = {"instance": {"attributes": {"ssh-keys": server.keys}, "networkInterfaces": [], "virtualClock": {}},
                    "project": {"attributes": {}, "projectId": "bench"}}
        body = json.dumps(tree).encode()
        self.send_response(200)
        for name, value in (("Content-Type", "application/json"), ("Metadata-Flavor", "Google"), ("ETag", str(etag)),
                            ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_GET

    def log_message(self, *_):
        pass


def as_metadata(wanted):
    return "\n".join(f"{user}:{one} {user}" for user, keys in wanted.items() for one in keys)


def run(*argv):
    subprocess.run(argv, check=True)


def file_system(path):
    """A fresh ext4 at that path, so that both write to the same kind of disk."""
    image = f"/var/{os.path.basename(path)}.img"
    os.makedirs(path, exist_ok=True)
    run("truncate", "-s", "1G", image)
    run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
    run("mount", "-o", "loop", image, path)


def google():
    """Seconds for the batch, milliseconds for one more key."""
    root = "/var/peers"
    file_system(root)
    for name in ("upper", "work", "root"):
        os.makedirs(f"{root}/{name}")
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={PEERS},upperdir={root}/upper,workdir={root}/work", f"{root}/root")
    for name in ("proc", "dev", "sys"):
        run("mount", "--rbind", f"/{name}", f"{root}/root/{name}")
    run("ip", "address", "add", f"{PEER_ADDRESS[0]}/32", "dev", "lo")
    write(f"{root}/root/etc/hosts", f"127.0.0.1 localhost\n{PEER_ADDRESS[0]} metadata.google.internal metadata\n")
    metadata = Metadata()
    agent = subprocess.Popen(["chroot", f"{root}/root", "/usr/bin/google_guest_agent"], stdin=subprocess.DEVNULL,
                             stdout=open("/tmp/google.log", "wb"), stderr=subprocess.STDOUT)
    home, state = f"{root}/root/home", {"first": [key(1)]}
    metadata.set(as_metadata(state))
    until_complete(home, state, time.monotonic())
    time.sleep(3)
    state.update(users("g"))
    started = time.monotonic()
    metadata.set(as_metadata(state))
    batch = until_complete(home, state, started)
    one = []
    for number in range(ROUNDS):
        time.sleep(1)
        state["g000"] = state["g000"][:KEYS] + [key(900000 + number)]
        started = time.monotonic()
        metadata.set(as_metadata(state))
        one.append(1000 * until_complete(home, {"g000": state["g000"]}, started))
    memory = resident(agent.pid)
    agent.terminate()
    agent.wait()
    return batch, one, memory


def resident(*pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    return total


class Ours:
    def __init__(self):
        self.machine, self.ops, self.seq = Machine(), Signer(), 0
        write("/etc/latchkey/allowed_signers", self.ops.line())
        self.machine.start_sshd()
        self.machine.start_endpoint()
        self.token = self.machine.token()
        self.base = f"{ENDPOINT}/latchkey/v1/instances"
        with self.call("POST", self.base, json.dumps({"instance": "vm-1"}).encode()) as answer:
            write("/etc/latchkey/enrol", json.load(answer)["enrol"] + "\n", 0o640)
        os.chown("/etc/latchkey/enrol", 0, grp.getgrnam("latchkey").gr_gid)
        self.machine.start_agent()

    def call(self, method, url, body=None, **headers):
        return urllib.request.urlopen(urllib.request.Request(url, method=method, data=body, headers={
            "Authorization": f"Bearer {self.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}))

    def put(self, commands):
        url, match = f"{self.base}/vm-1/document", {"If_None_Match": "*"}
        if self.seq > 0:
            with self.call("GET", url) as answer:
                match = {"If_Match": answer.headers["ETag"]}
        self.seq += 1
        document = self.ops.document(self.seq, commands)
        started = time.monotonic()
        self.call("PUT", url, document, **match).close()
        return started


def ours():
    file_system("/home")
    agent = Ours()

    def commands(wanted):
        return [{"id": f"u-{user}", "do": "user.ensure", "user": user} for user in wanted] + [
            {"id": f"k-{user}-{n}", "do": "keys.bind", "user": user, "keypair": f"pair{n}", "key": one}
            for user, keys in wanted.items() for n, one in enumerate(keys)]

    first = {"first": [key(1)]}
    until_complete("/home", first, agent.put(commands(first)))
    time.sleep(3)
    wanted = users("l")
    batch = until_complete("/home", wanted, agent.put(commands(wanted)))
    one = []
    for number in range(ROUNDS):
        time.sleep(2.2)  # as in bench/login.py: it asks at most once a second on average
        more = key(900000 + number)
        started = agent.put([{"id": f"m{number}", "do": "keys.bind", "user": "l000", "keypair": f"more{number}", "key": more}])
        one.append(1000 * until_complete("/home", {"l000": [more]}, started))
    pids = [agent.machine.processes[name].pid for name in ("latchkeyd", "latchkey-net")]
    return batch, one, resident(*pids)


def bench():
    wait_for(lambda: os.path.exists(f"{PEERS}/usr/bin/google_guest_agent"), "the chroot stands")
    theirs, mine = google(), ours()
    print(f"{'':40s} {'google-guest-agent':>20s} {'latchkey':>12s} {'ratio':>8s}")
    rows = ((f"{USERS} new users x {KEYS} keys, s", theirs[0], mine[0]),
            ("one more key of one user, median ms", statistics.median(theirs[1]), statistics.median(mine[1])),
            ("resident, kB", theirs[2], mine[2]))
    for name, peer, own in rows:
        print(f"{name:40s} {peer:20.2f} {own:12.2f} {peer / own:7.1f}x", flush=True)


main(bench)
