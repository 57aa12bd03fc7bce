#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The sshd plugin against a real sshd with real logins. Run inside tests/rig/enter."""
import os
import shutil
import socket
import subprocess
import sys
import time

sys.path.insert(0, "/run/project/tests/rig")
from plugin import Plugin, check  # noqa: E402
from server import (Server, add_user, key_login, make_key, must, password_login, put_keys, trace,  # noqa: E402
                    traced, wait_for, write)

DROP_IN = "/etc/ssh/sshd_config.d/00-latchkey.conf"
MAIN = "/etc/ssh/sshd_config"
PASSWORD = "correct Horse 7"
KEY = "/tmp/key"

plugin = Plugin("sshd", {"locations": []})


def read(path):
    try:
        with open(path, encoding="utf-8") as text:
            return text.read()
    except FileNotFoundError:
        return None


def settings_of(path):
    return [line for line in (read(path) or "").splitlines() if line and not line.startswith("#")]


def set_(**fields):
    return plugin.one({"do": "sshd.set", **fields})


def expect(result, code, changed, what):
    good = result["code"] == code and result["changed"] == changed
    check(good, f"{what}: {result['code']}, changed {result['changed']}, “{result['detail']}”")


def effective(keyword, user="alice"):
    text = must("/usr/sbin/sshd", "-T", "-C",
                f"user={user},host=client.invalid,addr=192.0.2.1,laddr=192.0.2.2,lport=22")
    return [line.split(" ", 1)[1] for line in text.splitlines() if line.startswith(keyword + " ")][0]


def P52_ticker():
    """A session that says something every 20 ms."""
    return subprocess.Popen(["ssh", "-F", "none", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o",
                             "StrictHostKeyChecking=no", "-i", KEY, "alice@127.0.0.1",
                             "for i in $(seq 3000); do echo tick; sleep 0.02; done"],
                            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)


def T07_first_value_wins(server):
    write("/etc/ssh/sshd_config.d/50-cloud-init.conf", "PasswordAuthentication no\n")
    write("/etc/ssh/sshd_config.d/60-late.conf", "passwordauthentication=no\nKbdInteractiveAuthentication yes\n")
    server.reload()
    check(not password_login("alice", PASSWORD, "password"), "T07: cloud-init's drop-in has closed the door")
    result = set_(password_auth=True)
    expect(result, "ok", True, "T07: password_auth true")
    check(settings_of(DROP_IN) == ["PasswordAuthentication yes"], "T07: exactly one line, the one that was asked for")
    check(oct(os.stat(DROP_IN).st_mode & 0o7777) == "0o600", "T07: the drop-in is 0600")
    check(password_login("alice", PASSWORD, "password"), "T07: the password logs in")
    expect(set_(password_auth=True), "ok", False, "T07: once more is nothing to do")
    expect(set_(password_auth=False), "ok", True, "P59: password_auth false")
    check(settings_of(DROP_IN) == ["PasswordAuthentication no", "KbdInteractiveAuthentication no"],
          "P59: both doors are written, no name that 9.2 calls old")
    check(not password_login("alice", PASSWORD), "P59: neither password nor keyboard-interactive logs in")
    check(key_login("alice", KEY), "P59: the key still does")
    expect(set_(password_auth=True, permit_root_login="prohibit-password", pubkey_auth=True), "ok", True, "three at once")
    check(effective("permitrootlogin", "root") in ("without-password", "prohibit-password"), "root's value is in force")
    os.unlink("/etc/ssh/sshd_config.d/50-cloud-init.conf")
    os.unlink("/etc/ssh/sshd_config.d/60-late.conf")


def P52_sessions_survive(server):
    before = server.process.pid
    ticker = P52_ticker()
    ticker.stdout.readline()
    for number in range(10):
        expect(set_(password_auth=number % 2 == 0), "ok", number > 0, f"P52: toggle {number}")
    expect(plugin.one({"do": "sshd.reload"}), "ok", True, "P52: sshd.reload")
    expect(plugin.one({"do": "sshd.restart"}), "ok", True, "P52: sshd.restart")
    check(ticker.poll() is None and ticker.stdout.readline() == b"tick\n", "P52: the session still ticks")
    check(server.process.pid == before and server.is_alive(), "P52: the listener is the same process")
    ticker.kill()
    ticker.wait(30)
    expect(set_(password_auth=True), "ok", True, "P52: open again")


