#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""P32: names that only a name service knows, and one that hangs. In the rig: tests/integration/021-name-service.py"""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "rig"))
from plugin import Plugin, check  # noqa: E402

MODULE = r"""
#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
enum nss_status _nss_rigtest_getpwnam_r(const char *name, struct passwd *entry, char *bytes, size_t size, int *error)
{
	if (strncmp(name, "hang", 4) == 0)
		for (;;)
			pause();
	if (strncmp(name, "crash", 5) == 0)
		*(volatile int *)0 = 1;
	if (getuid() == 0 || strncmp(name, "ldap", 4) != 0 || size < 64) {
		*error = ENOENT;
		return NSS_STATUS_NOTFOUND;
	}
	strcpy(bytes, name);
	*entry = (struct passwd){bytes, "x", 70000, 70000, "", "/home/ldap", "/bin/sh"};
	return NSS_STATUS_SUCCESS;
}
enum nss_status _nss_rigtest_getpwuid_r(uid_t uid, struct passwd *entry, char *bytes, size_t size, int *error)
{
	FILE *file = fopen("/tmp/nss/uids", "r");
	unsigned low = 1, high = 0;
	if (file)
		fscanf(file, "%u %u", &low, &high), fclose(file);
	if (high == 4294967295u)
		for (;;)
			pause();
	if (getuid() == 0 || uid < low || uid > high) {
		*error = ENOENT;
		return NSS_STATUS_NOTFOUND;
	}
	strcpy(bytes, "ldapsomebody");
	*entry = (struct passwd){bytes, "x", uid, uid, "", "/home/ldap", "/bin/sh"};
	return NSS_STATUS_SUCCESS;
}
static enum nss_status group_of(const char *name, gid_t gid, struct group *entry, char *bytes)
{
	static char *none[] = {NULL};
	strcpy(bytes, name);
	*entry = (struct group){bytes, "x", gid, none};
	return NSS_STATUS_SUCCESS;
}
enum nss_status _nss_rigtest_getgrnam_r(const char *name, struct group *entry, char *bytes, size_t size, int *error)
{
	if (strncmp(name, "hang", 4) == 0)
		for (;;)
			pause();
	*error = ENOENT;
	return getuid() != 0 && strncmp(name, "ldap", 4) == 0 ? group_of(name, 70000, entry, bytes) : NSS_STATUS_NOTFOUND;
}
enum nss_status _nss_rigtest_getgrgid_r(gid_t gid, struct group *entry, char *bytes, size_t size, int *error)
{
	FILE *file = fopen("/tmp/nss/gids", "r");
	unsigned low = 1, high = 0;
	if (file)
		fscanf(file, "%u %u", &low, &high), fclose(file);
	*error = ENOENT;
	return getuid() != 0 && gid >= low && gid <= high ? group_of("ldapgroup", gid, entry, bytes) : NSS_STATUS_NOTFOUND;
}
"""
os.makedirs("/tmp/nss")
subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", "/tmp/nss/libnss_rigtest.so.2"], input=MODULE.encode(), check=True)
os.chmod("/tmp/nss", 0o755)
with open("/etc/ld.so.conf.d/rigtest.conf", "w") as file:
    file.write("/tmp/nss\n")
subprocess.run(["ldconfig", "-X"], check=True)
with open("/etc/nsswitch.conf", "w") as file:
    file.write("passwd: files rigtest\ngroup: files rigtest\nshadow: files\nhosts: files\n")

account = Plugin("account")
keys = Plugin("authorized-keys", {"types": ["ed25519"], "locations": ["home"]})
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"


def expect(result, code, text):
    check(result["code"] == code and not result.get("changed"), f"{text}: {result['code']} {result['detail']}")


before = open("/etc/passwd").read()
for command in ({"do": "user.ensure", "user": "ldapuser"}, {"do": "user.lock", "user": "ldapuser"},
                {"do": "user.remove", "user": "ldapuser"}):
    expect(account.one(command), "not_local", f"P32: {command['do']} (asked as another user: the module hides it from root)")
