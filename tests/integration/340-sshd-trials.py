#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The sshd plugin while things go wrong around it: a hundred reloads under a live session, an sshd that is broken or dies,
a foreign file that breaks between validation and reload, a flood, somebody else's unread changes. Nobody is locked out,
and the code says what happened."""
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Machine, Signer, read  # noqa: E402
from plugin import Plugin, check  # noqa: E402
from server import CLIENT, Server, add_user, key_login, make_key, must, password_login, put_keys, wait_for, write  # noqa: E402

DROP_IN = "/etc/ssh/sshd_config.d/00-latchkey.conf"
BAD = "/etc/ssh/sshd_config.d/90-bad.conf"
OPERATORS = "/etc/ssh/sshd_config.d/60-operator.conf"
SSHD = "/usr/sbin/sshd"
PASSWORD = "correct Horse 7"
KEY = "/tmp/key"

plugin = Plugin("sshd", {"locations": []})


def set_(**fields):
    return plugin.one({"do": "sshd.set", **fields})


def bytes_of(path):
    return read(path) if os.path.exists(path) else None


def expect(result, code, changed, what):
    check(result["code"] == code and result["changed"] == changed,
          f"{what}: {result['code']}, changed {result['changed']}, “{result['detail']}”")


class Ticker:
    """A session that counts every 20 ms; each number must come, once and in order."""

    def __init__(self):
        self.process = subprocess.Popen(["ssh", *CLIENT, "-i", KEY, "alice@127.0.0.1",
                                         "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo $i; sleep 0.02; done"],
                                        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.numbers = []
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.numbers.append(int(line))

    def check(self, what):
        before = len(self.numbers)
        time.sleep(0.5)
        check(self.process.poll() is None and len(self.numbers) > before, f"{what}: the session goes on")
        check(self.numbers == list(range(1, len(self.numbers) + 1)), f"  and missed none of {len(self.numbers)} ticks")


def P52_a_hundred_reloads(server, ticker):
    for number in range(100):
        result = plugin.one({"do": "sshd.reload"})
        if result["code"] != "ok" or not result["changed"]:
            expect(result, "ok", True, f"P52: reload {number}")
        if number % 20 == 0 and not key_login("alice", KEY):
            check(False, f"P52: a login after reload {number}")
    ticker.check("P52: a hundred reloads")
    check(server.is_alive() and key_login("alice", KEY), "P52: and sshd answers")


def replace_sshd(content):
    with open(SSHD + ".new", "wb") as file:
        file.write(content)
    os.chmod(SSHD + ".new", 0o755)
    os.rename(SSHD + ".new", SSHD)


def P54_a_broken_program(server, ticker):
    """What cannot say whether a configuration is good is never told to read one."""
    shutil.copy2(SSHD, "/tmp/sshd.kept")
    good = open(SSHD, "rb").read()
    loader = b"/lib64/ld-linux-x86-64.so.2"
    check(loader in good, "the program names its loader")
    broken = [("no program at all", b"\x7fELF" + b"\0" * 4096), ("a loader that is not there", good.replace(loader, b"/lib64/ld-none-x86-64.so.2\0")),
              ("a program that ends with 255", b"#!/bin/sh\nexit 255\n"), ("one that says nothing and dies", b"#!/bin/sh\nkill -9 $$\n"),
              ("one that is empty", b"")]
    for what, content in broken:
        before = bytes_of(DROP_IN)
        replace_sshd(content)
        result = set_(password_auth=False)
        check(result["code"] in ("cannot_validate", "sshd_invalid") and not result["changed"],
              f"P54: {what}: {result['code']} “{result['detail']}”")
        check(bytes_of(DROP_IN) == before and server.is_alive() and server.listens(), "  our bytes are back, and sshd was not told")
        result = plugin.one({"do": "sshd.reload"})
        check(result["code"] in ("cannot_validate", "sshd_invalid") and server.is_alive(), f"  nor by sshd.reload: {result['code']}")
        replace_sshd(good)
        check(key_login("alice", KEY) and password_login("alice", PASSWORD), "  with its program back it lets in as before")
    ticker.check("P54: broken programs")


def P51_a_foreign_file_between_validation_and_reload(server, ticker):
    """The window that nobody can close: the file is good when sshd -t looks and bad when sshd reads it."""
    os.mkdir("/usr/sbin/real")
    os.rename(SSHD, "/usr/sbin/real/sshd")
    replace_sshd(b"""#!/bin/sh
