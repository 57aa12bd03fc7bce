#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Clocks that jump and states that are restored (P17, P102): nothing expired applies while the clock or the state knows
better, no jump costs the channel, and a restored snapshot replays no more than a document's own week, which shows."""
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import STATE, Clock, Machine, Signer, check, main, payload_of, read, write  # noqa: E402

DAY = 86400
YEARS = 10 * 365 * DAY


def test():
    machine, ops, clock = Machine(url=None), Signer(), Clock(sys.argv[1])
    write("/etc/latchkey/allowed_signers", ops.line())
    machine.redo()
    now = int(time.time())

    def document(seq, issued, valid=DAY):
        """Whatever this machine's clock shows, an operator's goes right."""
        return ops.document(seq, [{"id": f"c{seq}", "do": "diagnose", "user": "root"}], issued=issued, expires=issued + valid)

    def outcome(text):
        """The newest seq, and the refusal if there is one."""
        if os.path.exists(f"{STATE}/results/0"):
            os.unlink(f"{STATE}/results/0")
        code, log = machine.apply(text)
        refusal = machine.results(0)
        return machine.status()["seq"], refusal["document"] if refusal else "ok" if code == 0 else log

    def problems():
        return [problem["code"] for problem in machine.status()["problems"]]

    check(outcome(document(1, now)) == (1, "ok"), "a clock that is right")

    # --- ahead ------------------------------------------------------------------------------------------------------------------
    clock.set(YEARS)
    check(outcome(document(2, now)) == (1, "expired"), "P102_ ten years ahead: what was issued today has expired")
    check(machine.redo()[0] == 0 and machine.status()["seq"] == 1, "  and a redo finds nothing to do")
    clock.set(0)
    check(outcome(document(2, now)) == (2, "ok") and "clock_wrong" not in problems(), "P102_ and back: it applies, for no floor followed the clock")

    # --- behind -----------------------------------------------------------------------------------------------------------------
    clock.set(-YEARS)
    check(outcome(document(3, now)) == (3, "ok") and "clock_wrong" in problems(), "P85_ ten years behind, as without a battery: a good document applies")
    check(outcome(document(4, now - 2 * DAY))[1] == "expired", "P17_ one that had expired when the newest was issued does not")
    check(outcome(document(4, now + YEARS + DAY))[0] == 3, "P102_ nor one that would put the time out of reach")
    clock.set(0)
    check(outcome(document(4, now)) == (4, "ok") and "clock_wrong" not in problems(), "P102_ and right again: the next one applies")

    # --- a snapshot -------------------------------------------------------------------------------------------------------------
    subprocess.run(["cp", "-a", STATE, "/tmp/snapshot"], check=True)
    generation = payload_of(read(f"{STATE}/identity/text"))["generation"]
    later = document(5, now, 7 * DAY)
    check(outcome(later) == (5, "ok"), "a document that lives a week")
    os.unlink(f"{STATE}/identity/box")
    machine.redo()
    check(payload_of(read(f"{STATE}/identity/text"))["generation"] > generation, "  and a new box key")
    for days, expected in ((1, (5, "ok")), (8, (4, "expired"))):
        shutil.rmtree(STATE)
        subprocess.run(["cp", "-a", "/tmp/snapshot", STATE], check=True)
        clock.set(days * DAY)
        machine.redo()
        check(outcome(later) == expected, f"P17_ the snapshot restored, {days} days later: {expected}")
        if days == 1:
            check(payload_of(read(f"{STATE}/identity/text"))["generation"] == generation,
                  "  which the endpoint sees, for the identity's generation went back as well")
    check(outcome(document(6, now + 8 * DAY)) == (6, "ok"), "and the next good document applies")


main(test)
