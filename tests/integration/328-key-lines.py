#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Lines of authorized_keys as somebody, or another tool, wrote them: the key of a line is said to log in only where a real
sshd takes it; and a restriction that sshd would not take is never bound."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import check, main  # noqa: E402
from plugin import Plugin  # noqa: E402
from server import Server, add_user, key_login, make_key, put_keys, write  # noqa: E402

PATH = "/home/alice/.ssh/authorized_keys"


def lines(key):
    """Name → the file."""
    kind, blob = key.split()[:2]
    key = f"{kind} {blob}\n"
    options = """restrict;no-restrict;RESTRICT,PTY;no-cert-authority;cert-authority;verify-required;no-touch-required;nonsense;restrict,;
        no-command;command="";command="a",command="b";principals="a";expiry-time="20200101";expiry-time="20500101";expiry-time="20501301";
        expiry-time="20500101",expiry-time="20200101";expiry-time=20500101;from="*";from="127.0.0.0/8";from="!10.0.0.1";from="";
        from="*",from="*";from="127.0.0.1/8";from="*,10.0.0.1/8";from="*,10.0.0.0/33";from="*,,127.0.0.1";from="*,::1/64";from="*,::/0";
        environment="A";environment="A=b";environment="A-B=c";environment="A=b",environment="A=c";permitopen="x";permitopen="x:1";
        permitopen="x:0";permitopen="[::1]:1";permitopen="x:*";permitlisten="8080";permitlisten="a:b:c";permitlisten="*:1";tunnel="0";
        tunnel="any";tunnel="abc";no-pty;no-user-rc;pty;agent-forwarding"""
    table = {option: f"{option} {key}" for option in "".join(options.split()).split(";")}
    return {**table, "plain": key, "no newline": key[:-1], "CRLF": key[:-1] + "\r\n", "tabs": key.replace(" ", "\t"), "indented": "  " + key,
            "a form feed before": "\f" + key, "a NUL before": "\0" + key, "a byte order mark": "\ufeff" + key, "in capitals": key.replace(kind, kind.upper()),
            "junk behind": f"{kind} {blob}!!!\n", "cut short": f"{kind} {blob[:-4]}\n", "a comment": "#" + key, "an open quote": 'command="x ' + key,
            "bound to a command, then plain": 'command="true" ' + key + key, "plain, then bound to a command": key + 'command="false" ' + key,
            "expired, then plain": 'expiry-time="20200101" ' + key + key, "from elsewhere, then plain": 'from="10.9.9.9" ' + key + key,
            "bound from elsewhere, then plain": 'from="10.9.9.9",command="true" ' + key + key, "a bad option, then plain": "nonsense " + key + key}


def test():
    server, login = Server(), Plugin("login")
    key = make_key("/tmp/key")
    add_user("alice")
    put_keys("alice", "")
    for name, text in lines(key).items():
        with open(PATH, "wb") as file:
            file.write(text.encode())
        found = login.plan({"do": "diagnose", "user": "alice", "from": "127.0.0.1"})[0]["login"]["alice"]["key"]
        real = key_login("alice", "/tmp/key")
        check(found["can"] == real, f"{name}: {real} {found['blockers']}")
    keys = Plugin("authorized-keys", {"types": ["ed25519"], "options": ["from"], "locations": ["home"]})
    write(PATH, "")
    for sources, works in ((["127.0.0.0/8"], True), (["10.0.0.0/9", "127.0.0.1/32", "::1"], True), (["127.0.0.1", "192.0.2.0/24"], True)):
        result = keys.one({"do": "keys.replace", "user": "alice", "keypair": "k", "key": key, "from": sources})
        check(result["code"] == "ok" and key_login("alice", "/tmp/key") == works, f"bound from {sources}")
    server.stop()


main(test)
