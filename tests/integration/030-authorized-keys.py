#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The authorized-keys plugin with a real sshd: tests/rig/enter -- /usr/bin/python3 tests/integration/030-authorized-keys.py"""
import hashlib
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "rig"))
from accounts import crypt  # noqa: E402
from plugin import Plugin, check  # noqa: E402
from sshd import SSH, Sshd, key_pair, logs_in  # noqa: E402

POLICY = {"types": ["ed25519", "ecdsa", "rsa", "sk"], "options": ["expires", "from"], "locations": ["home", "system", "runtime"]}
keys = Plugin("authorized-keys", POLICY)
LEDGER = "/var/lib/latchkey/plugin/authorized-keys/ledger"
FILE = "/home/alice/.ssh/authorized_keys"
sshd = Sshd().start()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, content, user="alice", mode=0o600):
    entry = pwd.getpwnam(user)
    if not os.path.isdir(os.path.dirname(path)):
        os.mkdir(os.path.dirname(path), 0o700)
        os.chown(os.path.dirname(path), entry.pw_uid, entry.pw_gid)
    with open(path, "wb") as file:
        file.write(content)
    os.chown(path, entry.pw_uid, entry.pw_gid)
    os.chmod(path, mode)


def ledger():
    return [json.loads(line) for line in read(LEDGER).splitlines()] if os.path.exists(LEDGER) else []


def fresh(user="alice"):
    """The user with an empty home and nothing of ours."""
    subprocess.run(["userdel", "-f", "-r", user], stderr=subprocess.DEVNULL)
    shutil.rmtree(f"/home/{user}", ignore_errors=True)
    if os.path.islink(f"/home/{user}"):
        os.unlink(f"/home/{user}")
    subprocess.run(["useradd", "-m", "-s", "/bin/sh", "-p", "*", user], check=True)
    if os.path.exists(LEDGER):
        os.unlink(LEDGER)


def bind(label, key, user="alice", **more):
    return keys.one({"do": "keys.bind", "user": user, "keypair": label, "key": key, **more})


def unbind(label, user="alice"):
    return keys.one({"do": "keys.unbind", "user": user, "keypair": label})


def expect(result, code, changed=None, text=None, detail=None):
    good = (result["code"] == code and (changed is None or result.get("changed", False) == changed)
            and (detail is None or detail in result["detail"]))
    check(good, f"{text or code}: {result['code']} changed {result.get('changed')} {result.get('detail', '')}")


class Traced(Plugin):
    """strace outside of setpriv: inside it could not tell the paths of what is not dumpable."""

    def argv(self, verb):
        return ["/usr/bin/strace", "-f", "-y", "-o", "/tmp/trace", "-e", "trace=fsync", *super().argv(verb)]


FIRST, SECOND, HAND = key_pair("first"), key_pair("second"), key_pair("hand")
BLOB = FIRST.split()[1].encode()


def test_login():
    fresh()
    check(not logs_in("alice", "first"), "no key, no login")
    expect(bind("k1", FIRST), "ok", True, "keys.bind")
    check(logs_in("alice", "first"), "the bound key logs in")
    status, directory = os.stat(FILE), os.stat("/home/alice/.ssh")
    entry = pwd.getpwnam("alice")
    check((status.st_uid, status.st_gid, status.st_mode & 0o777) == (entry.pw_uid, entry.pw_gid, 0o600), "file 0600, his")
    check((directory.st_uid, directory.st_mode & 0o777) == (entry.pw_uid, 0o700), ".ssh 0700, his")
    line = read(FILE)
    check(line == FIRST.encode() + b" latchkey:k1\n", "P43: the key written again, with our mark")
    for _ in range(5):
        expect(bind("k1", FIRST), "ok", False, "T18: idempotent")
    entry = ledger()[0]
    check((entry["user"], entry["keypair"], entry["state"], entry["signer"]) == ("alice", "k1", "present", "ops"), "ledger")
    finger = subprocess.check_output(["ssh-keygen", "-lf", "/tmp/first.pub"]).decode().split()[1]
    check(entry["fingerprint"] == finger, "with ssh-keygen's fingerprint")
    expect(bind("k1", SECOND), "conflict")
    expect(keys.one({"do": "keys.replace", "user": "alice", "keypair": "k1", "key": SECOND}), "ok", True, "keys.replace")
    check(logs_in("alice", "second") and not logs_in("alice", "first"), "the new key instead of the old one")
    expect(bind("k2", FIRST), "ok", True)
    check(read(FILE).splitlines()[0].endswith(b"latchkey:k2"), "newest first")
    expect(unbind("k1"), "ok", True)
    check(not logs_in("alice", "second") and logs_in("alice", "first"), "unbound: refused; the other still good")
    expect(unbind("k2"), "ok", True, "T02: the last line")
    check(not logs_in("alice", "first") and not os.path.exists(FILE), "T02: refused, and the file that we made is gone")
    check(ledger() == [], "nothing in the ledger")
    expect(unbind("k2"), "ok", False, "again")
    results = keys.run(*({"do": "keys.bind", "user": "alice", "keypair": f"n{number}", "key": FIRST if number % 2 else SECOND}
                         for number in range(20)))
    check(all(result["code"] == "ok" and result["changed"] for result in results), "twenty in one batch")
    check(read(FILE).count(b" latchkey:") == 20, "all there")


