#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""latchctl metrics: OpenMetrics by its grammar, and numbers that follow what happens: a blocked user, a key that has drifted."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Machine, Signer, check, keygen, main, wait_for, write  # noqa: E402

NAME, LABEL = r"[a-zA-Z_:][a-zA-Z0-9_:]*", r"[a-zA-Z_][a-zA-Z0-9_]*"
VALUE = r'"(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}={VALUE}(?:,{LABEL}={VALUE})*)?\}})? (-?\d+(?:\.\d+)?)")
COMMENT = re.compile(rf"# (HELP|TYPE|UNIT) ({NAME}) (.+)")


def parse(text):
    """The exposition of OpenMetrics 1.0 for gauges: families whole, descriptors before samples and once, no sample twice, EOF last."""
    assert text.endswith("# EOF\n") and text.count("# EOF") == 1, "EOF is the last line"
    families, family, samples = {}, None, {}
    for line in text[:-len("# EOF\n")].split("\n")[:-1]:
        comment, sample = COMMENT.fullmatch(line), SAMPLE.fullmatch(line)
        assert comment or sample, f"neither: {line!r}"
        if comment:
            what, name, rest = comment.groups()
            if name != family:
                assert name not in families, f"{name} is interleaved"
                families[name], family = {"samples": 0}, name
            assert what not in families[name] and families[name]["samples"] == 0, f"{what} of {name} twice or late"
            assert what != "TYPE" or rest == "gauge", rest
            assert what != "UNIT" or name.endswith("_" + rest), f"{name} does not end in its unit"
            families[name][what] = rest
        else:
            name, labels, value = sample.groups()
            assert name == family and "TYPE" in families[name], f"{name} has no descriptor"
            key = (name, *sorted(re.findall(rf"({LABEL})=({VALUE})", labels or "")))
            assert key not in samples, f"{key} twice"
            samples[key] = float(value)
            families[name]["samples"] += 1
    assert all("HELP" in family for family in families.values())
    return samples


def metrics(user=None):
    argv = ["/usr/bin/latchctl", "metrics"]
    done = subprocess.run(["/usr/sbin/runuser", "-u", user, "--", *argv] if user else argv, stdout=subprocess.PIPE, text=True)
    check(done.returncode == 0, "  asked")
    found = parse(done.stdout)
    return {f"{key[0]}{{{','.join(name + '=' + value for name, value in key[1:])}}}" if key[1:] else key[0]: value
            for key, value in found.items()}


def start_agent(machine):
    machine.start_agent()
    wait_for(lambda: subprocess.run(["/usr/bin/latchctl", "metrics"], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL).returncode == 0, "the agent answers")


def test():
    machine, ops = Machine(url=None), Signer()
    write("/etc/latchkey/allowed_signers", ops.line())
    subprocess.run(["useradd", "-m", "-s", "/bin/sh", "alice"], check=True)
    machine.start_sshd()
    machine.apply(ops.document(1, [{"id": "k", "do": "keys.bind", "user": "alice", "keypair": "laptop", "key": keygen("/tmp/laptop")}]))
    start_agent(machine)
    found = metrics()
    check(found["latchkey_users"] == 1 and found["latchkey_keys"] == 1 and found["latchkey_document_seq"] == 1 and
          found["latchkey_pending_commands"] == 0 and found["latchkey_history_commands"] == 1, f"the numbers {found}")
    check(found['latchkey_key_states{state="present"}'] == 1, "no drift")
    check(found['latchkey_blocked_logins{blocker="no_password",method="password"}'] == 1, "what keeps alice's password out")
    check('latchkey_blocked_logins{blocker="no_key",method="key"}' not in found, "her key logs in")
    others = metrics("alice")
    check(others["latchkey_users"] == 1 and not any("blocked_logins{" in name or "key_states{" in name for name in others),
          "others are not told what blocks whom")
    os.chmod("/home/alice", 0o777)
    write("/home/alice/.ssh/authorized_keys", "")
    machine.stop("latchkey-net")
    machine.stop("latchkeyd")
    machine.apply(b"", "--sweep")
    machine.apply(ops.document(2, [{"id": "look", "do": "diagnose", "user": "alice"}]))
    start_agent(machine)
    wait_for(lambda: 'latchkey_key_states{state="missing"}' in metrics(), "the drift is counted")
    check(any(name.startswith('latchkey_blocked_logins{blocker="') and 'method="key"' in name for name in metrics()),
          "and what blocks her key")
    raw = json.loads(subprocess.run(["/usr/bin/latchctl", "--json", "metrics"], stdout=subprocess.PIPE).stdout)
    check(raw["keys.missing"] == 1 and all(isinstance(value, int) for value in raw.values()), "in JSON by the socket's names")
    for bad in ("latchkey_x 1\n# EOF\n", "# TYPE a gauge\na 1\na 1\n# EOF\n", "# TYPE a gauge\na 1\n", "# TYPE a gauge\na  1\n# EOF\n"):
        try:
            parse(bad)
        except AssertionError:
            continue
        check(False, f"the grammar takes {bad!r}")


main(test)
