# SPDX-License-Identifier: Apache-2.0
"""The operator's side of a Machine: a console home of its own, the CLI run as a person would."""
import json
import os
import subprocess

from machine import ENDPOINT, read, wait_for, write

HOME = "/tmp/operator"


class Operator:
    def __init__(self, machine):
        self.machine = machine
        self.signer_line = None
        os.makedirs(HOME, 0o700, exist_ok=True)
        self.environment = {"HOME": HOME, "PATH": "/usr/bin:/bin", "TERM": "dumb"}

    def run(self, *arguments, secret=None):
        """latchkey ARGUMENTS…; a secret goes through descriptor 9. Returns (exit code, output, standard error)."""
        descriptors = ()
        if secret is not None:
            reading, writing = os.pipe()
            os.write(writing, secret.encode() + b"\n")
            os.close(writing)
            os.dup2(reading, 9, inheritable=True)
            os.close(reading)
            descriptors = (9,)
        done = subprocess.run(["/usr/bin/latchkey", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, env=self.environment, cwd=HOME, pass_fds=descriptors)
        if descriptors:
            os.close(9)
        return done.returncode, done.stdout, done.stderr

    def must(self, *arguments, secret=None):
        code, output, error = self.run(*arguments, secret=secret)
        if code != 0:
            raise AssertionError(f"latchkey {' '.join(arguments)}: exit {code}\n{output}{error}")
        return output

    def initialise(self):
        """init: a signing key of the operator's own, and the line that instances need."""
        output = self.must("init", "--endpoint", ENDPOINT, "--token-fd", "9", secret=self.machine.token())
        self.signer_line = next(line for line in output.splitlines() if "namespaces=" in line).strip()

    def add_instance(self):
        """instance add: its enrolment secret."""
        return json.loads(self.must("instance", "add", self.machine.instance, "--json"))["enrol"]

    def start_all(self):
        """sshd, the endpoint and the agent, enrolled, until the endpoint knows it."""
        self.machine.start_sshd()
        self.machine.start_endpoint()
        self.enrol()
        self.machine.start_agent()
        wait_for(lambda: "latched" in read("/tmp/endpoint.log"), "the endpoint knows it")

    def enrol(self):
        """Both, put where an image builder or user-data would put it on the instance."""
        self.initialise()
        write("/etc/latchkey/allowed_signers", self.signer_line + "\n")
        group = int(next(line for line in read("/etc/group").splitlines() if line.startswith("latchkey:")).split(":")[2])
        write("/etc/latchkey/enrol", self.add_instance() + "\n", 0o640)
        os.chown("/etc/latchkey/enrol", 0, group)