def test_bytes():
    """T01, T18, P44: what is not ours stays, byte for byte."""
    hand = HAND.encode()
    files = {
        "T01 a hand-added key": hand + b"\n",
        "T18a no final newline": hand,
        "T18d CRLF": hand + b"\r\n# note\r\n",
        "T18e doubled": hand + b"\n" + hand + b"\n",
        "empty": b"",
        "junk": b"\xff\xfe\x00junk\n\n  # x\nssh-rsa notbase64\n" + hand + b" latchkey:\n" + hand + b"  latchkey:bad/label\n",
    }
    for name, content in files.items():
        fresh()
        write(FILE, content, mode=0o640)
        os.setxattr(FILE, "user.note", b"mine")
        expect(bind("k1", FIRST), "ok", True, name)
        check(read(FILE).endswith(content) and logs_in("alice", "first"), f"{name}: ours before the first byte")
        check(os.stat(FILE).st_mode & 0o777 == 0o640 and os.getxattr(FILE, "user.note") == b"mine", f"{name}: mode, xattr")
        expect(bind("k2", SECOND), "ok", True)
        expect(unbind("k1"), "ok", True)
        expect(unbind("k2"), "ok", True)
        check(read(FILE) == content, f"{name}: byte-identical afterwards, the file stays")
    fresh()
    write(FILE, b'from="10.0.0.1",command="echo \\"a b\\" ",restrict ' + FIRST.encode() + b"\n")
    before = read(FILE)
    expect(bind("k1", FIRST), "ok", False, "T18b the same key with options", "added by hand")
    check(read(FILE) == before and not logs_in("alice", "first"), "T18b: nothing written, the restriction holds")
    expect(unbind("k1"), "ok", False)
    fresh()
    write(FILE, b"#" + FIRST.encode() + b"\n# " + FIRST.encode() + b" latchkey:k1\n")
    before = read(FILE)
    expect(bind("k1", FIRST), "ok", True, "T18c the same key commented out")
    check(logs_in("alice", "first"), "T18c: really installed")
    with open(FILE, "ab") as file:
        file.write(b"restrict " + FIRST.encode() + b"\n")
    expect(unbind("k1"), "ok", True, "P114: a copy that was added later", f"still authorised by {FILE}:3")
    check(read(FILE).startswith(before), "T18c: and the comments stay")


def test_ownership():
    """INTERFACES 7: a line is ours if and only if it ends in our mark, wherever it stands and whatever became of the rest."""
    fresh()
    for label, key in (("k1", FIRST), ("k2", SECOND)):
        expect(bind(label, key), "ok", True)
    ours = read(FILE).splitlines()
    hand = HAND.encode()
    middle = [b"# mine", hand + b" a", b"", hand + b" b"]
    put = b"\n".join([middle[0], ours[1], middle[1], middle[2], ours[0].replace(b"second@console", b"anna's, from home"), middle[3]])
    write(FILE, put)
    expect(bind("k1", FIRST), "ok", False, "re-ordered, a comment edited: still ours")
    expect(unbind("k1"), "ok", True)
    check(read(FILE) == put.replace(ours[1] + b"\n", b"") and not logs_in("alice", "first"), "only that line is cut")
    expect(unbind("k2"), "ok", True)
    check(read(FILE) == b"\n".join(middle) and logs_in("alice", "hand"), "the file was ours, but holds more: it stays as his")
    fresh()
    expect(bind("k1", FIRST), "ok", True)
    write(FILE, read(FILE).replace(b"\n", b"\r\n") + hand + b"\r\n")
    check(logs_in("alice", "first") and logs_in("alice", "hand"), "sshd reads a file that became CRLF")
    expect(bind("k1", FIRST), "ok", None, "and so do we: ours is found in it")
    check(read(FILE).count(b"latchkey:k1") == 1 and read(FILE).endswith(hand + b"\r\n"), "once")
    expect(bind("k2", SECOND), "ok", True)
    expect(unbind("k1"), "ok", True)
    expect(unbind("k2"), "ok", True)
    check(read(FILE) == hand + b"\r\n" and not logs_in("alice", "first"), "his line keeps its end")
    fresh()
    expect(bind("k1", FIRST), "ok", True)
    line = read(FILE)
    write(FILE, line + hand + b"\n" + line + line.rstrip(b"\n"))
    expect(unbind("k1"), "ok", True, "our line, three times")
    check(read(FILE) == hand + b"\n" and not logs_in("alice", "first"), "none of them is left")
    fresh()
    expect(bind("k1", FIRST), "ok", True)
    write(FILE, b'restrict,command="/bin/false" ' + read(FILE))
    expect(unbind("k1"), "ok", True, "he put options before our line: ours all the same")
    check(not os.path.exists(FILE), "and with it goes the file that we made")
    fresh()
    write(FILE, b"")
    expect(bind("k1", FIRST), "ok", True)
    expect(unbind("k1"), "ok", True)
    check(os.path.exists(FILE) and read(FILE) == b"", "an empty file of his stays an empty file")
    fresh()
    expect(bind("k1", FIRST), "ok", True)
    write("/home/alice/.ssh/authorized_keys2", b"# two\n" + FIRST.encode() + b"\n")
    with open(FILE, "ab") as file:
        file.write(b"restrict " + FIRST.encode() + b"\n")
    result = unbind("k1")
    expect(result, "ok", True, "P114: every copy", f"still authorised by {FILE}:1")
    check("/home/alice/.ssh/authorized_keys2:2" in result["detail"], f"P114: with file and line: {result['detail']}")
    for name, what in (("unbind", lambda: unbind("k1")),
                       ("replace", lambda: keys.one({"do": "keys.replace", "user": "alice", "keypair": "k1", "key": SECOND}))):
        fresh()
        expect(bind("k1", FIRST), "ok", True)
        write(FILE, b"# mine\n" + read(FILE).replace(b" latchkey:k1", b""))
        expect(what(), "ok", None, f"P114: he took our mark off: {name}", f"still authorised by {FILE}:2")
        check(logs_in("alice", "first"), "P114: as it is")
    fresh()
    expect(bind("k1", FIRST), "ok", True)
    write(FILE, read(FILE) * 100)
    expect(unbind("k1"), "ok", True, "our line, a hundred times")
    check(not os.path.exists(FILE), "is cut a hundred times")
    expect(bind("k1", FIRST), "ok", True)
    write(FILE, read(FILE).replace(b" latchkey:k1", b" " + b"x" * 17000 + b" latchkey:k1"))
    expect(unbind("k1"), "too_large", False, "a line that he made longer than a plan", "keys.revoke")
    rsa, blob = key_pair("rsa", "rsa"), BLOB.decode()
    copies = {"another name of the type": (rsa, "rsa", "rsa-sha2-512 " + rsa.split()[1]),
              "a form feed in the key": (FIRST, "first", f"ssh-ed25519 {blob[:20]}\f{blob[20:]} x"),
              "a NUL behind it": (FIRST, "first", f"ssh-ed25519 {blob}\0 and more")}
    for name, (key, login, copy) in copies.items():
        fresh()
        expect(bind("k1", key), "ok", True)
        with open(FILE, "a", encoding="ascii") as file:
            file.write(copy + "\n")
        expect(unbind("k1"), "ok", True, f"P114: a copy with {name}", f"still authorised by {FILE}:1")
        check(logs_in("alice", login), "P114: as it is")
        expect(bind("k1", key), "ok", False, "and it counts as his", "added by hand")


