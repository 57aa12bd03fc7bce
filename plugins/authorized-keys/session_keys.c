/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/session_keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/json.h"
#include "lib/process.h"

#define JOURNALCTL "/usr/bin/journalctl"
#define JOURNALCTL_TIMEOUT_MS 5000u
#define OUTPUT_MAX (8u << 20) /* what processes of these ids have logged since boot */
#define TICK_US 20000u        /* a process's start is known to a hundredth of a second */

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
static enum session_evidence read_message(
	const char *message, const char *user, char ret_fingerprint[SSHKEY_FINGERPRINT_SIZE])
{
	unsigned char digest[SSHKEY_DIGEST_SIZE];
	char fingerprint[SSHKEY_FINGERPRINT_SIZE];
	const char *at = message;

	if (!take(&at, "Accepted ") && !take(&at, "Partial "))
		return SESSION_UNKNOWN;
	bool by_key = strncmp(at, "publickey ", strlen("publickey ")) == 0;
	if (!take_word(&at) || !take(&at, "for ") || !take(&at, user) || !take(&at, " from ") || !take_word(&at) ||
		!take(&at, "port ") || !take_word(&at) || !take(&at, "ssh2"))
		return SESSION_UNKNOWN;
	if (!by_key)
		return SESSION_OTHER;
	if (!take(&at, ": ") || !take_word(&at))
		return SESSION_UNKNOWN;
	(void)snprintf(fingerprint, sizeof(fingerprint), "%.*s", (int)strcspn(at, " ,"), at);
	if (sshkey_read_fingerprint(fingerprint, digest) < 0) /* FingerprintHash md5 */
		return SESSION_UNKNOWN;
	memcpy(ret_fingerprint, fingerprint, sizeof(fingerprint));
	return SESSION_KEY;
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

bool session_keys_read_line(const char *line, size_t size, const char *user, struct session *sessions, unsigned count)
{
	const char *message, *pid_text, *uid_text, *program, *time_text;
	char fingerprint[SSHKEY_FINGERPRINT_SIZE] = "";
	cleanup_json cJSON *entry = NULL;
	uint64_t pid, uid, time;

	if (json_parse_object(line, size, &entry) < 0 || json_get_string(entry, "MESSAGE", &message) < 0 ||
		json_get_string(entry, "_PID", &pid_text) < 0 || json_get_string(entry, "_UID", &uid_text) < 0 ||
		json_get_string(entry, "_EXE", &program) < 0 ||
		json_get_string(entry, "__MONOTONIC_TIMESTAMP", &time_text) < 0 || !read_number(pid_text, &pid) ||
		!read_number(uid_text, &uid) || !read_number(time_text, &time) || uid != 0 || !is_sshd(program))
		return false;
	enum session_evidence evidence = read_message(message, user, fingerprint);
	if (evidence == SESSION_UNKNOWN)
		return false;
	for (unsigned i = 0; i < count; i++) {
		/* Before its start another process had that id. */
		if ((uint64_t)sessions[i].pid != pid || time + TICK_US < sessions[i].started_us)
			continue;
		if (sessions[i].evidence == SESSION_KEY && evidence == SESSION_OTHER)
			return true; /* a key, and a second factor */
		sessions[i].evidence = evidence;
		memcpy(sessions[i].fingerprint, fingerprint, sizeof(fingerprint));
		return true;
	}
	return false;
}

static int ask(const char *user, struct session *sessions, unsigned count)
{
	cleanup_process_result struct process_result result = {0};
	const char *arguments[SESSION_KEYS_ASKED_MAX + 16] = {"journalctl", "--quiet", "--no-pager", "--boot",
		"--output=json", "--output-fields=MESSAGE,_PID,_UID,_EXE", "_UID=0"};
	char matches[SESSION_KEYS_ASKED_MAX][24];
	unsigned used = 7;

	for (unsigned i = 0; i < count; i++) {
		(void)snprintf(matches[i], sizeof(matches[i]), "_PID=%d", (int)sessions[i].pid);
		arguments[used++] = matches[i];
	}
	arguments[used] = NULL;
	const struct process process = {.path = JOURNALCTL,
		.argv = arguments,
		.working_directory = -1,
		.output_limit = OUTPUT_MAX,
		.timeout_ms = JOURNALCTL_TIMEOUT_MS};
	int r = process_run(&process, &result);
	if (r == -ENOMEM)
		return r;
	if (r < 0 || !process_exited(&result, 0))
		return 0;
	for (size_t offset = 0; offset < result.output.size;) {
		const char *line = result.output.bytes + offset;
		size_t size = (size_t)(strchrnul(line, '\n') - line);
		(void)session_keys_read_line(line, size, user, sessions, count);
		offset += size + 1;
	}
	return 0;
}

int session_keys_find(const char *user, struct session *sessions, unsigned count)
{
	for (unsigned at = 0; at < count; at += SESSION_KEYS_ASKED_MAX) {
		unsigned part = count - at < SESSION_KEYS_ASKED_MAX ? count - at : SESSION_KEYS_ASKED_MAX;
		bool unknown = false;
		for (unsigned i = at; i < at + part; i++)
			unknown = unknown || sessions[i].evidence == SESSION_UNKNOWN;
		int r = unknown ? ask(user, sessions + at, part) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}
