/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/session_keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/process.h"
#include "lib/sshd_journal.h"

#define JOURNALCTL_TIMEOUT_MS 5000u
#define OUTPUT_MAX (8u << 20) /* what processes of these ids have logged since boot */
#define TICK_US 20000u        /* a process's start is known to a hundredth of a second */

bool session_keys_read_line(const char *line, size_t size, const char *user, struct session *sessions, unsigned count)
{
	static const enum session_evidence evidences[] = {[SSHD_LOGIN_NONE] = SESSION_UNKNOWN,
		[SSHD_LOGIN_OTHER] = SESSION_OTHER,
		[SSHD_LOGIN_KEY] = SESSION_KEY};
	char fingerprint[SSHKEY_FINGERPRINT_SIZE] = "";
	cleanup_sshd_line struct sshd_line word = {0};

	if (!sshd_line_parse(line, size, &word))
		return false;
	enum session_evidence evidence = evidences[sshd_line_login(&word, user, fingerprint)];
	if (evidence == SESSION_UNKNOWN)
		return false;
	for (unsigned i = 0; i < count; i++) {
		/* Before its start another process had that id. */
		if ((uint64_t)sessions[i].pid != word.pid || word.monotonic_us + TICK_US < sessions[i].started_us)
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
	const struct process process = {.path = SSHD_JOURNAL_PROGRAM,
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