def digest(path):
    status = os.lstat(path)
    content = hashlib.sha256(read(path)).hexdigest() if os.path.isfile(path) else sorted(os.listdir(path))
    return (status.st_uid, status.st_gid, status.st_mode, status.st_nlink, status.st_mtime_ns, content)


def test_planted():
    """T04, T05, P40: whatever he plants, nothing outside his own authority happens."""
    os.makedirs("/root/.ssh", mode=0o700, exist_ok=True)
    with open("/root/.ssh/authorized_keys", "w") as file:
        file.write("root's own\n")
    with open("/root/target", "w") as file:
        file.write("root's own\n")
    victims = ("/etc/shadow", "/etc/passwd", "/root/.ssh/authorized_keys", "/root/.ssh", "/root", "/etc", "/root/target")
    uid = None

    def as_user(path):
        os.chown(path, uid, uid, follow_symlinks=False)

    def link(target, path):
        os.symlink(target, path)
        as_user(path)

    def ssh_directory():
        os.mkdir("/home/alice/.ssh", 0o700)
        as_user("/home/alice/.ssh")

    def case(name, code, plant):
        nonlocal uid
        fresh()
        uid = pwd.getpwnam("alice").pw_uid
        plant()
        before = [digest(path) for path in victims]
        started = time.monotonic()
        expect(bind("k1", FIRST), code, False, name)
        expect(unbind("k1"), "ok" if code == "ok" else code, False) if code != "home_unsafe" else None
        check(time.monotonic() - started < 8, f"{name}: at once")
        check([digest(path) for path in victims] == before, f"{name}: nothing else was touched")

    case(".ssh is a link to /etc", "symlink", lambda: link("/etc", "/home/alice/.ssh"))
    case(".ssh is a link to /root/.ssh", "symlink", lambda: link("/root/.ssh", "/home/alice/.ssh"))
    case(".ssh is a dangling link", "symlink", lambda: link("/nowhere", "/home/alice/.ssh"))
    case(".ssh is a file", "not_regular", lambda: (open("/home/alice/.ssh", "w").close(), as_user("/home/alice/.ssh")))
    for target in ("/etc/shadow", "/root/.ssh/authorized_keys", "/nowhere", "/home/alice/.profile"):
        case(f"authorized_keys is a link to {target}", "symlink", lambda t=target: (ssh_directory(), link(t, FILE)))
    case("authorized_keys is a hard link", "hard_link",
         lambda: (ssh_directory(), os.link("/home/alice/.profile", FILE)))
    case("authorized_keys is a FIFO", "not_regular", lambda: (ssh_directory(), os.mkfifo(FILE), as_user(FILE)))
    case("authorized_keys is a directory", "not_regular", lambda: (ssh_directory(), os.mkdir(FILE), as_user(FILE)))
    case("authorized_keys is a socket", "not_regular",
         lambda: (ssh_directory(), socket.socket(socket.AF_UNIX).bind(FILE), as_user(FILE)))
    case("authorized_keys is a device", "not_regular",
         lambda: (ssh_directory(), os.mknod(FILE, 0o20666, os.makedev(1, 3)), as_user(FILE)))
    case("authorized_keys is root's", "owner", lambda: (ssh_directory(), open(FILE, "w").close()))
    case("authorized_keys is too large", "too_large",
         lambda: (ssh_directory(), open(FILE, "w").close(), os.truncate(FILE, 1 << 30), as_user(FILE)))
    case(".ssh belongs to another", "owner", lambda: (ssh_directory(), os.chown("/home/alice/.ssh", 1, 1)))
    case("the home is a link", "symlink", lambda: (shutil.rmtree("/home/alice"), link("/root", "/home/alice")))
    case("the home belongs to another", "home_unsafe", lambda: os.chown("/home/alice", 1, 1))
    case("the home is missing", "home_unsafe", lambda: shutil.rmtree("/home/alice"))
    fresh()
    uid = pwd.getpwnam("alice").pw_uid
    ssh_directory()
    for number in range(50):
        link("/root/target", f"/home/alice/.ssh/.latchkey.{number:016x}")
    before = [digest(path) for path in victims]
    expect(bind("k1", FIRST), "ok", True, "T05: planted temporary names")
    check([digest(path) for path in victims] == before and logs_in("alice", "first"), "T05: are not followed")
    expect(unbind("k1"), "ok", True)
    os.unlink("/root/.ssh/authorized_keys")


