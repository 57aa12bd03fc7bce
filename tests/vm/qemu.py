#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The slow half: cases that need a kernel, a disk and a clock of their own. Inside tests/rig/enter, by tests/vm/run. The everyday
cases go on with one machine; every other one is given its own, new disk and identity included, so that none inherits anything."""
import itertools
import json
import os
import re
import shutil
import sys
import time
import uuid

import stories
from guest import VM, Host, Signer, Suite, VirtualMachine, check, wait_for

suite, host = Suite("machine"), Host()
SELINUX_ROOT = f"{VM}/root-selinux"
URL = "http://10.0.2.2:8470"
MEDIUM = "/usr/libexec/latchkey/latchkey-medium"
SEEN = "$(readlink -f /dev/disk/by-label/LATCHKEY)"
ports = itertools.count(2201)


def machine(name, prepare=None, **more):
    """Not started; prepare: what else goes on its disk. Under the name that it gives itself (its product_uuid), as images do that are cloned."""
    guest = suite.guest(VirtualMachine(name, next(ports), str(uuid.uuid5(uuid.NAMESPACE_DNS, name)), **more))
    guest.put(host.seed(guest.uuid, url=URL, auto=True))
    if prepare:
        prepare(guest)
    guest.make_disk()
    return guest


def ready(name):
    """Running, alice's key and password in place."""
    guest = machine(name)
    stories.waiting_document(host, guest, guest.uuid)
    stories.registered(host, guest.uuid)
    host.operator.must("reset-password", guest.uuid, "alice", "--accept-new-identity", "--password-fd", "9", secret=stories.PASSWORD)
    return guest


def put_sandbox_test(guest):
    """The unit test of what the kernel is asked to refuse, for a kernel that has it all; and the library that it needs."""
    folder, test = f"{guest.tree}/usr/local/lib/rig", "/run/project/build/dev/tests/unit/test_sandbox"
    libraries = guest.must_run("ldd", test).split()
    os.makedirs(folder)
    for path in (test, next(word for word in libraries if word.startswith("/") and "libcmocka" in word)):
        shutil.copy(path, folder)


def sandbox(guest):
    """P9, P107: inside the filters and Landlock, on a kernel with both."""
    check("sandbox" not in guest.must("latchctl status"), "no layer is missing here")
    print(guest.must("LD_LIBRARY_PATH=/usr/local/lib/rig /usr/local/lib/rig/test_sandbox"))


