# SPDX-License-Identifier: Apache-2.0
"""Several instances in one rig: each has the shipped agent in a mount namespace with an /etc, /home, /var/lib/latchkey and
/run/latchkey of its own; they share the rig's loopback, and with it the endpoint."""
import os
import signal
import subprocess

from machine import confined, read, root_capabilities, wait_for, write

ROOT = "/tmp/fleet"
MOUNTS = 'for d in etc home var/lib/latchkey run/latchkey; do mount --bind "$0/$d" "/$d"; done; exec "$@"'


class Fleet:
    def __init__(self, machine, operator, names):
        self.machine, self.names = machine, names
        for name in names:
            secret = operator.must("instance", "add", name).strip().splitlines()[-1]
            for directory in ("home", "var/lib/latchkey", "run/latchkey"):
                os.makedirs(f"{ROOT}/{name}/{directory}", 0o755)
            os.chmod(f"{ROOT}/{name}/var/lib/latchkey", 0o700)
            subprocess.run(["cp", "-a", "/etc", f"{ROOT}/{name}/etc"], check=True)
            self.write(name, "latchkey/latchkey.conf", f"[agent]\ninstance = {name}\n[endpoint]\nurl = {machine.url}\n")
            self.write(name, "latchkey/allowed_signers", operator.signer_line + "\n")
            self.write(name, "latchkey/enrol", secret + "\n", 0o640)
            group = int(next(l for l in read("/etc/group").splitlines() if l.startswith("latchkey:")).split(":")[2])
            os.chown(f"{ROOT}/{name}/etc/latchkey/enrol", 0, group)

    @staticmethod
    def write(name, path, text, mode=0o644):
        write(f"{ROOT}/{name}/etc/{path}", text, mode)

    @staticmethod
    def read(name, path):
        return read(f"{ROOT}/{name}/{path}")

    def start(self, *names):
        network = confined("", "--no-new-privs", "--reuid", "latchkey", "--regid", "latchkey", "--clear-groups")
        for name in names or self.names:
            run = f"{ROOT}/{name}/run/latchkey"
            daemon = self.machine.start(name, ["/usr/bin/unshare", "--mount", "/bin/sh", "-euc", MOUNTS, f"{ROOT}/{name}",
                                               *confined(root_capabilities()), "/usr/sbin/latchkeyd"])
            wait_for(lambda: os.path.exists(f"{run}/link"), f"{name} listens")
            self.machine.start(f"{name}-net", ["/usr/bin/nsenter", f"--mount=/proc/{daemon.pid}/ns/mnt", *network,
                                               "/usr/libexec/latchkey/latchkey-net"])

    def stop(self, name):
        """As the machine's power would: nothing of it says good-bye."""
        self.machine.stop(f"{name}-net", signal.SIGKILL)
        self.machine.stop(name, signal.SIGKILL)
        os.unlink(f"{ROOT}/{name}/run/latchkey/link")