def test_race():
    """T04: .ssh changes places with a link to root's while keys are bound."""
    fresh()
    uid = pwd.getpwnam("alice").pw_uid
    write(FILE, b"")
    before = digest("/root/.ssh")
    flip = subprocess.Popen([sys.executable, "-c", "import ctypes,os\nos.chdir('/home/alice')\nos.symlink('/root/.ssh','other')\n"
                             "libc=ctypes.CDLL(None)\nwhile True: libc.renameat2(-100,b'.ssh',-100,b'other',2)"], user=uid,
                            group=uid, extra_groups=[])
    codes = {}
    for number in range(150):
        result = bind(f"r{number}", FIRST if number % 2 else SECOND)
        codes[result["code"]] = codes.get(result["code"], 0) + 1
    flip.kill()
    flip.wait()
    check(set(codes) <= {"ok", "symlink", "busy", "io_error"} and codes.get("ok", 0) > 0 and codes.get("symlink", 0) > 0,
          f"T04: {codes}")
    check(digest("/root/.ssh") == before, "T04: root's directory was never written to")


def test_modes():
    """P45, T33: sshd accepts what we leave, and what we must not change is told."""
    for mode in (0o700, 0o750, 0o755):
        fresh()
        os.chmod("/home/alice", mode)
        expect(bind("k1", FIRST), "ok", True)
        check(logs_in("alice", "first") and os.stat("/home/alice").st_mode & 0o777 == mode, f"P45: home {mode:o}")
    fresh()
    os.chmod("/home/alice", 0o777)
    expect(bind("k1", FIRST), "ok", True, "T33: home 0777", "StrictModes")
    check(os.stat("/home/alice").st_mode & 0o777 == 0o777, "T33: not changed")
    os.chmod("/home/alice", 0o755)
    check(logs_in("alice", "first"), "good once he narrows it")
    fresh()
    write(FILE, HAND.encode() + b"\n", mode=0o666)
    os.chmod("/home/alice/.ssh", 0o777)
    check(not logs_in("alice", "hand"), "others can write: sshd refuses")
    command = {"do": "keys.bind", "user": "alice", "keypair": "k1", "key": FIRST}
    check(keys.plan(command)[0]["changes"] and os.stat("/home/alice/.ssh").st_mode & 0o777 == 0o777, "a plan changes nothing")
    expect(bind("k9", HAND), "ok", False, "nor does what has nothing to change")
    check(os.stat("/home/alice/.ssh").st_mode & 0o777 == 0o777 and os.stat(FILE).st_mode & 0o777 == 0o666, "neither directory nor file")
    os.chmod(FILE, 0o600)
    expect(bind("k1", FIRST), "ok", True, "P45: narrowed, and told", "others could write to his key file")
    check(logs_in("alice", "first") and logs_in("alice", "hand"), "P45: and accepted")
    os.chmod("/home", 0o711)
    expect(unbind("k1"), "ok", True, "/home that nobody can list")
    os.chmod("/home", 0o755)


def test_groups():
    """A group that the user may not give a file (root made it, or his own has changed), and one by which he reads root's."""
    for mode in (0o600, 0o640):
        fresh()
        write(FILE, HAND.encode() + b"\n", mode=mode)
        os.chown(FILE, -1, 0)
        expect(bind("k1", FIRST), "ok", True, f"a key file {mode:o} of another group")
        status = os.stat(FILE)
        check(status.st_gid == pwd.getpwnam("alice").pw_gid and status.st_mode & 0o777 == 0o600, "is of his own, which may not read it")
        check(logs_in("alice", "first") and logs_in("alice", "hand"), "and lets in")
        expect(unbind("k1"), "ok", True)
        check(read(FILE) == HAND.encode() + b"\n", "P44: and is as it was")
    write(FILE, b"")
    os.mkdir("/etc/ssh/keys")
    sshd.configure("50-test", "AuthorizedKeysFile /etc/ssh/keys/%u\n")
    write("/etc/ssh/keys/alice", HAND.encode() + b"\n", mode=0o640)
    os.chown("/etc/ssh/keys/alice", 0, -1)
    check(logs_in("alice", "hand"), "root's file, which his group may read")
    expect(bind("k1", FIRST), "ok", True, "bound in it")
    status = os.stat("/etc/ssh/keys/alice")
    check((status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, pwd.getpwnam("alice").pw_gid, 0o640), "it stays so")
    check(logs_in("alice", "first") and logs_in("alice", "hand"), "and both keys log in")
    expect(unbind("k1"), "ok", True)
    sshd.configure("50-test", None)
    shutil.rmtree("/etc/ssh/keys")
    fresh()
    write(FILE, HAND.encode() + b"\n")
    os.chmod(os.path.dirname(FILE), 0o311)
    expect(bind("k1", FIRST), "owner", False, "a directory that he cannot read", "cannot be read by its user")


