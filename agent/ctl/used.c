/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/used.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/ctl/ctl.h"
#include "lib/name_map.h"
#include "lib/process.h"
#include "lib/sshd_journal.h"

#define LINES_OPTION "--lines=50000" /* sshd's newest: a busy machine's month; 600 bytes each */
#define OUTPUT_MAX (64u << 20)
#define TIMEOUT_MS 60000u

/* The keys by fingerprint: a machine may have thousands of them, and the journal tens of thousands of logins. */
struct wanted {
	struct name_map heads; /* fingerprint → its first key */
	struct {
		cJSON *key;
		size_t next; /* with the same fingerprint, or NAME_MAP_NONE */
	} * keys;
	size_t count;
};

static void wanted_free(struct wanted *wanted)
{
	name_map_free(&wanted->heads);
	free(wanted->keys);
}

static int wanted_fill(struct wanted *wanted, cJSON *keys)
{
	size_t size = (size_t)cJSON_GetArraySize(keys) + 1;
	const char *fingerprint;
	cJSON *key;

	wanted->keys = calloc(size, sizeof(*wanted->keys));
	if (!wanted->keys)
		return -ENOMEM;
	cJSON_ArrayForEach(key, keys)
	{
		if (json_get_string(key, "fingerprint", &fingerprint) < 0)
			continue;
		wanted->keys[wanted->count].key = key;
		wanted->keys[wanted->count].next = name_map_get(&wanted->heads, fingerprint);
		int r = name_map_put(&wanted->heads, fingerprint, wanted->count++);
		if (r < 0)
			return r;
	}
	return 0;
}

static void note(const struct wanted *wanted, const struct sshd_line *line)
{
	const char *words = strstr(line->message, " SHA256:"), *user;
	char fingerprint[SSHKEY_FINGERPRINT_SIZE], found[SSHKEY_FINGERPRINT_SIZE];

	if (!words)
		return;
	(void)snprintf(fingerprint, sizeof(fingerprint), "%.*s", (int)strcspn(words + 1, " ,"), words + 1);
	for (size_t i = name_map_get(&wanted->heads, fingerprint); i != NAME_MAP_NONE; i = wanted->keys[i].next) {
		cJSON *key = wanted->keys[i].key;
		if (json_member(key, "used") || json_get_string(key, "user", &user) < 0 ||
			sshd_line_login(line, user, found) != SSHD_LOGIN_KEY || strcmp(found, fingerprint) != 0)
			continue;
		(void)cJSON_AddNumberToObject(key, "used", (double)line->time);
	}
}

int used_add(cJSON *keys, unsigned *ret_seen)
{
	static const char *const argv[] = {"journalctl", "--quiet", "--no-pager", "--output=json", "--reverse",
		LINES_OPTION, "--output-fields=MESSAGE,_PID,_UID,_EXE", "_UID=0", "_COMM=sshd", "_COMM=sshd-session",
		NULL};
	cleanup_process_result struct process_result result = {0};
	const struct process process = {.path = SSHD_JOURNAL_PROGRAM,
		.argv = argv,
		.working_directory = -1,
		.output_limit = OUTPUT_MAX,
		.timeout_ms = TIMEOUT_MS,
		.capabilities = PROCESS_CAPABILITIES_KEEP};
	CLEANUP(wanted_free) struct wanted wanted = {0};
	unsigned seen = 0;

	int r = wanted_fill(&wanted, keys);
	if (r == 0)
		r = process_run(&process, &result);
	if (r < 0) {
		(void)fprintf(stderr, "latchctl: %s: %s\n", process.path, strerror(-r));
		return EXIT_TROUBLE;
	}
	for (size_t offset = 0; offset < result.output.size;) {
		cleanup_sshd_line struct sshd_line line = {0};
		const char *text = result.output.bytes + offset;
		size_t size = (size_t)(strchrnul(text, '\n') - text);
		if (sshd_line_parse(text, size, &line)) {
			seen++;
			note(&wanted, &line);
		}
		offset += size + 1;
	}
	*ret_seen = seen;
	return EXIT_OK;
}
