/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ssh_log.h"

#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 4096u /* longer ones are cut: -vvv prints whole lists of algorithms */
#define BIT(finding) (UINT32_C(1) << (unsigned)(finding))

static const struct {
	const char *code, *sentence, *advice;
} findings[SSH_LOG_FINDINGS] = {
#define X(name, code, sentence, advice) [SSH_LOG_##name] = {code, sentence, advice},
	SSH_LOG_TABLE(X)
#undef X
};

/* Lines that say one thing whatever else they say; the first that fits counts. */
static const struct {
	const char *words;
	enum ssh_log_finding finding;
	bool at_start;
} phrases[] = {
	{"Permissions 0", SSH_LOG_KEY_PERMISSIONS, true},
	{"no such identity: ", SSH_LOG_KEY_FILE_MISSING, true},
	{"Warning: Identity file ", SSH_LOG_KEY_FILE_MISSING, true},
	{"incorrect passphrase supplied", SSH_LOG_KEY_PASSPHRASE, false},
	{"read_passphrase: can't open", SSH_LOG_KEY_PASSPHRASE, true},
	{"bad permissions", SSH_LOG_KEY_PERMISSIONS, false},
	{"Load key \"", SSH_LOG_KEY_FILE_BAD, true},
	{"no mutual signature", SSH_LOG_NO_SIGNATURE, false},
	{"not in PubkeyAccepted", SSH_LOG_NO_SIGNATURE, false},
	{"corresponding algorithm not supported by server", SSH_LOG_NO_SIGNATURE, false},
	{"agent refused operation", SSH_LOG_SIGNING_FAILED, false},
	{"signing failed for ", SSH_LOG_SIGNING_FAILED, false},
	{"with partial success", SSH_LOG_PARTIAL, false},
	{"Authenticated with partial success", SSH_LOG_PARTIAL, true},
	{"Your password has expired", SSH_LOG_PASSWORD_CHANGE, false},
	{"You must change your password now", SSH_LOG_PASSWORD_CHANGE, false},
	{"You are required to change your password", SSH_LOG_PASSWORD_CHANGE, false},
	{"This account is currently not available", SSH_LOG_NO_SHELL, true},
	{"ssh: Could not resolve hostname ", SSH_LOG_NAME, true},
	{"Connection timed out during banner exchange", SSH_LOG_BANNER_TIMEOUT, true},
	{"kex_exchange_identification: Connection closed", SSH_LOG_BANNER_RESET, true},
	{"kex_exchange_identification: read: Connection reset", SSH_LOG_BANNER_RESET, true},
	{"ssh_exchange_identification: ", SSH_LOG_BANNER_RESET, true},
	/* What sshd says to a penalty from 9.8 on, to MaxStartups from 10.1 on, and to that before. */
	{": Not allowed at this time", SSH_LOG_TURNED_AWAY, false},
	{": Exceeded MaxStartups", SSH_LOG_TURNED_AWAY, false},
	{"kex_exchange_identification: banner line", SSH_LOG_NOT_SSH, true},
	{"kex_exchange_identification: client sent invalid", SSH_LOG_NOT_SSH, true},
	{"Unable to negotiate with ", SSH_LOG_NO_COMMON, true},
	{"WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!", SSH_LOG_HOST_KEY_CHANGED, false},
	{"and you have requested strict checking.", SSH_LOG_HOST_KEY_UNKNOWN, false},
	{"Host key verification failed.", SSH_LOG_HOST_KEY_UNKNOWN, true},
	{"Too many authentication failures", SSH_LOG_TOO_MANY, false},
	{"Connection closed by ", SSH_LOG_CLOSED, true},
	{"Connection reset by ", SSH_LOG_CLOSED, true},
};

const char *ssh_log_code(unsigned finding)
{
	return findings[finding].code;
}

const char *ssh_log_sentence(unsigned finding)
{
	return findings[finding].sentence;
}

const char *ssh_log_advice(unsigned finding)
{
	return findings[finding].advice;
}

static bool take(const char **at, const char *text)
{
	size_t size = strlen(text);

	if (strncmp(*at, text, size) != 0)
		return false;
	*at += size;
	return true;
}

