#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""/var/lib/latchkey/inbox: documents for a machine without an endpoint; at boot and when one appears, in order of name;
what is refused, strange or unreadable; a crash at each point; one that cannot be taken over yet."""
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import APPLY, Machine, Signer, check, main, read, wait_for, write  # noqa: E402

STATE = "/var/lib/latchkey"
INBOX, QUARANTINE = f"{STATE}/inbox", f"{STATE}/quarantine"


def exists(user):
    return f"\n{user}:" in read("/etc/passwd")


def listed(folder):
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def put(name, text, mode=0o600):
    """As a careful writer does."""
    with open(f"{INBOX}/.new", "wb", opener=lambda p, f: os.open(p, f, mode)) as file:
        file.write(text)
    os.chmod(f"{INBOX}/.new", mode)
    os.rename(f"{INBOX}/.new", f"{INBOX}/{name}")


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    machine.start_sshd()
    machine.redo()
    os.makedirs(INBOX, mode=0o700, exist_ok=True)

    def ensure(seq, user, **more):
        return ops.document(seq, [{"id": f"{user}-id", "do": "user.ensure", "user": user}], **more)

    def take():
        return machine.apply(b"", "--inbox")

    # --- at boot, in order of name --------------------------------------------------------------------------------------
    put("10-second.doc", ensure(2, "bob"))
    put("02-first.doc", ensure(1, "alice"))
    put("notes.txt", b"no document\n")
    put(".hidden.doc", b"being written\n")
    machine.start_daemon()
    machine.start_net()
    wait_for(lambda: exists("bob"), "what lies there at boot is taken")
    wait_for(lambda: listed(INBOX) == [".hidden.doc", "notes.txt"], "and gone then; other names are left alone")
    check(machine.result(1, "alice-id")["code"] == machine.result(2, "bob-id")["code"] == "ok", "in order of name, each with its result")
    wait_for(lambda: machine.status()["seq"] == 2, "the view")
    said = wait_for(lambda: (lambda out: "alice" in out and "bob" in out and out)(subprocess.run(
        ["/usr/bin/latchctl", "commands"], stdout=subprocess.PIPE, text=True).stdout), "latchctl commands shows them")
    check("user.ensure" in said, "latchctl commands shows them")

    # --- when one appears --------------------------------------------------------------------------------------------------
    put("3.doc", ensure(3, "carol"))
    wait_for(lambda: exists("carol") and not os.path.exists(f"{INBOX}/3.doc"), "one that is moved there is taken at once")
    with open(f"{INBOX}/4.doc", "wb", opener=lambda p, f: os.open(p, f, 0o600)) as file:
        text = ensure(4, "dora")
        file.write(text[:100])
        file.flush()
        machine.processes["latchkeyd"].send_signal(10)
        check(take()[0] == 75 and os.path.exists(f"{INBOX}/4.doc"), "one that is being written is left alone")
        file.write(text[100:])
    wait_for(lambda: exists("dora"), "one that is written there in place as well")
    machine.stop("latchkey-net")
    machine.stop("latchkeyd")
    check(True, "documents are taken at boot and when they appear")

    # --- what is refused ------------------------------------------------------------------------------------------------------
    passwd = read("/etc/passwd")
    stranger = Signer("/tmp/stranger", "stranger")
    os.mkfifo(f"{INBOX}/05-fifo.doc", 0o600)
    write("/tmp/outside", ensure(5, "eve").decode(), 0o600)
    os.symlink("/tmp/outside", f"{INBOX}/06-symlink.doc")
    put("07-writable.doc", ensure(5, "eve"), 0o620)
    put("08-foreign.doc", ensure(5, "eve"))
    os.chown(f"{INBOX}/08-foreign.doc", 65534, 65534)
    put("09-linked.doc", ensure(5, "eve"))
    os.link(f"{INBOX}/09-linked.doc", "/var/lib/latchkey/linked")
    put("10-large.doc", b"x" * ((1 << 20) + 1))
    put("11-torn.doc", ensure(5, "eve")[:-200])
    put("12-stranger.doc", stranger.document(5, []))
    put("13-elsewhere.doc", ensure(5, "eve", instance="vm-2"))
    os.mkdir(f"{INBOX}/14-folder.doc")
    for name in [name for name in listed(INBOX) if name[0] == "0" or name[0] == "1"]:
        code, log = take()
        check(code == 0 and not os.path.lexists(f"{INBOX}/{name}"), f"{name} is refused and set aside")
        check(passwd == read("/etc/passwd"), "  and changes nothing")
    check(listed(QUARANTINE) == [f"inbox.{n}" for n in range(4)], f"the newest four are kept {listed(QUARANTINE)}")
    check(machine.results(0)["document"] == "wrong_instance", "the refusal of a document is a result")
    check(os.path.exists("/tmp/outside"), "what a link pointed at is still there")
    os.unlink("/var/lib/latchkey/linked")
    put("20.doc", ensure(5, "fay"))
    check(take()[0] == 0 and exists("fay"), "afterwards the next good document is taken")
    check(take()[0] == 0, "an empty inbox is nothing to complain of")

    # --- what was done before, as from a medium that stays in the machine -----------------------------------------------------
    refusal = read(f"{STATE}/results/0")
    for seq, user in ((4, "dora"), (5, "fay")):
        put("old.doc", ensure(seq, user))
        check(take()[0] == 0 and not os.path.exists(f"{INBOX}/old.doc"), f"document {seq} again: gone")
    check(refusal == read(f"{STATE}/results/0") and len(listed(QUARANTINE)) == 4, "  without a refusal each time")

    # --- what cannot be taken over yet -------------------------------------------------------------------------------------------
    soon = int(time.time()) + 308
    put("1.doc", ensure(6, "gina", issued=soon, expires=soon + 600))
    put("2.doc", ensure(7, "hans"))
    check(take()[0] == 75 and listed(INBOX)[-3:] == ["1.doc", "2.doc", "notes.txt"] and not exists("hans"),
          "one that is not valid yet stays, and those behind it wait")
    write("/etc/latchkey/policy.conf", "[policy]\nmode = off\n")
    check(take()[0] == 75 and os.path.exists(f"{INBOX}/1.doc"), "with the policy's mode off as well")
    os.unlink("/etc/latchkey/policy.conf")
    machine.start_daemon()
    wait_for(lambda: exists("gina") and exists("hans"), "latchkeyd tries again by itself", 120)
    machine.stop("latchkeyd")
    check(exists("hans"), "latchkeyd tries again by itself, and then takes what waited behind it")

    # --- a crash between any two steps --------------------------------------------------------------------------------------------
    seq = 8
    for count in range(1, 400):
        put("crash.doc", ensure(seq, f"crash{seq}"))
        before = listed(QUARANTINE)
        done = subprocess.run(["strace", "-qq", "-o", "/dev/null", "-e", "trace=renameat2,unlinkat,fdatasync,fsync", "-e",
                               f"inject=renameat2,unlinkat,fdatasync,fsync:signal=KILL:when={count}", APPLY, "--inbox"],
                              stderr=subprocess.DEVNULL)
        machine.redo()
        while os.path.exists(f"{INBOX}/crash.doc"):
            code, log = take()
            assert code == 0, log
        check(exists(f"crash{seq}") and listed(QUARANTINE) == before,
              f"killed at call {count} ({done.returncode}): done, once")
        lines = [line for line in read(f"{STATE}/history/current").splitlines() if f'"crash{seq}-id"' in line]
        check(len(lines) == 1, "  with one line in the history")
        seq += 1
        if done.returncode == 0:
            break
    check(count > 5, f"{count - 1} points were tried")

    # --- another directory in the place of the one that is watched ------------------------------------------------------------------
    machine.start_daemon()
    wait_for(lambda: not os.path.exists(f"{STATE}/journal") or not os.listdir(f"{STATE}/journal"), "the boot redo")
    put("first.doc", ensure(seq + 1, "ivan"))
    wait_for(lambda: exists("ivan") and not os.path.exists(f"{INBOX}/first.doc"), "it is watched")
    shutil.rmtree(INBOX)
    os.makedirs(INBOX, mode=0o700, exist_ok=True)
    put("second.doc", ensure(seq + 2, "jana"))
    wait_for(lambda: exists("jana"), "a directory that was made anew is watched as well")
    os.rename(INBOX, f"{STATE}/moved")
    os.makedirs(INBOX, mode=0o700, exist_ok=True)
    put("third.doc", ensure(seq + 3, "kim"))
    wait_for(lambda: exists("kim"), "one that was moved away is not")
    check(True, "another inbox in the place of the first one is watched as that was")


if __name__ == "__main__":
    main(test)
