# SPDX-License-Identifier: Apache-2.0
"""A real journald and what a user can do to forge its lines. Only for use inside tests/rig/enter."""
import os
import pwd
import subprocess
import sys

from machine import wait_for, write


class Log:
    """systemd-journald by itself, on the rig's own /run."""

    def start(self):
        assert os.readlink("/dev/log") == "/run/systemd/journal/dev-log", "/dev/log must lead to the rig's journal"
        os.makedirs("/run/systemd/journal", exist_ok=True)
        os.makedirs("/run/log/journal", exist_ok=True)
        write("/etc/systemd/journald.conf.d/rig.conf", "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=\nForwardToSyslog=no\n"
              "ForwardToWall=no\nForwardToConsole=no\nForwardToKMsg=no\n")
        self.process = subprocess.Popen(["/lib/systemd/systemd-journald"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists("/run/systemd/journal/dev-log"), "journald listens")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def forge(text, pid):
    """What alice can do: any text, any identifier, any pid in the text, a program of hers that is called sshd."""
    uid = pwd.getpwnam("alice").pw_uid
    forger = "/home/alice/sshd"
    if not os.path.exists(forger):
        subprocess.run(["cp", "/usr/bin/logger", forger], check=True)
    for words in (["/usr/bin/logger", "-p", "auth.info", "-t", "sshd", f"--id={pid}", text],
                  ["/usr/bin/logger", "-p", "auth.info", "-t", f"sshd[{pid}]", text],
                  [forger, "-p", "auth.info", "-t", "sshd", f"--id={pid}", text]):
        subprocess.run(words, user=uid, group=uid, extra_groups=[], check=True)
    raw = f"MESSAGE={text}\nSYSLOG_IDENTIFIER=sshd\nSYSLOG_PID={pid}\n_PID={pid}\n_UID=0\n_EXE=/usr/sbin/sshd\n"
    subprocess.run([sys.executable, "-c", "import socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\n"
                    "s.sendto(sys.argv[1].encode(),'/run/systemd/journal/socket')", raw], user=uid, group=uid, extra_groups=[], check=True)
