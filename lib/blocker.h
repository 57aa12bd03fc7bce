/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of blockers: stable code, what is in the way, what helps in a word; then what root would type on the
 * machine (it mends it, or shows the line that is to be changed), and what the console's operator would type behind
 * `latchkey`, or NULL where no command of ours helps.
 */
#pragma once

#include <stdint.h>

#include "lib/json.h"

#define BLOCKER_TABLE(X)                                                                                               \
	X(NO_SUCH_USER, "no_such_user", "there is no such local account", "user.ensure creates it",                    \
		"useradd -m -s /bin/bash {user}", "user add {instance} {user}")                                        \
	X(SSHD_MISSING, "sshd_missing", "no OpenSSH server is installed", "install openssh-server",                    \
		"apt-get install openssh-server || dnf install openssh-server", NULL)                                  \
	X(SSHD_NOT_RUNNING, "sshd_not_running", "nobody listens on sshd's ports", "start ssh.service or sshd.service", \
		"systemctl start ssh.service || systemctl start sshd.service", NULL)                                   \
	X(SSHD_INVALID, "sshd_invalid", "sshd refuses its own configuration", "sshd -t names the line",                \
		"/usr/sbin/sshd -t", NULL)                                                                             \
	X(SSHD_UNKNOWN, "sshd_unknown", "sshd does not say what is in force", "sshd -T shows why",                     \
		"/usr/sbin/sshd -T", NULL)                                                                             \
	X(EXPIRED, "expired", "the account has expired", "user.unlock, or user.ensure with a later expires",           \
		"chage -E -1 -I -1 {user}", "user unlock {instance} {user}")                                           \
	X(LOCKED_HASH, "locked_hash", "the password hash is locked with !", "user.unlock, or password.set",            \
		"passwd {user}", "user unlock {instance} {user}")                                                      \
	X(SHELL_NOLOGIN, "shell_nologin", "the login shell ends every session at once", "user.ensure with a shell",    \
		"usermod -s /bin/bash {user}", "user add {instance} {user} --shell /bin/bash")                         \
	X(SHELL_MISSING, "shell_missing", "the login shell does not exist or cannot be executed",                      \
		"install it, or user.ensure with another shell", "usermod -s /bin/bash {user}",                        \
		"user add {instance} {user} --shell /bin/bash")                                                        \
	X(SHELL_UNLISTED, "shell_unlisted", "PAM wants a shell that stands in /etc/shells", "add it to /etc/shells",   \
		"getent passwd {user} | cut -d: -f7 >>/etc/shells", NULL)                                              \
	X(NOLOGIN_FILE, "nologin_file", "/etc/nologin or /run/nologin keeps everybody but root out",                   \
		"remove the file", "rm -f /etc/nologin /run/nologin", NULL)                                            \
	X(ROOT_LOGIN_OFF, "root_login_off", "PermitRootLogin is no", "sshd.set permit_root_login",                     \
		"grep -rni PermitRootLogin /etc/ssh", "sshd set {instance} --permit-root-login=prohibit-password")     \
	X(ROOT_PASSWORD_OFF, "root_password_off", "PermitRootLogin allows root no password", "bind a key to root",     \
		"grep -rni PermitRootLogin /etc/ssh", "bind {instance} root KEYPAIR")                                  \
	X(ROOT_COMMANDS_ONLY, "root_commands_only", "PermitRootLogin allows root forced commands only",                \
		"sshd.set permit_root_login", "grep -rni PermitRootLogin /etc/ssh",                                    \
		"sshd set {instance} --permit-root-login=prohibit-password")                                           \
	X(DENY_USERS, "deny_users", "DenyUsers names the user", "change DenyUsers", "grep -rni DenyUsers /etc/ssh",    \
		NULL)                                                                                                  \
	X(ALLOW_USERS, "allow_users", "AllowUsers does not name the user", "add the user to AllowUsers",               \
		"grep -rni AllowUsers /etc/ssh", NULL)                                                                 \
	X(DENY_GROUPS, "deny_groups", "DenyGroups names a group of the user", "change DenyGroups, or the groups",      \
		"grep -rni DenyGroups /etc/ssh", NULL)                                                                 \
	X(ALLOW_GROUPS, "allow_groups", "AllowGroups names no group of the user", "add a group that it names",         \
		"grep -rni AllowGroups /etc/ssh", NULL)                                                                \
	X(FORCE_COMMAND, "force_command", "ForceCommand leaves the user no shell", "change ForceCommand",              \
		"grep -rni ForceCommand /etc/ssh", NULL)                                                               \
	X(CHROOT, "chroot_directory", "ChrootDirectory shuts the session in", "change ChrootDirectory",                \
		"grep -rni ChrootDirectory /etc/ssh", NULL)                                                            \
	X(AUTHENTICATION_METHODS, "authentication_methods", "AuthenticationMethods wants more than this one method",   \
		"use all methods of one of its lists", "grep -rni AuthenticationMethods /etc/ssh", NULL)               \
	X(PUBKEY_AUTH_OFF, "pubkey_auth_off", "PubkeyAuthentication is no", "sshd.set pubkey_auth true",               \
		"grep -rni PubkeyAuthentication /etc/ssh", "sshd set {instance} --pubkey-auth")                        \
	X(PASSWORD_AUTH_OFF, "password_auth_off", "neither password nor keyboard-interactive login is on",             \
		"sshd.set password_auth true",                                                                         \
		"grep -rniE \"PasswordAuthentication|KbdInteractiveAuthentication\" /etc/ssh",                         \
		"sshd set {instance} --password-auth")                                                                 \
	X(NO_PASSWORD, "no_password", "no usable password is set", "password.set", "passwd {user}",                    \
		"reset-password {instance} {user}")                                                                    \
	X(MUST_CHANGE, "must_change", "a password change is due and there is no password to change", "password.set",   \
		"passwd {user}", "reset-password {instance} {user}")                                                   \
	X(KEYS_FILE_NONE, "keys_file_none", "AuthorizedKeysFile is none", "change AuthorizedKeysFile",                 \
		"grep -rni AuthorizedKeysFile /etc/ssh", NULL)                                                         \
	X(KEYS_FILE_MISSING, "keys_file_missing", "no file that sshd reads keys from exists", "keys.bind",             \
		"su - {user} -c 'umask 077; mkdir -p .ssh; cat >>.ssh/authorized_keys'",                               \
		"bind {instance} {user} KEYPAIR")                                                                      \
	X(KEYS_FILE_UNREADABLE, "keys_file_unreadable", "the user cannot read the file of keys", "make it readable",   \
		"chown -R {user}: ~{user}/.ssh", NULL)                                                                 \
	X(KEYS_FILE_TOO_LARGE, "keys_file_too_large", "the file of keys is larger than is looked at", "shorten it",    \
		"wc ~{user}/.ssh/authorized_keys", NULL)                                                               \
	X(STRICT_MODES, "strict_modes", "others can write to the file of keys or to a directory above it",             \
		"take group and world write permission away",                                                          \
		"chmod go-w ~{user} ~{user}/.ssh ~{user}/.ssh/authorized_keys",                                        \
		"restore-access {instance} {user} --method key")                                                       \
	X(NO_KEY, "no_key", "the file of keys holds no key that logs in", "keys.bind",                                 \
		"su - {user} -c 'cat >>.ssh/authorized_keys'", "bind {instance} {user} KEYPAIR")                       \
	X(KEY_NOT_PRESENT, "key_not_present", "the key stands in no file that sshd reads", "keys.bind",                \
		"su - {user} -c 'cat >>.ssh/authorized_keys'", "bind {instance} {user} KEYPAIR")                       \
	X(KEY_EXPIRED, "key_expired", "every key in question has expired", "keys.bind with a later expires",           \
		"grep -n expiry-time ~{user}/.ssh/authorized_keys", "bind {instance} {user} KEYPAIR")                  \
	X(KEY_FROM, "key_from", "no key in question is good for that address", "keys.bind with another from",          \
		"grep -n from= ~{user}/.ssh/authorized_keys", "bind {instance} {user} KEYPAIR")                        \
	X(KEY_REVOKED, "key_revoked", "RevokedKeys names every key in question", "keys.bind with another key",         \
		"grep -rni RevokedKeys /etc/ssh", "bind {instance} {user} KEYPAIR")                                    \
	X(KEY_TYPE_OFF, "key_type_off", "sshd accepts no algorithm of the keys in question",                           \
		"keys.bind with another key", "/usr/sbin/sshd -T | grep -iE \"pubkeyaccepted|requiredrsasize\"",       \
		"bind {instance} {user} KEYPAIR")                                                                      \
	X(KEY_COMMAND_ONLY, "key_command_only", "every key in question is bound to one command",                       \
		"keys.bind with another key", "grep -n command= ~{user}/.ssh/authorized_keys",                         \
		"bind {instance} {user} KEYPAIR")                                                                      \
	X(REVOKED_KEYS_MISSING, "revoked_keys_missing", "the RevokedKeys file cannot be read, so no key is accepted",  \
		"put the file back", "grep -rni RevokedKeys /etc/ssh", NULL)                                           \
	X(PAM_ACCESS, "pam_access", "access.conf lets the user in from nowhere", "change /etc/security/access.conf",   \
		"grep -n \"^[+-]\" /etc/security/access.conf", NULL)                                                   \
	X(LOGIN_LIMIT, "login_limit", "limits.conf allows the user no login", "change maxlogins in limits.conf",       \
		"grep -rn maxlogins /etc/security", NULL)                                                              \
	X(HOSTS_DENY, "hosts_deny", "hosts.deny keeps the address out", "change /etc/hosts.allow or hosts.deny",       \
		"grep -n . /etc/hosts.allow /etc/hosts.deny", NULL)                                                    \
	X(FAILLOCK, "faillock", "too many wrong passwords: pam_faillock holds the user back",                          \
		"password.set with clear_faillock, or faillock --user NAME --reset", "faillock --user {user} --reset", \
		"reset-password {instance} {user} --clear-faillock")                                                   \
	X(HOST_KEY_MISSING, "host_key_missing", "sshd has no host key, so it ends every connection",                   \
		"ssh-keygen -A, then reload sshd", "ssh-keygen -A", NULL)                                              \
	X(HOME_TIMEOUT, "home_timeout", "the home directory does not answer", "look at its mount", "findmnt", NULL)

enum blocker {
#define X(name, code, sentence, fix, guest, console) BLOCKER_##name,
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
/* -ENOENT for a code that is not in the table. */
int blocker_from_code(const char *code, enum blocker *ret_blocker) MUST_CHECK;
/* Appends the command for that user; false where the console has none. An instance that is not known is called
 * INSTANCE. */
void blocker_put_guest_command(enum blocker blocker, const char *user, struct buffer *out);
bool blocker_put_console_command(enum blocker blocker, const char *user, const char *instance, struct buffer *out);
/* {"can":…,"blockers":[…]} under the key, in the table's order. */
void blocker_write(struct json_writer *writer, const char *key, blocker_set blockers);
