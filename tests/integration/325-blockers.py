#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every blocker of lib/blocker.h: the machine is put into it, a real login is refused, that cause alone is
named, what the table says helps is run as it stands there (the operator's program for `latchkey …`, a shell for what is
typed on the machine, else the hand that its row names), and then the login succeeds and nothing is named."""
import ctypes
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from console import HOME, Operator  # noqa: E402
from fail2ban import Fail2ban  # noqa: E402
from machine import Machine, check, main, read, wait_for, write  # noqa: E402
from plugin import Plugin  # noqa: E402
from server import CLIENT, Server, make_key, must, put_keys  # noqa: E402

PASSWORD = "Nightingale-77"
SSHD = "/usr/sbin/sshd"
CONFIG = "/etc/ssh/sshd_config.d/50-test.conf"
DROP_IN = "/etc/ssh/sshd_config.d/00-latchkey.conf"
KEYS = "/home/alice/.ssh/authorized_keys"
libc = ctypes.CDLL(None, use_errno=True)


def table():
    """code → what helps, from the header."""
    text = read("/run/project/lib/blocker.h").replace("\\\n", "\n")
    return dict(re.findall(r'X\(\w+,\s*"(\w+)",\s*"[^"]*",\s*"([^"]*)",', text))


class Row:
    """What puts the machine into it; whose login by what from where is refused; the hand for what is no command."""

    def __init__(self, code, *steps, config="", user="alice", method="key", address="127.0.0.1", hand=None, undo=()):
        self.code, self.steps, self.config, self.user, self.method = code, steps, config, user, method
        self.address, self.hand, self.undo = address, hand, undo


def call(*argv):
    return lambda: must(*argv)


def put(path, text, mode=0o644):
    return lambda: write(path, text, mode)


def shell(text):
    return call("sh", "-c", text)


class Rig:
    def __init__(self):
        self.machine = Machine()
        self.operator = Operator(self.machine)
        write("/etc/latchkey/policy.conf", "[users]\nroot = yes\nprivileged = allow\n[groups]\nallow = games\n")
        common = read("/etc/pam.d/common-auth")
        write("/etc/pam.d/common-auth", common.replace("pam_unix.so", "pam_unix.so nodelay"))
        self.pam = read("/etc/pam.d/sshd")
        must("useradd", "-m", "-s", "/bin/bash", "alice")
        must("usermod", "-aG", "users", "alice")
        self.public = make_key("/tmp/key")
        make_key("/tmp/rsa", "rsa")
        self.login = Plugin("login")
        self.server = Server()
        self.machine.start_endpoint()
        self.operator.enrol()
        self.machine.start_agent()
        wait_for(lambda: os.path.exists("/var/lib/latchkey/identity/text"), "the instance has an identity")
        wait_for(lambda: "latched" in read("/tmp/endpoint.log"), "the endpoint knows it")
        self.operator.run("diagnose", self.machine.instance, "alice", "--accept-new-identity")
        self.operator.must("keypair", "import", "laptop", "/tmp/key.pub")
        self.operator.must("keypair", "import", "other", "/tmp/rsa.pub")

    def reset(self):
        write("/etc/pam.d/sshd", self.pam)
        must("sh", "-c", "rm -f /etc/nologin /run/nologin /etc/ssh/revoked " + CONFIG + " " + DROP_IN)
        if subprocess.run(["id", "alice"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            must("sh", "-c", "rm -rf /home/alice; useradd -m -s /bin/bash alice")
        must("usermod", "-aG", "users", "alice")
        for user, home in (("alice", "/home/alice"), ("root", "/root")):
            must("usermod", "-s", "/bin/bash", "-e", "", user)
            must("chage", "-d", time.strftime("%Y-%m-%d"), "-M", "99999", "-I", "-1", user)
            must("chpasswd", "-c", "SHA512", input=f"{user}:{PASSWORD}\n".encode())
            os.chmod(home, 0o700)
            shutil.rmtree(home + "/.ssh", ignore_errors=True)
            put_keys(user, self.public + "\n")

    def configure(self, text):
        write(CONFIG, text)
        os.kill(self.server.process.pid, 1)
        self.settle()

    def settle(self):
        """After a SIGHUP sshd closes its sockets and opens new ones."""
        time.sleep(0.15)
        wait_for(lambda: not self.server.is_alive() or self.server.listens(), "sshd listens again")

    def ssh(self, user, method, address="127.0.0.1"):
        """A real login by one method, or by both together; and with another key where it is the only one left."""
        options = {"key": ["-o", "BatchMode=yes", "-o", "PreferredAuthentications=publickey"],
                   "rsa": ["-o", "BatchMode=yes", "-o", "PreferredAuthentications=publickey"],
                   "password": ["-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password,keyboard-interactive"],
                   "both": ["-o", "PreferredAuthentications=publickey,password"]}[method]
        file = "/tmp/rsa" if method == "rsa" else "/tmp/key"
        # A home that does not answer holds the session for ever.
        done = subprocess.run(["timeout", "15", "sshpass", "-p", PASSWORD, "ssh", *CLIENT, "-b", address, "-i", file, *options, "-o",
                               "NumberOfPasswordPrompts=1", f"{user}@127.0.0.1", "echo in"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return done.returncode == 0 and b"in" in done.stdout.split()

    def blockers(self, user, method, address="127.0.0.1"):
        result = self.login.plan({"do": "diagnose", "user": user, "from": address})[0]
        assert result["code"] == "ok", result
        self.detail = result["detail"]
        found = result["login"][user]["password" if method == "password" else "key"]
        assert found["can"] == (not found["blockers"]), found
        return found["blockers"]

    def run_fix(self, row, code, fixes):
        """As it is typed: the first of the commands that the sentence names. Returns what was done."""
        text = fixes[code].replace("INSTANCE", self.machine.instance).replace("USER", row.user).replace("ADDRESS", row.address)
        first = text.split(", ")[0].replace("LABEL", "other" if row.method == "rsa" else "laptop")
        if row.hand and code == row.code:
            row.hand()
            return "by hand: " + text
        if first.startswith("latchkey "):
            words = first.split()[1:]
            secret = None
            if words[0] == "reset-password":
                words += ["--password-fd", "9"]
                secret = PASSWORD
            status, output, error = self.operator.run(*words, secret=secret)
            assert status == 0, f"{first}: exit {status}\n{output}{error}"
            if words[:2] == ["sshd", "set"]:  # what may restrict is on trial for ten minutes
                self.operator.run("sshd", "confirm", self.machine.instance)
        else:
            must("bash", "-c", first)
        return first

    def show(self, row, fixes):
        self.reset()
        self.configure(row.config)
        for step in row.steps:
            step()
        wanted = row.method
        method = "key" if row.method in ("rsa", "both") else row.method
        refused = not self.ssh(row.user, method, row.address)
        found = self.blockers(row.user, method, row.address)
        check(refused and found == [row.code], f"{row.code}: refused {refused}, named {found}")
        said = fixes[row.code].split(", ")[0].replace("INSTANCE", "i-1").replace("USER", row.user).replace("ADDRESS", row.address)
        check(said[:40] in self.detail, f"  and what helps is said: {self.detail}")
        done = []
        while found and len(done) < 4:  # what helps may show the next: an account that is new has no key yet
            done.append(self.run_fix(row, found[0], fixes))
            found = self.blockers(row.user, method, row.address)
            if row.method == "both":
                break
        check(self.ssh(row.user, wanted, row.address), f"  … {'; '.join(done)}: he is in")
        if row.method != "both":
            check(not found, f"  … and nothing is named any more {found}")
        for step in row.undo:
            step()


def rows(rig):
    """One for each blocker."""
    def config(text):
        return lambda: rig.configure(text)

    def faillock():
        write("/etc/pam.d/sshd", "auth required pam_faillock.so preauth\nauth [success=1 default=bad] pam_unix.so nodelay\n"
              "auth [default=die] pam_faillock.so authfail\nauth required pam_permit.so\n"
              "account required pam_unix.so\nsession required pam_permit.so\n")
        for _ in range(3):
            subprocess.run(["sshpass", "-p", "wrong", "ssh", *CLIENT, "-o", "PubkeyAuthentication=no", "-o",
                            "NumberOfPasswordPrompts=1", "alice@127.0.0.1", "true"], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ban():
        rig.fail2ban = Fail2ban()
        rig.fail2ban.ban("sshd", "127.0.0.2")
        # By the agent, whose plugins have a sandbox.
        said = rig.operator.run("diagnose", rig.machine.instance, "alice", "--from", "127.0.0.2")[1]
        check("fail2ban-client unban 127.0.0.2" in said and "jail sshd" in said, f"the console is told of the ban: {said}")

    def hang():
        """A file system whose server never answers."""
        rig.fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={rig.fuse},rootmode=40000,user_id=0,group_id=0,allow_other"
        if libc.mount(b"hung", b"/home/alice", b"fuse.hung", 0, options.encode()) < 0:
            raise OSError(ctypes.get_errno(), "mount")

    def unhang():
        os.close(rig.fuse)
        must("umount", "-l", "/home/alice")

    def keys(text):
        return lambda: put_keys("alice", text.replace("KEY", rig.public) + "\n")

    plain = config("")
    yield Row("no_such_user", call("userdel", "-f", "-r", "alice"))
    yield Row("sshd_missing", rig.server.stop, call("mv", SSHD, "/usr/sbin/sshd.away"),
              hand=lambda: (must("mv", "/usr/sbin/sshd.away", SSHD), rig.server.start()))
    yield Row("sshd_not_running", rig.server.stop, hand=rig.server.start)
    yield Row("sshd_invalid", rig.server.stop, put(CONFIG, "NoSuchKeyword yes\n"),
              hand=lambda: (os.unlink(CONFIG), rig.server.start()))
    # Stopped, for one that runs (before 9.8) goes on from memory when its program is broken.
    yield Row("sshd_unknown", rig.server.stop, call("cp", "-p", SSHD, "/usr/sbin/sshd.kept"), lambda: replace(SSHD, b"\0" * 4096),
              hand=lambda: (os.rename("/usr/sbin/sshd.kept", SSHD), rig.server.start()))
    yield Row("expired", call("usermod", "-e", "1970-01-02", "alice"))
    yield Row("locked_hash", call("usermod", "-L", "alice"), method="password")
    for code, path in (("shell_nologin", "/usr/sbin/nologin"), ("shell_missing", "/bin/none")):
        yield Row(code, call("usermod", "-s", path, "alice"))
    yield Row("shell_unlisted", call("cp", "/bin/bash", "/run/mine"), call("usermod", "-s", "/run/mine", "alice"),
              lambda: write("/etc/pam.d/sshd", "auth required pam_shells.so\naccount required pam_shells.so\n" + rig.pam))
    yield Row("nologin_file", put("/etc/nologin", "closed\n"))
    yield Row("root_login_off", config="PermitRootLogin no\n", user="root")
    yield Row("root_password_off", config="PermitRootLogin prohibit-password\n", user="root", method="password",
              hand=lambda: rig.operator.must("sshd", "set", rig.machine.instance, "--permit-root-login", "yes"))
    yield Row("root_commands_only", config="PermitRootLogin forced-commands-only\n", user="root")
    yield Row("deny_users", config="DenyUsers alice\n", hand=plain)
    yield Row("allow_users", config="AllowUsers root\n", hand=config("AllowUsers root alice\n"))
    yield Row("deny_groups", config="DenyGroups users\n", hand=call("gpasswd", "-d", "alice", "users"),
              undo=[call("gpasswd", "-a", "alice", "users")])
    yield Row("allow_groups", config="AllowGroups games\n", hand=lambda: rig.operator.must(
        "user", "add", rig.machine.instance, "alice", "--groups", "games"), undo=[call("gpasswd", "-d", "alice", "games")])
    yield Row("force_command", config="ForceCommand /bin/false\n", hand=plain)
    yield Row("chroot_directory", config="ChrootDirectory /srv\n", hand=plain)
    yield Row("authentication_methods", config="AuthenticationMethods publickey,password\n", method="both", hand=lambda: None)
    yield Row("max_sessions", config="MaxSessions 0\n", hand=plain)
    yield Row("pubkey_auth_off", config="PubkeyAuthentication no\n")
    yield Row("password_auth_off", config="PasswordAuthentication no\nKbdInteractiveAuthentication no\n", method="password")
    yield Row("no_password", call("usermod", "-p", "*", "alice"), method="password")
    yield Row("shadow_missing", call("sed", "-i", "/^alice:/d", "/etc/shadow"))
    yield Row("must_change", call("usermod", "-p", "*", "alice"), call("chage", "-d", "0", "alice"))
    yield Row("keys_file_none", config="AuthorizedKeysFile none\n", hand=plain)
    yield Row("keys_file_missing", call("rm", KEYS))
    yield Row("keys_file_unreadable", call("chown", "root:root", KEYS), call("chmod", "600", KEYS),
              hand=call("chown", "alice:", KEYS))
    yield Row("keys_file_too_large", keys("# " + "x" * 1000 + ("\n# " + "x" * 1000) * 5000), hand=keys("KEY"))
    yield Row("strict_modes", call("chmod", "777", "/home/alice"))
    yield Row("no_key", keys("# nothing"))
    yield Row("keys_elsewhere", keys("# nothing"), config="AuthorizedKeysCommand /bin/true\nAuthorizedKeysCommandUser nobody\n")
    yield Row("key_expired", keys('expiry-time="20200101" KEY'), method="rsa")
    yield Row("key_from", keys('from="10.0.0.0/8" KEY'), method="rsa")
    yield Row("key_revoked", put("/etc/ssh/revoked", rig.public + "\n"), config="RevokedKeys /etc/ssh/revoked\n", method="rsa")
    yield Row("key_type_off", config="PubkeyAcceptedAlgorithms rsa-sha2-512\n", method="rsa")
    yield Row("key_command_only", keys('command="true" KEY'), method="rsa")
    yield Row("revoked_keys_missing", config="RevokedKeys /etc/ssh/revoked\n", hand=put("/etc/ssh/revoked", ""))
    access, limits, deny = "/etc/security/access.conf", "/etc/security/limits.d/50-test.conf", "/etc/hosts.deny"
    yield Row("pam_access", put(access, "-:alice:ALL\n"),
              lambda: write("/etc/pam.d/sshd", "account required pam_access.so\n" + rig.pam), hand=put(access, "+:alice:ALL\n-:ALL:ALL\n"),
              undo=[put(access, "")])
    yield Row("pam_rule", put("/etc/security/listed", "alice\n"), lambda: write("/etc/pam.d/sshd",
              "account required pam_listfile.so item=user sense=deny file=/etc/security/listed onerr=succeed\n" + rig.pam),
              hand=put("/etc/security/listed", ""), undo=[call("rm", "/etc/security/listed")])
    yield Row("login_limit", put(limits, "alice - maxlogins 0\n"), hand=put(limits, "alice - maxlogins 9\n"),
              undo=[call("rm", limits)])
    yield Row("hosts_deny", put(deny, "ALL: ALL\n"), hand=put(deny, "ALL: ALL EXCEPT 127.0.0.1\n"), undo=[call("rm", deny)])
    yield Row("faillock", faillock, method="password")
    yield Row("address_banned", ban, address="127.0.0.2", undo=[lambda: rig.fail2ban.stop()])
    yield Row("host_key_missing", shell("rm /etc/ssh/ssh_host_*"))
    yield Row("home_timeout", hang, hand=unhang)
    yield Row("home_timeout", hang, method="password", hand=unhang)


def what_is_no_blocker(rig):
    """States of a disk that keep nobody out: each login succeeds, and nothing is named."""
    home = "/home/alice"

    def full():
        must("mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", home)
        must("chown", "alice:", home)
        put_keys("alice", rig.public + "\n")
        must("sh", "-c", f"dd if=/dev/zero of={home}/fill bs=1k 2>/dev/null; true")

    def read_only(path):
        return lambda: must("sh", "-c", f"mount --bind {path} {path} && mount -o remount,bind,ro {path}")

    states = [("a home that is full", full, home), ("a home that is read-only", read_only(home), home),
              ("/var read-only", read_only("/var"), "/var"), ("/etc read-only", read_only("/etc"), "/etc")]
    for name, damage, place in states:
        rig.reset()
        rig.configure("")
        damage()
        for method in ("key", "password"):
            found = rig.blockers("alice", method)
            check(rig.ssh("alice", method) and not found, f"{name} keeps nobody out by {method}, and nothing is named {found}")
        must("umount", place)


def replace(path, content):
    """In place of a file that may be in execution."""
    with open(path + ".new", "wb") as file:
        file.write(content)
    os.chmod(path + ".new", 0o755)
    os.rename(path + ".new", path)


def test():
    fixes = table()
    fixes.pop("key_not_present")  # of one key that is asked about: 230-doctor
    # The staged programs lie over /usr read-only: sshd goes away and is broken below.
    upper = "/tmp/sbin"
    shutil.copytree("/usr/sbin", upper, symlinks=True)
    must("mount", "--bind", upper, "/usr/sbin")
    rig = Rig()
    only = sys.argv[1:]
    shown = []
    for row in rows(rig):
        shown.append(row.code)
        if not only or row.code in only:
            rig.show(row, fixes)
    check(set(shown) == set(fixes), f"every blocker of the table has its row {sorted(set(fixes) ^ set(shown))}")
    what_is_no_blocker(rig)
    rig.server.stop()


main(test)
