/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client wrote with `ssh -v` (or more v's): who came with which keys, and where it ended. The text may be
 * anybody's: it is cut, never trusted, and what is kept of it is to be escaped. Written for what OpenSSH 7.4 to 10
 * prints.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/json.h"
#include "lib/sshkey.h"

#define SSH_LOG_SIZE_MAX (4u << 20) /* -vvv of a long session; a login has 30 KiB */
#define SSH_LOG_KEYS_MAX 32u        /* an agent's; MaxAuthTries is 6 */

/* What went wrong on the way first, then the ways in which it ends. */
#define SSH_LOG_TABLE(X)                                                                                              \
	X(KEY_PERMISSIONS, "key_file_permissions", "the client does not use a private key that others can read",      \
		"on the client: chmod 600 the private key")                                                           \
	X(KEY_FILE_MISSING, "key_file_missing", "the private key that was asked for is not there",                    \
		"on the client: look at ssh -i and IdentityFile")                                                     \
	X(KEY_FILE_BAD, "key_file_bad", "the client cannot read a private key file",                                  \
		"on the client: ssh-keygen -y -f FILE says why")                                                      \
	X(KEY_PASSPHRASE, "key_passphrase", "a private key's passphrase was wrong or could not be asked for",         \
		"on the client: ssh-add FILE, or without BatchMode")                                                  \
	X(NO_SIGNATURE, "no_mutual_signature_algorithm", "client and server share no signature algorithm for a key",  \
		"an old RSA client or server: use an Ed25519 key (ssh-keygen -t ed25519), or change "                 \
		"PubkeyAcceptedAlgorithms")                                                                           \
	X(SIGNING_FAILED, "signing_failed", "the agent or the security key would not sign",                           \
		"on the client: ssh-add -l; touch the security key")                                                  \
	X(MANY_KEYS, "agent_offers_too_many_keys", "the client offers one key after the other until sshd has enough", \
		"on the client: ssh -i FILE -o IdentitiesOnly=yes")                                                   \
	X(NO_KEY_OFFERED, "no_key_offered", "sshd would take a key, but the client had none to offer",                \
		"on the client: ssh -i FILE, or ssh-add FILE")                                                        \
	X(NO_KEY_ACCEPTED, "no_key_accepted", "sshd accepted none of the keys that were offered",                     \
		"see below what is said of each key")                                                                 \
	X(PASSWORD_REFUSED, "password_refused", "a password was sent and refused",                                    \
		"passwd USER, or latchkey reset-password")                                                            \
	X(PARTIAL, "partial_success", "one method was accepted and sshd wants another one as well",                   \
		"AuthenticationMethods asks for both")                                                                \
	X(PASSWORD_CHANGE, "password_change", "sshd wants the password to be changed", "passwd USER")                 \
	X(NO_SHELL, "no_shell", "the login worked, and the shell ended it at once", "usermod -s /bin/bash USER")      \
	X(NAME, "name_not_resolved", "the client cannot resolve the host's name",                                     \
		"look at the name, or use the address")                                                               \
	X(REFUSED, "connection_refused", "nobody listens at that address and port, or a firewall refuses",            \
		"systemctl status ssh.service; look at the port")                                                     \
	X(TIMEOUT, "connection_timeout", "no answer: a firewall or security group drops it, or the machine is down",  \
		"look at the rules before the machine")                                                               \
	X(UNREACHABLE, "unreachable", "there is no route to that address", "look at the address and the network")     \
	X(BANNER_TIMEOUT, "banner_timeout", "it was connected, and nobody said anything",                             \
		"sshd hangs or is overloaded: journalctl -u ssh.service")                                             \
	X(BANNER_RESET, "reset_before_banner", "it was connected, and closed before sshd's greeting",                 \
		"MaxStartups, hosts.deny, no host key, or something in between: journalctl -u ssh.service")           \
	X(TURNED_AWAY, "turned_away", "sshd turned the connection away before any login",                             \
		"the address has failed too often (PerSourcePenalties, up to ten minutes) or too many log in at "     \
		"once (MaxStartups): wait, or systemctl restart ssh.service, which forgets it")                       \
	X(NOT_SSH, "not_ssh", "what answers there does not speak SSH", "look at the port")                            \
	X(NO_COMMON, "no_common_algorithm", "client and server have no algorithm in common",                          \
		"one of them is very old: update it, or look at HostKeyAlgorithms, KexAlgorithms, Ciphers, MACs")     \
	X(HOST_KEY_CHANGED, "host_key_changed", "the host key is another than the client remembers",                  \
		"compare with ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub; then ssh-keygen -R HOST")             \
	X(HOST_KEY_UNKNOWN, "host_key_unknown", "the client does not know the host key and may not take it",          \
		"compare with ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub, then accept it")                      \
	X(TOO_MANY, "too_many_failures", "sshd had enough attempts (MaxAuthTries)",                                   \
		"on the client: ssh -i FILE -o IdentitiesOnly=yes")                                                   \
	X(DENIED, "permission_denied", "sshd refused every method", "see below what is in the way")                   \
	X(CLOSED, "closed", "sshd ended the connection during the login",                                             \
		"the account or PAM, LoginGraceTime, or sshd failed: journalctl -u ssh.service")                      \
	X(AUTHENTICATED, "authenticated", "the login worked", "whatever failed came afterwards")

enum ssh_log_finding {
#define X(name, code, sentence, advice) SSH_LOG_##name,
	SSH_LOG_TABLE(X)
#undef X
		SSH_LOG_FINDINGS
};
#define SSH_LOG_FIRST_END SSH_LOG_NAME
_Static_assert(SSH_LOG_FINDINGS <= 32, "a set is one word");

enum ssh_log_key_state { SSH_LOG_KEY_OFFERED, SSH_LOG_KEY_ACCEPTED, SSH_LOG_KEY_NO_ALGORITHM };

struct ssh_log {
	char user[257], host[257], server[129], methods[129]; /* "" when not seen */
	char host_key[SSHKEY_FINGERPRINT_SIZE];
	struct {
		char fingerprint[SSHKEY_FINGERPRINT_SIZE];
		enum ssh_log_key_state state;
	} keys[SSH_LOG_KEYS_MAX];
	unsigned key_count;
	uint32_t found; /* 1 << enum ssh_log_finding */
	unsigned end;   /* the finding with which it ended, SSH_LOG_FINDINGS when none was seen */
	unsigned passwords;
	bool is_client; /* some line was a client's */
};

void ssh_log_read(const char *text, size_t size, struct ssh_log *ret_log);
const char *ssh_log_code(unsigned finding);
const char *ssh_log_sentence(unsigned finding);
const char *ssh_log_advice(unsigned finding);