def boot_with_document():
    first = machine("one", put_sandbox_test)
    stories.waiting_document(host, first, first.uuid)
    sandbox(first)
    print(first.must("systemd-analyze; systemd-analyze critical-chain --no-pager ssh.service; systemd-analyze blame --no-pager | head -12"))
    print("latchkeyd took", (stories.monotonic(first, "latchkeyd", "ActiveEnter") - stories.monotonic(first, "latchkeyd", "InactiveExit")) // 1000, "ms")


def one():
    return next(guest for guest in suite.guests if guest.name == "one")


def reboot_and_cut():
    """P20: the power goes in the middle of a document; after the next boot it is done, once."""
    first = one()
    seq = stories.put_document(host, first.uuid, stories.crowd("cut"))
    # Seen too late on a slow machine, it is cut just after.
    wait_for(lambda: first.sh(f"test -e /var/lib/latchkey/journal/{seq} || grep -q cut-0 /var/lib/latchkey/history/current")[0] == 0,
             "the document is in hand", 600)
    first.power_cut()
    first.start(wait=False)
    wait_for(first.banner, "sshd answers", 600)
    first.wait_active("multi-user.target")
    stories.done_exactly_once(host, first, first.uuid, "cut")
    check(first.key_login("alice") and first.password_login("alice", stories.PASSWORD), "key and password still log in")
    stories.settled(first)


def reboot():
    """An orderly reboot: what is for good is there again, what was bound at runtime is not, and nothing is done twice."""
    first = ready("reboot")
    host.operator.must("bind", first.uuid, "alice", "tablet", "--location=runtime")
    check(first.key_login("alice", "tablet"), "a key bound at runtime logs in")
    before, count = stories.identity(first), stories.final_results(host, first.uuid)
    first.stop()
    first.start(wait=False)
    wait_for(lambda: first.banner() and first.sh("test -e /run/nologin")[0] == 1, "the machine takes logins", 600)
    check(first.key_login("alice") and first.password_login("alice", stories.PASSWORD), "key and password log in after a reboot")
    check(not first.key_login("alice", "tablet"), "what was bound at runtime does not")
    first.wait_active("multi-user.target")
    check(stories.identity(first) == before and stories.final_results(host, first.uuid) == count, "same identity, nothing done anew")
    host.operator.must("bind", first.uuid, "alice", "tablet")
    check(first.key_login("alice", "tablet"), "and commands are taken")
    stories.settled(first)


def make_medium(first, kind, documents, label="LATCHKEY"):
    """An image of that label with these files in its first directory."""
    folder, image = f"{first.folder}/medium", f"{first.folder}/medium.{kind}"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name, text in documents.items():
        with open(f"{folder}/{name}", "wb") as file:
            file.write(text)
    if kind == "iso9660":
        first.must_run("genisoimage", "-quiet", "-V", label, "-o", image, folder)
    elif kind == "vfat":
        first.must_run("mkfs.vfat", "-C", "-n", label, image, "4096")
        first.must_run("mcopy", "-i", image, *(f"{folder}/{name}" for name in documents), "::")
    else:
        first.must_run("mke2fs", "-q", "-t", "ext4", "-L", label, "-d", folder, image, "8M")
    return ("-drive", f"file={image},format=raw,if=virtio,readonly=on")


def from_media(first):
    """With no endpoint any more, a document on a medium of each file system: one at boot, the others as if they came then."""
    host.signer.path = f"{host.operator.environment['HOME']}/.config/latchkey/signing_key"
    first.must("sed -i '/^\\[endpoint\\]/,$d' /etc/latchkey/latchkey.conf")
    seq = json.loads(first.must("latchctl status --json"))["seq"]
    labels, options = {"iso9660": "LATCHKEY", "vfat": "SECOND", "ext4": "THIRD"}, []
    for kind, label in labels.items():
        seq += 1
        text = host.signer.document(seq, [{"id": kind, "do": "user.ensure", "user": kind}], first.uuid)
        options += make_medium(first, kind, {"1.doc": text, "notes.txt": b"not for us\n"}, label)
    first.stop()
    first.start(options=options)
    folder = "/run/systemd/system/latchkey-medium.service.d"
    first.must(f"mkdir -p {folder}; printf '[Service]\\nExecStart=\\nExecStart={MEDIUM}\\n' >{folder}/later.conf; systemctl daemon-reload")
    for kind, label in labels.items():
        if label != "LATCHKEY":
            first.must(f"ln -sf $(readlink -f /dev/disk/by-label/{label}) /dev/disk/by-label/LATCHKEY; systemctl restart latchkey-medium")
        wait_for(lambda: first.sh(f"id {kind}")[0] == 0, f"the document on {kind} is applied", 600)
        check(True, f"the document on {kind} is applied")
    stories.settled(first)


def holds(first, start, denials, more):
    """Another program in latchkey-medium's place may what that may, and nothing else; the kernel names what it refused. After from_media."""
    first.must("mkdir -p /run/latchkey/medium /mnt")
    options = "-nic -t ext4 -o ro,nosuid,nodev,noexec"
    for program, arguments, refused in [("/bin/mount", f"{options} {SEEN} /run/latchkey/medium", None),
                                        ("/bin/mount", f"{options} {SEEN} /mnt", '="/mnt/?"'),
                                        ("/bin/mount", "-nic -t tmpfs tmpfs /run/latchkey/medium", '="tmpfs"'),
                                        ("/bin/bash", "-c ': >/var/lib/latchkey/inbox/.latchkey.x'", None),
                                        ("/bin/bash", "-c ': >/var/lib/latchkey/x.doc'", 'x.doc"'),
                                        ("/bin/bash", "-c ': >/run/latchkey/view'", 'view"'),
                                        ("/bin/bash", "-c ': >/etc/planted'", '(planted|="etc)"'),
                                        ("/bin/bash", "-c 'read -r -N 1 x </var/lib/latchkey/identity/sign'", 'sign"'),
                                        ("/bin/bash", "-c 'read -r -N 1 x </etc/shadow'", 'shadow"'),
                                        ("/bin/bash", "-c 'read -r -N 1 x </dev/mem'", 'mem"'),
                                        ("/bin/bash", "-c /usr/bin/true", '(true|="bin)"'), *more]:
        before = denials()
        code, output = first.sh(f"{start} {program} {arguments}")
        said = denials()[len(before):]
        check((code == 0) == (refused is None), f"{program} {arguments}: {'does not' if refused else 'goes'} (exit {code} {output.strip()})")
        if refused:
            check(re.search(refused, said), f"  and the kernel says so {next((line for line in said.splitlines() if re.search(refused, line)), said)}")
    first.must("rm /var/lib/latchkey/inbox/.latchkey.x")


def apparmor():
    """The package's profiles, loaded at boot and enforced: everything works, and nothing was denied."""
    first = ready("apparmor")
    first.must("systemctl unmask apparmor 2>&1; echo kernel.printk_ratelimit=0 >/etc/sysctl.d/rig.conf")
    first.stop()
    host.operator.must("bind", first.uuid, "alice", "tablet", "--no-wait")
    first.start(wait=False)
    stories.answers_after_document(first, "alice", "tablet")
    for unit in ("latchkeyd", "latchkey-net"):
        label = first.must(f"cat /proc/$(systemctl show --value -p MainPID {unit})/attr/current")
        check(label == f"{unit} (enforce)", f"{unit} runs under its profile ({label})")

    def denials():
        return first.must("dmesg | grep 'apparmor=\"DENIED\"' || true")
    try:
        stories.toggles(host, first, first.uuid)
        stories.every_command(host, first, first.uuid)
        host.operator.must("reset-password", first.uuid, "alice", "--password-fd", "9", secret=stories.PASSWORD)
    finally:
        print(denials())
    check(denials() == "", f"denials: {len(denials().splitlines())}")
    # The profile holds root, and a denial is seen: one of the programs that it names, asked to write where it may not.
    first.must("mkdir -p /var/spool/cron /run/systemd/system")
    for folder, may in (("/usr/bin", False), ("/etc/systemd/system", False), ("/run/systemd/system", False), ("/etc/pam.d", False),
                        ("/var/spool/cron", False), ("/root", True)):
        code, output = first.sh(f"aa-exec -p latchkeyd -- /usr/bin/ssh-keygen -q -t ed25519 -N '' -f {folder}/planted")
        check((code == 0) == may, f"a key in {folder}: {'written' if may else 'not written'} ({output.strip()})")
    check("ssh-keygen" in denials(), "and the kernel says so")
    from_media(first)
    check(denials() == "", f"denials with media: {len(denials().splitlines())} {denials()}")
    check("latchkey-medium (enforce)" in first.must("cat /sys/kernel/security/apparmor/profiles"), "latchkey-medium's profile is loaded and enforced")
    holds(first, f"unshare -m sh -c 'mount --bind $0 {MEDIUM} && exec {MEDIUM} \"$@\"'", denials,
          [("/bin/mount", f"-nic -t ext4 -o ro,nosuid,nodev {SEEN} /run/latchkey/medium", 'flags="ro, nosuid, nodev"')])


def selinux():
    """Enforcing, each program in its domain: everything works, and nothing of ours was denied."""
    first = machine("selinux", root=SELINUX_ROOT)
    first.append = f"security=selinux enforcing={os.environ.get('LATCHKEY_VM_ENFORCING', '1')} audit=1"
    stories.waiting_document(host, first, first.uuid)
    first.must("echo kernel.printk_ratelimit=0 >/etc/sysctl.d/rig.conf; sysctl -q -p /etc/sysctl.d/rig.conf")
    print(first.must("getenforce; ps -eo label,comm | grep latchkey; ls -dZ /run/latchkey/* /var/lib/latchkey/* /home/alice/.ssh/*"))

    def denials():
        return first.must("dmesg | grep 'avc:  denied' || true")
    try:
        check(first.must("getenforce") == "Enforcing" or first.append.count("enforcing=0"), "SELinux enforces")
        for unit in ("latchkeyd", "latchkey-net"):
            label = first.must(f"cat /proc/$(systemctl show --value -p MainPID {unit})/attr/current").strip("\0\n")
            check(label.split(":")[2] == unit.replace("-", "_") + "_t", f"{unit} runs in its domain ({label})")
        stories.online(host, first, first.uuid)
        stories.toggles(host, first, first.uuid)
        stories.every_command(host, first, first.uuid)
        # Account files so large that they are mapped.
        for name, line in (("passwd", "old%06d:x:%d:1::/nonexistent:/usr/sbin/nologin"), ("shadow", "old%06d:*:%d:0:99999:7:::"),
                           ("group", "old%06d:x:%d:")):
            first.must(f"awk 'BEGIN {{ for (i = 0; i < 60000; i++) printf \"{line}\\n\", i, 200000 + i }}' >>/etc/{name}")
        host.operator.must("reset-password", first.uuid, "alice", "--password-fd", "9", secret=stories.PASSWORD)
        host.operator.must("bind", first.uuid, "alice", "tablet", "--accept-new-identity")
        check(first.key_login("alice", "tablet"), "with 60,000 accounts more a reset and a bind")
    finally:
        print(denials())
    check("latchkey" not in denials(), "no denials that concern us")
    try:
        from_media(first)
    finally:
        print(denials())
    check("latchkey" not in denials(), "none with media either")
    label = first.must("ls -dZ /var/lib/latchkey/inbox")
    check(label.split(":")[2] == "latchkey_inbox_t", f"the inbox has its own label ({label})")
    holds(first, "sh -c 'cp $0 /usr/local/lib/place && chcon -t latchkey_medium_exec_t /usr/local/lib/place && "
          "exec systemd-run --quiet --wait -p PrivateMounts=yes /usr/local/lib/place \"$@\"'", denials, [])


def full_disk():
    """P27, P86, P105: with no room left nothing is half done, a key at `runtime` still goes, and room brings the rest."""
    first, operator = ready("full"), host.operator
    # What was deleted before gives its blocks back only with the file system's next commit.
    fill = "for i in 1 2 3; do cat /dev/zero >>/var/ballast 2>/dev/null; sync; done; df / | tail -1"
    print(first.must(fill))
    code, output, error = operator.run("user", "add", first.uuid, "dora", "--timeout", "20")
    check("no_space" in output + error, f"user add on a full disk: no_space ({(output + error).strip()})")
    check(first.sh("id dora")[0] == 1 and first.sh("pwck -qr")[0] == 0, "nothing of it is there")
    operator.must("bind", first.uuid, "alice", "tablet", "--location=runtime")
    check(first.key_login("alice", "tablet"), "a key bound at runtime logs in")
    first.must("sync")
    first.power_cut()
    operator.must("bind", first.uuid, "alice", "tablet", "--location=runtime", "--no-wait")
    first.start(wait=False)
    print(first.must(fill))
    wait_for(lambda: first.banner() and first.sh("test -e /run/nologin")[0] == 1, "the machine takes logins", 600)
    first.wait_active("latchkeyd")
    wait_for(lambda: first.key_login("alice", "tablet"), "a full disk at boot: a key bound at runtime logs in", 600)
    check("no_space" in first.must("latchctl status"), "and status says that the disk is full")
    operator.must("unbind", first.uuid, "alice", "tablet")
    first.must("rm -f /var/ballast; sync; systemctl kill -s USR1 latchkeyd")
    wait_for(lambda: first.sh("id dora")[0] == 0, "with room again the user is made", 600)
    stories.settled(first)


def read_only_disk():
    """P105: where nothing can be journalled on disk, a key still gets in: at runtime."""
    first, operator = ready("readonly"), host.operator
    first.must("sync; echo u >/proc/sysrq-trigger; sleep 1; ! touch /root/x")
    operator.must("bind", first.uuid, "alice", "tablet", "--location=runtime")
    check(first.key_login("alice", "tablet"), "on a read-only disk a key bound at runtime logs in, and its result arrives")
    check("read_only" in first.must("latchctl status"), "status says that the disk is read-only")
    code, output, error = operator.run("user", "add", first.uuid, "dora", "--timeout", "20")
    check("read_only" in output + error, f"user add on a read-only disk: read_only ({(output + error).strip()})")
    first.must("mount -o remount,rw /")
    operator.must("unbind", first.uuid, "alice", "tablet")
    check(not first.key_login("alice", "tablet"), "it is unbound when the disk can be written again")
    wait_for(lambda: first.sh("id dora")[0] == 0, "and the user is made", 600)
    first.stop()
    operator.must("bind", first.uuid, "alice", "tablet", "--location=runtime", "--no-wait")
    first.start(wait=False, read_only=True)
    wait_for(lambda: first.banner() and first.sh("test -e /run/nologin")[0] == 1, "the machine takes logins", 600)
    first.must("! touch /root/x")
    check(first.key_login("alice", "tablet"), "a boot with a read-only disk: a document that waited lets its key in at runtime")


def clone():
    """P16, P116: the disk in another machine is another instance with keys of its own; the first goes on as it was."""
    first = ready("original")
    before = stories.identity(first)
    first.stop()
    second = suite.guest(VirtualMachine("clone", next(ports), str(uuid.uuid5(uuid.NAMESPACE_DNS, "clone"))))
    second.copy_disk(first)
    first.start()
    second.start()
    check(stories.identity(first) == before, "the first machine keeps its identity")
    check(stories.identity(second) != before, "its clone has another")
    keys = second.must("latchctl keys")
    check("inherited" in keys, f"and shows the keys that it came with as inherited {keys}")
    check("inherited" not in first.must("latchctl keys"), "which the first does not")
    check(second.must("latchctl status | head -1") != first.must("latchctl status | head -1"), "under another instance id")


def old_clock():
    """T29, P102: no battery and no time server: the clock is years behind, and the document is applied all the same."""
    first = ready("clock")
    host.operator.must("bind", first.uuid, "alice", "tablet", "--no-wait")
    first.stop()
    host.operator.must("bind", first.uuid, "alice", "tablet", "--no-wait")
    first.start(wait=False, options=("-rtc", "base=1970-01-01T00:00:00"))
    stories.answers_after_document(first, "alice", "tablet")
    now = first.must("date +%s")
    check(int(now) < time.time() - 86400 * 30, f"the clock is behind ({now})")
    check("clock_wrong" in first.must("latchctl status"), "and status says so")
    first.must("timedatectl set-ntp false; date -s 2100-01-01")

    def ticks():
        fields = first.must("cat /proc/$(systemctl show --value -p MainPID latchkeyd)/stat").rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def rests():
        before = ticks()
        first.must("sleep 3")
        return ticks() - before < 100  # of 300
    wait_for(rests, "latchkeyd has seen the new time")
    check(True, "decades ahead, past the seconds of 32 bits, latchkeyd rests too")
    host.operator.must("unbind", first.uuid, "alice", "tablet", "--no-wait")
    wait_for(lambda: "expired" in first.must("journalctl -b -u latchkeyd -o cat"), "by that clock the next document has expired")
    first.must(f"date -s @{int(time.time())}")
    wait_for(lambda: "tablet" not in first.must("latchctl keys"), "with the clock set right it is asked for again")
    check(True, "with the clock set right it is asked for again, and applied")


def medium():
    """A machine with no endpoint any more: signed documents on a medium, of each file system, at boot and not later."""
    first = ready("medium")
    host.signer.path = f"{host.operator.environment['HOME']}/.config/latchkey/signing_key"
    stranger = Signer("/tmp/stranger", "stranger")
    first.must("sed -i '/^\\[endpoint\\]/,$d' /etc/latchkey/latchkey.conf")
    seq = json.loads(first.must("latchctl status --json"))["seq"]
    for kind in ("iso9660", "vfat", "ext4"):
        first.stop()
        documents = {"2.doc": stranger.document(seq + 2, [{"id": f"m-{kind}", "do": "user.ensure", "user": "mallory"}], first.uuid),
                     "1.doc": host.signer.document(seq + 1, [{"id": kind, "do": "user.ensure", "user": kind}], first.uuid),
                     "notes.txt": b"not for us\n"}
        first.start(options=make_medium(first, kind, documents))
        wait_for(lambda: first.sh(f"id {kind}")[0] == 0, f"the document on {kind} is applied", 600)
        wait_for(lambda: kind in first.must("latchctl commands"), "and shown", 600)
        print(first.must("journalctl -b --no-pager -o short-monotonic -u latchkey-medium -u latchkeyd; ls -la /var/lib/latchkey/inbox"))
        wait_for(lambda: first.sh("test -e /var/lib/latchkey/quarantine/inbox.0 -a -z \"$(ls /var/lib/latchkey/inbox)\"")[0] == 0,
                 "the stranger's is set aside", 600)
        check(first.sh("id mallory")[0] == 1, f"{kind}: the operator's document is applied, the stranger's is set aside")
        check(first.sh("grep -q /run/latchkey/medium /proc/mounts")[0] == 1, "  and the medium is mounted in nobody's sight")
        first.must("rm /var/lib/latchkey/quarantine/inbox.*")
        settled = first.must("systemctl --failed --no-legend --plain")
        check(settled == "", f"  no unit has failed {settled}")
        seq += 1
    first.must("mount -t tmpfs tmpfs /dev/disk/by-label; ln -s /dev/vda /dev/disk/by-label/LATCHKEY")
    code, output = first.sh(MEDIUM)
    check(code == 1, f"the machine's own disk under that name is in use: not taken ({output.strip()})")


CASES = {
    "boot": ("a document that waits at boot is applied before sshd answers", boot_with_document),
    "online": ("reset and bind on the running machine", lambda: stories.online(host, one(), one().uuid)),
    "toggles": ("sshd.set over ssh.service", lambda: stories.toggles(host, one(), one().uuid)),
    "cut": ("the power goes in the middle of a document", reboot_and_cut),
    "reboot": ("a reboot", reboot),
    "full": ("a full disk", full_disk),
    "readonly": ("a read-only disk", read_only_disk),
    "clock": ("the clock says 1970", old_clock),
    "clone": ("a clone of the disk", clone),
    "medium": ("documents on a medium", medium),
    "apparmor": ("AppArmor, enforcing", apparmor),
    "selinux": ("SELinux, enforcing", selinux),
}
# These go on with the machine of the first.
TOGETHER = ["boot", "online", "toggles", "cut"]

status = 1
try:
    stories.make_keys(host)
    # ./check has minutes, not a quarter of an hour: a few, unless all are asked for.
    everyday = ["boot", "online", "cut"]
    chosen = sys.argv[1:] or (list(CASES) if os.environ.get("LATCHKEY_VM") == "all" else everyday)
    if set(chosen) & set(TOGETHER):
        chosen = list(dict.fromkeys(["boot", "online", *chosen]))
    for name in chosen:
        suite.case(*CASES[name])
        if name not in TOGETHER:
            for guest in [guest for guest in suite.guests if guest.name != "one"]:
                suite.end_guest(guest)
finally:
    status = suite.end(host)
sys.exit(status)
