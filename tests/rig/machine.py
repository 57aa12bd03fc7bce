# SPDX-License-Identifier: Apache-2.0
"""One machine inside tests/rig/enter: a real sshd, the endpoint, latchkeyd and latchkey-net as they ship (latchkey-net
as its own uid with no capabilities, the root half under the union of the manifests' capabilities), and ssh clients."""
import glob
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

APPLY = "/usr/sbin/latchkey-apply"
STATE = "/var/lib/latchkey"
RUN = "/run/latchkey"
ENDPOINT = "http://127.0.0.1:8470"

def root_capabilities():
    """The union of what the manifests name: the bounding set of the root half, as its unit has it."""
    text = subprocess.run([APPLY, "--describe"], stdout=subprocess.PIPE, check=True, text=True).stdout
    found, decoder = set(), json.JSONDecoder()
    while text.strip():
        manifest, end = decoder.raw_decode(text.lstrip())
        text = text.lstrip()[end:]
        found |= set(manifest["capabilities"])
    return ",".join(sorted(found))


def check(condition, text):
    """One line a check; the first that does not hold ends the test."""
    print(("ok   " if condition else "FAIL ") + text, flush=True)
    if not condition:
        raise SystemExit(1)


def wait_for(condition, what, seconds=60):
    """Generous on purpose: a slow machine must not fail a test. Returns what the condition returned."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s for: {what}")


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", opener=lambda p, f: os.open(p, f, mode)) as file:
        file.write(text)
    os.chmod(path, mode)


def read(path):
    with open(path) as file:
        return file.read()


class Clock:
    """The time of day for every program started from now on (tests/rig/clock_offset.c); the machine's stays as it is."""

    def __init__(self, library):
        self.set(0)
        write("/etc/ld.so.preload", os.path.abspath(library) + "\n")

    def set(self, offset):
        """Seconds ahead of the machine's clock, also for programs that run already."""
        with open("/tmp/clock-offset", "r+b" if os.path.exists("/tmp/clock-offset") else "wb") as file:
            file.write(offset.to_bytes(8, sys.byteorder, signed=True))
        os.chmod("/tmp/clock-offset", 0o644)


def keygen(path, comment="test"):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path], check=True)
    return " ".join(read(path + ".pub").split()[:2])


def confined(capabilities, *extra):
    """setpriv with exactly these capabilities in the bounding set."""
    names = "".join(",+" + name for name in capabilities.split(",") if name)
    return ["/usr/bin/setpriv", "--bounding-set", "-all" + names, "--inh-caps", "-all", *extra]


class Signer:
    """An operator's key and the documents it signs, without the CLI: what a test needs to make bad ones too."""

    def __init__(self, path="/tmp/signer", name="ops"):
        self.path, self.name = path, name
        self.public = keygen(path, name)

    def line(self, principals="*", options='namespaces="latchkey-document@1"'):
        return f"{principals} {options} {self.public} {self.name}\n"

    def sign(self, payload, namespace="latchkey-document@1"):
        if isinstance(payload, str):
            payload = payload.encode()
        done = subprocess.run(["ssh-keygen", "-Y", "sign", "-q", "-f", self.path, "-n", namespace], input=payload,
                              stdout=subprocess.PIPE, check=True, stderr=subprocess.DEVNULL)
        return payload + done.stdout

    def document(self, seq, commands, instance="vm-1", **more):
        now = int(time.time())
        text = {"v": 1, "instance": instance, "seq": seq, "issued": now, "expires": now + 3600, "actor": "anna",
                "commands": commands, **more}
        return self.sign(json.dumps(text) + "\n")


def payload_of(signed):
    return json.loads(signed.split("-----BEGIN SSH SIGNATURE-----")[0])


