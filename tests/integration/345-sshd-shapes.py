#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""P50, P108: sshd configurations in many shapes, made from a seed. In each, what login.check says of every user and method
is what a real login shows, before and after sshd.set; what sshd.set reports is in force. LATCHKEY_SHAPES=N makes so many
instead of the everyday sample, LATCHKEY_SEED others; LATCHKEY_SHAPE=N shows one."""
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, "/run/project/tests/rig")
from plugin import Plugin, check  # noqa: E402
from server import Server, add_user, key_login, make_key, must, password_login, put_keys, set_password, write  # noqa: E402

DIRECTORY = "/etc/ssh/sshd_config.d"
MAIN = "/etc/ssh/sshd_config"
PASSWORD = "correct Horse 7"
WAYS = [("alice", "key"), ("alice", "password"), ("bob", "key"), ("root", "key")]

SETTINGS = {
    "PasswordAuthentication": ["yes", "no"],
    "KbdInteractiveAuthentication": ["yes", "no"],
    "ChallengeResponseAuthentication": ["yes", "no"],
    "PubkeyAuthentication": ["yes", "no", "yes"],
    "PermitRootLogin": ["yes", "no", "prohibit-password", "without-password"],
    "AllowUsers": ["alice bob root", "alice root", "al?ce bob", "*@127.0.0.1", "bob@10.* alice root"],
    "DenyUsers": ["nobody", "b*b", "alice@10.0.0.0/8"],
    "AllowGroups": ["users bob root", "users root"],
    "DenyGroups": ["games", "us?rs"],
    "AuthorizedKeysFile": [".ssh/authorized_keys", ".ssh/authorized_keys .ssh/other", "/etc/ssh/none/%u", "none"],
    "AuthenticationMethods": ["any", "publickey password", "publickey,password", "publickey"],
    "X11Forwarding": ["yes", "no"],
    "MaxSessions": ["10", "10", "0"],
}
# Not in a Match: sshd refuses them there.
GLOBAL_ONLY = ("ChallengeResponseAuthentication",)
CRITERIA = ["User alice", "user alice,bob", 'User "alice"', "User *,!bob", "GROUP users", "Group users,games", "Address 127.0.0.0/8",
            "Address 10.0.0.0/8", "Address *,!127.0.0.1", "LocalPort 22", "LocalPort 2222", "LocalAddress 10.0.0.1", "all", "User=alice",
            "User alice Address 127.0.0.1", "User root LocalPort 22", "Host *.example"]


class Shape:
    """One configuration: the main file, drop-ins, files beside them."""

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.files = {}
        dice = self.dice
        before, after = self.lines(dice.randrange(3)), self.lines(dice.randrange(4))
        include = dice.choice(['Include /etc/ssh/sshd_config.d/*.conf', 'include=/etc/ssh/sshd_config.d/*.conf',
                               'Include "/etc/ssh/sshd_config.d/*.conf"', "INCLUDE\tsshd_config.d/*.conf",
                               "Include /etc/ssh/none/*.conf /etc/ssh/sshd_config.d/*.conf",
                               "Include /etc/ssh/nested.conf", "Include /etc/ssh/sshd_config.d/[0-9]*.conf"])
        if "nested" in include:
            self.files["/etc/ssh/nested.conf"] = self.text(self.lines(dice.randrange(2)) +
                                                           ["Include /etc/ssh/sshd_config.d/*.conf"])
        place = dice.choice(["first", "first", "first", "after", "match", "none"])
        main = {"first": [include] + before + after, "after": before + [include] + after,
                "match": before + ["Match " + dice.choice(CRITERIA), include], "none": before + after}[place]
        for _ in range(dice.randrange(3)):
            main += self.block()
        self.files[MAIN] = self.text(["UsePAM yes"] + main if place != "first" else main[:1] + ["UsePAM yes"] + main[1:])
        for name in dice.sample(["00-a", "01-early", "50-cloud-init", "60-late", "99-last"], dice.randrange(4)):
            lines = self.lines(dice.randrange(1, 3))
            if dice.random() < 0.3:
                lines += self.block()
            if dice.random() < 0.2:
                lines.append("Include /etc/ssh/deep/*.inc")
                self.files["/etc/ssh/deep/x.inc"] = self.text(self.lines(1) + (self.block() if dice.random() < 0.3 else []))
            self.files[f"{DIRECTORY}/{name}.conf"] = self.text(lines)
        if dice.random() < 0.1:
            self.files[f"{DIRECTORY}/70-dangling.conf"] = None  # a link to nowhere
        if dice.random() < 0.06:
            self.files[f"{DIRECTORY}/80-broken.conf"] = "NoSuchKeyword yes\n"
        self.change = dice.choice([{"password_auth": False}, {"password_auth": True}, {"pubkey_auth": True},
                                   {"permit_root_login": "no"}, {"permit_root_login": "prohibit-password"},
                                   {"password_auth": False, "permit_root_login": "yes"}])
        self.port = dice.choice([22, 22, 2222])
        if self.port != 22:
            self.files[MAIN] = f"Port {self.port}\n" + self.files[MAIN]

    def spell(self, keyword, value):
        dice = self.dice
        keyword = dice.choice([keyword, keyword, keyword.lower(), keyword.upper()])
        if " " not in value and dice.random() < 0.2:
            value = f'"{value}"'
        between = dice.choice([" ", " ", "\t", "=", " = ", "  \t "])
        return dice.choice(["", "", "  ", "\t"]) + keyword + between + value + dice.choice(["", "", " ", "\t"])

    def setting(self, inside=False):
        names = [name for name in SETTINGS if not (inside and name in GLOBAL_ONLY)]
        name = self.dice.choice(names)
        return self.spell(name, self.dice.choice(SETTINGS[name]))

    def lines(self, count, inside=False):
        return [self.dice.choice(["# a comment", "", self.setting(inside), self.setting(inside)]) for _ in range(count)]

    def block(self):
        match = self.dice.choice(["Match ", "match ", "MATCH\t", " Match  "]) + self.dice.choice(CRITERIA)
        return [match] + [self.setting(True) for _ in range(self.dice.randrange(1, 3))]

    def text(self, lines):
        end = "\r\n" if self.dice.random() < 0.12 else "\n"
        return end.join(lines) + (end if self.dice.random() < 0.9 else "")

    def put(self):
        must("sh", "-c", f"rm -rf {DIRECTORY}/* /etc/ssh/deep /etc/ssh/nested.conf; mkdir -p {DIRECTORY} /etc/ssh/deep")
        for path, text in self.files.items():
            if text is None:
                os.symlink("/nowhere", path)
            else:
                with open(path, "w", newline="") as file:
                    file.write(text)

    def show(self):
        for path, text in self.files.items():
            print(f"     {path}: {text!r}")


def real(user, method, port):
    return key_login(user, "/tmp/key", port) if method == "key" else password_login(user, PASSWORD, port=port)


def compare(shape, login, what):
    """One verdict for each way, and the login that shows it."""
    result = login.plan({"do": "login.check", "users": ["alice", "bob", "root"], "from": "127.0.0.1"})[0]["login"]
    can = {}
    for user, method in WAYS:
        said, can[user, method] = result[user][method], real(user, method, shape.port)
        if said["can"] != can[user, method]:
            shape.show()
            check(False, f"{what}: {user} by {method}: said {said}, really {can[user, method]}")
    return can


def is_valid():
    return subprocess.run(["/usr/sbin/sshd", "-t"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def show(number, seed, server, sshd, login):
    shape = Shape(f"{seed}/{number}")
    shape.put()
    if not is_valid():
        result = sshd.one({"do": "sshd.set", **shape.change})
        said = login.plan({"do": "login.check", "users": ["alice"]})[0]["login"]["alice"]["key"]["blockers"]
        if result["code"] != "sshd_invalid" or result["changed"] or said != ["sshd_invalid"]:
            shape.show()
        check(result["code"] == "sshd_invalid" and not result["changed"] and said == ["sshd_invalid"],
              f"shape {number}: sshd refuses it: {result['code']} {said}")
        return
    server.stop()
    server.port = shape.port
    server.start()
    before = compare(shape, login, f"shape {number}")
    main = open(MAIN, "rb").read()
    result = sshd.one({"do": "sshd.set", **shape.change})
    if result["code"] == "sshd_invalid" and "AuthenticationMethods" in result["detail"]:
        check(not result["changed"] and compare(shape, login, f"shape {number} as it was") == before,
              f"shape {number}: {shape.change}: sshd refuses it beside such a list, and all is as it was")
        return
    if result["code"] not in ("ok", "overridden"):
        shape.show()
        check(False, f"shape {number}: {shape.change}: {result['code']} “{result['detail']}”")
    check(open(MAIN, "rb").read().endswith(main), f"shape {number}: the main file's own bytes stand") if not open(
        MAIN, "rb").read().endswith(main) else None
    after = compare(shape, login, f"shape {number} after {shape.change}")
    excused = result["code"] == "overridden" or "Match" in result["detail"]
    wrong = [(way, can) for way, can in after.items() if not excused and (
        (shape.change.get("password_auth") is False and way == ("alice", "password") and can) or
        (shape.change.get("permit_root_login") == "no" and way[0] == "root" and can))]
    if wrong:
        shape.show()
    check(not wrong, f"shape {number}: {sum(before.values())} of 4 ways, {shape.change}: {result['code']} “{result['detail'][:60]}”, "
          f"{sum(after.values())} of 4")


def main():
    common = open("/etc/pam.d/common-auth", encoding="utf-8").read()
    write("/etc/pam.d/common-auth", common.replace("pam_unix.so", "pam_unix.so nodelay"), 0o644)
    public = make_key("/tmp/key") + "\n"
    add_user("alice", PASSWORD)
    must("usermod", "-aG", "users", "alice")
    add_user("bob")
    must("usermod", "-p", "*", "bob")
    set_password("root", PASSWORD)
    for user in ("alice", "bob", "root"):
        put_keys(user, public)
    server, sshd, login = Server(), Plugin("sshd", {"locations": []}), Plugin("login")
    seed, one = os.environ.get("LATCHKEY_SEED", "5"), os.environ.get("LATCHKEY_SHAPE")
    count = int(os.environ.get("LATCHKEY_SHAPES", "30"))
    started = time.monotonic()
    for number in [int(one)] if one else range(count):
        show(number, seed, server, sshd, login)
    print(f"     {count} shapes in {time.monotonic() - started:.0f} s")
    server.stop()


if __name__ == "__main__":
    main()
