#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""State changes in a real journal: each with its MESSAGE_ID, explained by journalctl -x, and no field that untrusted text could add."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from journal import Log  # noqa: E402
from machine import APPLY, Machine, Signer, check, keygen, main, read, wait_for, write  # noqa: E402

CATALOG = "/usr/lib/systemd/catalog/latchkey.catalog"
if not os.path.exists(CATALOG):
    CATALOG = "/lib/systemd/catalog/latchkey.catalog"


def entries(id_):
    done = subprocess.run(["journalctl", "-o", "json", f"MESSAGE_ID={id_}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def apply(text):
    """With standard error on the journal, as under systemd."""
    read_end, write_end = os.pipe()
    os.write(write_end, text)
    os.close(write_end)
    done = subprocess.run(["systemd-cat", APPLY, "--document", "-"], stdin=read_end)
    os.close(read_end)
    return done.returncode


def test():
    ids = dict(re.findall(r'X\((\w+), "([0-9a-f]{32})"\)', read("/run/project/lib/log_event.h")))
    catalog = read(CATALOG)
    check(len(ids) == 9 and len(set(ids.values())) == 9 and sorted(re.findall(r"^-- ([0-9a-f]{32})$", catalog, re.M)) ==
          sorted(ids.values()), "each event has its own id and its entry in the catalog")
    log, machine, ops, stranger = Log(), Machine(url=None), Signer(), Signer("/tmp/stranger", "stranger")
    log.start()
    try:
        write("/etc/latchkey/allowed_signers", ops.line())
        subprocess.run(["useradd", "-m", "alice"], check=True)
        bind = {"id": "k1", "do": "keys.bind", "user": "alice", "keypair": "laptop", "key": keygen("/tmp/laptop")}
        first = ops.document(1, [bind])  # signed once: signed again in another second it is another document
        check(apply(first) == 0, "a document is taken over")
        wait_for(lambda: entries(ids["COMMAND_ENDED"]), "the journal has it")
        entry = entries(ids["COMMAND_ENDED"])[0]
        check(entry["LATCHKEY_SUBJECT"] == "k1" and "keys.bind alice: ok" in entry["MESSAGE"] and entry["PRIORITY"] == "6" and
              entry["SYSLOG_IDENTIFIER"] == "latchkey-apply" and entry["_EXE"].endswith("latchkey-apply"), f"COMMAND_ENDED: {entry['MESSAGE']}")
        check(len(entries(ids["COMMAND_ENDED"])) == 1, "one line for one change")
        check(apply(first) == 0 and len(entries(ids["COMMAND_ENDED"])) == 1, "what is repeated says nothing new")
        check(apply(stranger.document(2, [bind])) == 66, "a stranger's is refused")
        wait_for(lambda: entries(ids["DOCUMENT_REFUSED"]), "the journal has it")
        check(entries(ids["DOCUMENT_REFUSED"])[0]["LATCHKEY_SUBJECT"] == "signer_unknown", "DOCUMENT_REFUSED, with the code")
        apply(ops.document(3, [{"id": "k2", "do": "no.such\\nEVIL=1", "user": "alice"}]))
        wait_for(lambda: len(entries(ids["COMMAND_ENDED"])) == 2, "the journal has it")
        check(not any("EVIL" in entry for entry in entries(ids["COMMAND_ENDED"])), "text of a document adds no field")
        write("/etc/latchkey/policy.conf", "nonsense\n")
        apply(ops.document(4, []))
        wait_for(lambda: entries(ids["CONFIGURATION_REFUSED"]), "the journal has it")
        subprocess.run(["journalctl", "--update-catalog"], check=True)
        shown = subprocess.run(["journalctl", "-x", "--no-pager"], stdout=subprocess.PIPE, text=True).stdout
        check("A command has ended" in shown and "The command k1 of an operator" in shown and "A document was refused whole" in shown,
              "journalctl -x explains")
        status, error = machine.apply(ops.document(5, []))
        check("<3>policy.conf is refused" in error, "without the journal they are lines on standard error")
    finally:
        log.stop()


main(test)
