#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""access.restore: somebody is locked out for one reason or several, one command lets him in, and when its time is over
everything is as it was. Each door is tried with a real login before, meanwhile and after."""
import hashlib
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import APPLY, Machine, Signer, check, keygen, main, read, wait_for, write  # noqa: E402

OPERATORS = "/etc/ssh/sshd_config.d/50-operator.conf"
DROP_IN = "/etc/ssh/sshd_config.d/00-latchkey.conf"
PASSWORD = "Nightingale-77"
REVERTS = "/run/latchkey/revert"


def must(*argv, **named):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **named).stdout


class Rig:
    def __init__(self):
        self.machine, self.ops, self.seq = Machine(url=None), Signer(), 0
        write("/etc/latchkey/allowed_signers", self.ops.line())
        write("/etc/latchkey/policy.conf", "[users]\nroot = yes\nprivileged = allow\n")
        self.machine.start_sshd()
        self.machine.redo()
        key = keygen("/tmp/key")
        for user in ("alice", "root"):
            self.do({"do": "keys.bind", "user": user, "keypair": "laptop", "key": key}, ensure=user == "alice" and user)
        must("chpasswd", input=f"alice:{PASSWORD}\nroot:{PASSWORD}\n")

    def do(self, command, ensure=None):
        self.seq += 1
        before = [{"id": f"e{self.seq}", "do": "user.ensure", "user": ensure}] if ensure else []
        code, log = self.machine.apply(self.ops.document(self.seq, [*before, {"id": f"c{self.seq}", **command}]))
        assert code == 0, log
        return self.machine.result(self.seq, f"c{self.seq}")

    def restore(self, user="alice", **more):
        return self.do({"do": "access.restore", "user": user, **more})

    def over(self):
        """Its time is over: a reboot says so as well as the clock."""
        shutil.rmtree(REVERTS)
        code, log = self.machine.apply(b"", "--revert")
        assert code == 0, log

    def over_for(self, entry):
        """The clock's part of it, for one of them."""
        name, = [name for name in os.listdir(REVERTS) if name.endswith("-" + entry)]
        os.rename(f"{REVERTS}/{name}", f"{REVERTS}/0-" + name.split("-", 1)[1])
        code, log = self.machine.apply(b"", "--revert")
        assert code == 0, log

    def key(self, user="alice"):
        return self.machine.login_with_key(user, "/tmp/key")

    def password(self, user="alice"):
        return self.machine.login_with_password(user, PASSWORD)


def digests():
    files = ["/etc/passwd", "/etc/shadow", DROP_IN, OPERATORS, "/etc/ssh/sshd_config"]
    return {name: hashlib.sha256(open(name, "rb").read()).hexdigest() for name in files if os.path.exists(name)}


def expire_date(user):
    return read("/etc/shadow").split(f"\n{user}:")[1].splitlines()[0].split(":")[6]


