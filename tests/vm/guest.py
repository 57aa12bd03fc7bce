# SPDX-License-Identifier: Apache-2.0
"""A booted Debian with the real packages: a container (systemd-nspawn) or a machine (qemu, software emulation). The operator, the
endpoint and the ssh clients are on the host's side, inside tests/rig/enter, where nothing but loopback exists."""
import base64
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Machine, Signer, check, wait_for, write  # noqa: E402,F401
from console import Operator  # noqa: E402

VM = "/run/project/build/vm"
ROOT = f"{VM}/{os.environ.get('LATCHKEY_VM_ROOT', 'root')}"


class Host:
    """The operator's side: the endpoint on loopback, a console with its key, the instances it knows."""

    def __init__(self):
        self.machine = Machine()
        self.machine.start_endpoint()
        self.operator = Operator(self.machine)
        self.operator.initialise()
        self.signer = Signer.__new__(Signer)

    def seed(self, instance, policy=None, url="http://127.0.0.1:8470", boot_wait=None, auto=False):
        """Creates the instance; returns the files that an image builder or user-data puts on it: path -> (text, mode)."""
        self.machine.instance = instance
        lines = "[agent]\n" + ("" if auto else f"instance = {instance}\n")
        lines += f"boot_wait = {boot_wait}\n" if boot_wait is not None else ""
        files = {"etc/latchkey/latchkey.conf": (f"{lines}[endpoint]\nurl = {url}\n", 0o644),
                 "etc/latchkey/allowed_signers": (self.operator.signer_line + "\n", 0o644),
                 "etc/latchkey/enrol": (self.operator.add_instance() + "\n", 0o640)}
        if policy:
            files["etc/latchkey/policy.conf"] = (policy, 0o644)
        return files


class Guest:
    """What both kinds have: files put in before the start, a root shell that needs no sshd, logins over ssh."""

    def __init__(self, name, port, root=ROOT):
        self.name, self.root, self.folder = name, root, f"{VM}/guest-{name}"
        self.banner_seconds = 0.5
        self.logins = Machine.__new__(Machine)
        self.logins.port = port
        shutil.rmtree(self.folder, ignore_errors=True)
        for part in ("upper", "work", "tree"):
            os.makedirs(f"{self.folder}/{part}")
        self.must_run("mount", "-t", "overlay", "overlay", "-o",
                      f"lowerdir={self.root},upperdir={self.folder}/upper,workdir={self.folder}/work", self.tree)
        with open(f"{self.tree}/etc/group") as file:
            self.group = int(next(line for line in file if line.startswith("latchkey:")).split(":")[2])

    @property
    def tree(self):
        return f"{self.folder}/tree"

    @staticmethod
    def must_run(*argv, **more):
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}")
        return done.stdout

    def put(self, files):
        for path, (text, mode) in files.items():
            write(f"{self.tree}/{path}", text, mode)
            if path == "etc/latchkey/enrol":
                os.chown(f"{self.tree}/{path}", 0, self.group)

    def must(self, script):
        code, output = self.sh(script)
        if code != 0:
            raise AssertionError(f"{self.name}: {script}: exit {code}\n{output}")
        return output.strip()

    def property(self, unit, name):
        return self.must(f"systemctl show --value --property={name} {unit}")

    def wait_active(self, unit="latchkeyd.service", seconds=600):
        wait_for(lambda: self.property(unit, "ActiveState") == "active", f"{unit} is active in {self.name}", seconds)

    def show(self):
        """For the log of a failed test."""
        try:
            return self.sh("systemctl --failed --no-legend; latchctl status; ls -l /etc/latchkey /var/lib/latchkey/*; journalctl -b --no-pager -o short-monotonic -n 300")[1]
        except (OSError, AssertionError) as problem:
            return str(problem)

    def banner(self):
        """True when sshd answers. Asked often, to see its first answer; but each time that one was too slow it is given longer,
        or a slow machine would be kept busy with connections that nobody waits for."""
        try:
            with socket.create_connection(("127.0.0.1", self.logins.port), self.banner_seconds) as link:
                answers = link.recv(64).startswith(b"SSH-2.0")
        except TimeoutError:
            self.banner_seconds = min(self.banner_seconds * 1.5, 30)
            return False
        except OSError:
            return False
        if answers:
            self.banner_seconds = 0.5
        return answers

    def key_login(self, user, key="laptop"):
        return self.logins.login_with_key(user, f"/tmp/operator/{key}")

    def password_login(self, user, password):
        return self.logins.login_with_password(user, password)


