#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The slow half: cases that need a kernel, a disk and a clock of their own. Inside tests/rig/enter, by tests/vm/run."""
import json
import os
import shutil
import sys
import time

import stories
from guest import Host, Signer, Suite, VirtualMachine, check, wait_for

suite, host = Suite("machine"), Host()
URL = "http://10.0.2.2:8470"
UUIDS = ("8d3c5f0e-57c4-4a44-9c7e-2f6f0a1b2c3d", "17a2f9b6-0f0d-4f6e-8a53-6c1f4a9be001")


def boot_with_document():
    stories.waiting_document(host, first, VM, options=("-uuid", VM))
    print(first.must("systemd-analyze; systemd-analyze critical-chain --no-pager ssh.service; systemd-analyze blame --no-pager | head -12"))
    print("latchkeyd took", (stories.monotonic(first, "latchkeyd", "ActiveEnter") - stories.monotonic(first, "latchkeyd", "InactiveExit")) // 1000, "ms")


def reboot_and_cut():
    """P20: the power goes in the middle of a document; after the next boot it is done, once."""
    seq = stories.put_document(host, VM, stories.crowd("cut"))
    wait_for(lambda: first.sh(f"test -e /var/lib/latchkey/journal/{seq}")[0] == 0, "the document is in hand", 30)
    first.power_cut()
    first.start(wait=False, options=("-uuid", VM))
    wait_for(first.banner, "sshd answers", 180)
    first.wait_active("multi-user.target")
    stories.done_exactly_once(host, first, VM, "cut")
    check(first.key_login("alice") and first.password_login("alice", stories.PASSWORD), "key and password still log in")
    stories.settled(first)


def apparmor():
    """Both profiles enforced: what the other cases do works, and nothing was denied."""
    for path in ("usr.sbin.latchkeyd", "usr.libexec.latchkey.latchkey-net"):
        with open(f"/run/project/policy/apparmor/{path}") as file:
            first.must(f"cat >/etc/apparmor.d/{path} <<'EOF'\n{file.read()}\nEOF\napparmor_parser -r /etc/apparmor.d/{path}")
    first.must("dmesg -C; systemctl restart latchkeyd")
    first.wait_active("latchkeyd")
    first.wait_active("latchkey-net")
    for unit in ("latchkeyd", "latchkey-net"):
        label = first.must(f"cat /proc/$(systemctl show --value -p MainPID {unit})/attr/current")
        check(label == f"{unit} (enforce)", f"{unit} runs under its profile ({label})")
    stories.online(host, first, VM)
    stories.toggles(host, first, VM)
    host.operator.must("user", "add", VM, "erna", "--home=/srv/erna")
    host.operator.must("bind", VM, "erna", "tablet", "--location=runtime")
    check(first.key_login("erna", "tablet"), "a user with a home outside /home and a key at runtime")
    host.operator.must("user", "lock", VM, "erna")
    denials = first.must("dmesg | grep 'apparmor=\"DENIED\"' || true")
    check(denials == "", f"denials: {len(denials.splitlines())} {denials[:2000]}")


def full_disk():
    """P27, P86, P105: with no room left nothing is half done, a key at `runtime` still goes, and room brings the rest."""
    operator = host.operator
    first.must("fallocate -l 200M /var/ballast || true; cat /dev/zero >/var/ballast2 2>/dev/null; sync; df / | tail -1")
    code, output, error = operator.run("user", "add", VM, "dora", "--timeout", "20")
    check("no_space" in output + error, f"user add on a full disk: no_space ({(output + error).strip()})")
    check(first.sh("id dora")[0] == 1 and first.sh("pwck -qr")[0] == 0, "nothing of it is there")
    operator.must("bind", VM, "alice", "tablet", "--location=runtime")
    check(first.key_login("alice", "tablet"), "a key bound at runtime logs in")
    operator.must("unbind", VM, "alice", "tablet")
    first.must("rm -f /var/ballast /var/ballast2; sync; systemctl kill -s USR1 latchkeyd")
    wait_for(lambda: first.sh("id dora")[0] == 0, "with room again the user is made", 120)
    stories.settled(first)


def read_only_disk():
    """P105: where nothing can be journalled on disk, a key still gets in: at runtime."""
    first.must("sync; echo u >/proc/sysrq-trigger; sleep 1; ! touch /root/x")
    try:
        # Its result cannot be kept before the disk can be written again, so nobody waits for it.
        host.operator.must("bind", VM, "alice", "tablet", "--location=runtime", "--no-wait")
        wait_for(lambda: first.key_login("alice", "tablet"), "a login with it", 60)
        check(True, "on a read-only disk a key bound at runtime logs in")
    finally:
        first.must("mount -o remount,rw /")
    host.operator.must("unbind", VM, "alice", "tablet")
    check(not first.key_login("alice", "tablet"), "and is unbound when the disk can be written again")


def clone():
    """P16, P116: the disk in another machine is another instance with keys of its own; the first goes on as it was."""
    before = stories.identity(first)
    first.stop()
    second.copy_disk(first)
    first.start(options=("-uuid", UUIDS[0]))
    second.start(options=("-uuid", UUIDS[1]))
    check(stories.identity(first) == before, "the first machine keeps its identity")
    check(stories.identity(second) != before, "its clone has another")
    check("inherited" in second.must("latchctl keys"), "and shows the keys that it came with as inherited")
    check(second.must("latchctl status | head -1") != first.must("latchctl status | head -1"), "under another instance id")


def old_clock():
    """T29, P102: no battery and no time server: the clock is years behind, and the document is applied all the same."""
    host.operator.must("bind", VM, "alice", "tablet", "--no-wait")
    first.stop()
    first.start(wait=False, options=("-uuid", UUIDS[0], "-rtc", "base=1970-01-01T00:00:00"))
    stories.answers_after_document(first, "alice", "tablet")
    now = first.must("date +%s")
    check(int(now) < time.time() - 86400 * 30, f"the clock is behind ({now})")
    check("clock_wrong" in first.must("latchctl status"), "and status says so")


def make_medium(kind, documents):
    """An image labelled LATCHKEY with these files in its first directory."""
    folder, image = f"{first.folder}/medium", f"{first.folder}/medium.{kind}"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name, text in documents.items():
        with open(f"{folder}/{name}", "wb") as file:
            file.write(text)
    if kind == "iso9660":
        first.must_run("genisoimage", "-quiet", "-V", "LATCHKEY", "-o", image, folder)
    elif kind == "vfat":
        first.must_run("mkfs.vfat", "-C", "-n", "LATCHKEY", image, "4096")
        first.must_run("mcopy", "-i", image, *(f"{folder}/{name}" for name in documents), "::")
    else:
        first.must_run("mke2fs", "-q", "-t", "ext4", "-L", "LATCHKEY", "-d", folder, image, "8M")
    return ("-drive", f"file={image},format=raw,if=virtio,readonly=on")


def medium():
    """A machine with no endpoint any more: signed documents on a medium, of each file system, at boot and not later."""
    host.signer.path = f"{host.operator.environment['HOME']}/.config/latchkey/signing_key"
    stranger = Signer("/tmp/stranger", "stranger")
    first.must("sed -i '/^\\[endpoint\\]/,$d' /etc/latchkey/latchkey.conf")
    seq = json.loads(first.must("latchctl status --json"))["seq"]
    for kind in ("iso9660", "vfat", "ext4"):
        first.stop()
        documents = {"2.doc": stranger.document(seq + 2, [{"id": f"m-{kind}", "do": "user.ensure", "user": "mallory"}], VM),
                     "1.doc": host.signer.document(seq + 1, [{"id": kind, "do": "user.ensure", "user": kind}], VM),
                     "notes.txt": b"not for us\n"}
        first.start(options=("-uuid", VM, *make_medium(kind, documents)))
        wait_for(lambda: first.sh(f"id {kind}")[0] == 0, f"the document on {kind} is applied", 120)
        wait_for(lambda: kind in first.must("latchctl commands"), "and shown", 30)
        wait_for(lambda: first.sh("test -z \"$(ls /var/lib/latchkey/inbox)\"")[0] == 0, "the inbox is empty", 60)
        check(first.sh("id mallory")[0] == 1 and first.sh("test -e /var/lib/latchkey/quarantine/inbox.0")[0] == 0,
              f"{kind}: the operator's document is applied, the stranger's is set aside")
        check(first.sh("grep -q /run/latchkey/medium /proc/mounts")[0] == 1, "  and the medium is mounted in nobody's sight")
        print(first.must("journalctl -b --no-pager -o short-monotonic -u latchkey-medium"))
        first.must("rm /var/lib/latchkey/quarantine/inbox.*")
        settled = first.must("systemctl --failed --no-legend --plain")
        check(settled == "", f"  no unit has failed {settled}")
        seq += 1
    first.must("mount -t tmpfs tmpfs /dev/disk/by-label; ln -s /dev/vda /dev/disk/by-label/LATCHKEY")
    code, output = first.sh("/usr/libexec/latchkey/latchkey-medium")
    check(code == 1, f"the machine's own disk under that name is in use: not taken ({output.strip()})")


CASES = {
    "boot": ("a document that waits at boot is applied before sshd answers", boot_with_document),
    "online": ("reset and bind on the running machine", lambda: stories.online(host, first, VM)),
    "toggles": ("sshd.set over ssh.service", lambda: stories.toggles(host, first, VM)),
    "cut": ("the power goes in the middle of a document", reboot_and_cut),
    "apparmor": ("AppArmor, enforcing", apparmor),
    "full": ("a full disk", full_disk),
    "readonly": ("a read-only disk", read_only_disk),
    "clock": ("the clock says 1970", old_clock),
    "clone": ("a clone of the disk", clone),
    "medium": ("documents on a medium", medium),
}

first, second = suite.guest(VirtualMachine("one", 2201)), suite.guest(VirtualMachine("two", 2202))
try:
    # Under the name that the machine gives itself (its product_uuid), as images do that are cloned.
    VM = UUIDS[0]
    first.put(host.seed(VM, url=URL, auto=True))
    stories.make_keys(host)
    first.make_disk()
    # ./check has minutes, not a quarter of an hour: a few, unless all are asked for.
    everyday = ["boot", "online", "cut"]
    chosen = sys.argv[1:] or (list(CASES) if os.environ.get("LATCHKEY_VM") == "all" else everyday)
    # The others build on these two.
    for name in dict.fromkeys(["boot", "online", *chosen]):
        suite.case(*CASES[name])
finally:
    status = suite.end(host)
sys.exit(status)
