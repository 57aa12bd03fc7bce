#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The fast half: cases that need systemd and the real packages but no kernel of their own. Inside tests/rig/enter, by tests/vm/run."""
import glob
import os
import signal
import subprocess
import sys
import time

import stories
from guest import Container, Host, Suite, check, wait_for, write

suite, host = Suite("container"), Host()
VM = "vm-1"


def power_cuts():
    """P20: the container is killed at some moment of a document, five times over."""
    for round in range(5):
        prefix = f"cut{'abcde'[round]}"
        seq = stories.put_document(host, VM, stories.crowd(prefix))
        journal = f"{guest.tree}/var/lib/latchkey/journal/{seq}"
        end = time.monotonic() + 30
        while not os.path.exists(journal) and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(0.012 * round)
        guest.stop(signal.SIGKILL)
        print(f"killed {'in' if os.path.exists(journal) else 'after'} the document")
        guest.start()
        stories.done_exactly_once(host, guest, VM, prefix)
    check(guest.key_login("alice"), "earlier keys still log in")


def socket_activation(accept):
    """P56, P115: ssh.socket instead of ssh.service; then a boot with a document that waits."""
    guest.must("systemctl disable --now ssh.service 2>&1")
    if accept:
        write(f"{guest.tree}/etc/systemd/system/ssh.socket", "[Socket]\nListenStream=22\nAccept=yes\n[Install]\nWantedBy=sockets.target\n")
        write(f"{guest.tree}/etc/systemd/system/ssh@.service", "[Service]\nExecStart=-/usr/sbin/sshd -i\nStandardInput=socket\n"
              "RuntimeDirectory=sshd\nRuntimeDirectoryMode=0755\nRuntimeDirectoryPreserve=yes\n")
        guest.must("systemctl daemon-reload; systemctl stop ssh.service ssh.socket")
    guest.must("systemctl enable --now ssh.socket 2>&1")
    stories.toggles(host, guest, VM, "ssh.socket")
    guest.stop()
    host.operator.must("bind", VM, "alice", "tablet", "--no-wait")
    guest.start(wait=False)
    stories.answers_after_document(guest, "alice", "tablet")
    host.operator.must("unbind", VM, "alice", "tablet")
    check(not guest.key_login("alice", "tablet"), "unbound again")


def back_to_service():
    guest.must("systemctl disable --now ssh.socket 2>&1; rm -f /etc/systemd/system/ssh.socket /etc/systemd/system/ssh@.service;"
               "systemctl daemon-reload; systemctl enable --now ssh.service 2>&1")
    stories.toggles(host, guest, VM)


def stopped_sshd():
    """P56, T12: a stopped sshd is not started, a masked one neither."""
    for how, undo in (("systemctl stop ssh", "systemctl start ssh"), ("systemctl mask --now ssh 2>&1", "systemctl unmask ssh 2>&1; systemctl start ssh")):
        guest.must(how)
        output = host.operator.must("sshd", "set", VM, "--permit-root-login=no", "--confirm-within=0")
        check("not running" in output, f"{how}: the result says that sshd is not running ({output.strip()})")
        check(guest.sh("systemctl is-active ssh")[0] != 0 and guest.sh("pgrep -x sshd")[0] != 0, "  and nobody has started it")
        guest.must(undo)
        host.operator.must("sshd", "set", VM, "--permit-root-login=prohibit-password", "--confirm-within=0")


def dead_endpoint():
    """P115: an endpoint that does not answer holds sshd up for boot_wait and no longer."""
    conf = f"{guest.tree}/etc/latchkey/latchkey.conf"
    guest.stop()
    text = open(conf).read()
    write(conf, text.replace(":8470", ":1").replace("[agent]\n", "[agent]\nboot_wait = 3\n"))
    guest.start()
    waited = (stories.monotonic(guest, "ssh", "ExecMainStart") - stories.monotonic(guest, "latchkeyd", "ExecMainStart")) / 1e6
    stories.settled(guest)
    guest.stop()
    write(conf, text)
    guest.start()
    check(2.9 < waited < 5, f"sshd started {waited:.1f} s after latchkeyd")


