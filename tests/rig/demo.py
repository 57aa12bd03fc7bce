#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The main job, for real: what ./demo shows, inside tests/rig/enter. Exits non-zero when a step did not really happen."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from machine import Machine, main  # noqa: E402
from console import Operator  # noqa: E402

BOLD, GREEN, RED, PLAIN = ("\033[1m", "\033[32m", "\033[31m", "\033[0m") if sys.stdout.isatty() else ("",) * 4
PASSWORD = "Correct-Horse-7-Battery"


class Story:
    def __init__(self):
        self.number = 0

    def step(self, text, function, expected=True):
        """Does one step, prints it with its time, and ends the demo when it did not happen."""
        self.number += 1
        print(f"{BOLD}{self.number:2d}. {text}{PLAIN}", flush=True)
        started = time.monotonic()
        outcome = function()
        took = 1000 * (time.monotonic() - started)
        good = bool(outcome) == expected
        print(f"    {GREEN + 'done' if good else RED + 'FAILED'}{PLAIN} in {took:.0f} ms", flush=True)
        if not good:
            raise SystemExit(1)
        return outcome


def demo():
    machine, story = Machine(), Story()
    operator = Operator(machine)
    instance = machine.instance

    def console(*arguments, secret=None, expect=0):
        print(f"    $ latchkey {' '.join(arguments)}")
        code, output, error = operator.run(*arguments, secret=secret)
        for line in (output + error).splitlines():
            print(f"      {line}")
        return code == expect

    def refused(*arguments, code):
        ran, output, error = operator.run(*arguments)
        print(f"    $ latchkey {' '.join(arguments)}")
        for line in (output + error).splitlines():
            print(f"      {line}")
        return ran != 0 and code in output + error

    story.step("A real sshd, the endpoint and the agent start (latchkey-net with its own uid and no capabilities)",
               lambda: (machine.start_sshd(), machine.start_endpoint(), operator.enrol(), machine.start_agent(), True)[-1])
    story.step("The operator makes a key pair", lambda: console("keypair", "create", "laptop"))
    story.step("The console creates a user", lambda: console("user", "add", instance, "alice", "--accept-new-identity"))
    story.step("The console binds the key pair to the user", lambda: console("bind", instance, "alice", "laptop"))
    story.step("ssh -i laptop alice@instance logs in",
               lambda: machine.login_with_key("alice", "/tmp/operator/laptop"))
    story.step("The console resets the password (sealed to the instance, never in clear on the way)",
               lambda: console("reset-password", instance, "alice", "--password-fd", "9", secret=PASSWORD))
    story.step("The new password logs in", lambda: machine.login_with_password("alice", PASSWORD))
    story.step("The console turns password login off",
               lambda: console("sshd", "set", instance, "--password-auth=false"))
    story.step("and confirms it, for the key still logs in",
               lambda: machine.login_with_key("alice", "/tmp/operator/laptop") and console("sshd", "confirm", instance))
    story.step("The password no longer logs in", lambda: machine.login_with_password("alice", PASSWORD), expected=False)
    story.step("Unbinding the last key is refused: nobody could log in any more",
               lambda: refused("unbind", instance, "alice", "laptop", code="would_lock_out"))
    story.step("and the key still logs in", lambda: machine.login_with_key("alice", "/tmp/operator/laptop"))
    story.step("A second key pair is made and bound",
               lambda: console("keypair", "create", "tablet") and console("bind", instance, "alice", "tablet"))
    story.step("Now the first can be unbound", lambda: console("unbind", instance, "alice", "laptop"))
    story.step("The first key is refused", lambda: machine.login_with_key("alice", "/tmp/operator/laptop"), expected=False)
    story.step("The second key logs in", lambda: machine.login_with_key("alice", "/tmp/operator/tablet"))

    def status():
        for arguments in (["status"], ["users"], ["keys"], ["commands"]):
            print(f"    # latchctl {' '.join(arguments)}")
            done = subprocess.run(["/usr/bin/latchctl", *arguments], stdout=subprocess.PIPE, text=True)
            for line in done.stdout.splitlines():
                print(f"      {line}")
            if done.returncode != 0:
                return False
        return machine.status()["health"] == "ok"

    story.step("What the agent says of itself", status)
    print(f"\n{GREEN}All {story.number} steps happened.{PLAIN} Nothing on this machine was changed: all of it ran in namespaces.")


main(demo)
