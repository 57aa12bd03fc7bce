#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Lines of passwd and shadow that an editor or another tool left: a login that is said to work does work, with PAM and
without. What the C library takes for no line of shadow is none; what stands in passwd instead of x counts for PAM."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import check, main, read  # noqa: E402
from plugin import Plugin  # noqa: E402
from server import Server, add_user, key_login, make_key, must, password_login, put_keys, write  # noqa: E402

PASSWORD = "Nightingale-77"
CONFIG = "/etc/ssh/sshd_config.d/50-test.conf"
SHADOW = "/etc/shadow"
PASSWD = "/etc/passwd"

# What is done to alice's line, by file, pattern and replacement; True where an expiry that never comes is said.
CASES = {
    "as they are": [],
    "no line in shadow": [(SHADOW, r"^alice:.*\n", "")],
    "CRLF in shadow": [(SHADOW, r"^(alice:.*)$", "\\1\r")],
    "CRLF in passwd": [(PASSWD, r"^(alice:.*)$", "\\1\r")],
    "no number of days": [(SHADOW, r"^(alice:.*)::$", r"\1:never:")],
    "an expiry of -1": [(SHADOW, r"^(alice:.*)::$", r"\1:-1:")],
    "a number and more": [(SHADOW, r"^(alice:[^:]*:\d+):0:", r"\1:0d:")],
    "text in the last field": [(SHADOW, r"^(alice:.*)$", r"\1x")],
    "a number in the last field": [(SHADOW, r"^(alice:.*)$", r"\g<1>0")],
    "a ninth colon": [(SHADOW, r"^(alice:.*)$", r"\1:")],
    "a blank before a number": [(SHADOW, r"^(alice:[^:]*:\d+):0:", r"\1: 0:")],
    "* in passwd": [(PASSWD, r"^alice:x:", "alice:*:")],
    "! in passwd": [(PASSWD, r"^alice:x:", "alice:!:")],
    "nothing in passwd": [(PASSWD, r"^alice:x:", "alice::")],
    "## in passwd": [(PASSWD, r"^alice:x:", "alice:##alice:")],
    "* in passwd, no line in shadow": [(PASSWD, r"^alice:x:", "alice:*:"), (SHADOW, r"^alice:.*\n", "")],
}


def test():
    server, login = Server(), Plugin("login")
    key = make_key("/tmp/key")
    add_user("alice", PASSWORD)
    put_keys("alice", key + "\n")
    common = read("/etc/pam.d/common-auth")
    write("/etc/pam.d/common-auth", common.replace("pam_unix.so", "pam_unix.so nodelay"), 0o644)
    kept = {path: read(path) for path in (SHADOW, PASSWD)}
    for use_pam in ("yes", "no"):
        write(CONFIG, f"UsePAM {use_pam}\nPasswordAuthentication yes\n")
        server.reload()
        for name, changes in CASES.items():
            for path, pattern, replacement in changes:
                text = re.sub(pattern, replacement, kept[path], flags=re.M)
                assert text != kept[path], name
                with open(path, "w", encoding="utf-8", newline="") as file:
                    file.write(text)
            found = login.plan({"do": "diagnose", "user": "alice"})[0]["login"]["alice"]
            real = {"key": key_login("alice", "/tmp/key"), "password": password_login("alice", PASSWORD)}
            for method, works in real.items():
                check(found[method]["can"] == works, f"{name}, UsePAM {use_pam}: {method} {works} {found[method]}")
            for path, text in kept.items():
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
    must("rm", CONFIG)
    server.stop()


main(test)
