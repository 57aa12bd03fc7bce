#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A user writes to his key file while keys are bound and unbound in it: what he appends (as ssh-copy-id does), writes anew
(as an editor does) or puts in the file's place is never lost, and who only keeps the file open keeps nobody out."""
import os
import pwd
import shutil
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "rig"))
from plugin import Plugin, check  # noqa: E402
from sshd import Sshd, key_pair, logs_in  # noqa: E402

keys = Plugin("authorized-keys", {"types": ["ed25519"], "options": [], "locations": ["home"]})
FILE = "/home/alice/.ssh/authorized_keys"
LEDGER = "/var/lib/latchkey/plugin/authorized-keys/ledger"
FIRST, HAND = key_pair("first"), key_pair("hand")

# Each writes line after line until it is told to stop, and then says how many.
LOOP = """
import os, select, sys, time
path, number = %r, 0
while not select.select([sys.stdin], [], [], 0)[0]:
    line = '# line %%d\\n' %% number
%s
    time.sleep(0.002)
print(number)
"""
APPEND = """
    with open(path, 'a') as file:
        time.sleep(%s)
        file.write(line)
    number += 1
"""
ANEW = """
    with open(path, 'r+') as file:
        text = file.read()
        file.seek(0)
        file.truncate()
        file.write(line)
        file.flush()
        file.write(text)
        number += 1
        if 'line' not in text and number > 1:
            sys.exit('what stood there is gone')
"""
REPLACE = """
    with open(path) as file:
        text = file.read()
    with open(path + '.new', 'w') as file:
        file.write(text + line)
    os.chmod(path + '.new', 0o600)
    with open(path) as file:
        same = file.read() == text
    if same:
        os.rename(path + '.new', path)
        number += 1
"""


def fresh(content=None):
    subprocess.run(["userdel", "-f", "-r", "alice"], stderr=subprocess.DEVNULL)
    shutil.rmtree("/home/alice", ignore_errors=True)
    subprocess.run(["useradd", "-m", "-s", "/bin/sh", "-p", "*", "alice"], check=True)
    if os.path.exists(LEDGER):
        os.unlink(LEDGER)
    entry = pwd.getpwnam("alice")
    os.mkdir("/home/alice/.ssh", 0o700)
    os.chown("/home/alice/.ssh", entry.pw_uid, entry.pw_gid)
    if content is not None:
        with open(FILE, "w", encoding="ascii") as file:
            file.write(content)
        os.chown(FILE, entry.pw_uid, entry.pw_gid)
        os.chmod(FILE, 0o600)
    return entry


def as_alice(entry, code):
    return subprocess.Popen([sys.executable, "-c", code], user=entry.pw_uid, group=entry.pw_gid, extra_groups=[], umask=0o077,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def bind():
    return keys.one({"do": "keys.bind", "user": "alice", "keypair": "k1", "key": FIRST})


def unbind():
    return keys.one({"do": "keys.unbind", "user": "alice", "keypair": "k1"})


def race(name, step, content, rounds=60, may_lose=0):
    entry = fresh(content)
    loop = as_alice(entry, LOOP % (FILE, step))
    codes = {}
    for _ in range(rounds):
        for result in (bind(), unbind()):
            codes[result["code"]] = codes.get(result["code"], 0) + 1
    loop.stdin.close()
    written = int(loop.stdout.read())
    check(loop.wait() == 0, f"{name}: he could write all the time")
    while bind()["code"] != "ok":
        pass
    check(unbind()["code"] == "ok", f"{name}: afterwards as ever")
    with open(FILE, encoding="ascii") as file:
        lines = file.read().splitlines()
    lost = {f"# line {number}" for number in range(written)} - set(lines)
    check(written > 20 and len(lost) <= may_lose * written and set(codes) <= {"ok", "busy", "hard_link"} and codes["ok"] > rounds / 4,
          f"{name}: {written} lines, {len(lost)} lost; {codes}")
    check(content is None or HAND in lines, f"{name}: and what was there before")
    check(not [entry for entry in os.listdir("/home/alice/.ssh") if entry.startswith(".latchkey.")], f"{name}: no litter")


def kept_open(content):
    entry = fresh(content)
    name = "kept open" if content else "ours alone, kept open"
    if not content:
        check(bind()["code"] == "ok" and unbind()["code"] == "ok" and bind()["code"] == "ok", f"{name}: the file is ours")
    holder = as_alice(entry, f"import sys\nfile = open({FILE!r}, 'a')\nprint('open', flush=True)\nsys.stdin.read()")
    check(holder.stdout.readline() == "open\n", f"{name}: open for writing")
    if content:
        check(bind()["code"] == "ok" and logs_in("alice", "first"), f"{name}: bound all the same")
    check(unbind()["code"] == "ok" and not logs_in("alice", "first"), f"{name}: and unbound")
    holder.stdin.close()
    holder.wait()


def emptied(content):
    """He has emptied the file to write it anew when a key is bound: the key does not stand there without what he writes."""
    entry, name = fresh(content), "emptied"
    writer = as_alice(entry, f"import sys, time\nfile = open({FILE!r}, 'r+')\ntext = file.read()\nfile.seek(0)\nfile.truncate()\n"
                             "print('empty', flush=True)\nsys.stdin.readline()\ntime.sleep(0.05)\nfile.write(text)")
    check(writer.stdout.readline() == "empty\n", f"{name}: it is empty")
    alone, codes = 0, []
    binding = threading.Thread(target=lambda: codes.append(bind()["code"]))
    writer.stdin.write("\n")
    writer.stdin.flush()
    binding.start()
    while binding.is_alive():
        with open(FILE, encoding="ascii") as file:
            lines = file.read()
        alone += FIRST in lines and HAND not in lines
    binding.join()
    writer.communicate()
    with open(FILE, encoding="ascii") as file:
        lines = file.read()
    check(codes == ["ok"] and FIRST in lines and HAND in lines, f"{name}: both keys stand there; {codes}")
    check(alone == 0, f"{name}: the new one was never there alone; {alone}")


def emptied_at_the_look(content, act, what, holds):
    """What stood in it before he emptied it is what the command is decided on."""
    entry = fresh(content)
    if act == unbind:
        check(bind()["code"] == "ok", f"emptied: bound, to be {what}")
    writer = as_alice(entry, f"import time\nfile = open({FILE!r}, 'r+')\ntext = file.read()\nfile.seek(0)\nfile.truncate()\n"
                             "print('empty', flush=True)\ntime.sleep(0.1)\nfile.write(text)")
    check(writer.stdout.readline() == "empty\n", f"emptied: to be {what}")
    result = act()
    writer.communicate()
    with open(FILE, encoding="ascii") as file:
        lines = file.read()
    check(result["code"] == "ok" and lines == holds, f"emptied when it is {what}: {result['detail']} {lines.count(FIRST)}")


sshd = Sshd().start()
try:
    hand = HAND + "\n"
    race("appends", APPEND % 0, hand)
    race("appends slowly", APPEND % 0.1, hand)
    race("appends to a file that is ours", APPEND % 0, None)
    race("writes anew", ANEW, hand)
    emptied(hand)
    emptied_at_the_look(hand, unbind, "unbound", hand)
    held = f'restrict,command="/bin/true" {FIRST}\n'
    emptied_at_the_look(held, bind, "bound beside his own line of it", held)
    # Who puts a copy in the file's place may have made it from one that he then puts another copy of in its place.
    race("replaces", REPLACE, hand, may_lose=0.002)
    kept_open(hand)
    kept_open(None)
finally:
    sshd.stop()
print("all good", flush=True)
