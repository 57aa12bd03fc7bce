/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sshd_journal.h"

#include <stdio.h>
#include <string.h>

static bool take(const char **at, const char *text)
{
	size_t size = strlen(text);

	if (strncmp(*at, text, size) != 0)
		return false;
	*at += size;
	return true;
}

/* A word and the blank behind it. */
static bool take_word(const char **at)
{
	size_t size = strcspn(*at, " ");

	if (size == 0 || (*at)[size] != ' ')
		return false;
	*at += size + 1;
	return true;
}

/* "Accepted publickey for alice from 192.0.2.1 port 5 ssh2: ED25519 SHA256:…", or another method without a key. */
enum sshd_login sshd_line_login(
	const struct sshd_line *line, const char *user, char ret_fingerprint[SSHKEY_FINGERPRINT_SIZE])
{
	unsigned char digest[SSHKEY_DIGEST_SIZE];
	char fingerprint[SSHKEY_FINGERPRINT_SIZE];
	const char *at = line->message;

	if (!take(&at, "Accepted ") && !take(&at, "Partial "))
		return SSHD_LOGIN_NONE;
	bool by_key = strncmp(at, "publickey ", strlen("publickey ")) == 0;
	if (!take_word(&at) || !take(&at, "for ") || !take(&at, user) || !take(&at, " from ") || !take_word(&at) ||
		!take(&at, "port ") || !take_word(&at) || !take(&at, "ssh2"))
		return SSHD_LOGIN_NONE;
	if (!by_key)
		return SSHD_LOGIN_OTHER;
	if (!take(&at, ": ") || !take_word(&at))
		return SSHD_LOGIN_NONE;
	(void)snprintf(fingerprint, sizeof(fingerprint), "%.*s", (int)strcspn(at, " ,"), at);
	if (sshkey_read_fingerprint(fingerprint, digest) < 0) /* FingerprintHash md5 */
		return SSHD_LOGIN_NONE;
	memcpy(ret_fingerprint, fingerprint, sizeof(fingerprint));
	return SSHD_LOGIN_KEY;
}

/* What only root can have put where it is. An updated package leaves running programs deleted. */
static bool is_sshd(const char *program)
{
	static const char *const names[] = {"/sshd", "/sshd-session", "/sshd (deleted)", "/sshd-session (deleted)"};
	const char *name = strrchr(program, '/');

	if (!name || strncmp(program, "/usr/", 5) != 0 || strncmp(program, "/usr/local/", 11) == 0 ||
		strstr(program, "/../"))
		return false;
	for (unsigned i = 0; i < ELEMENTS(names); i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

static bool read_number(const char *text, uint64_t *ret_number)
{
	uint64_t number = 0;

	if (*text == '\0' || strlen(text) > 18 || strspn(text, "0123456789") != strlen(text))
		return false;
	for (; *text; text++)
		number = number * 10 + (uint64_t)(*text - '0');
	*ret_number = number;
	return true;
}

bool sshd_line_parse(const char *text, size_t size, struct sshd_line *ret_line)
{
	const char *message, *pid_text, *uid_text, *program, *monotonic, *realtime;
	cleanup_json cJSON *entry = NULL;
	struct sshd_line line = {0};
	uint64_t uid, microseconds;

	if (json_parse_object(text, size, &entry) < 0 || json_get_string(entry, "MESSAGE", &message) < 0 ||
		json_get_string(entry, "_PID", &pid_text) < 0 || json_get_string(entry, "_UID", &uid_text) < 0 ||
		json_get_string(entry, "_EXE", &program) < 0 ||
		json_get_string(entry, "__MONOTONIC_TIMESTAMP", &monotonic) < 0 || !read_number(pid_text, &line.pid) ||
		!read_number(uid_text, &uid) || !read_number(monotonic, &line.monotonic_us) || uid != 0 ||
		!is_sshd(program))
		return false;
	if (json_get_string(entry, "__REALTIME_TIMESTAMP", &realtime) == 0 && read_number(realtime, &microseconds))
		line.time = (int64_t)(microseconds / 1000000);
	line.message = message;
	line.entry = steal_pointer(&entry);
	*ret_line = line;
	return true;
}

void sshd_line_free(struct sshd_line *line)
{
	cJSON_Delete(line->entry);
	*line = (struct sshd_line){0};
}
