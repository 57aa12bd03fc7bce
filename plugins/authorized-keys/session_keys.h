/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With what an open session was opened. sshd tells its log alone, and any user can write lines there that look like
 * sshd's; so only the journal is asked, by the fields that its daemon fills in itself (_UID, _PID, _EXE, the time), and
 * a line counts only for the process that wrote it, if that process lives on. See systemd.journal-fields(7).
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "lib/cleanup.h"
#include "lib/sshkey.h"

enum session_evidence {
	SESSION_UNKNOWN, /* nobody's word about it can be trusted */
	SESSION_OTHER,   /* a password, or another way without a key */
	SESSION_KEY,
};

struct session {
	pid_t pid;
	uint64_t started;    /* clock ticks since boot: with the pid, which process it is */
	uint64_t started_us; /* the same on the journal's clock, or a little earlier */
	enum session_evidence evidence;
	char fingerprint[SSHKEY_FINGERPRINT_SIZE];
};

#define SESSION_KEYS_ASKED_MAX 64u /* sessions of one question */

/* Fills in the evidence of those that are unknown as yet; without a journal they stay so. -ENOMEM. */
int session_keys_find(const char *user, struct session *sessions, unsigned count) MUST_CHECK;
/*
 * One line of `journalctl -o json` about one of the sessions, whoever wrote it. True when it was sshd's word on how
 * that user came in.
 */
bool session_keys_read_line(const char *line, size_t size, const char *user, struct session *sessions, unsigned count);