def supervision():
    """P82: a latchkeyd that hangs is ended by the watchdog; killed halves come back and work."""
    guest.must("mkdir -p /run/systemd/system/latchkeyd.service.d; printf '[Service]\\nWatchdogSec=2\\n' >"
               "/run/systemd/system/latchkeyd.service.d/t.conf; systemctl daemon-reload; systemctl restart latchkeyd")
    pid = guest.property("latchkeyd", "MainPID")
    time.sleep(5)
    check(guest.property("latchkeyd", "MainPID") == pid, "the watchdog is fed")
    guest.must(f"kill -STOP {pid}")
    wait_for(lambda: guest.property("latchkeyd", "MainPID") not in (pid, "0"), "a stopped latchkeyd is replaced")
    guest.must("rm -r /run/systemd/system/latchkeyd.service.d; systemctl daemon-reload")
    guest.wait_active("latchkeyd")
    for unit in ("latchkeyd", "latchkey-net"):
        pid = guest.property(unit, "MainPID")
        guest.must(f"kill -KILL {pid}")
        wait_for(lambda: guest.property(unit, "MainPID") not in (pid, "0"), f"{unit} comes back")
        guest.wait_active(unit)
        host.operator.must("bind", VM, "alice", "tablet")
        check(guest.key_login("alice", "tablet"), f"{unit} killed: a key is bound all the same")
        host.operator.must("unbind", VM, "alice", "tablet")
    guest.must("systemctl restart latchkeyd")
    guest.wait_active("latchkey-net")
    stories.settled(guest)


def starting_changes_sshd():
    """T13: what latchkeyd has to do to sshd while it starts does not wait for latchkeyd to have started."""
    for locations in ("home", "home runtime system"):
        guest.put({"etc/latchkey/policy.conf": (f"[keys]\nlocations = {locations}\n", 0o644)})
        before = guest.must("sha256sum /etc/ssh/sshd_config.d/00-latchkey.conf || true")
        guest.must("systemctl restart latchkeyd")
        took = (stories.monotonic(guest, "latchkeyd", "ActiveEnter") - stories.monotonic(guest, "latchkeyd", "InactiveExit")) / 1e6
        check(guest.must("sha256sum /etc/ssh/sshd_config.d/00-latchkey.conf || true") != before, f"locations = {locations}: another drop-in")
        check(took < 5, f"latchkeyd started in {took:.1f} s")
        # Of this start alone: an earlier case lets the watchdog bite.
        log = guest.must("journalctl --no-pager -q _SYSTEMD_INVOCATION_ID=$(systemctl show --value -p InvocationID latchkeyd)")
        check("timeout" not in log, "and no job of sshd's waited in vain")
    guest.must("rm /etc/latchkey/policy.conf; systemctl restart latchkeyd")
    stories.settled(guest)


def confinement():
    """P9, P90: what the kernel says of the two halves, and every command under the shipped unit."""
    status = guest.must("cat /proc/$(systemctl show --value -p MainPID latchkey-net)/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    check(int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0 and fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2",
          "latchkey-net: no capabilities, no new privileges, a filter")
    stories.every_command(host, guest, VM)


def deb(version):
    """The package as another version of it."""
    folder, package = f"/tmp/deb-{version}", glob.glob("/run/project/build/debian/latchkey-agent_*.deb")[0]
    guest.must_run("dpkg-deb", "-R", package, folder)
    with open(f"{folder}/DEBIAN/control") as file:
        text = file.read()
    write(f"{folder}/DEBIAN/control", text.replace("\nVersion: 1.0.0\n", f"\nVersion: {version}\n"))
    guest.must_run("dpkg-deb", "-b", "-Znone", folder, f"{guest.tree}/var/cache/agent-{version}.deb")