def test():
    rig = Rig()
    check(rig.key() and rig.password(), "both doors are open to begin with")
    result = rig.restore()
    check((result["code"], result["changed"]) == ("ok", False), f"nothing is in the way: {result['detail']}")

    def config(text):
        write(OPERATORS, text)
        rig.machine.reload_sshd()

    def account(*argv):
        return lambda: must(*argv)

    # What is broken, whom it keeps out, how he tries, which method is asked for, what is said to have been lifted.
    cases = (
        ("PubkeyAuthentication no", lambda: config("PubkeyAuthentication no\n"), "alice", rig.key, "key", "pubkey_auth"),
        ("password login off", lambda: config("PasswordAuthentication no\nKbdInteractiveAuthentication no\n"), "alice",
         rig.password, "password", "password_auth"),
        ("PermitRootLogin no", lambda: config("PermitRootLogin no\n"), "root", lambda: rig.key("root"), "key",
         "permit_root_login"),
        ("root by password", lambda: config("PermitRootLogin prohibit-password\n"), "root",
         lambda: rig.password("root"), "password", "permit_root_login"),
        ("expired account", account("chage", "-E", "2020-01-01", "alice"), "alice", rig.key, "key", "expires"),
        ("usermod -L", account("usermod", "-L", "alice"), "alice", rig.password, "password", "unlock"),
        ("nologin shell", account("usermod", "-s", "/usr/sbin/nologin", "alice"), "alice", rig.key, "key", "shell"),
        ("a shell that is gone", account("usermod", "-s", "/bin/gone", "alice"), "alice", rig.password, "any", "shell"),
        ("user.lock of ours", lambda: rig.do({"do": "user.lock", "user": "alice"}), "alice",
         rig.key, "key", "unlock"),
        ("everything at once", lambda: (must("usermod", "-L", "-e", "2020-01-01", "-s", "/usr/sbin/nologin", "alice"),
                                        config("PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
                                               "PubkeyAuthentication no\n")), "alice", rig.password, "password", "shell"),
    )
    backup = {name: open(name, "rb").read() for name in ("/etc/passwd", "/etc/shadow")}
    for name, break_it, user, tries, method, lifted in cases:
        break_it()
        check(not tries(), f"{name}: kept out")
        before, date = digests(), expire_date("alice")
        result = rig.restore(user, method=method, keep=600)
        check(result["code"] == "ok" and result["changed"] and lifted in result["detail"] and "600 s" in result["detail"],
              f"  restored: {result['detail']}")
        check(tries(), "  and he logs in")
        repeated = rig.restore(user, method=method, keep=600)
        check((repeated["code"], repeated["changed"]) == ("ok", False), "  asking again changes nothing")
        rig.over()
        check(not tries(), "  its time is over: kept out again")
        check(digests() == before and expire_date("alice") == date, "  and every byte is as it was")
        late = rig.machine.result(rig.seq - 1, f"c{rig.seq - 1}")
        check(late["code"] == "unconfirmed" and "as it was" in late["detail"], f"  which is reported: {late['detail']}")
        for path, content in backup.items():
            with open(path, "wb") as file:
                file.write(content)
        if os.path.exists(OPERATORS):
            os.unlink(OPERATORS)
        rig.do({"do": "user.unlock", "user": "alice"})
        for path, content in backup.items():
            with open(path, "wb") as file:
                file.write(content)
        rig.machine.reload_sshd()
        check(rig.key() and rig.password(), "  repaired")

    # --- nothing is opened in vain -----------------------------------------------------------------------------------
    config("PubkeyAuthentication no\nDenyUsers alice\n")
    before = digests()
    result = rig.restore(method="any")
    check(result["code"] == "still_blocked" and "deny_users" in result["detail"] and digests() == before,
          f"what no command lifts is named, and nothing is changed: {result['detail']}")
    write("/etc/latchkey/policy.conf", "[policy]\ncommands = access.restore user.*\n")
    config("PubkeyAuthentication no\n")
    must("usermod", "-s", "/usr/sbin/nologin", "alice")
    before = digests()
    result = rig.restore(method="key")
    check(result["code"] == "policy" and "sshd.set" in result["detail"] and digests() == before and not os.listdir(REVERTS),
          f"what the policy does not allow is not lifted, and what was goes back at once: {result['detail']}")
    write("/etc/latchkey/policy.conf", "[users]\nroot = yes\nprivileged = allow\n")
    must("usermod", "-s", "/bin/bash", "alice")

    # --- for good, by confirmation or at once ---------------------------------------------------------------------------
    result = rig.restore(method="key", keep=600)
    confirmed = rig.do({"do": "sshd.confirm", "confirms": f"c{rig.seq}"})
    check(confirmed["code"] == "ok" and not os.listdir(REVERTS), "sshd.confirm keeps what was lifted")
    rig.over()
    check(rig.key(), "  and he still logs in")
    rig.do({"do": "sshd.set", "pubkey_auth": False})
    result = rig.restore(method="key", keep=0)
    check(result["code"] == "ok" and not os.listdir(REVERTS) and rig.key(), f"keep 0 is for good: {result['detail']}")

    stacked(rig)
    config("")

    # --- who is let in on trial does not count for the guard ----------------------------------------------------------
    config("PasswordAuthentication no\nKbdInteractiveAuthentication no\n")
    must("usermod", "-s", "/usr/sbin/nologin", "alice")
    must("rm", "-r", "/root/.ssh")
    check(rig.restore(method="key", keep=600)["code"] == "ok" and rig.key(), "alice is let in for a while")
    result = rig.do({"do": "user.ensure", "user": "carol", "shell": "/usr/sbin/nologin"})
    check(result["code"] == "ok", "  a service account may be made meanwhile")
    config("PasswordAuthentication no\nKbdInteractiveAuthentication no\n")
    result = rig.do({"do": "user.ensure", "user": "bob"})
    result = rig.do({"do": "keys.bind", "user": "bob", "keypair": "b", "key": read("/tmp/key.pub").strip()})
    result = rig.do({"do": "user.lock", "user": "bob"})
    check(result["code"] == "would_lock_out", f"  but nobody relies on her: {result['code']} {result['detail']}")

    # --- what was here before us, and what cannot go back ---------------------------------------------------------------
    must("useradd", "-m", "-s", "/bin/bash", "packer")
    must("chpasswd", input=f"packer:{PASSWORD}\n")
    rig.do({"do": "keys.bind", "user": "packer", "keypair": "laptop", "key": read("/tmp/key.pub").strip()})
    must("usermod", "-s", "/usr/sbin/nologin", "packer")
    line = [line for line in read("/etc/passwd").splitlines() if line.startswith("packer:")]
    result = rig.restore("packer", method="key", keep=600)
    check(result["code"] == "ok" and rig.key("packer"), f"an account of the image gets a shell for a while: {result['detail']}")
    rig.over()
    check(line == [line for line in read("/etc/passwd").splitlines() if line.startswith("packer:")], "  and its own again")
    must("usermod", "-s", "/bin/bash", "packer")
    pam = read("/etc/pam.d/sshd")
    write("/etc/pam.d/sshd", "auth required pam_faillock.so preauth\nauth [success=1 default=bad] pam_unix.so nodelay\n"
          "auth [default=die] pam_faillock.so authfail\nauth required pam_permit.so\n"
          "account required pam_unix.so\nsession required pam_permit.so\n")
    if os.path.exists(OPERATORS):
        os.unlink(OPERATORS)
    rig.machine.reload_sshd()
    for _ in range(3):
        rig.machine.login_with_password("packer", "wrong")
    check(not rig.password("packer"), "three wrong passwords: pam_faillock keeps him out")
    result = rig.restore("packer", method="password", keep=600)
    check(result["code"] == "ok" and result["changed"] and "clear_faillock (for good)" in result["detail"] and rig.password("packer"),
          f"  restored: {result['detail']}")
    check(not os.path.exists(REVERTS) or not os.listdir(REVERTS), "  for which there is no way back")
    result = rig.do({"do": "user.unlock", "user": "packer", "clear_faillock": True})
    check((result["code"], result["changed"]) == ("ok", False), "  asking again changes nothing")
    write("/etc/pam.d/sshd", pam)
    must("userdel", "-r", "packer")

    # --- what goes back goes back to whom it was about ------------------------------------------------------------------
    if os.path.exists(OPERATORS):
        os.unlink(OPERATORS)
    rig.machine.reload_sshd()
    rig.do({"do": "keys.bind", "user": "root", "keypair": "laptop", "key": read("/tmp/key.pub").strip()})

    def shadow(user):
        return [line for line in read("/etc/shadow").splitlines() if line.startswith(user + ":")]

    for again in (False, True):
        rig.do({"do": "keys.bind", "user": "dave", "keypair": "laptop", "key": read("/tmp/key.pub").strip()}, ensure="dave")
        rig.do({"do": "user.lock", "user": "dave"})
        check(rig.restore("dave", method="key", keep=600)["code"] == "ok" and rig.key("dave"), "dave is let in for a while")
        wait_for(lambda: subprocess.run(["pgrep", "-u", "dave"], stdout=subprocess.DEVNULL).returncode == 1, "his session has ended")
        result = rig.do({"do": "user.remove", "user": "dave", "home": "delete"})
        check(result["code"] == "ok", f"  and removed {result}")
        if again:
            rig.do({"do": "keys.bind", "user": "dave", "keypair": "laptop", "key": read("/tmp/key.pub").strip()}, ensure="dave")
        line = shadow("dave")
        rig.over()
        check(shadow("dave") == line and not os.listdir(REVERTS), f"  its time is over: the new dave is left alone {shadow('dave')}" if again else
              f"  its time is over: nothing of him comes back {shadow('dave')}")
        check(not again or rig.key("dave"), "  who still logs in")
        consistent = subprocess.run(["pwck", "-r"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
        check("dave" not in consistent.replace("/home/dave", ""), "  and pwck has nothing to say of him")
    must("userdel", "-f", "-r", "dave")

    # --- what is on trial is not said to be there for good ---------------------------------------------------------------
    rig.do({"do": "user.lock", "user": "bob"})
    check(rig.restore("bob", method="key", keep=600)["code"] == "ok", "bob is let in for a while")
    restored = f"c{rig.seq}"
    result = rig.do({"do": "user.unlock", "user": "bob"})
    check(result["code"] == "conflict" and restored in result["detail"], f"  to unlock him would be taken back: {result['detail']}")
    check(rig.do({"do": "user.unlock", "user": "alice"})["code"] == "ok", "  others are unlocked")
    check(rig.do({"do": "sshd.confirm", "confirms": restored})["code"] == "ok" and
          rig.do({"do": "user.unlock", "user": "bob"})["code"] == "ok", "  once it is confirmed it is so")
    must("usermod", "-s", "/usr/sbin/nologin", "bob")
    check(rig.restore("bob", method="key", keep=600)["code"] == "ok", "bob gets a shell for a while")
    check(rig.do({"do": "user.ensure", "user": "bob", "shell": "/bin/bash", "adopt": True})["code"] == "conflict" and
          rig.do({"do": "user.ensure", "user": "bob", "gecos": "Bob"})["code"] == "ok", "  to give him that one for good, likewise")
    rig.over()

    killed(rig)


def stacked(rig):
    """Steps that go back one over the other: what nobody has confirmed is in force at no time later."""
    def settings():
        return {line.split()[0]: line.split()[1] for line in read(DROP_IN).splitlines() if line[:1] in "PK"}

    def trial(**fields):
        assert rig.do({"do": "sshd.set", "confirm_within": 600, **fields})["code"] == "awaiting_confirm"
        return f"c{rig.seq}"

    kept = read(DROP_IN)
    for reboot in (False, True):
        before = settings()
        closed = trial(password_auth=False)
        check(not rig.password(), "password login is off on trial")
        check(rig.restore(method="password", keep=3600)["code"] == "ok" and rig.password(), "  and lifted for somebody who is shut out")
        lifted = f"c{rig.seq}+password_auth"
        if reboot:
            rig.over()
        else:
            rig.over_for(closed)
            check(rig.password() and len(os.listdir(REVERTS)) == 2, "  the trial's time is over: what was lifted stands, and the trial waits")
            marker, = [name for name in os.listdir(REVERTS) if name.endswith("-" + closed)]
            other, = [name for name in os.listdir(REVERTS) if name.endswith(lifted)]
            check(marker.split("-")[0] == other.split("-")[0], "  for the end of what was lifted")
            os.rename(f"{REVERTS}/{marker}", f"{REVERTS}/0-" + marker.split("-", 1)[1])
            rig.over_for(lifted)
        check(settings() == before and rig.password() and not os.listdir(REVERTS),
              f"  {'after a reboot' if reboot else 'then'} nothing is left of either: {settings()}")
        check(rig.machine.result(int(closed[1:]), closed)["code"] == "unconfirmed", "  which is reported")

    both = trial(password_auth=False, permit_root_login="no")
    rig.do({"do": "sshd.set", "permit_root_login": "yes"})
    rig.over_for(both)
    check(rig.password() and settings()["PermitRootLogin"] == "yes" and "PasswordAuthentication" not in settings(),
          f"of two settings on trial one was set anew: the other goes back {settings()}")
    late = rig.machine.result(int(both[1:]), both)
    check(late["code"] == "unconfirmed" and "somebody has changed" in late["detail"], f"  as is reported: {late['detail']}")

    rig.do({"do": "sshd.set", "password_auth": True})
    overridden = trial(password_auth=False)
    write(OPERATORS, "Match all\nPasswordAuthentication no\n")
    rig.machine.reload_sshd()
    rig.over_for(overridden)
    check(not os.listdir("/var/lib/latchkey/revert") and settings()["PasswordAuthentication"] == "yes",
          f"where a Match has its own word meanwhile, ours is back, and that was it {settings()}")
    check(rig.machine.result(int(overridden[1:]), overridden)["code"] == "unconfirmed", "  as is reported")
    write(DROP_IN, kept)


def killed(rig):
    """SIGKILL of latchkey-apply at its durable steps: after the redo he is in, and when its time is over all is as it was."""
    steps = "fdatasync,fsync,rename,renameat,renameat2,unlinkat"
    if os.path.exists(OPERATORS):
        os.unlink(OPERATORS)
    must("usermod", "-s", "/bin/bash", "alice")
    rig.over()
    survived = 0
    for number in range(1, 60, 3):
        write(OPERATORS, "PubkeyAuthentication no\n")
        must("chage", "-E", "2020-01-01", "alice")
        rig.machine.reload_sshd()
        before, date = digests(), expire_date("alice")
        rig.seq += 1
        text = rig.ops.document(rig.seq, [{"id": f"k{rig.seq}", "do": "access.restore", "user": "alice", "method": "key"}])
        done = subprocess.run(["/usr/bin/strace", "-qq", "-o", "/tmp/trace", "-e", "trace=" + steps, "-e",
                               f"inject={steps}:signal=KILL:when={number}", APPLY, "--document", "-"], input=text, env={},
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if done.returncode == 0:
            break
        taken_over = bool(os.listdir("/var/lib/latchkey/journal"))
        rig.machine.redo()
        if taken_over:
            if not rig.key():
                print(rig.machine.results(rig.seq))
            check(rig.key(), f"killed at step {number}: the redo lets him in")
        rig.over()
        check(not rig.key() and digests() == before and expire_date("alice") == date, "  and afterwards all is as it was")
        survived += 1
    check(survived >= 5, f"{survived} kills survived")


main(test)