def T08_match_at_the_end(server):
    original = read(MAIN)
    block = "mAtCh\tUser sftp\n\tForceCommand=internal-sftp\n\tPasswordAuthentication no\n"
    write(MAIN, original + block, 0o644)
    expect(set_(password_auth=False), "ok", True, "T08: false beside a Match")
    result = set_(password_auth=True)
    expect(result, "ok", True, "T08: true beside a Match for one user")
    lines = len(original.splitlines())
    check(f"{MAIN}:{lines + 3}" in result["detail"], "T08: the detail names the line inside the Match")
    check(read(MAIN) == original + block, "T08: the main file has kept every byte")
    check(effective("passwordauthentication") == "yes" and effective("passwordauthentication", "sftp") == "no",
          "T08: the Match still holds for its user only")
    write(MAIN, original + "Match all\n\tpasswordauthentication yes\n", 0o644)
    result = set_(password_auth=False)
    expect(result, "overridden", True, "T08: Match all wins over us")
    check(f"{MAIN}:{lines + 2}" in result["detail"], "T08: … and is named with file and line")
    check("PasswordAuthentication no" in settings_of(DROP_IN), "T08: … and our file is kept")
    expect(set_(password_auth=False), "overridden", False, "T08: … and asked again it is still so")
    write(MAIN, original, 0o644)
    server.reload()
    expect(set_(password_auth=True), "ok", True, "T08: without the Match")


def P50_names_of_long_ago(server):
    """They set the same, and an operator's old file still has them."""
    original = read(MAIN)
    for fields, line in (({"password_auth": False}, "SkeyAuthentication yes\n"), ({"pubkey_auth": False}, "DSAAuthentication yes\n")):
        write(MAIN, line + original, 0o644)
        server.reload()
        expect(set_(**fields), "ok", True, f"P50: {fields} beside {line.strip()} at the top")
        check(effective("kbdinteractiveauthentication" if "password_auth" in fields else "pubkeyauthentication") == "no", "  is in force")
        expect(set_(password_auth=True, pubkey_auth=True), "ok", True, "  open again")
        write(MAIN, original, 0o644)
    lines = len(original.splitlines())
    write(MAIN, original + "Match User bob\n\tChallengeResponseAuthentication yes\n", 0o644)
    server.reload()
    write("/etc/ssh/sshd_config.d/70-x.conf", "X11Forwarding no\n")
    result = set_(password_auth=False)
    expect(result, "ok", True, "P50: a Match that keeps the second door open for bob")
    check(f"{MAIN}:{lines + 2}" in result["detail"] and "70-x.conf" in result["detail"],
          "  is named with its line, whatever else the detail has to say")
    os.unlink("/etc/ssh/sshd_config.d/70-x.conf")
    write(MAIN, original, 0o644)
    os.unlink(DROP_IN)
    server.reload()


def P50_several_sshd(server):
    """Another one with the same files, which does not read them again because ours does."""
    server.stop()
    for options, code in ((["-o", "PidFile=none"], "reload_failed"), ([], "ok")):
        one, other = Server(*options), Server("-p", "2222", "-o", "PidFile=none", port=2222)
        result = set_(password_auth=False)
        expect(result, code, code == "ok", "P50: two sshd" + (", and none has a pid file" if options else ""))
        check("several sshd" in result["detail"] if options else f"process {other.process.pid}" in result["detail"], "  the detail says so")
        check(password_login("alice", PASSWORD) == bool(options) == (not os.path.exists(DROP_IN)), "  what is on disk is what the first does")
        other.stop()
        own = Server("-p", "2222", "-f", "/tmp/own_config", "-o", "PidFile=none", port=2222)
        one.reload()
        if not options:
            result = set_(password_auth=True)
            check(result["code"] == "ok" and not result["detail"], f"P50: one that has a file of its own is not meant {result}")
        own.stop()
        one.stop()
    server.start()