def packages():
    """P92, T34: upgrade, downgrade, remove, purge, and installing on a machine that runs."""
    deb("1.0.1")
    deb("0.9.9")
    before = stories.identity(guest)
    for version in ("1.0.1", "0.9.9"):
        pid = guest.property("latchkeyd", "MainPID")
        guest.must(f"dpkg -i /var/cache/agent-{version}.deb 2>&1")
        guest.wait_active("latchkeyd")
        guest.wait_active("latchkey-net")
        check(guest.property("latchkeyd", "MainPID") != pid, f"{version}: latchkeyd is the new one")
        check(stories.identity(guest) == before, "  the identity is kept")
        host.operator.must("reset-password", VM, "alice", "--password-fd", "9", secret=stories.PASSWORD)
        check(guest.password_login("alice", stories.PASSWORD), "  and it works")
        stories.settled(guest)
    kept = "sha256sum /home/alice/.ssh/authorized_keys /etc/ssh/sshd_config.d/* /etc/latchkey/allowed_signers /etc/latchkey/latchkey.conf"
    sums = guest.must(kept)
    host.operator.must("sshd", "set", VM, "--password-auth=false")
    check(not guest.password_login("alice", stories.PASSWORD), "password login is off on trial")
    guest.must("apt-get -y remove latchkey-agent 2>&1")
    check(guest.sh("pgrep latchkey")[0] == 1, "remove: nothing of it runs")
    check(guest.must(kept) == sums and guest.key_login("alice") and guest.password_login("alice", stories.PASSWORD),
          "what it made true stays true, and what was on trial is undone")
    check(stories.identity(guest) == before, "the state stays")
    guest.must("systemctl restart ssh")
    stories.settled(guest)
    guest.must("apt-get -y purge latchkey-agent 2>&1")
    check(guest.sh("test -e /var/lib/latchkey -o -e /etc/latchkey/policy.conf")[0] == 1, "purge: the state and the conffile are gone")
    check(guest.must("ls /run/latchkey").split() in ([], ["authorized_keys"]), "  and so is what ran, but for the keys bound at runtime")
    check(guest.must(kept) == sums and guest.key_login("alice"), "the operator's files and people's logins are not")
    guest.must("systemctl restart ssh")
    check(guest.key_login("alice"), "sshd starts with what is left")
    stories.settled(guest)
    guest.must("mv /etc/latchkey /etc/latchkey.kept; dpkg -i /var/cache/agent-1.0.1.deb 2>&1")
    guest.wait_active("latchkeyd")
    check("idle" in guest.must("latchctl status") or guest.must("systemctl is-active latchkey-net"), "installed anew with nothing configured: it idles")
    print(guest.must("latchctl status"))
    stories.settled(guest)
    for unit in ("latchkeyd", "latchkey-net", "latchkey-banner", "latchkey-medium"):
        enabled = guest.sh(f"systemctl is-enabled {unit}")[1].strip()
        check(enabled == "enabled", f"{unit} is {enabled}, as the preset has it")
    with open("/run/project/debian/tests/agent") as file:
        print(guest.must(f"bash -s <<'AUTOPKGTEST'\n{file.read()}AUTOPKGTEST"))


def after_cloud_init(name):
    """What reads the configuration has started after the stage of cloud-init that writes it."""
    began = min(stories.monotonic(second, unit, "ExecMainStart") for unit in ("latchkeyd", "latchkey-net"))
    check(0 < stories.monotonic(second, name, "ExecMainExit") <= began, f"both halves start after {name}")