def test_options():
    fresh()
    now = int(time.time())
    expect(bind("k1", FIRST, expires=now - 5), "expired")
    expect(bind("k1", FIRST, expires=now + 3), "ok", True, "an expiring key")
    check(b'expiry-time="' in read(FILE) and b'Z" ssh-ed25519' in read(FILE), "in UTC")
    check(logs_in("alice", "first"), "good until then")
    time.sleep(4)
    check(not logs_in("alice", "first"), "not afterwards")
    expect(bind("k2", SECOND, **{"from": ["127.0.0.0/8", "::1/128"]}), "ok", True, "from=")
    check(b"k1" not in read(FILE), "the expired line is swept by the next write")
    check(logs_in("alice", "second"), "from 127.0.0.1")
    expect(bind("k2", SECOND, **{"from": ["192.0.2.0/24"]}), "ok", True, "the same key with another option")
    check(not logs_in("alice", "second") and read(FILE).count(b"\n") == 1, "in the place of its line")
    strict = Plugin("authorized-keys", {"types": ["ed25519"], "options": [], "locations": ["home"]})
    for command, code in (({"key": FIRST, "expires": now + 99}, "policy"), ({"key": FIRST, "from": ["::1"]}, "policy"),
                          ({"key": FIRST, "location": "runtime"}, "policy"), ({"key": key_pair("ec", "ecdsa")}, "key_type")):
        expect(strict.one({"do": "keys.bind", "user": "alice", "keypair": "k9", **command}), code)


def test_bad_keys():
    """T16, T17: nothing is written, each has its code."""
    fresh()
    small = key_pair("small", "rsa", "-b", "1024")
    for key, code in (("", "key_invalid"), ("ssh-ed25519", "key_invalid"), (FIRST + "\nssh-ed25519 AAAA", "key_invalid"),
                      ('command="sh" ' + FIRST, "key_invalid"), (FIRST.replace("ssh-ed25519", "ssh-rsa"), "key_invalid"),
                      (small, "key_type"), (open("/tmp/first").read(), "key_is_private"), ("x" * 16000, "key_type")):
        expect(bind("k1", key), code, False, "T16")
    check(not os.path.exists(FILE), "T16: nothing written")
    for shell, code in (("/usr/sbin/nologin", "system_account"), ("/bin/false", "system_account"), ("/usr/bin/git-shell", "ok")):
        subprocess.run(["usermod", "-s", shell, "alice"], check=True, stderr=subprocess.DEVNULL)
        expect(bind("shell", FIRST), code, code == "ok", f"P31: {shell}")
        expect(unbind("shell"), "ok", None, "unbinding is always possible")
    subprocess.run(["usermod", "-s", "/bin/sh", "alice"], check=True)
    for user, code in (("nobodyhere", "no_such_user"), ("daemon", "system_account"), ("nobody", "system_account")):
        expect(bind("k1", FIRST, user=user), code)
    good = [{"do": "keys.bind", "user": "alice", "keypair": "good", "key": FIRST},
            {"do": "keys.bind", "user": "alice", "keypair": "bad", "key": "nonsense"}]
    results = keys.run(*good)
    check([result["code"] for result in results] == ["ok", "key_type"] and logs_in("alice", "first"), "T16: one bad apple")


