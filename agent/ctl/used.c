/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/used.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/ctl/ctl.h"
#include "lib/process.h"
#include "lib/sshd_journal.h"

#define LINES_OPTION "--lines=50000" /* sshd's newest: a busy machine's month; 600 bytes each */
#define OUTPUT_MAX (64u << 20)
#define TIMEOUT_MS 60000u

static bool is_used(const cJSON *key)
{
	return json_member(key, "used") != NULL;
}

static void note(cJSON *keys, const struct sshd_line *line)
{
	cJSON *key;

	cJSON_ArrayForEach(key, keys)
	{
		const char *user = NULL, *fingerprint = NULL;
		char found[SSHKEY_FINGERPRINT_SIZE];
		if (is_used(key) || json_get_string(key, "user", &user) < 0 ||
			json_get_string(key, "fingerprint", &fingerprint) < 0 ||
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
	unsigned seen = 0;

	int r = process_run(&process, &result);
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
			note(keys, &line);
		}
		offset += size + 1;
	}
	*ret_seen = seen;
	return EXIT_OK;
}