def cloud_init():
    """T36: cloud-init (NoCloud) makes its user and hands over the agent's configuration; both live side by side, boot after boot."""
    files = host.seed("vm-2")
    text = "#cloud-config\nlocale: false\nssh_pwauth: false\nusers:\n- name: debian\n  shell: /bin/bash\n  sudo: ALL=(ALL) NOPASSWD:ALL\n  lock_passwd: false\n"
    text += f"  ssh_authorized_keys: ['{guest.must_run('ssh-keygen', '-y', '-f', '/tmp/operator/tablet').strip()}']\nwrite_files:\n"
    files["etc/latchkey/policy.conf.d/cloud-image.conf"] = (open(f"{second.tree}/usr/share/latchkey/policy-cloud-image.conf").read(), 0o644)
    for path, (content, mode) in files.items():
        body = "".join(f"    {line}\n" for line in content.splitlines())
        owner = "root:latchkey" if mode == 0o640 else "root:root"
        text += f"- path: /{path}\n  owner: '{owner}'\n  permissions: '0{mode:o}'\n  content: |\n{body}"
    os.unlink(f"{second.tree}/etc/cloud/cloud-init.disabled")
    second.put({"var/lib/cloud/seed/nocloud/meta-data": ("instance-id: i-1\n", 0o644), "var/lib/cloud/seed/nocloud/user-data": (text, 0o600)})
    host.operator.must("bind", "vm-2", "debian", "laptop", "--no-wait")
    second.start()
    # It restarts sshd in the middle of all, so the first answer is not the last.
    wait_for(lambda: "done" in second.sh("cloud-init status")[1], "cloud-init is done", 600)
    check(second.key_login("debian", "laptop"), "the key of a document that waited logs in")
    check(second.key_login("debian", "tablet"), "cloud-init's key logs in too")
    stories.settled(second)
    old, new = "cloud-init.service", "cloud-init-network.service"  # the stage's name, from 24.3 on another
    renamed = os.path.exists(f"{second.tree}/lib/systemd/system/{new}")
    after_cloud_init(new if renamed else old)
    stories.registered(host, "vm-2")
    host.operator.must("reset-password", "vm-2", "debian", "--accept-new-identity", "--password-fd", "9", secret=stories.PASSWORD)
    check("PasswordAuthentication no" in second.must("cat /etc/ssh/sshd_config.d/50-cloud-init.conf"), "cloud-init has turned passwords off")
    check(not second.password_login("debian", stories.PASSWORD), "so the new one does not log in")
    host.operator.must("sshd", "set", "vm-2", "--password-auth")
    check(second.password_login("debian", stories.PASSWORD), "until sshd.set turns them on, over cloud-init's file")
    second.stop()
    second.put({"var/lib/cloud/seed/nocloud/meta-data": ("instance-id: i-2\n", 0o644)})
    if not renamed:  # the init scripts that the unit hides under its old name would run the stage beside it
        second.must_run("sh", "-c", f"cd {second.tree}; rm -f etc/init.d/cloud-*; mv lib/systemd/system/{old} lib/systemd/system/{new};"
                        f"grep -rl '{old.replace('.', '[.]')}' lib/systemd/system/cloud-* | xargs -r sed -i 's/{old.replace('.', '[.]')}/{new}/g';"
                        f"find etc/systemd/system -name {old} -delete")
        second.must_run("systemctl", f"--root={second.tree}", "enable", new)
    second.start()
    wait_for(lambda: "done" in second.sh("cloud-init status")[1], "cloud-init is done", 600)
    after_cloud_init(new)
    check(second.key_login("debian", "laptop"), "after a boot in which cloud-init did everything again our key still logs in")
    check(second.key_login("debian", "tablet"), "  and cloud-init's")
    check(second.password_login("debian", stories.PASSWORD), "  and the password")
    stories.settled(second)


def beside_cloud_init():
    guest.stop()
    cloud_init()


CASES = {
    "boot": ("a document that waits at boot is applied before sshd answers", lambda: stories.waiting_document(host, guest, VM)),
    "online": ("reset and bind on the running machine", lambda: stories.online(host, guest, VM)),
    "toggles": ("sshd.set over ssh.service", lambda: stories.toggles(host, guest, VM)),
    "cuts": ("five power cuts, each in a document", power_cuts),
    "socket": ("sshd.set and boot over ssh.socket with Accept=no", lambda: socket_activation(False)),
    "accept": ("sshd.set and boot over ssh.socket with Accept=yes", lambda: socket_activation(True)),
    "service": ("back to ssh.service", back_to_service),
    "stopped": ("a stopped or masked sshd is left alone", stopped_sshd),
    "dead": ("a dead endpoint delays boot by boot_wait", dead_endpoint),
    "supervision": ("watchdog, crashes, restarts", supervision),
    "starting": ("a start that has to reload sshd", starting_changes_sshd),
    "confinement": ("every command under the shipped units; homes outside /home", confinement),
    "packages": ("upgrade, downgrade, remove, purge, install", packages),
    "cloud": ("cloud-init beside it", beside_cloud_init),
}

guest = second = None
try:
    guest, second = suite.guest(Container("box")), suite.guest(Container("cloud"))
    guest.put(host.seed(VM))
    stories.make_keys(host)
    # With names as arguments: these cases alone, after the first two, which the others build on.
    for name in CASES if len(sys.argv) == 1 else ["boot", "online", *sys.argv[1:]]:
        suite.case(*CASES[name])
finally:
    status = suite.end(host)
sys.exit(status)