def test_grammar():
    """P43: what we write, ssh-keygen reads as the key that was asked for, with its comment; certificates are refused."""
    kinds = (("ed25519",), ("ecdsa", "-b", "256"), ("ecdsa", "-b", "384"), ("ecdsa", "-b", "521"), ("rsa", "-b", "2048"), ("rsa", "-b", "4096"))
    comments = ("", "a b  c", "#hash", '"quoted', "back\\slash", "latchkey:x", "%0a", "tab\there", "x" * 300, "-----BEGIN")
    for number, kind in enumerate(kinds):
        fresh()
        public = key_pair(f"kind{number}", kind[0], *kind[1:])
        for place, comment in enumerate(comments):
            result = bind("k", f"{' '.join(public.split()[:2])} {comment}")
            if result["code"] != "ok":
                check(result["code"] == "key_invalid" and not os.path.exists(FILE), f"P43: {comment[:20]!r}: {result['code']}")
                continue
            seen = subprocess.check_output(["ssh-keygen", "-lf", FILE]).decode().splitlines()
            asked = subprocess.check_output(["ssh-keygen", "-lf", f"/tmp/kind{number}.pub"]).decode().split()
            if len(seen) != 1 or seen[0].split()[:2] != asked[:2] or \
                    ("#" not in comment and not seen[0].split("(")[0].rstrip().endswith("latchkey:k")):  # which it takes for no comment
                check(False, f"P43: {kind} {comment!r}: {seen}")
            expect(unbind("k"), "ok", True) if place == 0 else unbind("k")
        expect(bind("k", public), "ok", True, f"P43: {' '.join(kind)} with {len(comments)} comments")
        check(logs_in("alice", f"kind{number}"), "and it logs in")
    fresh()
    key_pair("ca")
    subprocess.run(["ssh-keygen", "-q", "-s", "/tmp/ca", "-I", "x", "-n", "alice", "/tmp/first.pub"], check=True)
    expect(bind("k", open("/tmp/first-cert.pub", encoding="utf-8").read().strip()), "key_type", False, "a certificate")
    for convert, text in ((["-e", "-m", "RFC4716"], "ssh-keygen -i"), (["-e", "-m", "PKCS8"], "ssh-keygen -i -m PKCS8"),
                          (["-e", "-m", "PEM"], "ssh-keygen -i -m PEM")):
        pasted = subprocess.check_output(["ssh-keygen", "-f", "/tmp/kind4.pub", *convert]).decode()
        expect(bind("k", pasted), "key_format", False, f"{convert[2]}, as pasted", text)
    subprocess.run(["cp", "/tmp/kind4", "/tmp/pem"], check=True)
    for form in ("RFC4716", "PKCS8", "PEM"):
        subprocess.run(["ssh-keygen", "-q", "-p", "-N", "", "-m", form, "-f", "/tmp/pem"], check=True, stdout=subprocess.DEVNULL)
        expect(bind("k", open("/tmp/pem", encoding="utf-8").read()), "key_is_private", False, f"a private key in {form}", "keep it secret")
    expect(bind("k", "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n"), "key_format", False, "PuTTY", "PuTTYgen")


def test_locations():
    """T19: where sshd will read it for this user only, or a clear refusal."""
    fresh()
    expect(bind("k1", FIRST, location="runtime"), "keys_file_none", False, "sshd does not read ours yet")
    sshd.configure("00-latchkey", "AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/latchkey_keys/%u "
                                  "/run/latchkey/authorized_keys/%u\n")
    os.makedirs("/etc/ssh/latchkey_keys", exist_ok=True)
    with open("/etc/ssh/latchkey_keys/alice", "w", encoding="ascii") as file:
        file.write(FIRST + "\n")
    sshd.configure("00-latchkey", "AuthorizedKeysFile .ssh/authorized_keys\n")
    expect(bind("k1", FIRST), "ok", True, "it stands by hand, but where sshd does not look")
    check(logs_in("alice", "first"), "so it is bound, and logs in")
    os.unlink("/etc/ssh/latchkey_keys/alice")
    fresh()
    sshd.configure("00-latchkey", "AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/latchkey_keys/%u "
                                  "/run/latchkey/authorized_keys/%u\n")
    for location, path in (("system", "/etc/ssh/latchkey_keys/alice"), ("runtime", "/run/latchkey/authorized_keys/alice")):
        expect(bind("k1", FIRST, location=location), "ok", True, location)
        status = os.stat(path)
        check((status.st_uid, status.st_mode & 0o777) == (0, 0o644) and logs_in("alice", "first"), f"{location}: logs in")
        check(not os.path.exists("/home/alice/.ssh"), f"{location}: nothing in his home")
        expect(unbind("k1"), "ok", True)
        check(not logs_in("alice", "first") and not os.path.exists(path), f"{location}: refused afterwards")
    expect(bind("k1", FIRST), "ok", True)
    expect(bind("k1", FIRST, location="runtime"), "ok", True, "the same pair in two places")
    expect(unbind("k1"), "ok", True)
    check(not logs_in("alice", "first"), "unbind takes it from all of them")
    sshd.configure("00-latchkey", "AuthorizedKeysFile none\n")
    expect(bind("k1", FIRST), "keys_file_none")
    os.makedirs("/etc/ssh/keys", exist_ok=True)
    sshd.configure("00-latchkey", "AuthorizedKeysFile /etc/ssh/keys/%u\n")
    expect(bind("k1", FIRST), "ok", True, "/etc/ssh/keys/%u")
    check(logs_in("alice", "first") and read("/etc/ssh/keys/alice").endswith(b"latchkey:k1\n"), "where sshd reads")
    expect(unbind("k1"), "ok", True)
    with open("/etc/ssh/shared_keys", "w") as file:
        file.write(HAND + "\n")
    sshd.configure("00-latchkey", "AuthorizedKeysFile /etc/ssh/shared_keys\n")
    expect(bind("k1", FIRST), "shared_file", False, "shared by all", "/etc/ssh/shared_keys")
    expect(bind("k1", HAND), "shared_file", False)
    sshd.configure("00-latchkey", "AuthorizedKeysFile /etc/ssh/shared_keys .ssh/authorized_keys\n")
    expect(bind("k1", FIRST), "ok", True, "the first that is his alone")
    check(logs_in("alice", "first") and b"latchkey" not in read("/etc/ssh/shared_keys"), "never the shared one")
    expect(bind("k2", HAND), "ok", False, "the key stands in the shared file", "added by hand")
    sshd.configure("00-latchkey", "AuthorizedKeysCommand /usr/bin/cat /etc/ssh/shared_keys\nAuthorizedKeysCommandUser nobody\n")
    expect(bind("k7", FIRST), "ok", True)
    expect(unbind("k7"), "ok", True, "T19: a command that names keys is noticed", "AuthorizedKeysCommand")
    sshd.configure("00-latchkey", "Match User alice\n\tAuthorizedKeysFile %h/.ssh/%u\n")
    expect(bind("k3", FIRST), "ok", True, "Match User with %h and %u")
    check(b"latchkey:k3" in read("/home/alice/.ssh/alice") and logs_in("alice", "first"), "%h/.ssh/%u")
    sshd.configure("00-latchkey", None)
    os.chmod("/etc/ssh/keys", 0o777)
    sshd.configure("00-latchkey", "AuthorizedKeysFile /etc/ssh/keys/%u\n")
    expect(bind("k4", FIRST), "owner", False, "a directory that others can write to")
    sshd.configure("00-latchkey", None)


