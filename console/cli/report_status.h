/* SPDX-License-Identifier: Apache-2.0 */
/* What an instance last reported of itself, against everything that this operator has seen of it before. */
#pragma once

#include "console/cli/pins.h"
#include "console/cli/report.h"

enum report_state {
	REPORT_NONE,        /* it has not reported yet */
	REPORT_UNSUPPORTED, /* the endpoint keeps no reports */
	REPORT_OK,
	REPORT_REPLAYED, /* the newest that the endpoint offers is older than one seen before */
	REPORT_LOST,     /* it offers none although there was one */
};

struct report_status {
	enum report_state state;
	struct report report;       /* of OK and REPLAYED */
	struct report_marks before; /* the highest that is known from elsewhere */
	unsigned lower;             /* bits of the marks that went back in time */
	unsigned strange;           /* texts that the pinned key did not sign, or that are no report */
};

/*
 * Asks the endpoint and verifies against the pin, which remembers what was seen. `seq`: of the newest document that
 * signed results speak of, made at `seq_time`: a report made later has it too.
 */
enum cli_exit report_status_load(
	struct cli *cli, struct pin *pin, int64_t seq, int64_t seq_time, struct report_status *ret_status);
void report_status_free(struct report_status *status);
#define cleanup_report_status CLEANUP(report_status_free)
void report_status_put_json(const struct report_status *status, struct json_writer *writer);
/* Lines for people, each with a newline before it. */
void report_status_put_text(const struct report_status *status, const struct pin *pin, struct buffer *text);
/* CLI_TRUST, said, for what cannot be believed. */
enum cli_exit report_status_verdict(const struct report_status *status, const struct pin *pin);
