/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "plugins/authorized-keys/session_keys.h"

#define FINGERPRINT "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define BY_KEY "Accepted publickey for alice from 192.0.2.1 port 4 ssh2: ED25519 " FINGERPRINT
#define SSHD "/usr/sbin/sshd"

static void P110_only_sshds_own_word_counts(void **state)
{
	static const struct {
		const char *message, *program, *uid, *pid, *time;
		enum session_evidence evidence;
	} rows[] = {
		{BY_KEY, SSHD, "0", "42", "5000000", SESSION_KEY},
		{"Partial publickey for alice from ::1 port 4 ssh2: RSA-CERT " FINGERPRINT " ID x (serial 1) CA", SSHD,
			"0", "42", "5000000", SESSION_KEY},
		{"Accepted password for alice from 192.0.2.1 port 4 ssh2", SSHD, "0", "42", "5000000", SESSION_OTHER},
		{BY_KEY, "/usr/lib/openssh/sshd-session", "0", "42", "5000000", SESSION_KEY},
		{BY_KEY, "/usr/sbin/sshd (deleted)", "0", "42", "5000000", SESSION_KEY},
		{BY_KEY, "/usr/bin/logger", "0", "42", "5000000", SESSION_UNKNOWN},
		{BY_KEY, "/home/alice/sshd", "0", "42", "5000000", SESSION_UNKNOWN},
		{BY_KEY, "/usr/local/sbin/sshd", "0", "42", "5000000", SESSION_UNKNOWN},
		{BY_KEY, "/usr/../home/alice/sshd", "0", "42", "5000000", SESSION_UNKNOWN},
		{BY_KEY, SSHD, "1000", "42", "5000000", SESSION_UNKNOWN},
		{BY_KEY, SSHD, "00x", "42", "5000000", SESSION_UNKNOWN},
		{BY_KEY, SSHD, "0", "41", "5000000", SESSION_UNKNOWN}, /* another process */
		{BY_KEY, SSHD, "0", "42", "900000", SESSION_UNKNOWN},  /* one that had the id before */
		{"Invalid user " BY_KEY, SSHD, "0", "42", "5000000", SESSION_UNKNOWN},
		{"Failed publickey for alice from 192.0.2.1 port 4 ssh2: ED25519 " FINGERPRINT, SSHD, "0", "42",
			"5000000", SESSION_UNKNOWN},
		{"Accepted publickey for alice2 from 192.0.2.1 port 4 ssh2: ED25519 " FINGERPRINT, SSHD, "0", "42",
			"5000000", SESSION_UNKNOWN},
		{"Accepted publickey for alice from 192.0.2.1 port 4 ssh2: ED25519 MD5:00", SSHD, "0", "42", "5000000",
			SESSION_UNKNOWN},
	};
	(void)state;

	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		struct session session = {.pid = 42, .started_us = 1000000};
		char line[512];
		int size = snprintf(line, sizeof(line),
			"{\"MESSAGE\":\"%s\",\"_EXE\":\"%s\",\"_UID\":\"%s\",\"_PID\":\"%s\",\"__MONOTONIC_TIMESTAMP\":"
			"\"%s\"}",
			rows[i].message, rows[i].program, rows[i].uid, rows[i].pid, rows[i].time);
		(void)session_keys_read_line(line, (size_t)size, "alice", &session, 1);
		if (session.evidence != rows[i].evidence)
			fail_msg("%s", line);
		assert_string_equal(session.fingerprint, session.evidence == SESSION_KEY ? FINGERPRINT : "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(P110_only_sshds_own_word_counts)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