def test_root():
    fresh()
    os.makedirs("/root/.ssh", mode=0o700, exist_ok=True)
    expect(bind("k1", FIRST, user="root"), "ok", True, "root's own keys")
    check(logs_in("root", "first"), "log in")
    expect(unbind("k1", user="root"), "ok", True)
    os.chmod("/root", 0o777)
    expect(bind("k1", FIRST, user="root"), "owner", False, "a /root that others can write to")
    os.chmod("/root", 0o700)


def password_logs_in(user, password):
    ssh = [word.replace("BatchMode=yes", "BatchMode=no") for word in SSH]
    done = subprocess.run(["sshpass", "-p", password, *ssh,
                           "-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1", f"{user}@127.0.0.1", "true"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    return done.returncode == 0


def test_lock():
    """P103, P33, T14: what user.lock closes and user.unlock opens, under both values of UsePAM."""
    account = Plugin("account", {"clear_hash": True})
    fresh()
    expect(bind("k1", FIRST), "ok", True)
    hash_ = crypt("Correct-Horse7", "$6$abcdefgh")
    for pam in ("yes", "no"):
        sshd.configure("00-latchkey", f"UsePAM {pam}\nPasswordAuthentication yes\n")
        expect(account.one({"do": "password.remove", "user": "alice"}), "ok")
        check(logs_in("alice", "first"), f"P33: hash * and UsePAM {pam}: the key logs in")
        expect(account.one({"do": "password.set", "user": "alice", "hash": hash_}), "ok", True)
        check(password_logs_in("alice", "Correct-Horse7"), f"UsePAM {pam}: the password logs in")
        check(not password_logs_in("alice", "Wrong-Horse7"), "and no other")
        expect(account.one({"do": "user.lock", "user": "alice"}), "ok", True)
        check(not logs_in("alice", "first") and not password_logs_in("alice", "Correct-Horse7"),
              f"P103: locked and UsePAM {pam}: neither key nor password")
        expect(account.one({"do": "user.unlock", "user": "alice"}), "ok", True)
        check(logs_in("alice", "first") and password_logs_in("alice", "Correct-Horse7"), "unlocked: both again")
    sshd.configure("00-latchkey", None)


def test_two_names():
    """Many accounts are worked on at once; two names of one uid have one file, and neither loses the other's key."""
    fresh()
    uid = str(pwd.getpwnam("alice").pw_uid)
    names = ["alice"] + [f"alice{i}" for i in range(1, 6)]
    for name in names[1:]:
        subprocess.run(["useradd", "-M", "-o", "-u", uid, "-g", "alice", "-d", "/home/alice", "-s", "/bin/sh", name], check=True)
    results = keys.run(*[{"id": f"c{i}", "do": "keys.bind", "user": name, "keypair": f"k{i}", "key": key_pair(f"two{i}")}
                        for i, name in enumerate(names)])
    check([result["code"] for result in results] == ["ok"] * 6, f"six names of one account: {results}")
    check(all(f"latchkey:k{i}".encode() in read(FILE) for i in range(6)), f"all six keys: {read(FILE)}")
    for name in names[1:]:
        subprocess.run(["userdel", "-f", name], stderr=subprocess.DEVNULL)


def test_sessions():
    """sessions.end ends alice's sessions and nobody else's, whatever he calls his own processes."""
    fresh("alicia")
    fresh()
    expect(bind("k1", FIRST), "ok", True)
    expect(bind("k1", FIRST, user="alicia"), "ok", True)
    expect(keys.one({"do": "sessions.end", "user": "alice"}), "ok", False, "no session, nothing to do")
    uid = pwd.getpwnam("alice").pw_uid
    fake = subprocess.Popen(["/bin/bash", "-c", "exec -a 'sshd: alice [priv]' sleep 60"], user=uid, group=uid)
    fake_other = subprocess.Popen(["/bin/bash", "-c", "exec -a 'sshd: alicia [priv]' sleep 60"], user=uid, group=uid)
    open_sessions = [subprocess.Popen([*SSH, "-i", "/tmp/first", f"{user}@127.0.0.1", "echo in; sleep 60"],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for user in ("alice", "alice", "alicia")]
    for session in open_sessions:
        session.stdout.readline()
    expect(keys.one({"do": "sessions.end", "user": "alice"}), "ok", True, "two sessions", "2 sessions ended")
    check([session.wait(10) != 0 for session in open_sessions[:2]] == [True, True], "both of alice's are gone")
    check(open_sessions[2].poll() is None and fake.poll() is None and fake_other.poll() is None, "nothing else")
    expect(unbind("k1"), "ok", True)
    for process in (fake, fake_other, open_sessions[2]):
        process.kill()
        process.wait()


def test_redo():
    """Compare and set, and SIGKILL of the plugin and of its child at each call that changes something."""
    fresh()
    command = {"do": "keys.bind", "user": "alice", "keypair": "k1", "key": FIRST}
    planned = keys.plan(command)
    applied = keys.apply([command], planned)[0]
    expect(applied, "ok", True)
    os.unlink(LEDGER)
    expect(keys.apply([command], planned, redo=True)[0], "ok", False, "a redo of what is done")
    check(ledger()[0]["keypair"] == "k1" and ledger()[0]["made"], "repairs the ledger")
    expect(Traced("authorized-keys", POLICY).apply([command], planned, redo=True)[0], "ok", False, "and again")
    check(f"<{FILE}>)" in read("/tmp/trace").decode(), "what stands may not be on disk yet: it is before the redo says ok")
    expect(keys.apply([command], planned, undo=True)[0], "ok", True, "undo")
    check(not os.path.exists(FILE), "as it was before")
    write(FILE, SECOND.encode() + b" latchkey:k1\n")
    expect(keys.apply([command], planned, redo=True)[0], "superseded", False, "another key under the label since")
    fresh()
    write(FILE, HAND.encode() + b"\n")
    killed = 0
    for syscall in ("write", "fsync", "renameat", "mkdirat", "unlinkat", "fchmod"):
        when = 0
        while True:
            when += 1
            if when >= 500:
                check(False, "a run that is not interrupted ends")
            victim = Plugin("authorized-keys", POLICY)
            victim.prefix = ["/usr/bin/strace", "-f", "-o", "/dev/null", "-e", f"inject={syscall}:signal=KILL:when={when}"]
            for command in ({"do": "keys.bind", "user": "alice", "keypair": "k1", "key": FIRST},
                            {"do": "keys.unbind", "user": "alice", "keypair": "k1"}):
                planned = keys.plan(command)
                done = victim.call("apply", victim.with_plans([command], planned), may_fail=True)
                stopped = not done or done[0]["code"] != "ok"
                killed += stopped
                if stopped:
                    redone = keys.apply([command], planned, redo=True)[0]
                    if redone["code"] != "ok":
                        check(False, f"{syscall} {when}: {redone}")
                bound = command["do"] == "keys.bind"
                expected = (FIRST.encode() + b" latchkey:k1\n" if bound else b"") + HAND.encode() + b"\n"
                if read(FILE) != expected or len(ledger()) != bound:
                    check(False, f"{syscall} {when} {command['do']}: {read(FILE)} {ledger()}")
            if not stopped:
                break
    check(killed > 10, f"killed {killed} times, each time finished by the redo")
    check(os.listdir("/home/alice/.ssh") == ["authorized_keys"], "no temporary file stays")


def test_stopped():
    """P47: whoever stops the child that works for him costs its deadline, no more."""
    fresh()
    uid = pwd.getpwnam("alice").pw_uid
    stopper = subprocess.Popen([sys.executable, "-c",
                                "import os,signal\nme=os.getpid()\nwhile True:\n"
                                " for pid in os.listdir('/proc'):\n  if pid.isdigit() and int(pid)!=me:\n"
                                "   try: os.kill(int(pid),signal.SIGSTOP)\n   except OSError: pass\n"],
                               user=uid, group=uid, extra_groups=[])
    time.sleep(0.5)
    started = time.monotonic()
    results = [bind("k1", FIRST) for _ in range(2)]
    waited = time.monotonic() - started
    stopper.kill()
    stopper.wait()
    check(waited < 45 and {result["code"] for result in results} <= {"timeout", "ok"}, f"P47: {waited:.0f} s, {results}")
    expect(bind("k1", FIRST), "ok", None, "and afterwards")


def test_full_disk():
    """T06: the old file stays whole, the code says why, and it works once there is space."""
    fresh()
    uid = pwd.getpwnam("alice").pw_uid
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=64k,uid={uid},gid={uid},mode=700", "tmpfs", "/home/alice"], check=True)
    write(FILE, HAND.encode() + b"\n")
    subprocess.run("dd if=/dev/zero of=/home/alice/fill bs=1k 2>/dev/null", shell=True)
    expect(bind("k1", FIRST), "no_space", False)
    check(read(FILE) == HAND.encode() + b"\n" and os.listdir("/home/alice/.ssh") == ["authorized_keys"], "nothing lost or left")
    os.unlink("/home/alice/fill")
    expect(bind("k1", FIRST), "ok", True, "space again")
    subprocess.run(["mount", "-o", "remount,ro", "/home/alice"], check=True)
    expect(unbind("k1"), "read_only", False)
    subprocess.run(["umount", "-l", "/home/alice"], check=True)


try:
    for test in (test_login, test_bytes, test_ownership, test_planted, test_race, test_modes, test_groups, test_options, test_bad_keys, test_grammar, test_locations,
                 test_root, test_lock, test_two_names, test_sessions, test_redo, test_stopped, test_full_disk):
        print(f"# {test.__name__}", flush=True)
        test()
finally:
    sshd.stop()
print("all good", flush=True)
