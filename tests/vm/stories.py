# SPDX-License-Identifier: Apache-2.0
"""What both kinds of guest are put through: each function tells one story and checks how it ends."""
import json
import os
import subprocess
import urllib.error
import urllib.request

from guest import check, wait_for

ENDPOINT = "http://127.0.0.1:8470"
PASSWORD = "Correct-Horse-7-Battery"
CROWD = 60


def monotonic(guest, unit, name):
    return int(guest.property(unit, name + "TimestampMonotonic"))


def settled(guest):
    """Nothing is left in an unclean state by what happened."""
    failed = guest.must("systemctl --failed --no-legend --plain")
    check(failed == "", f"no unit has failed {failed}")
    check("ordering cycle" not in guest.must("journalctl -b --no-pager -q _PID=1"), "no ordering cycle")


def answers_after_document(guest, user, key):
    """P115: the very first answer of sshd already takes the key of the document that waited."""
    wait_for(guest.banner, "sshd answers", 600)
    # pam_nologin has its own idea of when people may come in, whoever they are.
    wait_for(lambda: guest.sh("test -e /run/nologin")[0] == 1, "the machine takes logins", 600)
    check(guest.key_login(user, key), "the key of a document that waited logs in as soon as sshd answers")
    guest.wait_active("multi-user.target")
    settled(guest)


def waiting_document(host, guest, vm, **start):
    host.operator.must("user", "add", vm, "alice", "--no-wait")
    host.operator.must("bind", vm, "alice", "laptop", "--no-wait")
    guest.start(wait=False, **start)
    answers_after_document(guest, "alice", "laptop")
    check(monotonic(guest, "latchkeyd", "ActiveEnter") <= monotonic(guest, "ssh", "ExecMainStart"),
          "sshd starts when latchkeyd is ready")


def registered(host, vm):
    def asks():
        try:
            return endpoint_request(host, "GET", f"/instances/{vm}/identity")
        except urllib.error.HTTPError:
            return None
    wait_for(asks, f"{vm} has registered", 600)


def online(host, guest, vm):
    """Reset and bind on a running machine, seen by real logins."""
    registered(host, vm)
    booted = guest.must("cat /proc/sys/kernel/random/boot_id; systemctl show --value -p MainPID ssh")
    host.operator.must("reset-password", vm, "alice", "--accept-new-identity", "--password-fd", "9", secret=PASSWORD)
    check(guest.password_login("alice", PASSWORD), "reset-password: the password logs in")
    host.operator.must("bind", vm, "alice", "tablet")
    check(guest.key_login("alice", "tablet"), "bind: the key logs in")
    host.operator.must("unbind", vm, "alice", "tablet")
    check(not guest.key_login("alice", "tablet") and guest.key_login("alice"), "unbind: that key is refused, the other is not")
    check(guest.must("cat /proc/sys/kernel/random/boot_id; systemctl show --value -p MainPID ssh") == booted,
          "without a reboot and without a restart of sshd")


def toggles(host, guest, vm, unit="ssh.service"):
    """sshd.set both ways, whichever unit listens."""
    guest.must(f"systemctl is-active {unit}")
    check(guest.password_login("alice", PASSWORD), f"{unit}: the password logs in")
    host.operator.must("sshd", "set", vm, "--password-auth=false")
    check(not guest.password_login("alice", PASSWORD) and guest.key_login("alice"), f"{unit}: password login is off, the key logs in")
    host.operator.must("sshd", "confirm", vm)
    host.operator.must("sshd", "set", vm, "--password-auth")
    check(guest.password_login("alice", PASSWORD), f"{unit}: password login is on again")
    guest.must(f"systemctl is-active {unit}")
    settled(guest)


def endpoint_request(host, method, path, body=None, **headers):
    with open(f"{host.operator.environment['HOME']}/.config/latchkey/token") as file:
        headers["Authorization"] = "Bearer " + file.read().strip()
    with urllib.request.urlopen(urllib.request.Request(f"{ENDPOINT}/latchkey/v1{path}", body, headers, method=method)) as answer:
        return answer.headers.get("ETag"), answer.read()


def put_document(host, vm, commands):
    """A document of many commands, as a console of another make would sign it; returns its seq."""
    home = f"{host.operator.environment['HOME']}/.config/latchkey"
    etag, text = endpoint_request(host, "GET", f"/instances/{vm}/document")
    seq = json.loads(text.split(b"-----BEGIN SSH SIGNATURE-----")[0])["seq"] + 1
    host.signer.path = f"{home}/signing_key"
    endpoint_request(host, "PUT", f"/instances/{vm}/document", host.signer.document(seq, commands, vm), **{"If-Match": etag})
    return seq


def crowd(prefix):
    """Work enough to be struck in the middle of: users with a home each."""
    return [{"id": f"{prefix}-{i}", "do": "user.ensure", "user": f"{prefix}{i}"} for i in range(CROWD)]


