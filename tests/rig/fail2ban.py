# SPDX-License-Identifier: Apache-2.0
"""The real fail2ban in the rig's own network: its jails ban by nftables there. Only for use inside tests/rig/enter."""
import os
import subprocess

from server import must, run, wait_for, write

CLIENT = "/usr/bin/fail2ban-client"
DIRECTORY = "/run/fail2ban"
SOCKET = DIRECTORY + "/fail2ban.sock"
LOG = "/var/log/fail2ban-rig-input.log"  # nothing is ever written there: the bans are set by hand
JAIL = """[{name}]
enabled = true
filter = sshd
backend = polling
logpath = {log}
ignoreself = false
ignoreip =
bantime = 3600
port = {port}
banaction = {action}
"""


class Fail2ban:
    def __init__(self, **jails):
        """jails: name → (ports, action)."""
        jails = jails or {"sshd": ("ssh", "nftables")}
        os.makedirs(DIRECTORY, 0o755, exist_ok=True)
        for folder in ("jail.d", "fail2ban.d"):
            must("sh", "-c", f"rm -f /etc/fail2ban/{folder}/*")
        write(LOG, "", 0o600)
        write("/etc/fail2ban/jail.local", "".join(JAIL.format(name=name, log=LOG, port=port, action=action)
                                                  for name, (port, action) in jails.items()), 0o644)
        self.process = subprocess.Popen(["/usr/bin/fail2ban-server", "-f", "-s", SOCKET, "-p", DIRECTORY + "/fail2ban.pid",
                                         "--logtarget", "/tmp/fail2ban.log", "start"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for jail in jails:
            wait_for(lambda jail=jail: run(CLIENT, "status", jail).returncode == 0, f"fail2ban has its jail {jail}")

    def ban(self, jail, address):
        must(CLIENT, "set", jail, "banip", address)
        # The jail does it a moment later, by a thread of its own.
        wait_for(lambda: f"'{jail}'" in must(CLIENT, "banned", address), f"{jail} has banned {address}")
        wait_for(lambda: address in run("nft", "list", "set", "inet", "f2b-table", "addr-set-" + jail).stdout.decode(),
                 "its rule stands")

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