case "$1" in
-t|-T*) /usr/sbin/real/sshd "$@"; status=$?; [ "$(cat /tmp/strike 2>/dev/null)" = "$1" ] && echo "NoSuchKeyword yes" > %s; exit $status;;
esac
exec /usr/sbin/real/sshd "$@"
""" % BAD.encode())
    server.reload()
    for after, code in (("-t", "sshd_invalid"), ("-T", "listener_gone")):
        before = bytes_of(DROP_IN)
        write("/tmp/strike", after)
        result = set_(password_auth=False)
        os.unlink("/tmp/strike")
        expect(result, code, False, f"P51: broken after sshd {after}")
        check("90-bad.conf" in result["detail"] and bytes_of(DROP_IN) == before, "  the file is named, and our bytes are back")
        check(server.is_alive() == (code != "listener_gone"), "  what the code says of the listener is so")
        os.unlink(BAD)
        if not server.is_alive():
            server.start()
        check(key_login("alice", KEY) and password_login("alice", PASSWORD), "  without that file it lets in as before")
    ticker.check("P51: its listener went")
    os.rename("/usr/sbin/real/sshd", SSHD)
    server.reload()
    check(key_login("alice", KEY), "P51: with the program itself again")


def P54_a_flood(server, ticker):
    write("/etc/ssh/sshd_config.d/10-startups.conf", "MaxStartups 10:30:60\n")
    server.reload()
    stop, made = threading.Event(), []

    def flood():
        held = []
        while not stop.is_set():
            try:
                held.append(socket.create_connection(("127.0.0.1", 22), 1))
                made.append(1)
            except OSError:
                pass
            if len(held) > 100:
                held.pop(0).close()
            time.sleep(0.004)

    thread = threading.Thread(target=flood)
    thread.start()
    time.sleep(0.5)
    for value in (False, True, False):
        result = set_(password_auth=value)
        expect(result, "ok", True, f"P54: password_auth {value} under a flood")
    stop.set()
    thread.join()
    os.unlink("/etc/ssh/sshd_config.d/10-startups.conf")
    server.reload()
    check(key_login("alice", KEY) and not password_login("alice", PASSWORD), f"P54: after {len(made)} connections the door is shut, the key is in")
    expect(set_(password_auth=True), "ok", True, "P54: and open again")
    ticker.check("P54: the flood")


def P54_connections_are_no_listener(server):
    """Whoever connects starts processes called sshd: none of them is taken for the listener, or makes two of it."""
    def keep(connect):
        stop = threading.Event()

        def again():
            while not stop.is_set():
                connect()
        thread = threading.Thread(target=again)
        thread.start()
        return lambda: (stop.set(), thread.join())

    def socket_activated():
        ours, theirs = socket.socketpair()
        process = subprocess.Popen([SSHD, "-i"], stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)
        theirs.close()
        time.sleep(0.02)
        ours.close()
        process.wait(30)

    def connect():
        try:
            with socket.create_connection(("127.0.0.1", 22), 1):
                time.sleep(0.003)
        except OSError:
            pass

    server.stop()
    end = keep(socket_activated)
    results = [set_(password_auth=bool(number % 2)) for number in range(30)]
    end()
    check(all(r["code"] == "ok" and "not running" in r["detail"] for r in results),
          f"P54: an sshd for each connection is none to reload {[r for r in results if r['code'] != 'ok'][:1]}")
    write("/etc/ssh/sshd_config.d/10-pid.conf", "PidFile none\n")
    server.start()
    end = keep(connect)
    results = [plugin.one({"do": "sshd.reload"}) for _ in range(30)]
    end()
    check(all(r["code"] == "ok" and r["changed"] for r in results),
          f"P54: without a pid file the listener is told from its children {[r for r in results if not r['changed']][:1]}")
    os.unlink("/etc/ssh/sshd_config.d/10-pid.conf")
    server.reload()


def T13_an_sshd_that_is_starting(server):
    """It would die of SIGHUP before it has a handler: here it waits for its host key, which comes a moment later."""
    server.stop()
    os.mkfifo("/tmp/hostkey", 0o600)
    key = open("/etc/ssh/ssh_host_ed25519_key", "rb").read()
    starting = subprocess.Popen([SSHD, "-D", "-h", "/tmp/hostkey"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
    wait_for(lambda: os.path.realpath(f"/proc/{starting.pid}/exe") == SSHD and ") S " in read(f"/proc/{starting.pid}/stat"),
             "sshd waits for its key")
    results = []
    setting = threading.Thread(target=lambda: results.append(set_(password_auth=False)))
    setting.start()
    wait_for(lambda: "PasswordAuthentication no" in (read(DROP_IN) if os.path.exists(DROP_IN) else ""), "the plugin has written")
    time.sleep(1)

    check(starting.poll() is None, "T13: an sshd that is just starting is not killed")
    with open("/tmp/hostkey", "wb") as fifo:
        shutil.copy2("/etc/ssh/ssh_host_ed25519_key", "/tmp/hostkey.new")
        os.rename("/tmp/hostkey.new", "/tmp/hostkey")  # for whoever opens it next
        fifo.write(key)
    setting.join()
    expect(results[0], "ok", True, "T13: an sshd that is just starting")
    wait_for(server.listens, "sshd listens")
    check(starting.poll() is None and key_login("alice", KEY) and not password_login("alice", PASSWORD), "  lives, and what was set is in force")
    starting.kill()
    starting.wait(30)
    server.start()
    expect(set_(password_auth=True), "ok", True, "T13: and by hand again")


def unread_changes_are_named(server):
    write(OPERATORS, "X11Forwarding no\nMaxAuthTries 5\n")
    result = set_(password_auth=False)
    expect(result, "ok", True, "somebody's change that sshd has not read")
    check("60-operator.conf: x11forwarding maxauthtries" in result["detail"], "  is put in force too, and named")
    result = set_(password_auth=True)
    check(result["detail"] == "", f"  once: {result['detail']}")
    os.chmod(OPERATORS, 0o600)
    write(OPERATORS, "X11Forwarding yes\n")
    result = plugin.one({"do": "sshd.reload"})
    check("60-operator.conf: x11forwarding" in result["detail"], f"  sshd.reload says it as well: {result['detail']}")
    os.unlink(OPERATORS)
    result = plugin.one({"do": "sshd.reload"})
    check("gone" in result["detail"], f"  and that a file has gone: {result['detail']}")
    check(server.is_alive() and plugin.one({"do": "sshd.reload"})["detail"] == "", "  then nothing is left to say")


def T36_cloud_init_writes_its_file_again(server):
    """At each boot it may; ours sorts first, so what was set stays in force."""
    cloud = "/etc/ssh/sshd_config.d/50-cloud-init.conf"
    expect(set_(password_auth=False), "ok", True, "T36: password login off")
    write(cloud, "PasswordAuthentication yes\n")
    server.reload()
    check(not password_login("alice", PASSWORD) and key_login("alice", KEY), "T36: cloud-init says yes at boot: it stays off")
    expect(set_(password_auth=True), "ok", True, "T36: on")
    write(cloud, "PasswordAuthentication no\n")
    server.reload()
    check(password_login("alice", PASSWORD), "T36: cloud-init says no at boot: it stays on")
    os.unlink(cloud)
    server.reload()


def T12_another_server(server):
    """Where OpenSSH is not installed there is nothing to set: said so, nothing written."""
    server.stop()
    before = {name: bytes_of("/etc/ssh/sshd_config.d/" + name) for name in os.listdir("/etc/ssh/sshd_config.d")}
    os.rename(SSHD, "/usr/sbin/sshd.away")
    shutil.copy2("/bin/true", "/usr/sbin/dropbear")
    result = set_(password_auth=False)
    check(result["code"] == "unsupported" and not result["changed"] and "dropbear" in result["detail"],
          f"T12: dropbear only: {result['code']} “{result['detail']}”")
    result = plugin.one({"do": "sshd.reload"})
    check(result["code"] == "unsupported" and not result["changed"], f"T12: … nor is it reloaded: {result['code']} “{result['detail']}”")
    os.unlink("/usr/sbin/dropbear")
    result = set_(password_auth=False)
    check(result["code"] == "unsupported" and "no OpenSSH server" in result["detail"], f"T12: no server at all: “{result['detail']}”")
    after = {name: bytes_of("/etc/ssh/sshd_config.d/" + name) for name in os.listdir("/etc/ssh/sshd_config.d")}
    check(after == before, "T12: … and nothing was written")

    def anyone(**without):
        return Plugin("login").plan({"do": "login.check", "users": [], "without": {"users": [], "fingerprints": [], **without}})[0]["anyone"]
    check(anyone(users=["bob"]) and not anyone(users=["alice"]) and not anyone(passwords=["alice"]),
          "T12: … the guard counts who has a password, for the console")
    os.rename("/usr/sbin/sshd.away", SSHD)
    server.start()
    expect(set_(password_auth=False), "ok", True, "T12: installed again")
    expect(set_(password_auth=True), "ok", True, "T12: … both ways")


def T12_an_init_script(server):
    """Without systemd the init script (SysV, and OpenRC's alike) started it; SIGHUP is what their reload sends."""
    server.stop()
    if os.path.exists("/run/sshd.pid"):  # of one that was ended while it started
        os.unlink("/run/sshd.pid")
    must("/etc/init.d/ssh", "start")
    wait_for(lambda: os.path.exists("/run/sshd.pid") and read("/run/sshd.pid"), "sshd, a daemon now, writes its pid")
    pid = int(read("/run/sshd.pid"))
    for value in (False, True):
        expect(set_(password_auth=value), "ok", True, f"T12: started by its init script, password_auth {value}")
        check(password_login("alice", PASSWORD) == value and key_login("alice", KEY), "  is in force, and the key is in")
    expect(plugin.one({"do": "sshd.restart"}), "ok", True, "T12: sshd.restart")
    check(int(read("/run/sshd.pid")) == pid and "is running" in must("/etc/init.d/ssh", "status"),
          "  it is the same process, and the init script knows it")
    must("/etc/init.d/ssh", "stop")
    result = set_(password_auth=False)
    check(result["code"] == "ok" and "not running" in result["detail"] and not server.listens(), "  stopped by it, it stays stopped")
    server.start()
    expect(set_(password_auth=True), "ok", True, "T12: and by hand again")


def P50_status_follows_a_moved_keys_file(server):
    """Who is not touched by a document: status knows of the file that moved at the next one."""
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    os.makedirs("/etc/latchkey", exist_ok=True)
    write("/etc/latchkey/policy.conf", "[keys]\nlocations = home\n")
    machine.redo()
    public = " ".join(read(KEY + ".pub").split()[:2])

    def do(seq, *commands):
        code, log = machine.apply(ops.document(seq, [{"id": f"d{seq}.{n}", **c} for n, c in enumerate(commands)]))
        assert code == 0, log
        assert all(r["code"] == "ok" for r in machine.results(seq)["results"]), machine.results(seq)

    def view(user):
        lines = [line for line in read("/run/latchkey/view").splitlines() if '"t":"user"' in line and f'"user":"{user}"' in line]
        return lines[0] if lines else ""

    do(1, {"do": "user.ensure", "user": "carol"}, {"do": "keys.bind", "user": "carol", "keypair": "k", "key": public})
    check('"key":{"can":true' in view("carol") and key_login("carol", KEY), "status: carol logs in by key")
    write(OPERATORS, "AuthorizedKeysFile /etc/ssh/elsewhere/%u\n")
    server.reload()
    check(not key_login("carol", KEY), "somebody moves AuthorizedKeysFile: she does not any more")
    do(2, {"do": "user.ensure", "user": "dave"})
    check('"key":{"can":false' in view("carol") and "keys_file_missing" in view("carol"),
          "status says so at the next document, whomever it is about")
    os.unlink(OPERATORS)
    server.reload()
    do(3, {"do": "user.ensure", "user": "erin"})
    check('"key":{"can":true' in view("carol") and key_login("carol", KEY), "… and that it is over")


def main():
    shutil.copytree("/usr/sbin", "/tmp/sbin", symlinks=True)
    must("mount", "--bind", "/tmp/sbin", "/usr/sbin")
    add_user("alice", PASSWORD)
    put_keys("alice", make_key(KEY) + "\n")
    server = Server()
    ticker = Ticker()
    check(key_login("alice", KEY) and password_login("alice", PASSWORD), "the rig's sshd lets alice in")
    P52_a_hundred_reloads(server, ticker)
    P54_a_broken_program(server, ticker)
    P51_a_foreign_file_between_validation_and_reload(server, ticker)
    P54_a_flood(server, ticker)
    P54_connections_are_no_listener(server)
    T13_an_sshd_that_is_starting(server)
    unread_changes_are_named(server)
    T36_cloud_init_writes_its_file_again(server)
    T12_another_server(server)
    T12_an_init_script(server)
    P50_status_follows_a_moved_keys_file(server)
    ticker.process.kill()
    ticker.process.wait(30)
    server.stop()


if __name__ == "__main__":
    main()