class Machine:
    def __init__(self, instance="vm-1", url=ENDPOINT):
        self.instance, self.url = instance, url
        self.processes = {}
        self.port = 22
        lines = f"[agent]\ninstance = {instance}\n"
        if url:
            lines += f"[endpoint]\nurl = {url}\n"
        write("/etc/latchkey/latchkey.conf", lines)

    # --- processes -------------------------------------------------------------------------------------------------
    def start(self, name, argv, log=None):
        out = open(log or f"/tmp/{name}.log", "ab")
        self.processes[name] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, cwd="/")
        return self.processes[name]

    def stop(self, name, signal=15):
        process = self.processes.pop(name, None)
        if process:
            process.send_signal(signal)
            process.wait()

    def stop_all(self):
        for name in list(self.processes):
            self.stop(name)

    def start_sshd(self, port=22, config=""):
        self.port = port
        if config:
            with open("/etc/ssh/sshd_config", "a") as file:
                file.write(config)
        self.start("sshd", ["/usr/sbin/sshd", "-D", "-p", str(port)])
        wait_for(lambda: os.path.exists("/run/sshd.pid"), "sshd listens")

    def reload_sshd(self):
        """For changes that the test made itself. sshd takes its pid file away, and writes it when it listens again."""
        os.unlink("/run/sshd.pid")
        self.processes["sshd"].send_signal(signal.SIGHUP)
        wait_for(lambda: os.path.exists("/run/sshd.pid"), "sshd listens again")

    def start_endpoint(self):
        self.start("endpoint", ["/usr/sbin/latchkey-endpoint", "--database", "/tmp/endpoint.db"])
        wait_for(self.endpoint_answers, "the endpoint answers")

    def endpoint_answers(self):
        try:
            urllib.request.urlopen(f"{ENDPOINT}/latchkey/v1/instances").close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def token(self, name="console", role="operator"):
        return subprocess.run(["/usr/sbin/latchkey-endpoint", "--database", "/tmp/endpoint.db", "token", "add", name,
                               "--role", role], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]

    def start_daemon(self):
        self.start("latchkeyd", [*confined(root_capabilities()), "/usr/sbin/latchkeyd"])
        wait_for(lambda: os.path.exists(f"{RUN}/link"), "latchkeyd listens")

    def start_net(self):
        self.start("latchkey-net", [*confined("", "--no-new-privs", "--reuid", "latchkey", "--regid", "latchkey",
                                              "--clear-groups"), "/usr/libexec/latchkey/latchkey-net"])

    def start_agent(self):
        self.start_daemon()
        self.start_net()

    # --- documents without the network ------------------------------------------------------------------------------
    def apply(self, text, *arguments):
        """latchkey-apply --document -, under the capabilities that ship. Returns (exit code, standard error)."""
        if isinstance(text, str):
            text = text.encode()
        done = subprocess.run([*confined(root_capabilities()), APPLY, *(arguments or ("--document", "-"))], input=text,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={})
        return done.returncode, done.stderr.decode(errors="replace")

    def redo(self):
        return self.apply(b"", "--redo")

    def results(self, seq):
        try:
            return payload_of(read(f"{STATE}/results/{seq}"))
        except FileNotFoundError:
            return None

    def result(self, seq, id="c1"):
        for result in self.results(seq)["results"]:
            if result["id"] == id:
                return result
        raise AssertionError(f"no result {id} in {seq}")

    def status(self):
        return json.loads(read(f"{RUN}/status.json"))

    # --- logins -----------------------------------------------------------------------------------------------------
    def ssh_options(self, *more):
        return ["-F", "/dev/null", "-p", str(self.port), "-o", "StrictHostKeyChecking=no", "-o",
                "UserKnownHostsFile=/dev/null", "-o", "GlobalKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
                "-o", "ConnectTimeout=30", *more]

    def login_with_key(self, user, key):
        done = subprocess.run(["ssh", *self.ssh_options("-i", key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
                                                        "-o", "PreferredAuthentications=publickey"),
                               f"{user}@127.0.0.1", "id -un"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              stdin=subprocess.DEVNULL)
        return done.returncode == 0 and done.stdout.strip() == user

    def login_with_password(self, user, password, methods="password,keyboard-interactive"):
        done = subprocess.run(["sshpass", "-d", "0", "ssh", *self.ssh_options(
            "-o", "PubkeyAuthentication=no", "-o", f"PreferredAuthentications={methods}", "-o",
            "NumberOfPasswordPrompts=1"), f"{user}@127.0.0.1", "id -un"], input=password + "\n",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return done.returncode == 0 and done.stdout.strip() == user


def main(function):
    """Runs the test and always ends what it started; shows the logs when it failed."""
    machines = []
    original = Machine.__init__

    def remember(self, *arguments, **named):
        original(self, *arguments, **named)
        machines.append(self)

    Machine.__init__ = remember
    failed = True
    try:
        function()
        failed = False
    finally:
        for machine in machines:
            machine.stop_all()
        if failed:
            for log in sorted(glob.glob("/tmp/*.log")):
                sys.stderr.write(f"--- {log}\n{read(log)[-4000:]}\n")
