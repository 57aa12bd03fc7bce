/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of blockers: stable code, what is in the way, what helps. What helps is a command to type where there
 * is one: for the operator (latchkey …) or on the machine. INSTANCE and USER stand for the names, LABEL and GROUP for
 * what a person chooses. tests/integration/325-blockers.py puts a machine into each and runs what is said here.
 */
#pragma once

#include <stdint.h>

#include "lib/json.h"

#define BLOCKER_TABLE(X)                                                                                              \
	X(NO_SUCH_USER, "no_such_user", "there is no such local account", "latchkey user add INSTANCE USER")          \
	X(SSHD_MISSING, "sshd_missing", "no OpenSSH server is installed", "install openssh-server")                   \
	X(SSHD_NOT_RUNNING, "sshd_not_running", "nobody listens on sshd's ports", "systemctl start ssh, or sshd")     \
	X(SSHD_INVALID, "sshd_invalid", "sshd refuses its own configuration", "sshd -t names the line to mend")       \
	X(SSHD_UNKNOWN, "sshd_unknown", "sshd does not say what is in force", "sshd -T says why")                     \
	X(EXPIRED, "expired", "the account has expired",                                                              \
		"latchkey user unlock INSTANCE USER, or latchkey user add INSTANCE USER --expires +30d")              \
	X(LOCKED_HASH, "locked_hash", "the password hash is locked with !", "latchkey user unlock INSTANCE USER")     \
	X(SHELL_NOLOGIN, "shell_nologin", "the login shell ends every session at once",                               \
		"latchkey user add INSTANCE USER --shell /bin/bash --adopt")                                          \
	X(SHELL_MISSING, "shell_missing", "the login shell does not exist or cannot be executed",                     \
		"latchkey user add INSTANCE USER --shell /bin/bash --adopt")                                          \
	X(SHELL_UNLISTED, "shell_unlisted", "PAM wants a shell that stands in /etc/shells",                           \
		"latchkey user add INSTANCE USER --shell /bin/bash --adopt")                                          \
	X(NOLOGIN_FILE, "nologin_file", "/etc/nologin or /run/nologin keeps everybody but root out",                  \
		"rm -f /etc/nologin /run/nologin")                                                                    \
	X(ROOT_LOGIN_OFF, "root_login_off", "PermitRootLogin is no",                                                  \
		"latchkey sshd set INSTANCE --permit-root-login prohibit-password")                                   \
	X(ROOT_PASSWORD_OFF, "root_password_off", "PermitRootLogin allows root no password",                          \
		"latchkey bind INSTANCE root LABEL, or latchkey sshd set INSTANCE --permit-root-login yes")           \
	X(ROOT_COMMANDS_ONLY, "root_commands_only", "PermitRootLogin allows root forced commands only",               \
		"latchkey sshd set INSTANCE --permit-root-login prohibit-password")                                   \
	X(DENY_USERS, "deny_users", "DenyUsers names the user", "take the user out of DenyUsers in sshd_config")      \
	X(ALLOW_USERS, "allow_users", "AllowUsers does not name the user",                                            \
		"add the user to AllowUsers in sshd_config")                                                          \
	X(DENY_GROUPS, "deny_groups", "DenyGroups names a group of the user",                                         \
		"gpasswd -d USER GROUP, or change DenyGroups in sshd_config")                                         \
	X(ALLOW_GROUPS, "allow_groups", "AllowGroups names no group of the user",                                     \
		"latchkey user add INSTANCE USER --groups GROUP, with one that AllowGroups names")                    \
	X(FORCE_COMMAND, "force_command", "ForceCommand leaves the user no shell",                                    \
		"take ForceCommand away in sshd_config")                                                              \
	X(CHROOT, "chroot_directory", "ChrootDirectory shuts the session in",                                         \
		"take ChrootDirectory away in sshd_config")                                                           \
	X(MAX_SESSIONS, "max_sessions", "MaxSessions 0 allows no session", "take MaxSessions 0 away in sshd_config")  \
	X(AUTHENTICATION_METHODS, "authentication_methods", "AuthenticationMethods wants more than this one method",  \
		"use all methods of one of its lists")                                                                \
	X(PUBKEY_AUTH_OFF, "pubkey_auth_off", "PubkeyAuthentication is no",                                           \
		"latchkey sshd set INSTANCE --pubkey-auth")                                                           \
	X(PASSWORD_AUTH_OFF, "password_auth_off", "neither password nor keyboard-interactive login is on",            \
		"latchkey sshd set INSTANCE --password-auth")                                                         \
	X(NO_PASSWORD, "no_password", "no usable password is set", "latchkey reset-password INSTANCE USER")           \
	X(MUST_CHANGE, "must_change", "a password change is due and there is no password to change",                  \
		"latchkey reset-password INSTANCE USER")                                                              \
	X(KEYS_FILE_NONE, "keys_file_none", "AuthorizedKeysFile is none",                                             \
		"take AuthorizedKeysFile none away in sshd_config")                                                   \
	X(KEYS_FILE_MISSING, "keys_file_missing", "no file that sshd reads keys from exists",                         \
		"latchkey bind INSTANCE USER LABEL")                                                                  \
	X(KEYS_FILE_UNREADABLE, "keys_file_unreadable", "the user cannot read the file of keys",                      \
		"let the user read the file of keys")                                                                 \
	X(KEYS_FILE_TOO_LARGE, "keys_file_too_large", "the file of keys is larger than is looked at",                 \
		"shorten the file of keys")                                                                           \
	X(STRICT_MODES, "strict_modes", "others can write to the file of keys or to a directory above it",            \
		"chmod go-w ~USER ~USER/.ssh ~USER/.ssh/authorized_keys")                                             \
	X(NO_KEY, "no_key", "the file of keys holds no key that logs in", "latchkey bind INSTANCE USER LABEL")        \
	X(KEY_EXPIRED, "key_expired", "every key has expired", "latchkey bind INSTANCE USER LABEL")                   \
	X(KEY_FROM, "key_from", "no key is good for that address", "latchkey bind INSTANCE USER LABEL")               \
	X(KEY_REVOKED, "key_revoked", "RevokedKeys names every key",                                                  \
		"latchkey bind INSTANCE USER LABEL, with another key")                                                \
	X(KEY_TYPE_OFF, "key_type_off", "sshd accepts none of the keys' algorithms",                                  \
		"latchkey bind INSTANCE USER LABEL, with a key of another type")                                      \
	X(KEY_COMMAND_ONLY, "key_command_only", "every key is bound to one command",                                  \
		"latchkey bind INSTANCE USER LABEL")                                                                  \
	X(REVOKED_KEYS_MISSING, "revoked_keys_missing", "the RevokedKeys file cannot be read, so no key is accepted", \
		"put the file back, or take RevokedKeys away in sshd_config")                                         \
	X(PAM_ACCESS, "pam_access", "access.conf lets the user in from nowhere",                                      \
		"let the user in by /etc/security/access.conf")                                                       \
	X(LOGIN_LIMIT, "login_limit", "limits.conf allows the user no login",                                         \
		"raise maxlogins in /etc/security/limits.conf or limits.d")                                           \
	X(HOSTS_DENY, "hosts_deny", "hosts.deny keeps the address out", "change /etc/hosts.allow or hosts.deny")      \
	X(FAILLOCK, "faillock", "too many wrong passwords: pam_faillock holds the user back",                         \
		"faillock --user USER --reset")                                                                       \
	X(HOST_KEY_MISSING, "host_key_missing", "sshd has no host key, so it ends every connection", "ssh-keygen -A") \
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
