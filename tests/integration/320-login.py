#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The verdicts of the login plugin against real logins with the real client. Run inside tests/rig/enter."""
import os
import sys
import time

sys.path.insert(0, "/run/project/tests/rig")
from plugin import Plugin, check  # noqa: E402
from server import (Server, add_user, key_login, make_key, must, password_login, put_keys,  # noqa: E402
                    set_password, trace, traced, write)

PASSWORDS = {"alice": "correct Horse 7", "bob": None, "root": "root Horse 7"}
USERS = list(PASSWORDS)
FIRST = "/etc/ssh/sshd_config.d/10-test.conf"
EXPIRED, FUTURE = "20200101Z", "20990101Z"

plugin = Plugin("login")
public = {}


def look(users=USERS, **fields):
    result = plugin.plan({"do": "login.check", "users": users, **fields})[0]
    assert result["code"] == "ok" and not result["changes"], result
    return result


def anyone(**without):
    return look([], without=without)["anyone"]


def fingerprint(user):
    return must("ssh-keygen", "-lf", f"/tmp/{user}.pub").split()[1]


class State:
    """One way a machine can be: what to do to it, and how to take it back."""

    def __init__(self, name, *steps, config="", expect=None, skip=(), from_="127.0.0.1", undo=()):
        self.name, self.steps, self.config, self.undo = name, steps, config, undo
        self.expect, self.skip, self.from_ = expect or {}, skip, from_


def reset():
    if os.path.exists("/etc/nologin"):
        os.unlink("/etc/nologin")
    write("/etc/pam.d/sshd", PAM, 0o644)
    for user in USERS:
        home = os.path.expanduser("~" + user)
        must("usermod", "-s", "/bin/bash", "-e", "", user)
        must("chage", "-d", time.strftime("%Y-%m-%d"), "-M", "99999", "-I", "-1", user)
        os.chmod(home, 0o700)
        for name in ("authorized_keys", "authorized_keys2"):
            if os.path.exists(f"{home}/.ssh/{name}"):
                os.unlink(f"{home}/.ssh/{name}")
        put_keys(user, public[user] + "\n")
        if PASSWORDS[user]:
            set_password(user, PASSWORDS[user])
        else:
            must("usermod", "-p", "*", user)


def keys(user, text):
    return lambda: put_keys(user, text)


def mode(path, bits):
    return lambda: os.chmod(path, bits)


def call(*argv):
    return lambda: must(*argv)


def hash_of(user, text):
    return lambda: must("usermod", "-p", text, user)