def P55_no_include(server):
    original = read(MAIN)
    stripped = "".join(line for line in original.splitlines(True) if not line.startswith("Include"))
    stripped += "PasswordAuthentication no\nMatch User x\n  X11Forwarding no"  # no newline at the end
    write(MAIN, stripped, 0o644)
    os.unlink(DROP_IN)
    os.chmod(MAIN, 0o640)
    expect(set_(password_auth=True), "ok", True, "P55: without an Include")
    check(read(MAIN).startswith("# BEGIN latchkey") and read(MAIN).endswith(stripped),
          "P55: a block at line 1, every other byte as it was")
    check(not os.path.exists(DROP_IN), "P55: no drop-in that nothing reads")
    check(oct(os.stat(MAIN).st_mode & 0o7777) == "0o640", "P55: the mode is kept")
    check(effective("passwordauthentication") == "yes" and password_login("alice", PASSWORD), "P55: it is in force")
    planned = plugin.plan({"do": "sshd.set", "permit_root_login": "no"})
    applied = plugin.apply([{"do": "sshd.set", "permit_root_login": "no"}], planned)
    expect(applied[0], "ok", True, "P55: a second setting joins the block")
    applied = plugin.apply([{"do": "sshd.set", "permit_root_login": "no"}], planned, undo=True)
    expect(applied[0], "ok", True, "P55: undo")
    planned[0]["plan"] = {"before": {"PasswordAuthentication": "yes"}, "after": {"PasswordAuthentication": ""}}
    applied = plugin.apply([{"do": "sshd.set", "password_auth": True}], planned)
    expect(applied[0], "ok", True, "P55: taking the last setting away")
    check(read(MAIN) == stripped, "P55: the file is byte for byte what it was")
    # Whoever writes above the block, or turns every line's end into CRLF, does not make it two.
    for what, change in (("a line above it", lambda text, block: "# managed\nPasswordAuthentication yes\n" + text),
                         ("two of them, one without its end", lambda text, block: block.split("\n")[0] + "\n# mine\n" + block + text),
                         ("CRLF", lambda text, block: text.replace("\n", "\r\n"))):
        write(MAIN, stripped, 0o640)
        expect(set_(password_auth=True), "ok", True, "P55: a block again")
        expect(set_(password_auth=False), "ok", True, "P55: … with the other value")
        block = read(MAIN)[:-len(stripped)]
        write(MAIN, change(read(MAIN), block), 0o640)
        others = read(MAIN).replace(block, "").replace(block.replace("\n", "\r\n"), "")
        expect(set_(password_auth=False), "ok", what != "CRLF", f"P55: {what}: it is in force")
        check(effective("passwordauthentication") == "no" and not password_login("alice", PASSWORD), "  really")
        expect(set_(password_auth=True), "ok", True, "  and changed")
        check(read(MAIN) == block.replace(" no\nKbdInteractiveAuthentication no", " yes") + others, "  and stands once, at line 1")
    write(MAIN, "Match User x\n  X11Forwarding no\nMatch all\n" + original, 0o644)
    expect(set_(password_auth=False), "ok", True, "P55: an Include after a Match is none")
    check(read(MAIN).startswith("# BEGIN latchkey"), "P55: … so the block is used")
    write(MAIN, original, 0o644)
    server.reload()


