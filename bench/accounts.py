#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench/run accounts: what new users with homes and keys cost, and one password reset, on machines with few and with many
accounts; the whole of latchkey-apply, from the signed document to the signed result. Run inside tests/rig/enter."""
import base64
import ctypes
import os
import resource
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "rig"))
from machine import Machine, Signer, main, read, write  # noqa: E402

FILES = ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")
A_DOCUMENT = 1000  # users, each with two commands: under 1 MiB and 4,096 commands
ROUNDS = 7
sodium = ctypes.CDLL("libsodium.so.23")


def fill(original, count):
    """The account files with that many more accounts."""
    lines = {name: [] for name in FILES}
    for number in range(count):
        name, uid = f"old{number:06}", 100000 + number
        lines["passwd"].append(f"{name}:x:{uid}:{uid}:Old {number}:/home/{name}:/bin/bash\n")
        lines["shadow"].append(f"{name}:*:19000:0:99999:7:::\n")
        lines["group"].append(f"{name}:x:{uid}:\n")
        lines["gshadow"].append(f"{name}:!::\n")
        if number < 5000:
            for table in ("subuid", "subgid"):
                lines[table].append(f"{name}:{100000 + 65536 * number}:65536\n")
    for name in FILES:
        with open(f"/etc/{name}", "w") as file:
            file.write(original[name] + "".join(lines[name]))


def key(number):
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + number.to_bytes(32, "big")
    return "ssh-ed25519 " + base64.b64encode(blob).decode()


def seal(user, id, instance, password, public):
    import json
    text = json.dumps({"instance": instance, "id": id, "user": user, "password": password}).encode()
    padded = text + b"\x80" + b"\0" * ((len(text) // 256 + 1) * 256 - len(text) - 1)
    out = ctypes.create_string_buffer(len(padded) + 48)
    sodium.crypto_box_seal(out, padded, ctypes.c_ulonglong(len(padded)), public)
    return base64.b64encode(out.raw).decode()


def fresh_homes():
    """/home on an ext4 of its own: in one from which thousands of files were just deleted, as by an earlier run, ext4 looks
    through them for each new inode, which costs more than all the rest."""
    subprocess.run("truncate -s 2G /var/homes.img && mkfs.ext4 -q -N 200000 -E lazy_itable_init=0,lazy_journal_init=0 "
                   "/var/homes.img && mount -o loop /var/homes.img /home", shell=True, check=True)


class Bench:
    def __init__(self):
        self.machine, self.ops, self.seq, self.made = Machine(url=None), Signer(), 0, 0
        write("/etc/latchkey/allowed_signers", self.ops.line())
        assert self.machine.redo()[0] == 0
        self.original = {name: read(f"/etc/{name}") for name in FILES}

    def apply(self, commands):
        self.seq += 1
        text = self.ops.document(self.seq, commands)
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        code, log = self.machine.apply(text)
        took = time.monotonic() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert code == 0, log
        bad = [result for result in self.machine.results(self.seq)["results"] if result["code"] != "ok"]
        assert not bad, (bad[0], log[-1000:])
        return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def users(self, count):
        """That many users with a home and a key each; seconds, of CPU too."""
        took = cpu = 0.0
        while count > 0:
            commands = []
            for _ in range(min(count, A_DOCUMENT)):
                name = f"new{self.made:06}"
                commands.append({"id": f"u{self.made}", "do": "user.ensure", "user": name})
                commands.append({"id": f"k{self.made}", "do": "keys.bind", "user": name, "keypair": "laptop",
                                 "key": key(self.made)})
                self.made += 1
            part = self.apply(commands)
            took, cpu, count = took + part[0], cpu + part[1], count - A_DOCUMENT
        return took, cpu

    def reset(self, accounts):
        fill(self.original, accounts)
        self.users(1)
        name, values = f"new{self.made - 1:06}", []
        for number in range(ROUNDS):
            id, password = f"r{accounts}-{number}", f"Bench-{number}-Nightingale"
            commands = [{"id": id, "do": "password.set", "user": name,
                         "sealed": seal(name, id, "vm-1", password, self.box())}]
            values.append(self.apply(commands)[0])
        return statistics.median(values)

    @staticmethod
    def box():
        with open("/var/lib/latchkey/identity/box", "rb") as file:
            secret = file.read()
        public = ctypes.create_string_buffer(32)
        sodium.crypto_scalarmult_base(public, secret)
        return public.raw


def bench():
    fresh_homes()
    bench = Bench()
    sizes = [int(size) for size in sys.argv[1:]] or [10, 100, 1000, 10000]
    if os.environ.get("ONLY_RESET"):
        sizes = []
    if not os.environ.get("ONLY_USERS"):
        few, many = bench.reset(100), bench.reset(100000)
        print(f"one password reset at     100 accounts, median of {ROUNDS} {1000 * few:9.1f} ms")
        print(f"one password reset at 100,000 accounts, median of {ROUNDS} {1000 * many:9.1f} ms   "
              f"difference {1000 * (many - few):.1f} ms", flush=True)
    for size in sizes:
        fill(bench.original, 10000)
        took, cpu = bench.users(size)
        print(f"{size:6d} users with home and key on 10,000 accounts {took:9.3f} s  {1000 * took / size:8.3f} ms each"
              f"   CPU {cpu:8.3f} s", flush=True)


main(bench)
