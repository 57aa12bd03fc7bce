/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of blockers: stable code, what is in the way, what helps: commands to type where there are some, for
 * the operator (latchkey …) or on the machine, in which INSTANCE, USER and ADDRESS stand for what is asked about, LABEL
 * and GROUP for what a person chooses (tests/integration/325-blockers.py puts a machine into each and runs it); then
 * what root would type on the machine: it mends it, or shows the line that is to be changed.
 */
#pragma once

#include <stdint.h>

#include "lib/json.h"

#define BLOCKER_TABLE(X)                                                                                               \
	X(NO_SUCH_USER, "no_such_user", "there is no such local account", "latchkey user add INSTANCE USER",           \
		"useradd -m -s /bin/bash USER")                                                                        \
	X(SSHD_MISSING, "sshd_missing", "no OpenSSH server is installed", "install openssh-server",                    \
		"apt-get install openssh-server || dnf install openssh-server")                                        \
	X(SSHD_NOT_RUNNING, "sshd_not_running", "nobody listens on sshd's ports", "systemctl start ssh, or sshd",      \
		"systemctl start ssh.service || systemctl start sshd.service")                                         \
	X(SSHD_INVALID, "sshd_invalid", "sshd refuses its own configuration", "sshd -t names the line to mend",        \
		"/usr/sbin/sshd -t")                                                                                   \
	X(SSHD_UNKNOWN, "sshd_unknown", "sshd does not say what is in force", "sshd -T says why", "/usr/sbin/sshd -T") \
	X(EXPIRED, "expired", "the account has expired",                                                               \
		"latchkey user unlock INSTANCE USER, or latchkey user add INSTANCE USER --expires +30d",               \
		"chage -E -1 -I -1 USER")                                                                              \
	X(LOCKED_HASH, "locked_hash", "the password hash is locked with !", "latchkey user unlock INSTANCE USER",      \
		"passwd USER")                                                                                         \
	X(SHADOW_MISSING, "shadow_missing", "/etc/shadow has no line of the user, or a broken one, so PAM refuses",    \
		"latchkey reset-password INSTANCE USER", "grep -n ^USER: /etc/shadow || pwconv")                       \
	X(SHELL_NOLOGIN, "shell_nologin", "the login shell ends every session at once",                                \
		"latchkey user add INSTANCE USER --shell /bin/bash --adopt", "usermod -s /bin/bash USER")              \
	X(SHELL_MISSING, "shell_missing", "the login shell does not exist or cannot be executed",                      \
		"latchkey user add INSTANCE USER --shell /bin/bash --adopt", "usermod -s /bin/bash USER")              \
	X(SHELL_UNLISTED, "shell_unlisted", "PAM wants a shell that stands in /etc/shells",                            \
		"latchkey user add INSTANCE USER --shell /bin/bash --adopt",                                           \
		"getent passwd USER | cut -d: -f7 >>/etc/shells")                                                      \
	X(NOLOGIN_FILE, "nologin_file", "/etc/nologin or /run/nologin keeps everybody but root out",                   \
		"rm -f /etc/nologin /run/nologin", "rm -f /etc/nologin /run/nologin")                                  \
	X(ROOT_LOGIN_OFF, "root_login_off", "PermitRootLogin is no",                                                   \
		"latchkey sshd set INSTANCE --permit-root-login prohibit-password",                                    \
		"grep -rni PermitRootLogin /etc/ssh")                                                                  \
	X(ROOT_PASSWORD_OFF, "root_password_off", "PermitRootLogin allows root no password",                           \
		"latchkey bind INSTANCE root LABEL, or latchkey sshd set INSTANCE --permit-root-login yes",            \
		"grep -rni PermitRootLogin /etc/ssh")                                                                  \
	X(ROOT_COMMANDS_ONLY, "root_commands_only", "PermitRootLogin allows root forced commands only",                \
		"latchkey sshd set INSTANCE --permit-root-login prohibit-password",                                    \
		"grep -rni PermitRootLogin /etc/ssh")                                                                  \
	X(DENY_USERS, "deny_users", "DenyUsers names the user", "take the user out of DenyUsers in sshd_config",       \
		"grep -rni DenyUsers /etc/ssh")                                                                        \
	X(ALLOW_USERS, "allow_users", "AllowUsers does not name the user",                                             \
		"add the user to AllowUsers in sshd_config", "grep -rni AllowUsers /etc/ssh")                          \
	X(DENY_GROUPS, "deny_groups", "DenyGroups names a group of the user",                                          \
		"gpasswd -d USER GROUP, or change DenyGroups in sshd_config", "grep -rni DenyGroups /etc/ssh")         \
	X(ALLOW_GROUPS, "allow_groups", "AllowGroups names no group of the user",                                      \
		"latchkey user add INSTANCE USER --groups GROUP, with one that AllowGroups names",                     \
		"grep -rni AllowGroups /etc/ssh")                                                                      \
	X(FORCE_COMMAND, "force_command", "ForceCommand leaves the user no shell",                                     \
		"take ForceCommand away in sshd_config", "grep -rni ForceCommand /etc/ssh")                            \
	X(CHROOT, "chroot_directory", "ChrootDirectory shuts the session in",                                          \
		"take ChrootDirectory away in sshd_config", "grep -rni ChrootDirectory /etc/ssh")                      \
	X(MAX_SESSIONS, "max_sessions", "MaxSessions 0 allows no session", "take MaxSessions 0 away in sshd_config",   \
		"grep -rni MaxSessions /etc/ssh")                                                                      \
	X(AUTHENTICATION_METHODS, "authentication_methods", "AuthenticationMethods wants more than this one method",   \
		"use all methods of one of its lists", "grep -rni AuthenticationMethods /etc/ssh")                     \
	X(PUBKEY_AUTH_OFF, "pubkey_auth_off", "PubkeyAuthentication is no",                                            \
		"latchkey sshd set INSTANCE --pubkey-auth", "grep -rni PubkeyAuthentication /etc/ssh")                 \
	X(PASSWORD_AUTH_OFF, "password_auth_off", "neither password nor keyboard-interactive login is on",             \
		"latchkey sshd set INSTANCE --password-auth",                                                          \
		"grep -rniE \"PasswordAuthentication|KbdInteractiveAuthentication\" /etc/ssh")                         \
	X(NO_PASSWORD, "no_password", "no usable password is set", "latchkey reset-password INSTANCE USER",            \
		"passwd USER")                                                                                         \
	X(MUST_CHANGE, "must_change", "a password change is due and there is no password to change",                   \
		"latchkey reset-password INSTANCE USER", "passwd USER")                                                \
	X(KEYS_FILE_NONE, "keys_file_none", "AuthorizedKeysFile is none",                                              \
		"take AuthorizedKeysFile none away in sshd_config", "grep -rni AuthorizedKeysFile /etc/ssh")           \
	X(KEYS_FILE_MISSING, "keys_file_missing", "no file that sshd reads keys from exists",                          \
		"latchkey bind INSTANCE USER LABEL",                                                                   \
		"su - USER -c 'umask 077; mkdir -p .ssh; cat >>.ssh/authorized_keys'")                                 \
	X(KEYS_FILE_UNREADABLE, "keys_file_unreadable", "the user cannot read the file of keys",                       \
		"let the user read the file of keys", "chown -R USER: ~USER/.ssh")                                     \
	X(KEYS_FILE_TOO_LARGE, "keys_file_too_large", "the file of keys is larger than is looked at",                  \
		"shorten the file of keys", "wc ~USER/.ssh/authorized_keys")                                           \
	X(STRICT_MODES, "strict_modes", "others can write to the file of keys or to a directory above it",             \
		"chmod go-w ~USER ~USER/.ssh ~USER/.ssh/authorized_keys",                                              \
		"chmod go-w ~USER ~USER/.ssh ~USER/.ssh/authorized_keys")                                              \
	X(NO_KEY, "no_key", "the file of keys holds no key that logs in", "latchkey bind INSTANCE USER LABEL",         \
		"su - USER -c 'cat >>.ssh/authorized_keys'")                                                           \
	X(KEYS_ELSEWHERE, "keys_elsewhere",                                                                            \
		"no file holds a key that logs in, and what a command or authority knows is not seen",                 \
		"latchkey bind INSTANCE USER LABEL, or ask who runs AuthorizedKeysCommand or TrustedUserCAKeys",       \
		"/usr/sbin/sshd -T | grep -iE \"authorizedkeyscommand|trustedusercakeys\"")                            \
	X(KEY_NOT_PRESENT, "key_not_present", "the key stands in no file that sshd reads",                             \
		"latchkey bind INSTANCE USER LABEL", "su - USER -c 'cat >>.ssh/authorized_keys'")                      \
	X(KEY_EXPIRED, "key_expired", "every key in question has expired", "latchkey bind INSTANCE USER LABEL",        \
		"grep -n expiry-time ~USER/.ssh/authorized_keys")                                                      \
	X(KEY_FROM, "key_from", "no key in question is good for that address", "latchkey bind INSTANCE USER LABEL",    \
		"grep -n from= ~USER/.ssh/authorized_keys")                                                            \
	X(KEY_REVOKED, "key_revoked", "RevokedKeys names every key in question",                                       \
		"latchkey bind INSTANCE USER LABEL, with another key", "grep -rni RevokedKeys /etc/ssh")               \
	X(KEY_TYPE_OFF, "key_type_off", "sshd accepts no algorithm of the keys in question",                           \
		"latchkey bind INSTANCE USER LABEL, with a key of another type",                                       \
		"/usr/sbin/sshd -T | grep -iE \"pubkeyaccepted|requiredrsasize\"")                                     \
	X(KEY_COMMAND_ONLY, "key_command_only", "every key in question is bound to one command",                       \
		"latchkey bind INSTANCE USER LABEL", "grep -n command= ~USER/.ssh/authorized_keys")                    \
	X(REVOKED_KEYS_MISSING, "revoked_keys_missing", "the RevokedKeys file cannot be read, so no key is accepted",  \
		"put the file back, or take RevokedKeys away in sshd_config", "grep -rni RevokedKeys /etc/ssh")        \
	X(PAM_ACCESS, "pam_access", "access.conf lets the user in from nowhere",                                       \
		"let the user in by /etc/security/access.conf", "grep -n \"^[+-]\" /etc/security/access.conf")         \
	X(PAM_RULE, "pam_rule", "a line of PAM's account or auth stack keeps the user out",                            \
		"change that line, or the file it names", "grep -nE \"pam_(listfile|succeed_if|deny)\" /etc/pam.d/*")  \
	X(LOGIN_LIMIT, "login_limit", "limits.conf allows the user no login",                                          \
		"raise maxlogins in /etc/security/limits.conf or limits.d", "grep -rn maxlogins /etc/security")        \
	X(HOSTS_DENY, "hosts_deny", "hosts.deny keeps the address out", "change /etc/hosts.allow or hosts.deny",       \
		"grep -n . /etc/hosts.allow /etc/hosts.deny")                                                          \
	X(FAILLOCK, "faillock", "too many wrong passwords: pam_faillock holds the user back",                          \
		"latchkey user unlock INSTANCE USER --clear-faillock, or faillock --user USER --reset",                \
		"faillock --user USER --reset")                                                                        \
	X(ADDRESS_BANNED, "address_banned", "fail2ban has banned the address", "fail2ban-client unban ADDRESS",        \
		"fail2ban-client unban ADDRESS")                                                                       \
	X(HOST_KEY_MISSING, "host_key_missing",                                                                        \
		"sshd has no host key: it ends every connection, or from 9.8 on will not start again",                 \
		"ssh-keygen -A", "ssh-keygen -A")                                                                      \
	X(HOME_TIMEOUT, "home_timeout", "the home directory does not answer", "look at its mount", "findmnt")

