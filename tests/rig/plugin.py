# SPDX-License-Identifier: Apache-2.0
"""Drives one staged plugin as latchkey-apply does: a JSON request on standard input, exactly the manifest's
capabilities, no_new_privs, an empty environment. Only for use inside tests/rig/enter."""
import json
import os
import subprocess
import sys
import time

PLUGINS = "/usr/libexec/latchkey/plugins"
SETPRIV = "/usr/bin/setpriv"


class Plugin:
    def __init__(self, name, settings=None, root="/"):
        self.path = os.path.join(PLUGINS, name)
        self.root = root
        self.manifest = json.loads(subprocess.check_output([self.path, "--describe"], env={}))
        self.settings = {key: self.default(kind) for key, kind in self.manifest["settings"].items()}
        self.settings.update(settings or {})
        self.prefix = []

    @staticmethod
    def default(kind):
        if kind.startswith("names"):
            return []
        if "=" not in kind:
            return ""
        text = kind.split("=", 1)[1]
        if kind.startswith("int"):
            return int(text)
        if kind.startswith("bool"):
            return text == "true"
        return text

    def fill(self, command):
        """The defaults that latchkey-apply fills in from the manifest."""
        row = self.manifest["commands"][command["do"]]
        filled = {"id": "c1", **command}
        for name, kind in row["fields"].items():
            if name not in filled and "=" in kind and not kind.endswith("!"):
                filled[name] = self.default(kind)
        return filled

    def argv(self, verb):
        names = ",".join("+" + name for name in self.manifest["capabilities"]) or "-all"
        root = [] if self.root == "/" else ["--root", self.root]
        bounded = "-all," + names if self.manifest["capabilities"] else "-all"
        return [SETPRIV, "--no-new-privs", "--bounding-set", bounded, "--inh-caps", "-all", *self.prefix,
                self.path, verb, *root]

    def request(self, commands, **more):
        return {"v": 1, "instance": "i-1", "seq": 1, "signer": "ops", "actor": "anna", "time": int(time.time()),
                "settings": self.settings, "commands": commands, **more}

    def call(self, verb, commands, may_fail=False, **more):
        done = subprocess.run(self.argv(verb), input=json.dumps(self.request(commands, **more)).encode(), env={},
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", timeout=120)
        if done.returncode != 0:
            if may_fail:
                return None
            sys.stderr.write(done.stderr.decode(errors="replace"))
            raise AssertionError(f"{self.path} {verb}: exit {done.returncode}")
        return json.loads(done.stdout)["results"]

    def plan(self, *commands, **more):
        return self.call("plan", [self.fill(command) for command in commands], **more)

    def with_plans(self, commands, planned):
        return [{**self.fill(command), "plan": result["plan"]} for command, result in zip(commands, planned)]

    def apply(self, commands, planned, **more):
        return self.call("apply", self.with_plans(commands, planned), **more)

    def run(self, *commands):
        """Plan, then apply what has something to do; the results as latchkey-apply would report them."""
        commands = [{**command, "id": command.get("id", f"c{number}")} for number, command in enumerate(commands)]
        results = self.plan(*commands)
        todo = [(command, result) for command, result in zip(commands, results)
                if result["code"] == "ok" and result["changes"]]
        for result in results:
            result.setdefault("changed", False)
        if todo:
            applied = self.apply([command for command, _ in todo], [result for _, result in todo])
            by_id = {result["id"]: result for result in applied}
            results = [by_id.get(result["id"], result) for result in results]
        return results

    def one(self, command):
        return self.run(command)[0]


def check(condition, text):
    """One line a check; the first that does not hold ends the test."""
    print(("ok   " if condition else "FAIL ") + text, flush=True)
    if not condition:
        raise SystemExit(1)
