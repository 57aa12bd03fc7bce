#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What useradd makes of login.defs(5) and /etc/default/useradd, and what this agent makes of the same: two accounts, made
one after the other under each set of values, are alike but for name and numbers. In the rig."""
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "rig"))
from accounts import complaints, entry, put, read  # noqa: E402
from plugin import Plugin, check  # noqa: E402

DEFS, DEFAULTS = "/etc/login.defs", "/etc/default/useradd"
SETTINGS = (
    ("", ""),
    ("PASS_MAX_DAYS 90\nPASS_MIN_DAYS 2\nPASS_WARN_AGE 14\n", ""),
    ("HOME_MODE 0700\n", ""),
    ("HOME_MODE 0711\n", "SHELL=/bin/bash\n"),
    ("UMASK 077\n", ""),
    ("UMASK 027\nHOME_MODE 0751\n", ""),
    ("USERGROUPS_ENAB no\n", ""),
    ("USERGROUPS_ENAB no\n", "GROUP=users\n"),
    ("USERGROUPS_ENAB no\n", "GROUP=60\n"),
    ("UID_MIN 5000\nUID_MAX 5100\nGID_MIN 5000\nGID_MAX 5100\n", ""),
    ("UID_MIN 5000\nUID_MAX 6000\nGID_MIN 7000\nGID_MAX 8000\n", ""),
    ("SUB_UID_MIN 900000\nSUB_UID_COUNT 1000\nSUB_GID_MIN 800000\nSUB_GID_COUNT 500\n", ""),
    ("", "SHELL=/bin/bash\nHOME=/srv/homes\nSKEL=/etc/otherskel\nINACTIVE=30\nEXPIRE=2035-05-06\n"),
    ("", "INACTIVE=-1\nEXPIRE=\n"),
    ("# UID_MIN 9\n\tHOME_MODE\t0750\n", "#SHELL=/bin/zsh\n"),
)


def without(text, settings):
    """The file without the keys that are set anew."""
    keys = {line.replace("=", " ").split()[0] for line in settings.splitlines() if line and not line.startswith("#")}
    return "".join(line for line in text.splitlines(True) if (line.replace("=", " ").split() or [""])[0] not in keys)


def tree(path):
    found = {}
    for folder, names, files in os.walk(path):
        for name in [".", *names, *files]:
            status = os.lstat(os.path.join(folder, name))
            found[os.path.relpath(os.path.join(folder, name), path)] = (oct(status.st_mode), status.st_size if name in files else 0)
    return found


def look(user):
    """All there is about the user, with his name and numbers written as words."""
    passwd = entry("passwd", user)
    own = entry("group", user)
    home = passwd[5]
    owners = {(os.lstat(os.path.join(folder, name)).st_uid, os.lstat(os.path.join(folder, name)).st_gid)
              for folder, names, files in os.walk(home) for name in [".", *names, *files]}
    return {"passwd": [passwd[1], *[field.replace(user, "USER") for field in passwd[4:]]], "shadow": entry("shadow", user)[2:],
            "own group": own and [own[1], own[2] == passwd[3], own[3]], "gid": None if own else passwd[3],
            "gshadow": (entry("gshadow", user) or [None])[1:], "subuid": entry("subuid", user)[2], "subgid": entry("subgid", user)[2],
            "home": tree(home), "owners": owners == {(int(passwd[2]), int(passwd[3]))}}


def test():
    account = Plugin("account", {"remove": "any"})
    defs, defaults = read(DEFS).decode(), read(DEFAULTS).decode()
    os.makedirs("/etc/otherskel/deep")
    os.makedirs("/srv/homes", exist_ok=True)
    put("/etc/otherskel/deep/file", "x")
    os.chmod("/etc/otherskel/deep/file", 0o640)
    os.symlink("deep/file", "/etc/otherskel/link")
    for number, (more_defs, more_defaults) in enumerate(SETTINGS):
        put(DEFS, without(defs, more_defs) + more_defs)
        put(DEFAULTS, without(defaults, more_defaults) + more_defaults)
        theirs, ours = f"theirs{number:02}", f"latchk{number:02}"
        subprocess.run(["useradd", "-m", theirs], check=True)
        result = account.one({"do": "user.ensure", "user": ours})
        check(result["code"] == "ok", f"{(more_defs + more_defaults).split()}: {result['code']} {result['detail']}")
        one, other = look(theirs), look(ours)
        check(one == other, f"  alike: {[(key, one[key], other[key]) for key in one if one[key] != other[key]] or 'passwd, shadow, group, gshadow, subuid, subgid, home'}")
        numbers = [int(entry("passwd", user)[2]) for user in (theirs, ours)]
        check(numbers[1] == numbers[0] + 1, f"  and the next number: {numbers}")
    put(DEFS, defs)
    put(DEFAULTS, defaults)
    check(complaints() == [], f"pwck and grpck find nothing {complaints()}")
    # usermod and chage beside user.ensure: the same fields, the same values.
    user, twin = "latchk00", "theirs00"
    subprocess.run(["usermod", "-c", "Some One", "-s", "/bin/bash", "-e", "2034-03-02", twin], check=True)
    result = account.one({"do": "user.ensure", "user": user, "gecos": "Some One", "shell": "/bin/bash", "expires": 2024870400})
    check(result["code"] == "ok" and look(user) == look(twin), "usermod -c -s -e and user.ensure: alike")
    for user in (f"latchk{number:02}" for number in range(len(SETTINGS))):
        other = user.replace("latchk", "theirs")
        subprocess.run(["userdel", "-r", other], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        check(account.one({"do": "user.remove", "user": user, "home": "delete"})["code"] == "ok", f"user.remove {user}, userdel -r {other}")
    left = {name: [line for line in read(f"/etc/{name}").decode("utf-8", "replace").splitlines() if "latchk0" in line or "theirs" in line]
            for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")}
    check(not any(left.values()), f"both are gone from every file {left}")
    shutil.rmtree("/etc/otherskel")
    check(complaints() == [], f"pwck and grpck find nothing {complaints()}")


test()
