#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""P22: generated account files as ugly as they come, every command on each: what is not the user's own stays, byte for byte.
026-account-corpus.py [FIRST-SEED [COUNT]]; in the rig."""
import os
import random
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "rig"))
from accounts import FILES, crypt, differences, read, snapshot  # noqa: E402
from plugin import Plugin, check  # noqa: E402

ROOT = "/tmp/disk"
HASH = crypt("Corpus-Word-1", "$6$rounds=1000$abcdefgh")
FIELDS = {"passwd": 7, "shadow": 9, "group": 4, "gshadow": 4, "subuid": 3, "subgid": 3}
NAMES = ["root", "daemon", "bin", "alice", "alicea", "ali", "bob", "bobby", "team", "dev", "ops", "x", "_svc", "Z.z", "1abc"]
USERS = ["alice", "bob", "new"]
JUNK = [b"", b" ", b"#", b"#dev:x:1009:alice,bob", b"+dev:::alice", b"-ops:x:5:bob,new,alice", b"# alice:x:1000:1000::/:/bin/sh", b"+", b"+::::::", b"+@netgroup::::::", b"-bad::::::", b"junk", b":::::::::",
        b"a:b:c:d:e:f:g:h:i:j:k", b"\xff\xfe\xfd", b"\xd0\xb0lice:x:1:1::/:/", b"nul\0byte:x:5:5::/:/", b"alice", b"alice ", b" alice:x:1:1::/:/",
        b"\talice:x", b"alic", b"alice\0:x:9:9::/:/", b"long:" + b"y" * 70000, b"\x1b[31m:x:1:2::/:/", b"::", b",,,", b"\r"]


def line_of(rng, file, name, number):
    n = str(number).encode()
    name = name.encode()
    members = b",".join(rng.sample([b"alice", b"bob", b"bobby", b"ali", b"root", b"alicea"], rng.randrange(4)))
    if file == "passwd":
        return b":".join([name, rng.choice([b"x", b"x", b"*", b""]), n, n, rng.choice([b"", b"Some One,,,", b"\xc3\xa4"]), b"/home/" + name, b"/bin/sh"])
    if file == "shadow":
        return b":".join([name, rng.choice([b"*", b"!", b"!!", b"", HASH.encode(), b"!" + HASH.encode()]), rng.choice([b"19000", b"", b"0", b"soon"]),
                          b"0", rng.choice([b"99999", b""]), b"7", b"", rng.choice([b"", b"1", b"20000"]), b""])
    if file in ("group", "gshadow"):
        return b":".join([name, rng.choice([b"x", b"!"]), n if file == "group" else b"", members])
    return b":".join([name, str(100000 + 65536 * (number % 50)).encode(), b"65536"])


def ugly(rng, file):
    """One file: lines of accounts between lines of anything."""
    if rng.random() < 0.04:
        return b""
    lines = []
    for name in rng.sample(NAMES, rng.randrange(3, len(NAMES))):
        number = {"root": 0, "daemon": 1, "bin": 2}.get(name, 1000 + NAMES.index(name))
        line = line_of(rng, file, name, number)
        if rng.random() < 0.08:
            line = rng.choice([line + b":", line.rsplit(b":", 1)[0], line.replace(b":", b"::", 1), line + b"\0", b" " + line])
        lines += [line] * (2 if rng.random() < 0.05 else 1)
    for _ in range(rng.randrange(6)):
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(JUNK))
    crlf = rng.random() < 0.15
    text = b"".join(line + (b"\r\n" if crlf or rng.random() < 0.05 else b"\n") for line in lines)
    return text.rstrip(b"\r\n") if rng.random() < 0.25 else text


def build(rng):
    shutil.rmtree(ROOT, ignore_errors=True)
    os.makedirs(ROOT + "/etc/sudoers.d")
    os.makedirs(ROOT + "/home")
    os.makedirs(ROOT + "/var/lib/latchkey")
    for name in FILES:
        if name in ("gshadow", "subuid", "subgid") and rng.random() < 0.2:
            continue
        with open(f"{ROOT}/etc/{name}", "wb") as file:
            file.write(ugly(rng, name))
        os.chmod(f"{ROOT}/etc/{name}", rng.choice([0o644, 0o640, 0o600, 0o000]))
    with open(ROOT + "/etc/login.defs", "wb") as file:
        file.write(rng.choice([b"", b"USERGROUPS_ENAB yes\n", b"USERGROUPS_ENAB yes\r\nUID_MIN x\nSUB_UID_COUNT 0\n", b"\0\xff", b"UID_MIN\n" * 9]))


def without(user, file, bytes_):
    """The file without what is the user's: his line, and his name in lists of members."""
    rest = []
    for line in bytes_.split(b"\n"):
        if line.split(b":")[0] == user and b":" in line:
            continue
        if file in ("group", "gshadow") and line[:1] not in (b"#", b"+", b"-"):
            fields = line.split(b":")
            if len(fields) == 4:
                for at in (2, 3) if file == "gshadow" else (3,):
                    end = b"\r" if fields[at].endswith(b"\r") else b""
                    members = fields[at][:len(fields[at]) - len(end)].split(b",")
                    if user in members:
                        fields[at] = b",".join(member for member in members if member != user) + end
                line = b":".join(fields)
        rest.append(line)
    return b"\n".join(rest)


