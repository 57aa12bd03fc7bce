/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of blockers: stable code, what is in the way, what helps. docs/ and the man page are made from it. */
#pragma once

#include <stdint.h>

#include "lib/json.h"

#define BLOCKER_TABLE(X)                                                                                               \
	X(NO_SUCH_USER, "no_such_user", "there is no such local account", "user.ensure creates it")                    \
	X(SSHD_MISSING, "sshd_missing", "no OpenSSH server is installed", "install openssh-server")                    \
	X(SSHD_NOT_RUNNING, "sshd_not_running", "nobody listens on sshd's ports", "start ssh.service or sshd.service") \
	X(SSHD_INVALID, "sshd_invalid", "sshd refuses its own configuration", "sshd -t names the line")                \
	X(SSHD_UNKNOWN, "sshd_unknown", "sshd does not say what is in force", "sshd -T shows why")                     \
	X(EXPIRED, "expired", "the account has expired", "user.unlock, or user.ensure with a later expires")           \
	X(LOCKED_HASH, "locked_hash", "the password hash is locked with !", "user.unlock, or password.set")            \
	X(SHELL_NOLOGIN, "shell_nologin", "the login shell ends every session at once", "user.ensure with a shell")    \
	X(SHELL_MISSING, "shell_missing", "the login shell does not exist or cannot be executed",                      \
		"install it, or user.ensure with another shell")                                                       \
	X(SHELL_UNLISTED, "shell_unlisted", "PAM wants a shell that stands in /etc/shells", "add it to /etc/shells")   \
	X(NOLOGIN_FILE, "nologin_file", "/etc/nologin or /run/nologin keeps everybody but root out",                   \
		"remove the file")                                                                                     \
	X(ROOT_LOGIN_OFF, "root_login_off", "PermitRootLogin is no", "sshd.set permit_root_login")                     \
	X(ROOT_PASSWORD_OFF, "root_password_off", "PermitRootLogin allows root no password", "bind a key to root")     \
	X(ROOT_COMMANDS_ONLY, "root_commands_only", "PermitRootLogin allows root forced commands only",                \
		"sshd.set permit_root_login")                                                                          \
	X(DENY_USERS, "deny_users", "DenyUsers names the user", "change DenyUsers")                                    \
	X(ALLOW_USERS, "allow_users", "AllowUsers does not name the user", "add the user to AllowUsers")               \
	X(DENY_GROUPS, "deny_groups", "DenyGroups names a group of the user", "change DenyGroups, or the groups")      \
	X(ALLOW_GROUPS, "allow_groups", "AllowGroups names no group of the user", "add a group that it names")         \
	X(FORCE_COMMAND, "force_command", "ForceCommand leaves the user no shell", "change ForceCommand")              \
	X(CHROOT, "chroot_directory", "ChrootDirectory shuts the session in", "change ChrootDirectory")                \
	X(AUTHENTICATION_METHODS, "authentication_methods", "AuthenticationMethods wants more than this one method",   \
		"use all methods of one of its lists")                                                                 \
	X(PUBKEY_AUTH_OFF, "pubkey_auth_off", "PubkeyAuthentication is no", "sshd.set pubkey_auth true")               \
	X(PASSWORD_AUTH_OFF, "password_auth_off", "neither password nor keyboard-interactive login is on",             \
		"sshd.set password_auth true")                                                                         \
	X(NO_PASSWORD, "no_password", "no usable password is set", "password.set")                                     \
	X(MUST_CHANGE, "must_change", "a password change is due and there is no password to change", "password.set")   \
	X(KEYS_FILE_NONE, "keys_file_none", "AuthorizedKeysFile is none", "change AuthorizedKeysFile")                 \
	X(KEYS_FILE_MISSING, "keys_file_missing", "no file that sshd reads keys from exists", "keys.bind")             \
	X(KEYS_FILE_UNREADABLE, "keys_file_unreadable", "the user cannot read the file of keys", "make it readable")   \
	X(KEYS_FILE_TOO_LARGE, "keys_file_too_large", "the file of keys is larger than is looked at", "shorten it")    \
	X(STRICT_MODES, "strict_modes", "others can write to the file of keys or to a directory above it",             \
		"take group and world write permission away")                                                          \
	X(NO_KEY, "no_key", "the file of keys holds no key that logs in", "keys.bind")                                 \
	X(KEY_EXPIRED, "key_expired", "every key has expired", "keys.bind with a later expires")                       \
	X(KEY_FROM, "key_from", "no key is good for that address", "keys.bind with another from")                      \
	X(KEY_REVOKED, "key_revoked", "RevokedKeys names every key", "keys.bind with another key")                     \
	X(KEY_TYPE_OFF, "key_type_off", "sshd accepts none of the keys' algorithms", "keys.bind with another key")     \
	X(KEY_COMMAND_ONLY, "key_command_only", "every key is bound to one command", "keys.bind with another key")     \
	X(REVOKED_KEYS_MISSING, "revoked_keys_missing", "the RevokedKeys file cannot be read, so no key is accepted",  \
		"put the file back")                                                                                   \
	X(PAM_ACCESS, "pam_access", "access.conf lets the user in from nowhere", "change /etc/security/access.conf")   \
	X(LOGIN_LIMIT, "login_limit", "limits.conf allows the user no login", "change maxlogins in limits.conf")       \
	X(HOSTS_DENY, "hosts_deny", "hosts.deny keeps the address out", "change /etc/hosts.allow or hosts.deny")       \
	X(FAILLOCK, "faillock", "too many wrong passwords: pam_faillock holds the user back",                          \
		"password.set with clear_faillock, or faillock --user NAME --reset")                                   \
	X(HOST_KEY_MISSING, "host_key_missing", "sshd has no host key, so it ends every connection",                   \
		"ssh-keygen -A, then reload sshd")                                                                     \
	X(HOME_TIMEOUT, "home_timeout", "the home directory does not answer", "look at its mount")

enum blocker {
#define X(name, code, sentence, fix) BLOCKER_##name,
	BLOCKER_TABLE(X)
#undef X
		BLOCKER_COUNT
};

typedef uint64_t blocker_set;
_Static_assert(BLOCKER_COUNT <= 64, "a set is one word");

#define BLOCKER_BIT(blocker) (UINT64_C(1) << (unsigned)(blocker))

const char *blocker_code(enum blocker blocker);
const char *blocker_sentence(enum blocker blocker);
const char *blocker_fix(enum blocker blocker);
/* {"can":…,"blockers":[…]} under the key, in the table's order. */
void blocker_write(struct json_writer *writer, const char *key, blocker_set blockers);
