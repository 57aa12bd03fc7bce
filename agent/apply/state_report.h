/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unsolicited report: what is true on this machine, signed by the instance, for the console. It stands in
 * /run/latchkey/report, so a full or read-only disk is reported too, and each boot reports anew: `text` until it is
 * delivered, `content` of the last one without its time, and as a file's name when the next is due whatever happens.
 */
#pragma once

#include "agent/apply/apply.h"

/* Collected while the view is written; errors stick in the buffers. */
struct state_report {
	struct buffer users, keys; /* JSON array elements */
	int64_t user_count, key_count, missing, foreign, inherited;
};

/* uid -1: nobody has that name. */
void state_report_add_user(
	struct state_report *report, const char *user, int64_t uid, bool can_by_key, bool can_by_password);
/* A line of the keys plugin's ledger. */
void state_report_add_key(struct state_report *report, const cJSON *line);
/* Writes a new one where anything but its time changed, or when one is due. `status` is the text of status.json. */
int state_report_write(const struct apply *apply, struct state_report *report, const struct buffer *status,
	int64_t trust_version) MUST_CHECK;
void state_report_free(struct state_report *report);