def T11_vendor_file(server):
    os.makedirs("/tmp/vendor/etc/ssh")
    os.makedirs("/tmp/vendor/usr/etc/ssh")
    vendor = Plugin("sshd", {"locations": []}, root="/tmp/vendor")
    write("/tmp/vendor/usr/etc/ssh/sshd_config", "Include /usr/etc/ssh/x.conf\n", 0o644)
    result = vendor.one({"do": "sshd.set", "password_auth": True})
    check(result["code"] == "unsupported" and os.listdir("/tmp/vendor/etc/ssh") == [],
          f"T11: a vendor file that includes nothing is not masked: {result['detail']}")
    write("/tmp/vendor/usr/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n", 0o644)
    result = vendor.one({"do": "sshd.set", "password_auth": True})
    check(result["code"] == "ok" and os.listdir("/tmp/vendor/etc/ssh") == ["sshd_config.d"],
          "T11: one that includes the directory gets the drop-in, and no main file")
    original = read(MAIN)
    write("/etc/ssh/moved", original.replace("Include", "#"), 0o644)
    os.unlink(MAIN)
    os.symlink("/etc/ssh/moved", MAIN)
    result = set_(password_auth=True)
    check(result["code"] == "unsupported" and os.path.islink(MAIN) and not os.path.exists(DROP_IN),
          f"T11: a main file that is a link and includes nothing is left alone: {result['detail']}")
    write("/etc/ssh/moved", original, 0o644)
    write("/etc/ssh/sshd_config.d/00-a.conf", "# first\nPasswordAuthentication no\n")
    result = set_(password_auth=True)
    check(result["code"] == "unsupported" and "/etc/ssh/sshd_config.d/00-a.conf:2 sets PasswordAuthentication" in result["detail"],
          f"T11: … and where it includes a file that comes before ours, that one is named: {result['detail']}")
    os.unlink("/etc/ssh/sshd_config.d/00-a.conf")
    os.unlink(MAIN)
    write(MAIN, original, 0o644)
    server.reload()


def P51_bad_configurations(server):
    bad = "/etc/ssh/sshd_config.d/90-bad.conf"
    write(bad, "NoSuchKeyword yes\n")
    before = read(DROP_IN)
    result = set_(password_auth=False)
    expect(result, "sshd_invalid", False, "P51: a broken foreign drop-in")
    check("90-bad.conf" in result["detail"] and read(DROP_IN) == before, "P51: … is named, and our bytes are back")
    check(server.is_alive() and key_login("alice", KEY), "P51: … and sshd was not told")
    expect(plugin.one({"do": "sshd.reload"}), "sshd_invalid", False, "P51: reload on it is refused")
    os.unlink(bad)
    os.symlink("/nowhere", bad)
    expect(set_(password_auth=False), "sshd_invalid", False, "P51: a dangling link")
    os.unlink(bad)
    os.rmdir("/run/sshd")
    expect(set_(password_auth=False), "ok", True, "T09: /run/sshd is missing")
    check(oct(os.stat("/run/sshd").st_mode & 0o7777) == "0o755", "T09: … and was made 0755")
    os.chmod("/run/sshd", 0o777)
    expect(set_(password_auth=True), "cannot_validate", False, "P51: /run/sshd is writable for all")
    os.chmod("/run/sshd", 0o755)
    os.makedirs("/tmp/keys")
    for name in os.listdir("/etc/ssh"):
        if name.startswith("ssh_host_"):
            shutil.move("/etc/ssh/" + name, "/tmp/keys/" + name)
    server.stop()
    result = set_(password_auth=True)
    expect(result, "ok", True, "T09: no host key exists yet, and no sshd runs")
    check(not any(name.startswith("ssh_host_") for name in os.listdir("/etc/ssh")), "T09: none was left behind")
    for name in os.listdir("/tmp/keys"):
        shutil.move("/tmp/keys/" + name, "/etc/ssh/" + name)
    server.start()


def T12_a_stopped_sshd_stays_stopped(server):
    server.stop()
    result = set_(password_auth=False)
    expect(result, "ok", True, "T12: sshd is stopped")
    check("not running" in result["detail"] and not server.listens(), "T12: … and was not started")
    expect(plugin.one({"do": "sshd.restart"}), "ok", False, "T12: … not even by sshd.restart")
    server.start()
    expect(set_(password_auth=True), "ok", True, "T12: running again")
    os.unlink("/run/sshd.pid")
    expect(set_(password_auth=False), "ok", True, "T12: no pid file")
    check(not password_login("alice", PASSWORD), "T12: … the listener was found all the same")
    write("/run/sshd.pid", str(os.getpid()) + "\n", 0o644)
    expect(set_(password_auth=True), "ok", True, "T12: a pid file that names another process")
    check(password_login("alice", PASSWORD), "T12: … which was not signalled, sshd was")