enum blocker {
#define X(name, code, sentence, fix, guest) BLOCKER_##name,
	BLOCKER_TABLE(X)
#undef X
		BLOCKER_COUNT
};

typedef uint64_t blocker_set;
_Static_assert(BLOCKER_COUNT <= 64, "a set is one word");

#define BLOCKER_BIT(blocker) (UINT64_C(1) << (unsigned)(blocker))

/* What the words in the table stand for; where one is not known (NULL) the word stays. */
struct blocker_names {
	const char *user, *instance, *address;
};

const char *blocker_code(enum blocker blocker);
const char *blocker_sentence(enum blocker blocker);
/* Appends what helps, with the names filled in. */
void blocker_put_fix(enum blocker blocker, const struct blocker_names *names, struct buffer *out);
/* -ENOENT for a code that is not in the table. */
int blocker_from_code(const char *code, enum blocker *ret_blocker) MUST_CHECK;
/* Appends the command for them; false where none of the operator's helps. */
void blocker_put_guest_command(enum blocker blocker, const struct blocker_names *names, struct buffer *out);
bool blocker_put_console_command(enum blocker blocker, const struct blocker_names *names, struct buffer *out);
/* {"can":…,"blockers":[…]} under the key, in the table's order. */
void blocker_write(struct json_writer *writer, const char *key, blocker_set blockers);