/* Up to the byte that ends it, cut to the field. */
static void copy_until(const char *from, const char *end, char *text, size_t size)
{
	size_t length = strcspn(from, end);
	(void)snprintf(text, size, "%.*s", (int)(length < size ? length : size - 1), from);
}

static void find(struct ssh_log *log, enum ssh_log_finding finding)
{
	if (finding >= SSH_LOG_FIRST_END) {
		/* What was told first is the reason; what follows (verification failed, closed) only its consequence.
		 */
		if (log->end != SSH_LOG_FINDINGS && log->end != SSH_LOG_AUTHENTICATED)
			return;
		log->end = finding;
	}
	log->found |= BIT(finding);
}

/* The fingerprint among the words of "PATH TYPE SHA256:… explicit"; the path may hold blanks. */
static bool find_fingerprint(const char *words, char ret_fingerprint[SSHKEY_FINGERPRINT_SIZE])
{
	unsigned char digest[SSHKEY_DIGEST_SIZE];
	const char *last = NULL;
	char text[SSHKEY_FINGERPRINT_SIZE];

	for (const char *at = words; (at = strstr(at, " SHA256:")); at++)
		last = at + 1;
	if (!last)
		return false;
	copy_until(last, " ", text, sizeof(text));
	if (sshkey_read_fingerprint(text, digest) < 0)
		return false;
	memcpy(ret_fingerprint, text, sizeof(text));
	return true;
}

static void note_key(struct ssh_log *log, const char *words, enum ssh_log_key_state state)
{
	char fingerprint[SSHKEY_FINGERPRINT_SIZE];
	unsigned i;

	if (!find_fingerprint(words, fingerprint))
		return;
	for (i = 0; i < log->key_count && strcmp(log->keys[i].fingerprint, fingerprint) != 0; i++)
		;
	if (i == SSH_LOG_KEYS_MAX)
		return;
	if (i == log->key_count)
		log->key_count++;
	memcpy(log->keys[i].fingerprint, fingerprint, sizeof(fingerprint));
	log->keys[i].state = state;
}

/* "ssh: connect to host H port N: WHY" */
static void note_connect(struct ssh_log *log, const char *at)
{
	const char *why = strrchr(at, ':');

	copy_until(at, " ", log->host, sizeof(log->host));
	if (!why)
		return;
	if (strstr(why, "refused"))
		find(log, SSH_LOG_REFUSED);
	else if (strstr(why, "timed out"))
		find(log, SSH_LOG_TIMEOUT);
	else if (strstr(why, "No route") || strstr(why, "unreachable"))
		find(log, SSH_LOG_UNREACHABLE);
}

/* "USER@HOST: Permission denied (METHODS)." or, of older clients, without USER@HOST */
static bool note_denied(struct ssh_log *log, const char *line)
{
	const char *at = strstr(line, "Permission denied (");

	if (!at || (at != line && (at < line + 2 || strncmp(at - 2, ": ", 2) != 0)))
		return false;
	copy_until(at + strlen("Permission denied ("), ")", log->methods, sizeof(log->methods));
	if (at != line && !*log->user) {
		const char *sign = line + strcspn(line, "@");
		if (sign < at)
			copy_until(line, "@", log->user, sizeof(log->user));
	}
	find(log, SSH_LOG_DENIED);
	return true;
}