def T12_the_sshd_of_a_container(server):
    server.stop()
    inside = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "/usr/sbin/sshd", "-D", "-o", "PidFile=none",
                               "-p", "2300"], stdin=subprocess.DEVNULL)
    server.port = 2300
    wait_for(server.listens, "the container's sshd listens")
    result = set_(password_auth=False)
    expect(result, "ok", True, "T12: only a container's sshd runs")
    check("not running" in result["detail"], "T12: … which is not ours to reload")
    inside.kill()
    inside.wait(30)
    wait_for(lambda: not server.listens(), "the container has ended")
    server.port = 22
    server.start()
    expect(set_(password_auth=True), "ok", True, "T12: ours again")


def P54_only_a_lost_listener_rolls_back(server):
    # The listener closes its sockets and opens new ones; something else takes the port in between.
    write("/etc/ssh/sshd_config.d/10-port.conf", "Port 2222\n")
    blocker = socket.socket(socket.AF_INET6)
    blocker.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    blocker.bind(("::", 2222))
    blocker.listen()
    before = read(DROP_IN)
    result = set_(password_auth=False)
    expect(result, "listener_gone", False, "P54: the port is taken when sshd opens it again")
    check(read(DROP_IN) == before, "P54: … and our bytes are back")
    blocker.close()
    os.unlink("/etc/ssh/sshd_config.d/10-port.conf")
    server.process.wait(30)
    server.start()
    write("/etc/ssh/sshd_config.d/10-startups.conf", "MaxStartups 1:100:1\n")
    server.reload()
    crowd = []
    for _ in range(5):
        crowd.append(socket.create_connection(("127.0.0.1", 22)))
    result = set_(password_auth=False)
    expect(result, "ok", True, "P54: connections beyond MaxStartups")
    crowd_after = [socket.create_connection(("127.0.0.1", 22)) for _ in range(3)]
    check("PasswordAuthentication no" in settings_of(DROP_IN), "P54: … roll nothing back")
    for one in crowd + crowd_after:
        one.close()
    os.unlink("/etc/ssh/sshd_config.d/10-startups.conf")
    server.reload()
    expect(set_(password_auth=True), "ok", True, "P54: after the crowd")


def redo_and_undo():
    command = {"do": "sshd.set", "password_auth": False}
    planned = plugin.plan(command)
    check(planned[0]["changes"] and read(DROP_IN).count("PasswordAuthentication yes") == 1, "plan writes nothing")
    expect(plugin.apply([command], planned)[0], "ok", True, "apply")
    expect(plugin.apply([command], planned, redo=True)[0], "ok", True, "redo after a crash that came too late")
    expect(plugin.apply([command], planned, undo=True)[0], "ok", True, "undo")
    check(settings_of(DROP_IN)[0] == "PasswordAuthentication yes" and password_login("alice", PASSWORD), "… it is open")
    expect(plugin.apply([command], planned, redo=True)[0], "ok", True, "redo after a crash that came too early")
    expect(set_(password_auth=True), "ok", True, "somebody opens it again")
    write(DROP_IN, read(DROP_IN).replace("PasswordAuthentication yes", "PasswordAuthentication YES"))
    expect(plugin.apply([command], planned, redo=True)[0], "superseded", False, "redo of a field set otherwise meanwhile")
    write(DROP_IN, "")
    expect(set_(password_auth=True), "ok", True, "an empty drop-in, as power loss leaves it")


    planned = plugin.plan(command)
    plugin.apply([command], planned)
    written = read(DROP_IN)
    expect(set_(password_auth=True), "ok", True, "open again")
    write(DROP_IN, written)
    check(password_login("alice", PASSWORD), "killed between the write and the reload: the file says no, sshd does not know")
    expect(plugin.apply([command], planned, redo=True)[0], "ok", True, "… redo")
    check(not password_login("alice", PASSWORD), "… has it reloaded")
    expect(set_(password_auth=True), "ok", True, "… open again")


