#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""systemd-analyze verify is silent on our units, their exposure stays under a limit, and latchkeyd's bounding set is the
union of the manifests. Run inside tests/rig/enter."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import check, read, root_capabilities  # noqa: E402

UNITS = "/usr/lib/systemd/system"
LIMITS = {"latchkeyd.service": 22, "latchkey-net.service": 15, "latchkey-banner.service": 40, "latchkey-medium.service": 35,
          "latchkey-endpoint.service": 15}

done = subprocess.run(["systemd-analyze", "verify", "--man=no", *LIMITS], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
check(done.returncode == 0 and not done.stdout.strip(), f"systemd-analyze verify is silent {done.stdout}")
for unit, limit in LIMITS.items():
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", f"--threshold={limit}", f"{UNITS}/{unit}"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    check(done.returncode == 0, f"{unit}: exposure at most {limit / 10} ({done.stdout.strip().splitlines()[-1]})")
for unit in ("latchkeyd.service", "latchkey-net.service"):
    after = {word for line in read(f"{UNITS}/{unit}").splitlines() if line.startswith("After=") for word in line[6:].split()}
    check({"cloud-init.service", "cloud-init-network.service"} <= after, f"{unit}: after what writes user-data's files, before and since cloud-init 24.3")
    check(unit != "latchkeyd.service" or "nss-user-lookup.target" in after, f"{unit}: after the name services")
    check(unit != "latchkeyd.service" or {"sshd-keygen.target", "sshd-keygen.service"} <= after, f"{unit}: after sshd's host keys are made")
    check("network-online.target" not in after, f"{unit}: not after network-online")
for script in ("latchkeyd", "latchkey-net"):
    text = read(f"packaging/openrc/{script}")
    check(subprocess.run(["sh", "-n", f"packaging/openrc/{script}"]).returncode == 0 and "\nrespawn_max=0\n" in text,
          f"OpenRC's {script} is never given up either")
    check(f"\nerror_log=/var/log/{script}.log\n" in text, f"what {script} says under OpenRC is kept: supervise-daemon opens /dev/null otherwise")
line = next(line for line in read(f"{UNITS}/latchkeyd.service").splitlines() if line.startswith("CapabilityBoundingSet="))
unit = {name.removeprefix("CAP_").lower() for name in line.split("=")[1].split()}
check(unit == set(root_capabilities().split(",")), f"latchkeyd's bounding set is the union of the manifests {unit}")
