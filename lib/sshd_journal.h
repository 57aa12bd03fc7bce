/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sshd's word on how somebody came in, from `journalctl -o json`. Any user can write lines that look like sshd's; so
 * only the fields that journald fills in itself count (_UID, _PID, _EXE, the times). See systemd.journal-fields(7).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/json.h"
#include "lib/sshkey.h"

#define SSHD_JOURNAL_PROGRAM "/usr/bin/journalctl"

enum sshd_login {
	SSHD_LOGIN_NONE,  /* it says nothing of a login of that user */
	SSHD_LOGIN_OTHER, /* a password, or another way without a key */
	SSHD_LOGIN_KEY,
};

struct sshd_line {
	cJSON *entry;
	const char *message; /* borrowed from the entry */
	uint64_t pid, monotonic_us;
	int64_t time; /* Unix seconds; 0 when the line has none */
};

/* True for a line that root's sshd itself has written. Free with sshd_line_free. */
bool sshd_line_parse(const char *line, size_t size, struct sshd_line *ret_line);
void sshd_line_free(struct sshd_line *line);
#define cleanup_sshd_line CLEANUP(sshd_line_free)
/* The fingerprint is filled in for a key alone. */
enum sshd_login sshd_line_login(
	const struct sshd_line *line, const char *user, char ret_fingerprint[SSHKEY_FINGERPRINT_SIZE]);