static void read_line(struct ssh_log *log, const char *line)
{
	const char *at = line;
	char method[32];

	if (strncmp(at, "debug", 5) == 0 && at[5] >= '1' && at[5] <= '3' && strncmp(at + 6, ": ", 2) == 0)
		at += 8;
	bool is_debug = at != line;
	if (is_debug || strncmp(at, "OpenSSH_", 8) == 0 || strncmp(at, "ssh: ", 5) == 0)
		log->is_client = true;
	if (is_debug && take(&at, "Authenticating to ")) {
		const char *as = strstr(at, " as '");
		copy_until(at, " ", log->host, sizeof(log->host));
		if (as)
			copy_until(as + 5, "'", log->user, sizeof(log->user));
	} else if (is_debug && take(&at, "Connecting to ")) {
		copy_until(at, " ", log->host, sizeof(log->host));
	} else if (is_debug && take(&at, "Remote protocol version 2.0, remote software version ")) {
		copy_until(at, "", log->server, sizeof(log->server));
	} else if (is_debug && take(&at, "Server host key: ")) {
		(void)find_fingerprint(at - 1, log->host_key);
	} else if (is_debug && take(&at, "Offering public key: ")) {
		note_key(log, at, SSH_LOG_KEY_OFFERED);
	} else if (is_debug && take(&at, "Server accepts key: ")) {
		note_key(log, at, SSH_LOG_KEY_ACCEPTED);
	} else if (is_debug && take(&at, "Authentications that can continue: ")) {
		copy_until(at, "", log->methods, sizeof(log->methods));
	} else if (is_debug && take(&at, "Next authentication method: ")) {
		copy_until(at, "", method, sizeof(method));
		log->passwords += strcmp(method, "password") == 0;
	} else if (take(&at, "Authenticated to ")) {
		find(log, SSH_LOG_AUTHENTICATED);
	} else if (is_debug && take(&at, "Authentication succeeded")) {
		find(log, SSH_LOG_AUTHENTICATED);
	} else if (take(&at, "ssh: connect to host ")) {
		note_connect(log, at);
	} else if (take(&at, "Permission denied, please try again.")) {
		find(log, SSH_LOG_PASSWORD_REFUSED);
	} else if (take(&at, "banner exchange: ") && strstr(at, "invalid format")) {
		find(log, SSH_LOG_NOT_SSH);
	} else if (!note_denied(log, at)) {
		for (unsigned i = 0; i < ELEMENTS(phrases); i++) {
			const char *where = strstr(at, phrases[i].words);
			if (!where || (phrases[i].at_start && where != at))
				continue;
			find(log, phrases[i].finding);
			break;
		}
	}
}

/* What no single line says. */
static void conclude(struct ssh_log *log)
{
	bool accepted = false;

	for (unsigned i = 0; i < log->key_count; i++) {
		accepted = accepted || log->keys[i].state == SSH_LOG_KEY_ACCEPTED;
		if (log->keys[i].state == SSH_LOG_KEY_OFFERED && log->found & BIT(SSH_LOG_NO_SIGNATURE) &&
			i + 1 == log->key_count)
			log->keys[i].state = SSH_LOG_KEY_NO_ALGORITHM;
	}
	if (log->end == SSH_LOG_TOO_MANY && log->key_count > 1)
		find(log, SSH_LOG_MANY_KEYS);
	if (log->end != SSH_LOG_DENIED && log->end != SSH_LOG_TOO_MANY)
		return;
	if (log->key_count == 0 && strstr(log->methods, "publickey"))
		find(log, SSH_LOG_NO_KEY_OFFERED);
	if (log->key_count > 0 && !accepted)
		find(log, SSH_LOG_NO_KEY_ACCEPTED);
	/* Under BatchMode the client says nothing of a passphrase: it does not sign with a key that was accepted. */
	if (accepted && log->found == BIT(SSH_LOG_DENIED))
		find(log, SSH_LOG_KEY_PASSPHRASE);
	if (log->end == SSH_LOG_DENIED && log->passwords > 0)
		find(log, SSH_LOG_PASSWORD_REFUSED);
}

void ssh_log_read(const char *text, size_t size, struct ssh_log *ret_log)
{
	char line[LINE_MAX_BYTES];

	*ret_log = (struct ssh_log){.end = SSH_LOG_FINDINGS};
	for (size_t offset = 0; offset < size;) {
		const char *newline = memchr(text + offset, '\n', size - offset);
		size_t length = newline ? (size_t)(newline - text) - offset : size - offset;
		size_t kept = length < sizeof(line) ? length : sizeof(line) - 1;

		memcpy(line, text + offset, kept);
		while (kept > 0 && (line[kept - 1] == '\r' || line[kept - 1] == ' '))
			kept--;
		line[kept] = '\0';
		char *start = line;
		/* A NUL cuts the line; what a terminal recorded may begin with a carriage return. */
		while (*start == '\r' || *start == ' ')
			start++;
		read_line(ret_log, start);
		offset += length + 1;
	}
	conclude(ret_log);
}