def done_exactly_once(host, guest, vm, prefix):
    """After whatever happened: each user is there once with a home, each command has exactly one final result, all is at rest."""
    wait_for(lambda: guest.sh("test -z \"$(ls /var/lib/latchkey/journal)\" -a -z \"$(ls /var/lib/latchkey/results)\"")[0] == 0,
             "the journal is empty and the results are delivered", 600)
    names = guest.must(f"grep -o '^{prefix}[0-9]*:' /etc/passwd | sort").split()
    check(len(names) == len(set(names)) == CROWD, f"{prefix}: every user is there once ({len(names)})")
    owners = guest.must(f"stat -c '%n %U' /home/{prefix}*").splitlines()
    check(len(owners) == CROWD and all(line.split()[0] == "/home/" + line.split()[1] for line in owners), "with a home of his own")
    check(guest.sh("pwck -qr; grpck -qr")[0] == 0, "pwck and grpck find nothing wrong")
    texts = json.loads(endpoint_request(host, "GET", f"/instances/{vm}/results?after=0")[1])["results"]
    finals = {}
    for text in texts:
        for result in json.loads(text.split("-----BEGIN SSH SIGNATURE-----")[0])["results"]:
            if result["id"].startswith(prefix + "-"):
                finals.setdefault(result["id"], []).append(result["status"])
    # Not whether it changed anything: where all was written when the power went, the redo finds nothing to do.
    check(len(finals) == CROWD and all(seen == ["ok"] for seen in finals.values()),
          f"each command has one result: ok ({len(finals)}, {[s for s in finals.values() if s != ['ok']][:3]})")


def every_command(host, guest, vm):
    """P90: each command once as an operator gives it, with logins and sessions that are real."""
    must = host.operator.must
    guest.must("groupadd --gid 5000 dev; mkdir -p /srv/people /opt/homes; useradd -m -d /srv/people/erin -s /bin/bash erin")
    guest.put({"etc/latchkey/policy.conf": ("[groups]\nallow = dev\n[sudo]\nmost = nopasswd\n[users]\nprivileged = allow\nremove = any\n"
                                            "[keys]\nlocations = home runtime system\n", 0o644)})
    must("user", "add", vm, "bob", "--groups=dev", "--sudo=nopasswd", "--gecos=Bob Example", "--shell=/bin/bash", "--expires=+30d")
    check("bob" in guest.must("getent group dev") and "NOPASSWD" in guest.must("sudo -l -U bob"), "user add with a group and sudo")
    for location in ("home", "runtime", "system"):
        must("bind", vm, "bob", "tablet", "--location", location)
        check(guest.key_login("bob", "tablet"), f"bind at {location}")
        must("unbind", vm, "bob", "tablet", "--end-sessions")
        check(not guest.key_login("bob", "tablet"), "  and unbind")
    must("bind", vm, "erin", "tablet")
    check(guest.key_login("erin", "tablet"), "a home outside /home: bind")
    must("user", "add", vm, "frank", "--home=/opt/homes/frank")
    must("bind", vm, "frank", "tablet")
    check(guest.key_login("frank", "tablet"), "a new home outside /home")
    guest.must("pkill -KILL -u frank; sleep 0.5; systemctl reset-failed")
    must("user", "remove", vm, "frank", "--home=delete")
    check(guest.sh("test -e /opt/homes/frank")[0] == 1, "  and removed")
    must("reset-password", vm, "bob", "--generate")
    must("reset-password", vm, "bob", "--password-fd", "9", "--must-change", "--clear-faillock", secret=PASSWORD)
    must("reset-password", vm, "bob", "--password-fd", "9", secret=PASSWORD)
    check(guest.password_login("bob", PASSWORD), "reset-password")
    must("user", "lock", vm, "bob")
    check(not guest.password_login("bob", PASSWORD), "user lock")
    must("user", "unlock", vm, "bob")
    check(guest.password_login("bob", PASSWORD), "user unlock")
    must("password", "remove", vm, "bob")
    check(not guest.password_login("bob", PASSWORD), "password remove")
    must("bind", vm, "bob", "tablet")
    subprocess.run(["ssh", *guest.logins.ssh_options("-f", "-i", "/tmp/operator/tablet", "-o", "IdentitiesOnly=yes"), "bob@127.0.0.1",
                    "sleep 300"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: guest.sh("pgrep -f '^sshd(-session)?: bob'")[0] == 0, "a session of his")
    must("sessions", "end", vm, "bob")
    wait_for(lambda: guest.sh("pgrep -f '^sshd(-session)?: bob'")[0] == 1, "sessions end: it is closed", 10)
    check("login by key works" in must("diagnose", vm, "bob"), "diagnose")
    must("sshd", "reload", vm)
    must("sshd", "restart", vm)
    check(guest.key_login("bob", "tablet"), "sshd reload and restart")
    guest.must("pkill -KILL -u bob; sleep 0.5; systemctl reset-failed")
    must("user", "remove", vm, "bob", "--home=delete")
    check(guest.sh("id bob")[0] == 1 and guest.sh("test -e /home/bob")[0] == 1, "user remove")
    guest.must("rm /etc/latchkey/policy.conf")
    health = guest.must("latchctl status")
    check("health: ok" in health, f"health: ok ({health})")
    settled(guest)


def identity(guest):
    return guest.must("sha256sum </var/lib/latchkey/identity/sign")


def final_results(host, vm):
    """How many commands have ended."""
    texts = json.loads(endpoint_request(host, "GET", f"/instances/{vm}/results?after=0")[1])["results"]
    return sum(result["status"] != "pending" for text in texts for result in json.loads(text.split("-----BEGIN SSH SIGNATURE-----")[0])["results"])


def make_keys(host):
    for label in ("laptop", "tablet"):
        if not os.path.exists(f"{host.operator.environment['HOME']}/{label}"):
            host.operator.must("keypair", "create", label)