def states():
    alice = public["alice"]
    yield State("as made", expect={"bob": ([], ["no_password"]), "root": ([], ["root_password_off"])})
    yield State("password off", config="PasswordAuthentication no\nKbdInteractiveAuthentication no\n",
                expect={"alice": ([], ["password_auth_off"])})
    yield State("only keyboard-interactive", config="PasswordAuthentication no\nKbdInteractiveAuthentication yes\n",
                expect={"alice": ([], [])})
    yield State("keyboard-interactive without PAM is no door",
                config="PasswordAuthentication no\nKbdInteractiveAuthentication yes\nUsePAM no\n",
                expect={"alice": ([], ["password_auth_off"])})
    yield State("keys off", config="PubkeyAuthentication no\n", expect={"alice": (["pubkey_auth_off"], [])})
    yield State("root: yes", config="PermitRootLogin yes\n", expect={"root": ([], [])})
    yield State("root: no", config="PermitRootLogin no\n", expect={"root": (["root_login_off"], ["root_login_off"])})
    yield State("root: forced commands", config="PermitRootLogin forced-commands-only\n",
                expect={"root": (["root_commands_only"], ["root_password_off"])})
    yield State("T14: locked, PAM", call("usermod", "-L", "alice"), config="UsePAM yes\n",
                expect={"alice": ([], ["locked_hash"])})
    yield State("T14: locked, no PAM", call("usermod", "-L", "alice"), hash_of("bob", "!"), config="UsePAM no\n",
                expect={"alice": (["locked_hash"], ["locked_hash"]), "bob": (["locked_hash"], ["locked_hash", "no_password"])})
    yield State("T14: * without PAM", config="UsePAM no\n", expect={"bob": ([], ["no_password"])})
    yield State("expired, PAM", call("chage", "-E", "1", "alice"), expect={"alice": (["expired"], ["expired"])})
    yield State("expired, no PAM", call("chage", "-E", "1", "alice"), config="UsePAM no\n",
                expect={"alice": (["expired"], ["expired"])})
    yield State("expires tomorrow", call("chage", "-E", str(int(time.time()) // 86400 + 1), "alice"),
                expect={"alice": ([], [])})
    yield State("expires today, PAM", call("chage", "-E", str(int(time.time()) // 86400), "alice"),
                expect={"alice": (["expired"], ["expired"])})
    yield State("expires today, no PAM", call("chage", "-E", str(int(time.time()) // 86400), "alice"),
                config="UsePAM no\n", expect={"alice": ([], [])})
    yield State("password stale beyond inactive", call("chage", "-d", "2020-01-01", "-M", "10", "-I", "5", "alice"),
                expect={"alice": (["expired"], ["expired"])})
    yield State("change due, no password to change", call("chage", "-d", "0", "bob"),
                expect={"bob": (["must_change"], ["no_password"])})
    yield State("shell nologin", call("usermod", "-s", "/usr/sbin/nologin", "alice"),
                expect={"alice": (["shell_nologin"], ["shell_nologin"])})
    yield State("shell missing", call("usermod", "-s", "/bin/no-such-shell", "alice"),
                expect={"alice": (["shell_missing"], ["shell_missing"])})
    yield State("shell not in /etc/shells", call("usermod", "-s", "/usr/bin/env", "bob"), expect={"bob": ([], None)},
                skip=["bob"])
    yield State("… with pam_shells", call("usermod", "-s", "/run/bash", "alice"),
                lambda: write("/etc/pam.d/sshd", "auth required pam_shells.so\naccount required pam_shells.so\n" + PAM, 0o644),
                expect={"alice": (["shell_unlisted"], ["shell_unlisted"])})
    yield State("/etc/nologin", lambda: write("/etc/nologin", "closed\n", 0o644),
                expect={"alice": (["nologin_file"], ["nologin_file"]), "root": ([], ["root_password_off"])})
    yield State("AllowUsers", config="AllowUsers bo? root\n", expect={"alice": (["allow_users"], ["allow_users"])})
    yield State("AllowUsers from elsewhere", config="AllowUsers alice@10.* bob@127.0.0.0/8 root\n",
                expect={"alice": (["allow_users"], ["allow_users"]), "bob": ([], ["no_password"])})
    yield State("DenyUsers", config="DenyUsers nobody a*e\n", expect={"alice": (["deny_users"], ["deny_users"])})
    yield State("DenyUsers from elsewhere", config="DenyUsers alice@10.*\n", expect={"alice": ([], [])})
    yield State("AllowGroups", config="AllowGroups bob root\n", expect={"alice": (["allow_groups"], ["allow_groups"])})
    yield State("AllowGroups, supplementary", config="AllowGroups use?s root\n",
                expect={"bob": (["allow_groups"], ["no_password", "allow_groups"])})
    yield State("DenyGroups", config="DenyGroups users\n", expect={"alice": (["deny_groups"], ["deny_groups"])})
    yield State("T35: two methods", config="AuthenticationMethods publickey,password\n",
                expect={"alice": (["authentication_methods"], ["authentication_methods"])})
    yield State("T35: alternatives", config="AuthenticationMethods publickey,password publickey\n",
                expect={"alice": ([], ["authentication_methods"])})
    yield State("T35: keyboard-interactive alone", config="AuthenticationMethods keyboard-interactive:pam\n"
                "KbdInteractiveAuthentication yes\n", expect={"alice": (["authentication_methods"], [])})
    yield State("principals for a key", keys("alice", f'principals="alice" {public["alice"]}\n'), expect={"alice": (["no_key"], [])})
    yield State("T19: none, and a command besides", config="AuthorizedKeysFile none\nAuthorizedKeysCommand /bin/true\n"
                "AuthorizedKeysCommandUser nobody\n", expect={"alice": (["keys_elsewhere"], [])})
    yield State("an authority besides", call("cp", "/tmp/bob.pub", "/etc/ssh/ca.pub"), keys("alice", ""),
                config="TrustedUserCAKeys /etc/ssh/ca.pub\n", expect={"alice": (["keys_elsewhere"], [])})
    yield State("T19: none", config="AuthorizedKeysFile none\n", expect={"alice": (["keys_file_none"], [])})
    yield State("T19: elsewhere", lambda: write("/etc/ssh/keys/alice", alice + "\n", 0o644),
                config="AuthorizedKeysFile /etc/ssh/keys/%u\n",
                expect={"alice": ([], []), "bob": (["keys_file_missing"], ["no_password"])})
    yield State("T19: elsewhere, only root can read it", lambda: write("/etc/ssh/keys/alice", alice + "\n", 0o600),
                config="AuthorizedKeysFile /etc/ssh/keys/%u\n", expect={"alice": (["keys_file_unreadable"], [])})
    yield State("T19: two files", keys("alice", "# nothing\n"),
                lambda: put_keys("alice", alice + "\n", name="authorized_keys2"), expect={"alice": ([], [])})
    yield State("T33: home 0777", mode("/home/alice", 0o777), expect={"alice": (["strict_modes"], [])})
    yield State("T33: home 0777, StrictModes no", mode("/home/alice", 0o777), config="StrictModes no\n",
                expect={"alice": ([], [])})
    yield State("T33: .ssh 0775, private group", mode("/home/alice/.ssh", 0o775), expect={"alice": ([], [])})
    yield State("T33: .ssh 0775, shared group", mode("/home/alice/.ssh", 0o775), call("usermod", "-aG", "alice", "bob"),
                expect={"alice": (["strict_modes"], [])}, undo=[call("gpasswd", "-d", "bob", "alice")])
    yield State("T33: .ssh 0775, another group of hers alone", call("chgrp", "users", "/home/alice/.ssh"),
                mode("/home/alice/.ssh", 0o775), expect={"alice": ([], [])})
    yield State("T33: .ssh 0775, group of nobody", call("chgrp", "audio", "/home/alice/.ssh"),
                mode("/home/alice/.ssh", 0o775), expect={"alice": (["strict_modes"], [])})
    yield State("T33: file 0666", mode("/home/alice/.ssh/authorized_keys", 0o666),
                expect={"alice": (["strict_modes"], [])})
    yield State("T33: file of another user", call("chown", "bob", "/home/alice/.ssh/authorized_keys"),
                mode("/home/alice/.ssh/authorized_keys", 0o644), expect={"alice": (["strict_modes"], [])})
    yield State("a linked file", call("mv", "/home/alice/.ssh/authorized_keys", "/home/alice/keys"),
                call("ln", "-s", "/home/alice/keys", "/home/alice/.ssh/authorized_keys"), expect={"alice": ([], [])})
    yield State("no file", call("rm", "/home/alice/.ssh/authorized_keys"),
                expect={"alice": (["keys_file_missing"], [])})
    yield State("another key", keys("alice", public["bob"].replace("AAAA", "BBBB") + "\n"),
                expect={"alice": (["no_key"], [])})
    yield State("expired key", keys("alice", f'expiry-time="{EXPIRED}" {alice}\n'),
                expect={"alice": (["key_expired"], [])})
    yield State("key that expires later", keys("alice", f'restrict,pty,expiry-time="{FUTURE}" {alice}\n'),
                expect={"alice": ([], [])})
    yield State("key from elsewhere", keys("alice", f'from="10.0.0.0/8,!127.0.0.1" {alice}\n'),
                expect={"alice": (["key_from"], [])})
    yield State("key from here", keys("alice", f'from="10.0.0.0/8,127.0.0.0/8" {alice}\n'), expect={"alice": ([], [])})
    yield State("key with a command", keys("alice", f'command="echo \\"no\\", really" {alice}\n'),
                expect={"alice": (["key_command_only"], [])})
    yield State("key with an option that is none", keys("alice", f"no-such-option {alice}\n"),
                expect={"alice": (["no_key"], [])})
    yield State("T16: junk around the key", keys("alice", f"\ufeff{alice}\n# x\n\n \t{alice} with more\r\nssh-rsa AAAA\n"),
                expect={"alice": ([], [])})
    yield State("revoked", lambda: write("/etc/ssh/revoked", "# list\n" + alice + "\n", 0o644),
                config="RevokedKeys /etc/ssh/revoked\n",
                expect={"alice": (["key_revoked"], []), "bob": ([], ["no_password"])})
    yield State("the revoked list is missing", config="RevokedKeys /etc/ssh/no-such-list\n",
                expect={"alice": (["revoked_keys_missing"], [])})
    yield State("algorithm off", config="PubkeyAcceptedAlgorithms ssh-rsa,rsa-sha2-256\n",
                expect={"alice": (["key_type_off"], [])})
    yield State("T08: Match User", config="Match User alice\n\tPasswordAuthentication no\n"
                "\tKbdInteractiveAuthentication no\n", expect={"alice": ([], ["password_auth_off"])})
    yield State("P108: Match Address of the client", config="Match Address 127.0.0.0/8\n\tPubkeyAuthentication no\n",
                expect={"alice": (["pubkey_auth_off"], [])})
    yield State("P108: Match LocalPort, without-password", config="PermitRootLogin without-password\n"
                "Match LocalPort 22 Address ::1\n\tPubkeyAuthentication no\n", expect={"root": ([], ["root_password_off"])})
    yield State("T08: Match Group with ForceCommand", config="Match Group users\n\tForceCommand /bin/false\n",
                expect={"alice": (["force_command"], ["force_command"])})
    yield State("* as hash", hash_of("alice", "*"), expect={"alice": ([], ["no_password"])})
    yield State("! as hash", hash_of("alice", "!"), expect={"alice": ([], ["no_password"])})
    yield State("nonsense as hash", hash_of("alice", "abc"), expect={"alice": ([], ["no_password"])})
    yield State("no hash", call("passwd", "-d", "alice"), expect={"alice": ([], ["no_password"])})


    yield from gates()


ACCESS, LIMITS, ALLOW, DENY = "/etc/security/access.conf", "/etc/security/limits.d/50-test.conf", "/etc/hosts.allow", "/etc/hosts.deny"


def puts(path, text):
    return lambda: write(path, text, 0o644)


def pam_account(module):
    return lambda: write("/etc/pam.d/sshd", f"account required {module}\n" + PAM, 0o644)


def pam_auth(module):
    return lambda: write("/etc/pam.d/sshd", f"auth required {module}\n" + PAM, 0o644)


def fail_passwords(user, times):
    """Wrong passwords through a stack with pam_faillock, as authselect and pam-auth-update make it."""
    def run():
        write("/etc/pam.d/sshd", "auth required pam_faillock.so preauth\nauth [success=1 default=bad] pam_unix.so nodelay\n"
              "auth [default=die] pam_faillock.so authfail\nauth required pam_permit.so\n"
              "account required pam_unix.so\nsession required pam_permit.so\n", 0o644)
        for _ in range(times):
            assert not password_login(user, "wrong")
    return run


def gates():
    """What stands between sshd's own word and a session."""
    both, nobody = (["pam_access"], ["pam_access"]), ([], [])
    undo = [call("rm", "-f", LIMITS, ALLOW, DENY), call("cp", "/dev/null", ACCESS)]
    for name, rules, expect in (
            ("by name", "-:alice:ALL\n", both), ("by group", "- : (users) : ALL\n", both),
            ("by plain group", "-:users:ALL\n", both), ("all but one", "-:ALL EXCEPT bob root:ALL\n", both),
            ("let in before", "# first\n+:alice:127.0.0.1\n-:ALL:ALL\n", nobody),
            ("elsewhere", "-:alice:10.0.0.0/8\n", nobody), ("here", "-:alice:127.\n", both),
            ("everywhere but here", "-:alice:ALL EXCEPT 127.0.0.1\n", nobody)):
        yield State(f"access.conf, {name}", puts(ACCESS, rules), pam_account("pam_access.so"), expect={"alice": expect}, undo=undo,
                    skip=["bob", "root"])
    late = "/etc/security/access.d/10-late.conf"
    os.makedirs("/etc/security/access.d", exist_ok=True)
    for name, rules, more, options, expect in (
            ("in access.d", "", "-:alice:ALL\n", "", both), ("let in before access.d", "+:alice:ALL\n", "-:alice:ALL\n", "", nobody),
            ("in a file of its own", "", "-:alice:ALL\n", " accessfile=" + late, both),
            ("with a file of its own", "-:alice:ALL\n", "", " accessfile=" + late, nobody),
            ("a name is no group", "-:users:ALL\n", "", " nodefgroup", nobody),
            ("other separators", "-|alice bob;alice|ALL\n", "", " fieldsep=| listsep=;", both),
            ("only at a terminal", "+:alice:LOCAL cron tty1 :0\n-:alice:ALL\n", "", "", both)):
        yield State(f"access.conf, {name}", puts(ACCESS, rules), puts(late, more), pam_account("pam_access.so" + options),
                    expect={"alice": expect}, undo=[*undo, call("rm", late)], skip=["bob", "root"])
    yield State("access.conf, where a key does not pass", puts(ACCESS, "-:alice:ALL\n"), pam_auth("pam_access.so"),
                expect={"alice": ([], ["pam_access"])}, undo=undo, skip=["bob", "root"])
    yield State("a shell that auth alone does not list", call("cp", "/bin/bash", "/run/mine"), call("usermod", "-s", "/run/mine", "alice"),
                pam_auth("pam_shells.so"), expect={"alice": ([], ["shell_unlisted"])}, skip=["bob", "root"])
    yield State("access.conf that PAM does not ask", puts(ACCESS, "-:alice:ALL\n"), expect={"alice": nobody}, undo=undo)
    yield State("access.conf without PAM", puts(ACCESS, "-:alice:ALL\n"), pam_account("pam_access.so"), config="UsePAM no\n",
                expect={"alice": nobody}, undo=undo)
    yield from pam_rules()
    limit, uid = (["login_limit"], ["login_limit"]), must("id", "-u", "alice").strip()
    for name, rules, expect in (("hers", "alice - maxlogins 0\n", limit), ("her group's", "@users hard maxlogins 0\n", limit),
                                ("hers over everybody's", "* - maxlogins 0\nalice - maxlogins 9\n", nobody),
                                ("the members together", "%users - maxlogins 0\n", limit), ("all together", "% - maxlogins 0\n", limit),
                                ("a range of uids", "1000:1999 - maxlogins 0\n", limit), ("her uid", f":{uid} - maxlogins 0\n", limit),
                                ("another range", "5000: - maxlogins 0\n", nobody), ("her gid", f"@:{uid} - maxlogins 0\n", limit),
                                ("a range over her group's", "@users - maxlogins 0\n1000: - maxlogins 9\n", nobody),
                                ("one is enough", "alice - maxlogins 1\n", nobody)):
        yield State(f"limits.conf, {name}", puts(LIMITS, rules), expect={"alice": expect}, undo=undo, skip=["bob", "root"])
    yield State("limits.conf, another file's", puts(LIMITS, "alice - maxlogins 0\n"), puts("/etc/security/mine", ""),
                lambda: write("/etc/pam.d/sshd", PAM.replace("pam_limits.so", "pam_limits.so conf=/etc/security/mine"), 0o644),
                expect={"alice": nobody}, undo=undo, skip=["bob", "root"])
    wrapped = (["hosts_deny"], ["hosts_deny"])
    for name, allow, deny, expect in (("all", "", "ALL: ALL\n", wrapped), ("sshd here", "", "sshd: 127.0.0.1\n", wrapped),
                                      ("let in before", "sshd: 127.\n", "ALL: ALL\n", nobody),
                                      ("another daemon", "", "in.ftpd: ALL\n", nobody),
                                      ("denied in hosts.allow", "sshd: ALL: deny\n", "", wrapped),
                                      ("all but here", "", "sshd: ALL EXCEPT 127.0.0.1\n", nobody)):
        yield State(f"hosts.deny, {name}", puts(ALLOW, allow), puts(DENY, deny), expect={"alice": expect}, undo=undo)
    tally = call("rm", "-f", "/run/faillock/alice", "/run/faillock/root")
    yield State("faillock, three wrong passwords", fail_passwords("alice", 3), expect={"alice": ([], ["faillock"])},
                undo=[tally], skip=["bob", "root"])
    yield State("faillock, two", fail_passwords("alice", 2), expect={"alice": nobody}, undo=[tally], skip=["bob", "root"])
    yield State("faillock, long ago", fail_passwords("alice", 3), age_tally, expect={"alice": nobody}, undo=[tally],
                skip=["bob", "root"])
    yield State("faillock, more allowed", puts("/etc/security/faillock.conf", "deny = 9\n"), fail_passwords("alice", 3),
                expect={"alice": nobody}, undo=[tally, call("cp", "/dev/null", "/etc/security/faillock.conf")], skip=["bob", "root"])


def pam_rules():
    """Modules that refuse by what stands on their own line: all they can ask for, asked of PAM and of the engine."""
    both, passwords, nobody, listed = (["pam_rule"], ["pam_rule"]), ([], ["pam_rule"]), ([], []), "/etc/security/listed"
    uid = must("id", "-u", "alice").strip()
    for line, expect in (
            ("user = alice", nobody), ("user != alice", both), ("user = bob", both), ("user ingroup users", nobody),
            ("user ingroup no:users", nobody), ("user ingroup no", both), ("user notingroup no:users", both),
            ("user notingroup no", nobody), ("user in bob:alice", nobody), ("user in bob", both), ("user notin bob:alice", both),
            ("quiet user =~ a*", nobody), ("user !~ al?ce", both), ("uid >= 1000", nobody), ("uid > 999 uid < 1000", both),
            (f"uid eq {uid}", nobody), (f"uid ne {uid} quiet_fail", both), (f"uid le {uid} gid gt 0", nobody), ("uid lt 1000", both),
            ("shell = /bin/bash", nobody), ("shell = /bin/zsh", both), ("service = sshd", nobody), ("service notin sshd:login", both)):
        yield State(f"pam_succeed_if {line}", pam_account("pam_succeed_if.so " + line), expect={"alice": expect}, skip=["bob", "root"])
    for words, names, expect in (
            ("item=user sense=allow", "root\nalice\n", nobody), ("item=user sense=allow", "root\n", both),
            ("item=user sense=deny", "alice", both), ("item=user sense=deny", "alicea\nbob\n", nobody),
            ("item=group sense=allow", "users\r\n", nobody), ("item=group sense=deny", "no\nusers\n", both),
            ("item=user sense=deny apply=bob", "alice\n", both), ("item=user sense=deny apply=@users", "alice\n", both)):
        yield State(f"pam_listfile {words} {names!r}", puts(listed, names), pam_account(f"pam_listfile.so {words} file={listed} onerr=fail"),
                    expect={"alice": expect}, undo=[call("rm", listed)], skip=["bob", "root"])
    yield State("pam_listfile without its list", pam_account(f"pam_listfile.so item=user sense=allow file={listed} onerr=succeed"),
                expect={"alice": nobody})
    yield State("a rule that a key does not pass", pam_auth("pam_succeed_if.so user != alice"), expect={"alice": passwords},
                skip=["bob", "root"])
    yield State("pam_deny", pam_account("pam_deny.so"), expect={"alice": both}, skip=["bob", "root"])
    yield State("pam_time without times", pam_account("pam_time.so"), expect={"alice": nobody}, skip=["bob", "root"])
    for name, before, expect in (("sufficient before it", "account sufficient pam_succeed_if.so user = alice\n", nobody),
                                 ("jumped over", "account [success=1 default=ignore] pam_succeed_if.so user = alice\n", nobody),
                                 ("optional", "account optional pam_deny.so\naccount sufficient pam_permit.so\n", nobody)):
        yield State(f"a rule that is not asked: {name}",
                    lambda before=before: write("/etc/pam.d/sshd", before + "account required pam_succeed_if.so user = bob\n" + PAM, 0o644),
                    expect={"alice": expect}, skip=["bob", "root"])


def age_tally():
    """As if it had happened before unlock_time."""
    with open("/run/faillock/alice", "r+b") as file:
        records = bytearray(file.read())
        for at in range(56, len(records), 64):
            records[at:at + 8] = (int.from_bytes(records[at:at + 8], "little") - 3600).to_bytes(8, "little")
        file.seek(0)
        file.write(records)


def no_host_key(server):
    """sshd reads its keys anew for each connection."""
    reset()
    write(FIRST, "", 0o644)
    server.reload()
    must("sh", "-c", "mkdir /tmp/host && mv /etc/ssh/ssh_host_*_key /tmp/host")
    found = look(["alice"])["login"]["alice"]
    check(found["key"]["blockers"] == ["host_key_missing"] and found["password"]["blockers"] == ["host_key_missing"],
          f"T09: no host key: {found}")
    check(not key_login("alice", "/tmp/alice"), "T09: … and nobody gets in")
    must("sh", "-c", "mv /tmp/host/* /etc/ssh")
    check(look(["alice"])["login"]["alice"]["key"]["can"] and key_login("alice", "/tmp/alice"), "T09: … until they are back")


def compare(state, server):
    reset()
    write(FIRST, state.config, 0o644)
    for step in state.steps:
        step()
    server.reload()
    login = look(**{"from": state.from_})["login"]
    for user, (by_key, by_password) in state.expect.items():
        for method, wanted in (("key", by_key), ("password", by_password)):
            if wanted is None:
                continue
            found = login[user][method]
            check(sorted(found["blockers"]) == sorted(wanted) and found["can"] == (not wanted),
                  f"{state.name}: {user} by {method}: {found['blockers'] or 'can'}")
    for user in USERS:
        if user in state.skip:
            continue
        really = key_login(user, f"/tmp/{user}")
        check(really == login[user]["key"]["can"], f"{state.name}: {user} by key really: {really}")
        password = PASSWORDS[user] or "no password"
        if user in state.expect or login[user]["password"]["can"]:
            really = password_login(user, password)
            check(really == login[user]["password"]["can"], f"{state.name}: {user} by password really: {really}")
    for step in state.undo:
        step()


def guard(server):
    """P53: the question before each closing command."""
    reset()
    write(FIRST, "", 0o644)
    server.reload()
    alice, bob, root = (fingerprint(user) for user in USERS)
    check(anyone(), "P53: as made somebody can log in")
    check(anyone(users=["alice", "bob"]), "P53: without alice and bob root still can")
    check(not anyone(users=["alice", "bob", "root"]), "P53: without all three nobody can")
    check(not anyone(fingerprints=[bob, root], users=["alice"]), "P53: a revoked key of each does not count")
    check(anyone(fingerprints=[bob, root, alice]), "P53: alice's password remains")
    check(not anyone(fingerprints=[bob, root, alice], methods={"password": False}), "P53: … unless that door closes too")
    check(not anyone(fingerprints=[bob, root, alice], passwords=["alice"]), "P53: … or her password goes")
    check(anyone(keys=[{"user": "alice", "fingerprint": bob}], methods={"password": False}),
          "P53: another user's fingerprint takes nothing from alice")
    only = {"users": ["bob", "root"], "methods": {"password": False}}
    check(anyone(**only), "P53: alice's key alone")
    check(not anyone(keys=[{"user": "alice", "fingerprint": alice}], **only), "P53: … is the last one")
    check(not anyone(users=["bob", "root"], methods={"key": False, "password": False}), "P53: both doors shut")
    check(anyone(users=["bob", "alice"], methods={"root": "prohibit-password"}), "P53: root by key")
    check(not anyone(users=["bob", "alice"], methods={"root": "no"}), "P53: root not at all")
    check(not anyone(users=["bob", "alice"], methods={"root": "yes", "key": False, "password": False}), "P53: no door")
    put_keys("alice", f'expiry-time="{FUTURE}" {public["alice"]}\n')
    check(not anyone(**only), "P53: a key that expires counts as none")
    check(look(["alice"])["login"]["alice"]["key"]["can"], "P53: … though it logs in now")
    put_keys("alice", f'command="/bin/true" {public["alice"]}\n')
    check(not anyone(**only), "P53: a key for one command counts as none")
    put_keys("alice", public["alice"] + "\n")
    write(FIRST, "AuthenticationMethods publickey,password\n", 0o644)
    check(anyone(users=["bob", "root"]), "P53: alice has both of two methods")
    check(not anyone(users=["bob", "root"], methods={"password": False}), "P53: … and one of them is not enough")
    check(not anyone(users=["alice"]), "P53: bob and root have only one")
    write(FIRST, "AuthenticationMethods publickey,publickey\n", 0o644)
    check(not anyone(users=["bob", "root"]), "P53: one key does not count twice")
    write(FIRST, "AuthorizedKeysCommand /bin/true\nAuthorizedKeysCommandUser nobody\n", 0o644)
    put_keys("alice", "")
    check(not anyone(**only), "P53: AuthorizedKeysCommand is unknown, not a way in")
    put_keys("alice", public["alice"] + "\n")
    must("ssh-keygen", "-q", "-k", "-f", "/etc/ssh/krl", "/tmp/bob.pub")
    write(FIRST, "RevokedKeys /etc/ssh/krl\n", 0o644)
    check(anyone(methods={"password": False}), "P53: a key revocation list is read: it does not name root's key")
    with open("/tmp/all", "w", encoding="utf-8") as out:
        out.write("".join(f"sha256: {public[name]}\n" for name in ("alice", "bob", "root")))
    must("ssh-keygen", "-q", "-k", "-f", "/etc/ssh/krl", "/tmp/all")
    check(not anyone(methods={"password": False}), "P53: … and what it names by fingerprint is no way in")
    with open("/tmp/all", "w", encoding="utf-8") as out:
        out.write(f"sha1: {public['bob']}\n")
    must("ssh-keygen", "-q", "-k", "-f", "/etc/ssh/krl", "/tmp/all")
    check(not anyone(methods={"password": False}), "P53: what it names by SHA-1 is unknown, not a way in")
    write(FIRST, "AllowUsers alice@10.*\n", 0o644)
    check(anyone(), "P53: somebody at an allowed address")
    write(FIRST, "", 0o644)
    pam_account("pam_access.so")()
    write(ACCESS, "+:ALL:LOCAL cron tty1 :0\n-:ALL:ALL\n", 0o644)
    check(not anyone(), "P53: access.conf: somebody at a terminal does not come by sshd")
    write(ACCESS, "+:alice:10.0.0.0/8\n-:ALL:ALL\n", 0o644)
    check(anyone() and not anyone(users=["alice"]), "P53: … somebody in a network does")
    write(ACCESS, "", 0o644)
    for module, safe in (("pam_exec.so /bin/true", False), ("pam_time.so", True), ("pam_succeed_if.so rhost = 10.0.0.1", False),
                         ("pam_succeed_if.so uid ge 0", True), ("pam_listfile.so item=user sense=allow onerr=fail file=/nowhere", False)):
        pam_account(module)()
        check(anyone() == safe, f"P53: whom {module} may keep out is {'a' if safe else 'no'} way in")
    write("/etc/pam.d/sshd", "account sufficient pam_succeed_if.so user = alice\naccount required pam_succeed_if.so user = nobody\n" + PAM, 0o644)
    check(not anyone(), "P53: … nor is who is let in by a line before it: it is not followed so far")
    pam_auth("pam_exec.so /bin/true")()
    check(anyone() and not anyone(methods={"key": False}), "P53: … in the auth stack only a password is in doubt")
    write("/etc/security/time.conf", "sshd;*;alice;Al0000-2400\n", 0o644)
    pam_account("pam_time.so")()
    check(not anyone(), "P53: … pam_time with a time")
    write("/etc/security/time.conf", "# none\n", 0o644)
    write("/etc/pam.d/sshd", PAM, 0o644)
    check(anyone(), "P53: … and the distribution's own stack is read to its end")
    server.stop()
    check(anyone(), "P53: sshd that is not started yet is judged by its configuration")
    login = look(["alice"])["login"]["alice"]
    check(login["key"]["blockers"] == ["sshd_not_running"] and login["password"]["blockers"] == ["sshd_not_running"],
          "sshd_not_running is what a person is told")
    server.start()
    write(FIRST, "NoSuchKeyword yes\n", 0o644)
    check(look(["alice"])["login"]["alice"]["key"]["blockers"] == ["sshd_invalid"], "sshd_invalid")
    check(not anyone(), "P53: a configuration that sshd refuses lets nobody in after its next start")
    write(FIRST, "", 0o644)
    write(FIRST, "Match Address 127.0.0.0/8,2001:db8::/32\n\tPasswordAuthentication no\n\tKbdInteractiveAuthentication no\n", 0o644)
    check(look(["alice"])["login"]["alice"]["password"]["can"], "P108: what is exempted for 127.0.0.0/8 is not for a stranger")
    for address in ("127.0.0.1", "2001:db8::7"):
        check(not look(["alice"], **{"from": address})["login"]["alice"]["password"]["can"], f"P108: … but for {address}")
    write(FIRST, "", 0o644)
    check(look(["nobody-here", "../x"])["login"]["nobody-here"]["key"]["blockers"] == ["no_such_user"], "no_such_user")


def P90_shadow_as_rhel_has_it():
    before = os.stat("/etc/shadow").st_mode & 0o7777
    os.chmod("/etc/shadow", 0)
    check(anyone() and look(["alice"])["login"]["alice"]["password"]["can"], "P90: /etc/shadow of mode 0000 is read")
    os.chmod("/etc/shadow", before)


def P104_many_candidates():
    names = [f"u{number}" for number in range(300)]
    with open("/etc/passwd", "a", encoding="utf-8") as out:
        for number, name in enumerate(names):
            out.write(f"{name}:x:{20000 + number}:100::/nonexistent:/bin/bash\n")
    started = time.monotonic()
    check(not anyone(users=["root", "alice", "bob"]), "P53: 256 candidates without a way in")
    print(f"     in {time.monotonic() - started:.2f} s")
    text = open("/etc/passwd", encoding="utf-8").read()
    write("/etc/passwd", "".join(line for line in text.splitlines(True) if line.split(":")[0] not in names), 0o644)


def diagnose(server):
    reset()
    write(FIRST, "PasswordAuthentication no\nKbdInteractiveAuthentication no\n", 0o644)
    os.chmod("/home/alice", 0o777)
    server.reload()
    result = plugin.plan({"do": "diagnose", "user": "alice"})[0]
    check(not result["changes"] and result["users"] == ["alice"], "diagnose changes nothing and touches its user")
    check("/home/alice is 0777" in result["detail"] and "strict" not in result["detail"], "diagnose names path and mode")
    print("     " + result["detail"])
    check(result["login"]["alice"]["password"]["blockers"] == ["password_auth_off"], "diagnose has the login")
    result = plugin.plan({"do": "diagnose", "user": "alice", "from": "not an address"})[0]
    check(result["code"] == "field_invalid", "diagnose from nowhere")


def the_cached_answer(server):
    reset()
    write(FIRST, "", 0o644)
    server.reload()
    time.sleep(0.05)
    look()
    before = os.stat("/var/lib/latchkey/plugin/login/effective").st_mtime_ns
    traced(Plugin("login"), "execve").plan({"do": "login.check", "users": ["alice"]})
    execs = [line for line in trace() if "execve(" in line]
    check("/plugins/login" in execs[-1] and not any("sshd" in line for line in execs),
          "unchanged files: sshd is not executed again")
    write("/etc/ssh/sshd_config.d/99-new.conf", "PasswordAuthentication no\nKbdInteractiveAuthentication no\n")
    check(look()["login"]["alice"]["password"]["blockers"] == ["password_auth_off"], "a new drop-in is noticed")
    os.unlink("/etc/ssh/sshd_config.d/99-new.conf")
    check(look()["login"]["alice"]["password"]["can"], "and that it has gone")
    time.sleep(0.05)
    look()
    check(os.stat("/var/lib/latchkey/plugin/login/effective").st_mtime_ns != before, "the answer was kept anew")
    write("/var/lib/latchkey/plugin/login/effective", "junk")
    check(look()["login"]["alice"]["password"]["can"], "a corrupted answer is asked for again")


def P41_as_the_user():
    traced(Plugin("login"), "file,setresuid").plan({"do": "login.check", "users": ["alice"]})
    became, seen = set(), 0
    for line in trace():
        pid, what = line.split(None, 1)
        if what.startswith("setresuid("):
            became.add(pid)
        if '"/home/alice' in what:
            seen += 1
            check(pid in became, "P41: " + what.strip()[:60])
    check(seen >= 2, "P41: the home was looked at")


def main():
    global PAM
    # Failed passwords would cost two seconds each.
    common = open("/etc/pam.d/common-auth", encoding="utf-8").read()
    write("/etc/pam.d/common-auth", common.replace("pam_unix.so", "pam_unix.so nodelay"), 0o644)
    PAM = open("/etc/pam.d/sshd", encoding="utf-8").read()
    os.makedirs("/etc/ssh/keys", exist_ok=True)
    must("cp", "/bin/bash", "/run/bash")
    for user in USERS:
        if user != "root":
            add_user(user)
        public[user] = make_key(f"/tmp/{user}")
    must("usermod", "-aG", "users", "alice")
    reset()
    server = Server()
    for state in states():
        compare(state, server)
    no_host_key(server)
    guard(server)
    P90_shadow_as_rhel_has_it()
    P104_many_candidates()
    diagnose(server)
    the_cached_answer(server)
    P41_as_the_user()
    server.stop()


if __name__ == "__main__":
    main()