def bytes_of():
    return {name: read(f"{ROOT}/etc/{name}") if os.path.exists(f"{ROOT}/etc/{name}") else None for name in FILES}


def only_ours(user, before, after):
    """Which file's diff shows more than the user's own lines."""
    wrong = []
    for name in FILES:
        if (before[name] is None) != (after[name] is None):
            wrong.append(f"{name} came or went")
        elif before[name] is not None and before[name] != after[name]:
            old, new = (without(user, name, text[name]) for text in (before, after))
            # A last line without its newline gets one when a line is added behind it.
            if new not in (old, old + b"\n"):
                wrong.append(f"{name} {old!r} {new!r}")
            lines = [line for line in after[name].split(b"\n") if line.split(b":")[0] == user and b":" in line]
            was = [line for line in before[name].split(b"\n") if line.split(b":")[0] == user and b":" in line]
            if name != "passwd" and len(lines) > max(1, len(was)):
                wrong.append(f"{name}: his line is there {len(lines)} times")
            for line in lines:
                if line not in was and line.count(b":") + 1 != FIELDS[name]:
                    wrong.append(f"{name}: a line of ours with {line.count(b':') + 1} fields")
    return wrong


def commands(user):
    yield {"do": "user.ensure", "user": user, "gecos": "Ugly", "groups": ["dev"], "sudo": "password"}
    yield {"do": "password.set", "user": user, "hash": HASH}
    yield {"do": "user.ensure", "user": user, "gecos": "", "groups": [], "sudo": "none", "expires": 1900000000}
    yield {"do": "user.lock", "user": user}
    yield {"do": "user.unlock", "user": user}
    yield {"do": "password.remove", "user": user}
    yield {"do": "user.remove", "user": user, "home": "delete"}


def test():
    first, count = (int(text) for text in [*sys.argv[1:], "1", "150"][:2]) if len(sys.argv) != 2 else (int(sys.argv[1]), 1)
    account = Plugin("account", {"clear_hash": True, "remove": "any"}, ROOT)
    done, codes = 0, {}
    for seed in range(first, first + count):
        rng = random.Random(seed)
        for user in USERS:
            build(rng)
            begun = bytes_of()
            made = False
            for command in commands(user):
                before, state = bytes_of(), snapshot(ROOT)
                result = account.one(command)
                after = bytes_of()
                wrong = only_ours(user.encode(), before, after)
                if result["code"] != "ok" and differences(state, snapshot(ROOT)):
                    wrong.append(f"refused, and yet {differences(state, snapshot(ROOT))}")
                if command["do"] == "user.ensure" and command["groups"]:
                    made = result["code"] == "ok" and begun["passwd"] and not any(
                        line.split(b":")[0] == user.encode() for text in begun.values() if text for line in text.split(b"\n"))
                if command["do"] == "user.remove" and made and result["code"] == "ok":
                    for name in FILES:
                        old = begun[name] and without(user.encode(), name, begun[name])
                        if old is not None and after[name] not in (old, old + b"\n"):
                            wrong.append(f"{name} is not what it was before he came: {old!r} {after[name]!r}")
                codes[result["code"]] = codes.get(result["code"], 0) + 1
                done += 1
                if wrong:
                    check(False, f"P22: seed {seed}: {command} {result['code']} {result['detail']}: {wrong}")
    print("    ", codes)
    check(codes["ok"] > done / 3 and len(codes) > 3, f"P22: {done} commands on {3 * count} sets of ugly files: only the user's own lines change")


test()