class Container(Guest):
    """systemd as pid 1 in namespaces; shares the rig's loopback, so its sshd answers on port 22 of it."""

    def __init__(self, name):
        super().__init__(name, 22)
        self.process = self.leader = None

    def start(self, wait=True):
        self.log = open(f"{self.folder}/console.log", "ab")
        self.process = subprocess.Popen(["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=read-only",
                                         f"--machine={self.name}", f"--directory={self.tree}", "--boot"],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"})
        self.leader = wait_for(self.find_leader, "the container has an init")
        wait_for(lambda: self.sh("systemctl is-system-running")[1].strip() in ("starting", "running", "degraded"),
                 "systemd answers")
        if wait:
            self.wait_active("multi-user.target")

    def find_leader(self):
        if self.process.poll() is not None:
            raise AssertionError(f"systemd-nspawn ended: see {self.folder}/console.log")
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            for child in file.read().split():
                # The first child only sets the scene; what has become systemd is the one.
                try:
                    with open(f"/proc/{child}/comm") as name:
                        if name.read() == "systemd\n":
                            return child
                except FileNotFoundError:
                    pass
        return None

    def sh(self, script):
        done = subprocess.run(["nsenter", "-t", self.leader, "--all", "/usr/bin/env", "-i",
                               "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "/bin/bash", "-c", script],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout

    def stop(self, how=signal.SIGRTMIN + 4):
        """Powers it off in an orderly way; SIGKILL: as a power cut."""
        if self.process is None:
            return
        try:
            os.kill(int(self.leader), how)
        except ProcessLookupError:
            pass
        self.process.wait(60)
        self.process = None

    def restart(self):
        self.stop()
        self.start()


class VirtualMachine(Guest):
    """A whole machine under qemu without KVM: its own kernel, disk and clock. The endpoint is at 10.0.2.2."""

    def __init__(self, name, port, uuid, root=ROOT):
        super().__init__(name, port, root)
        self.uuid = uuid
        self.process = self.serial = None
        self.append = ""
        self.disk = f"{self.folder}/disk.qcow2"
        self.buffer, self.asked = b"", 0

    def make_disk(self, size="1400M"):
        """From the tree, once; afterwards the tree is no longer looked at."""
        raw, contexts = f"{self.folder}/disk.raw", f"{self.tree}/etc/selinux/default/contexts/files/file_contexts"
        if os.path.exists(contexts):
            self.must_run("setfiles", "-F", "-r", self.tree, contexts, f"{self.tree}/etc/latchkey")
        self.must_run("mke2fs", "-q", "-t", "ext4", "-F", "-E", "hash_seed=6a1d1f8e-3b1b-4b8e-9b1a-0a0a0a0a0a0a", "-d", self.tree,
                      raw, size)
        if os.path.exists(contexts):
            # The one inode whose attributes are not taken along.
            self.must_run("debugfs", "-w", "-R", "ea_set / security.selinux system_u:object_r:root_t:s0", raw)
        self.must_run("qemu-img", "create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", self.disk)

    def copy_disk(self, other):
        """What a clone of the disk is: same bytes, another machine."""
        shutil.copy(other.disk, self.disk)

    def start(self, wait=True, options=(), read_only=False):
        kernel = next(n for n in sorted(os.listdir(f"{self.root}/boot")) if n.startswith("vmlinuz"))
        initrd = next(n for n in sorted(os.listdir(f"{self.root}/boot")) if n.startswith("initrd"))
        path = f"/tmp/{self.name}.serial"
        if os.path.exists(path):
            os.unlink(path)
        self.log = open(f"{self.folder}/console.log", "ab")
        self.process = subprocess.Popen(
            ["nice", "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "384", "-nodefaults",
             "-display", "none", "-no-reboot", "-uuid", self.uuid, "-kernel", f"{self.root}/boot/{kernel}", "-initrd", f"{self.root}/boot/{initrd}", "-append",
             f"root=/dev/vda {'ro' if read_only else 'rw'} console=ttyS0 quiet net.ifnames=0 mitigations=off {self.append}",
             "-drive", f"file={self.disk},if=virtio,cache=unsafe,discard=unmap",
             "-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{self.logins.port}-:22", "-device", "virtio-net-pci,netdev=n",
             "-chardev", f"file,id=console,append=on,path={self.folder}/serial.log", "-serial", "chardev:console",
             "-chardev", f"socket,id=shell,server=on,wait=off,path={path}", "-serial", "chardev:shell", *options],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.serial = socket.socket(socket.AF_UNIX)
        # Its name is there a moment before it listens.
        wait_for(lambda: self.serial.connect_ex(path) == 0, "qemu runs")
        self.buffer = b""
        self.patience = 2
        wait_for(self.shell_answers, "the guest's shell answers", 600)
        if wait:
            self.wait_active("multi-user.target", 600)

    def put(self, files):
        if self.process is None:
            return super().put(files)
        for path, (text, mode) in files.items():
            self.must(f"cat >/{path} <<'EOF'\n{text}EOF\nchmod {mode:o} /{path}")
        return None

    def shell_answers(self):
        # Asked ever more patiently: a slow machine that is asked too often would never come to the newest question.
        self.patience *= 2
        try:
            return self.sh("echo hello", self.patience)[1].strip() == "hello"
        except TimeoutError:
            return False

    def sh(self, script, seconds=600):
        self.buffer = b""
        self.serial.settimeout(0.001)
        try:
            while self.serial.recv(65536):
                pass
        except TimeoutError:
            pass
        self.serial.settimeout(seconds)
        # What was asked before and not waited for may still be answered: each answer begins with its question's number.
        self.asked += 1
        number = str(self.asked)
        marked = f"echo {number}\n{script}\n"
        self.serial.sendall(base64.b64encode(marked.encode()) + b"\n")
        end = time.monotonic() + seconds
        while True:
            lines = self.buffer.split(b"\n")
            for line in lines[:-1]:
                if line.startswith(b":") and line.count(b":") == 3 and line.endswith(b":"):
                    _, code, output, _ = line.split(b":")
                    first, _, rest = base64.b64decode(output).decode(errors="replace").partition("\n")
                    if first == number:
                        return int(code), rest
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name}: no answer to {script}")
            more = self.serial.recv(65536)
            if not more:
                raise AssertionError(f"{self.name}: the machine is gone")
            self.buffer += more

    def power_cut(self):
        self.process.kill()
        self.process.wait()
        self.serial.close()
        self.process = None

    def stop(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.serial.sendall(base64.b64encode(b"systemctl poweroff") + b"\n")
            try:
                self.process.wait(600)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.serial.close()
        self.process = None


class Suite:
    """Cases in the order they are added, each with its time; the log says what happened, and how the guest saw it when it failed."""

    def __init__(self, name):
        self.name, self.guests, self.times, self.failed = name, [], [], []

    def guest(self, guest):
        self.guests.append(guest)
        return guest

    def case(self, title, function):
        print(f"--- {title}", flush=True)
        began = time.monotonic()
        try:
            function()
        except (AssertionError, SystemExit, OSError, subprocess.SubprocessError) as problem:
            self.failed.append(title)
            traceback.print_exc(file=sys.stdout)
            print(f"FAIL {title}: {problem!r}", flush=True)
            for guest in self.guests:
                if guest.process is not None:
                    print(f"--- {guest.name}\n{guest.show()}", flush=True)
            with open("/tmp/endpoint.log") as log:
                print(f"--- the endpoint\n{log.read()[-2000:]}", flush=True)
        self.times.append((time.monotonic() - began, title))

    def end_guest(self, guest):
        self.guests.remove(guest)
        if guest.process is not None:
            guest.stop()
        subprocess.run(["umount", guest.tree])
        shutil.rmtree(guest.folder, ignore_errors=True)

    def end(self, host):
        for guest in list(self.guests):
            self.end_guest(guest)
        host.machine.stop_all()
        print()
        for seconds, title in self.times:
            print(f"{seconds:6.1f} s  {'FAIL' if title in self.failed else 'ok  '}  {title}")
        print(f"{self.name}: {len(self.times) - len(self.failed)} of {len(self.times)} cases passed")
        return 1 if self.failed else 0