expect(keys.one({"do": "keys.bind", "user": "ldapuser", "keypair": "k", "key": KEY}), "not_local", "P32: keys.bind")
for name, wait in (("hanging", 3.0), ("crashing", 0.0)):
    started = time.monotonic()
    results = account.plan(*({"id": f"c{number}", "do": "user.ensure", "user": f"{name}{number}"} for number in range(5)))
    waited = time.monotonic() - started
    check({result["code"] for result in results} == {"timeout"}, f"P32: {name}: {results[0]['detail']}")
    check(wait - 0.2 < waited < wait + 1.5, f"P32: {waited:.1f} s for the whole batch")
started = time.monotonic()
results = keys.plan(*({"id": f"c{number}", "do": "keys.bind", "user": f"hanging{number}", "keypair": "k", "key": KEY}
                      for number in range(3)))
check({result["code"] for result in results} == {"timeout"} and time.monotonic() - started < 4.5, "P32: keys.bind: once for the batch")
check(open("/etc/passwd").read() == before, "nothing was written")
result = account.one({"do": "user.ensure", "user": "local1"})
check(result["code"] == "ok" and result["changed"], "a name that nobody knows is made")


# A name that only groups of the directory have is not made a second time; the user itself is known to nobody.
with open("/etc/nsswitch.conf", "w") as file:
    file.write("passwd: files\ngroup: files rigtest\nshadow: files\nhosts: files\n")
files = [open(f"/etc/{name}").read() for name in ("passwd", "group", "gshadow", "shadow")]
expect(account.one({"do": "user.ensure", "user": "ldapteam"}), "not_local", "P32: a new user's group is known elsewhere")
expect(account.one({"do": "user.ensure", "user": "local1", "groups": ["ldapdev"]}), "not_local", "P32: a group to join")
expect(account.one({"do": "user.ensure", "user": "local1", "groups": ["nosuch"]}), "group_missing", "nobody knows it")
started = time.monotonic()
expect(account.one({"do": "user.ensure", "user": "local1", "groups": ["hanggroup"]}), "timeout", "P32: they hang about a group")
check(time.monotonic() - started < 4.5, "P32: for 3 s")
check(files == [open(f"/etc/{name}").read() for name in ("passwd", "group", "gshadow", "shadow")], "nothing was written")
with open("/etc/nsswitch.conf", "w") as file:
    file.write("passwd: files rigtest\ngroup: files rigtest\nshadow: files\nhosts: files\n")


def taken(low, high, what="uids"):
    with open(f"/tmp/nss/{what}", "w") as file:
        file.write(f"{low} {high}")


def uid_of(user):
    return int(next(line for line in open("/etc/passwd") if line.startswith(user + ":")).split(":")[2])


uid = uid_of("local1")
taken(uid + 1, uid + 100)
results = account.run(*({"do": "user.ensure", "user": f"local{number}"} for number in (2, 3)))
check([result["code"] for result in results] == ["ok", "ok"] and uid_of("local2") == uid + 101 and uid_of("local3") == uid + 102,
      f"P31: a uid of a name service is not given again: {uid_of('local2')}, {uid_of('local3')}")
expect(account.one({"do": "user.ensure", "user": "local4", "uid": uid + 50}), "uid_taken", "P31: nor one that is named")
gid = uid_of("local3")
taken(gid + 1, gid + 20, "gids")
results = account.run(*({"do": "user.ensure", "user": f"grouped{number}"} for number in (1, 2)))
gids = [int(line.split(":")[3]) for line in open("/etc/passwd") if line.startswith("grouped")]
check([result["code"] for result in results] == ["ok", "ok"] and gids == [gid + 21, gid + 22],
      f"P31: nor a group id: {gids} above {gid}")
check([int(line.split(":")[2]) for line in open("/etc/group") if line.startswith("grouped")] == gids, "in /etc/group, too")
taken(0, 4294967295)
started = time.monotonic()
expect(account.one({"do": "user.ensure", "user": "local4"}), "timeout", "P32: they hang about uids")
check(time.monotonic() - started < 4.5, "P32: for 3 s")
print("all good", flush=True)
