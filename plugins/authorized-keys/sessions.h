/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The open SSH sessions of a user, found by sshd's own privileged process of each (root's, titled "sshd: USER [priv]",
 * or "sshd: root@pts/0" of root's own sessions). A user who gives a setuid program such a title gets that one ended
 * and no other. Ending it, by pidfd, ends the session; what the user detached from it runs on. Which key opened a
 * session only session_keys knows.
 */
#pragma once

#include "lib/plugin.h"

#define SESSIONS_GRACE_MS 3000u /* between SIGTERM and SIGKILL */
#define SESSIONS_MAX 4096u      /* of one user */

struct sessions_outcome {
	unsigned ended, open, unknown; /* unknown: open, and nobody can tell which key opened them */
};

/* Ends those opened with one of the fingerprints (NULL-terminated; NULL: all), in at most that time. */
int sessions_end(const char *user, const char *const *fingerprints, unsigned budget_ms,
	struct sessions_outcome *ret_outcome) MUST_CHECK;

/* sessions.end */
int sessions_plan(const struct plugin_request *request, const struct plugin_command *command,
	struct plugin_result *result) MUST_CHECK;
int sessions_apply(const struct plugin_request *request, const struct plugin_command *command,
	struct plugin_result *result) MUST_CHECK;
