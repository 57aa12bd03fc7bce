# SPDX-License-Identifier: Apache-2.0
"""A real sshd on loopback port 22 of the rig, users with keys and passwords, and real logins with the real client.
Only for use inside tests/rig/enter."""
import os
import subprocess
import time

CLIENT = ["-F", "none", "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR",
          "-o", "ConnectTimeout=10", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"]


def run(*argv, **more):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, **more)


def must(*argv, **more):
    done = run(*argv, **more)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: {done.stdout.decode(errors='replace')}")
    return done.stdout.decode(errors="replace")


def wait_for(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(0.01)


def write(path, text, mode=0o600):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
    os.chmod(path, mode)


def traced(plugin, calls):
    """Runs the plugin under strace, which stands outside the cut capabilities: it could not read arguments otherwise."""
    argv = plugin.argv
    plugin.argv = lambda verb: ["/usr/bin/strace", "-f", "-o", "/tmp/trace", "-e", "trace=" + calls, *argv(verb)]
    return plugin


def trace():
    with open("/tmp/trace", encoding="utf-8", errors="replace") as lines:
        return lines.read().splitlines()


class Server:
    """sshd as a service manager would run it: in the foreground, child of the test."""

    def __init__(self, *arguments, port=22):
        self.arguments = arguments
        self.port = port
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(["/usr/sbin/sshd", "-D", *self.arguments], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.listens, "sshd listens")

    def listens(self):
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            with open(table, encoding="ascii") as rows:
                for row in rows.readlines()[1:]:
                    fields = row.split()
                    if fields[3] == "0A" and fields[1].endswith(f":{self.port:04X}"):
                        return True
        return False

    def is_alive(self):
        return self.process.poll() is None

    def stop(self):
        if self.process and self.is_alive():
            self.process.terminate()
            self.process.wait(30)
        wait_for(lambda: not self.listens(), "sshd has let go of its port")

    def reload(self):
        """For changes that the test made itself."""
        self.stop()
        self.start()


def add_user(name, password=None, shell="/bin/bash", uid=None):
    must("useradd", "--create-home", "--shell", shell, *(["--uid", str(uid)] if uid else []), name)
    if password:
        set_password(name, password)


def set_password(name, password):
    must("chpasswd", "-c", "SHA512", input=f"{name}:{password}\n".encode())


def make_key(path, kind="ed25519"):
    must("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "test", "-f", path)
    with open(path + ".pub", encoding="ascii") as public:
        return public.read().strip()


def put_keys(user, text, home=None, name="authorized_keys"):
    home = home or os.path.expanduser("~" + user)
    owner = must("id", "-u", user).strip() + ":" + must("id", "-g", user).strip()
    os.makedirs(home + "/.ssh", mode=0o700, exist_ok=True)
    write(f"{home}/.ssh/{name}", text)
    must("chown", "-R", owner, home + "/.ssh")
    os.chmod(home + "/.ssh", 0o700)


def key_login(user, key, port=22):
    done = run("ssh", *CLIENT, "-p", str(port), "-i", key, "-o", "BatchMode=yes",
               "-o", "PreferredAuthentications=publickey", user + "@127.0.0.1", "echo in")
    return done.returncode == 0 and b"in" in done.stdout.split()


def password_login(user, password, method="password,keyboard-interactive", port=22):
    done = run("sshpass", "-p", password, "ssh", *CLIENT, "-p", str(port), "-o", "PubkeyAuthentication=no",
               "-o", "NumberOfPasswordPrompts=1", "-o", "PreferredAuthentications=" + method, user + "@127.0.0.1",
               "echo in")
    return done.returncode == 0 and b"in" in done.stdout.split()