def T06_what_cannot_be_written():
    before = read(DROP_IN)
    must("mount", "--bind", "/etc/ssh", "/etc/ssh")
    must("mount", "-o", "remount,bind,ro", "/etc/ssh")
    expect(set_(password_auth=False), "read_only", False, "T11: /etc/ssh is read-only")
    must("umount", "/etc/ssh")
    check(read(DROP_IN) == before, "… nothing has changed")
    must("mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=64", "tmpfs", "/etc/ssh/sshd_config.d")
    write("/etc/ssh/sshd_config.d/60-full.conf", "#" * 4096)
    expect(set_(password_auth=False), "no_space", False, "T06: the disk is full")
    check(os.listdir("/etc/ssh/sshd_config.d") == ["60-full.conf"], "… no litter stays")
    must("umount", "/etc/ssh/sshd_config.d")
    shutil.move("/etc/ssh/sshd_config.d", "/etc/ssh/moved.d")
    os.symlink("/etc/ssh/moved.d", "/etc/ssh/sshd_config.d")
    result = set_(password_auth=False)
    expect(result, "symlink", False, "T04: the directory of drop-ins is a link")
    os.unlink("/etc/ssh/sshd_config.d")
    shutil.move("/etc/ssh/moved.d", "/etc/ssh/sshd_config.d")
    os.unlink(DROP_IN)
    os.symlink("/etc/shadow", DROP_IN)
    shadow = read("/etc/shadow")
    result = set_(password_auth=False)
    check(result["code"] == "symlink" and read("/etc/shadow") == shadow, "T04: our drop-in is a link: " + result["code"])
    os.unlink(DROP_IN)
    expect(set_(password_auth=True), "ok", True, "T06: with everything in its place")


def paths(server):
    ours = "/run/latchkey/authorized_keys/%u"
    expect(set_(permit_root_login="no"), "ok", True, "paths: another setting stands there")
    plugin.settings["locations"] = ["home", "runtime", "system"]
    result = plugin.one({"do": "sshd.paths"})
    expect(result, "ok", True, "paths: runtime and system")
    check(effective("authorizedkeysfile") ==
          f".ssh/authorized_keys .ssh/authorized_keys2 {ours} /etc/ssh/latchkey_keys/%u", "paths: defaults are kept")
    expect(plugin.one({"do": "sshd.paths"}), "ok", False, "paths: again is nothing to do")
    check("PermitRootLogin no" in settings_of(DROP_IN), "paths: other settings stay")
    os.makedirs("/run/latchkey/authorized_keys", mode=0o755, exist_ok=True)
    write("/run/latchkey/authorized_keys/bob", make_key("/tmp/bob") + "\n", 0o644)
    check(key_login("bob", "/tmp/bob"), "P105: a key in the runtime place logs in, no reload after it")
    original = read(MAIN)
    write(MAIN, original + 'AuthorizedKeysFile .ssh/authorized_keys "/etc/ssh/my keys/%u"\n', 0o644)
    expect(plugin.one({"do": "sshd.paths"}), "ok", True, "paths: the operator sets his own")
    check(settings_of(DROP_IN)[-1] ==
          f'AuthorizedKeysFile .ssh/authorized_keys "/etc/ssh/my keys/%u" {ours} /etc/ssh/latchkey_keys/%u',
          "paths: … it is followed, quotes and all")
    expect(plugin.one({"do": "sshd.paths"}), "ok", False, "paths: … and that is stable")
    plugin.settings["locations"] = ["home"]
    expect(plugin.one({"do": "sshd.paths"}), "ok", True, "paths: home alone")
    check(settings_of(DROP_IN) == ["PasswordAuthentication yes", "PermitRootLogin no"], "paths: … takes the line away")
    write(MAIN, original, 0o644)
    server.reload()


def below_another_root():
    os.makedirs("/tmp/disk/etc/ssh/sshd_config.d")
    write("/tmp/disk/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication no\n")
    rescue = Plugin("sshd", {"locations": []}, root="/tmp/disk")
    traced(rescue, "execve,kill,pidfd_send_signal,connect")
    before = read(DROP_IN)
    result = rescue.one({"do": "sshd.set", "password_auth": True})
    expect(result, "ok", True, "P106: --root")
    check("not validated" in result["detail"], "P106: … says that sshd was not asked")
    calls = [line.split(None, 1)[1] for line in trace() if "(" in line]
    check("/plugins/sshd" in calls[-1], f"P106: … nothing was executed, signalled or connected to after {calls[-1][:60]}")
    check(settings_of("/tmp/disk" + DROP_IN) == ["PasswordAuthentication yes"] and read(DROP_IN) == before,
          "P106: … the disk has it and this machine has not")
    check(rescue.plan({"do": "sshd.reload"})[0]["code"] == "unsupported", "P106: … and no reload")
    result = rescue.one({"do": "sshd.set", "password_auth": False})
    check(settings_of("/tmp/disk" + DROP_IN) == ["PasswordAuthentication no", "KbdInteractiveAuthentication no",
                                                 "ChallengeResponseAuthentication no"],
          "T09: of an sshd of unknown age both names are switched off")


