# SPDX-License-Identifier: Apache-2.0
"""A real sshd on loopback inside the rig, and real logins."""
import os
import socket
import subprocess
import time

PORT = 2222
SSH = ["ssh", "-F", "none", "-p", str(PORT), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
       "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes",
       "-o", "IdentityAgent=none", "-o", "ConnectTimeout=10"]


class Sshd:
    """The machine's own configuration (it has its drop-ins) on another port."""

    def __init__(self):
        self.process = None

    def start(self):
        self.process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-p", str(PORT)], stdin=subprocess.DEVNULL,
                                        stderr=open("/tmp/sshd.log", "ab"))
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", PORT), 1).close()
                return self
            except OSError:
                time.sleep(0.05)
        raise AssertionError("sshd does not listen: " + open("/tmp/sshd.log").read())

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def configure(self, name, text):
        """A drop-in, or none with text None; then sshd anew."""
        path = f"/etc/ssh/sshd_config.d/{name}.conf"
        if text is None:
            if os.path.exists(path):
                os.unlink(path)
        else:
            with open(path, "w") as file:
                file.write(text)
        self.stop()
        self.start()


def key_pair(name, kind="ed25519", *options):
    path = f"/tmp/{name}"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"{name}@console", "-f", path, *options], check=True)
    with open(path + ".pub") as file:
        return file.read().strip()


def logs_in(user, key):
    """True when that key opens a session for that user."""
    done = subprocess.run([*SSH, "-i", f"/tmp/{key}", f"{user}@127.0.0.1", "true"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    return done.returncode == 0
