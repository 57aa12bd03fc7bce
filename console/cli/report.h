/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report that an instance signed of itself, and what in it may never go lower: whoever restores a snapshot of a
 * machine takes these back with it. No network and no state in here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/code.h"
#include "lib/json.h"

enum report_mark { REPORT_TIME, REPORT_SEQ, REPORT_GENERATION, REPORT_TRUST, REPORT_FLOOR, REPORT_MARKS };

struct report_marks {
	int64_t values[REPORT_MARKS];
};

struct report {
	cJSON *payload; /* owned; every known member has its type, every text is printable */
	struct report_marks marks;
	int64_t received; /* as the endpoint says, which may lie */
};

/* "time", "seq", … */
const char *report_mark_name(enum report_mark mark);
/* OK when that key signed it and it is of this instance; else why not, as for results. */
enum code report_read(
	const char *text, const char *instance, const unsigned char *key, size_t key_size, struct report *ret_report);
void report_free(struct report *report);
#define cleanup_report CLEANUP(report_free)
/* Raises what is lower. */
void report_marks_raise(struct report_marks *marks, const struct report_marks *by);
/* One bit (1 << mark) for each that is lower now than before. */
unsigned report_marks_lower(const struct report_marks *before, const struct report_marks *now);