def reload_is_needed_once(server):
    """Nothing is reloaded when nothing changed."""
    rows = read("/proc/net/tcp").splitlines()
    expect(set_(password_auth=True), "ok", False, "unchanged")
    listening = [row.split()[9] for row in rows if " 0A " in row]
    check([row.split()[9] for row in read("/proc/net/tcp").splitlines() if " 0A " in row] == listening,
          "unchanged: sshd kept its sockets")
    started = time.monotonic()
    for _ in range(20):
        plugin.plan({"do": "sshd.set", "password_auth": True})
    check(True, f"a plan takes {(time.monotonic() - started) / 20 * 1000:.1f} ms with python's own time")


def options_of_the_running_sshd():
    """-p and -o weigh more than any file; where sshd was started with them its values are asked with them."""
    server = Server("-p", "2222", "-o", "X11Forwarding=yes", port=2222)
    result = set_(password_auth=False)
    expect(result, "ok", True, "sshd -p 2222")
    check(result["detail"] == "" and not password_login("alice", PASSWORD, port=2222), "… is seen on its port")
    login = Plugin("login").plan({"do": "login.check", "users": ["alice"]})[0]["login"]["alice"]
    check(login["key"] == {"can": True, "blockers": []}, "… by the login plugin too")
    expect(set_(password_auth=True), "ok", True, "… and opened again")
    operators = "/etc/ssh/sshd_config.d/50-port.conf"
    for listens, said in (("2222", ["pubkey_auth_off"]), ("22", [])):
        write(operators, f"Match LocalPort {listens}\nPubkeyAuthentication no\n")
        server.reload()
        login = Plugin("login").plan({"do": "login.check", "users": ["alice"]})[0]["login"]["alice"]
        check(login["key"]["blockers"] == said and key_login("alice", KEY, 2222) == (not said),
              f"… Match LocalPort {listens} is judged by the port it listens on: {login['key']}")
    os.unlink(operators)
    server.stop()
    server = Server("-p", "2222", "-o", "PasswordAuthentication no", port=2222)
    result = set_(password_auth=True, permit_root_login="yes")
    expect(result, "overridden", True, "sshd -o PasswordAuthentication=no")
    check("own options" in result["detail"], "… is named: " + result["detail"])
    login = Plugin("login").plan({"do": "login.check", "users": ["alice"]})[0]["login"]["alice"]
    check(login["password"]["blockers"] == ["password_auth_off"], "… by the login plugin too")
    server.stop()


def main():
    add_user("alice", PASSWORD)
    add_user("bob")
    put_keys("alice", make_key(KEY) + "\n")
    server = Server()
    check(key_login("alice", KEY) and password_login("alice", PASSWORD), "the rig's sshd lets alice in")
    T07_first_value_wins(server)
    P52_sessions_survive(server)
    T08_match_at_the_end(server)
    P50_names_of_long_ago(server)
    shutil.copy(MAIN, "/tmp/own_config")
    P50_several_sshd(server)
    P55_no_include(server)
    T11_vendor_file(server)
    P51_bad_configurations(server)
    T12_a_stopped_sshd_stays_stopped(server)
    T12_the_sshd_of_a_container(server)
    P54_only_a_lost_listener_rolls_back(server)
    redo_and_undo()
    T06_what_cannot_be_written()
    paths(server)
    below_another_root()
    reload_is_needed_once(server)
    server.stop()
    options_of_the_running_sshd()


if __name__ == "__main__":
    main()
