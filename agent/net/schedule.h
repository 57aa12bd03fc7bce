/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to ask the endpoint next: one function of (state, what happened, time, random), so that it can be simulated.
 * Back-off has full jitter, base 4 s, cap 300 s; the first retry after a lost long poll is U(0, 30 s), so that a fleet
 * whose endpoint restarted does not come back at once. Never more than one request a second on average. A machine whose
 * network comes a moment after us, at boot, does not wait for seconds: until anybody has answered, and for 15 s at
 * most, the distances are 125 ms … 2 s, about ten requests.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SCHEDULE_BASE_MS 4000
#define SCHEDULE_CAP_MS 300000
#define SCHEDULE_LOST_MS 30000
#define SCHEDULE_BUCKET 10
#define SCHEDULE_QUICK_MS 15000 /* after the start */
#define SCHEDULE_QUICK_BASE_MS 250
#define SCHEDULE_QUICK_CAP_MS 2000
#define SCHEDULE_REFILL_MS 1000
#define SCHEDULE_RETRY_AFTER_MAX 3600 /* seconds */

enum schedule_event {
	SCHEDULE_STARTED,  /* nothing was asked yet, or the doorbell rang */
	SCHEDULE_ANSWERED, /* a good answer to a request that was not to be held */
	SCHEDULE_HELD,     /* a good answer that the endpoint had held (Preference-Applied) */
	SCHEDULE_UNHELD,   /* a good answer although it was asked to hold */
	SCHEDULE_TAKEN,    /* a document was taken over */
	SCHEDULE_REFUSED,  /* a document was not taken over */
	SCHEDULE_LOST,     /* a held request broke */
	SCHEDULE_FAILED,   /* an answer that says nothing, or none */
	SCHEDULE_SILENT,   /* nobody has answered yet since the start */
};

struct schedule {
	int64_t poll_ms;   /* [endpoint] poll */
	unsigned failures; /* in a row */
	int64_t tokens, tokens_at;
	int64_t started_at;
	unsigned quick; /* requests of the first seconds */
	bool answered;  /* somebody did, whatever he said */
};

void schedule_initialise(struct schedule *schedule, int64_t poll_ms, int64_t now_ms);
/*
 * Milliseconds from now until the next request. retry_after: seconds as the endpoint said, -1 if it did not.
 * `random` is uniform over 64 bits.
 */
int64_t schedule_next(
	struct schedule *schedule, enum schedule_event event, int64_t retry_after, int64_t now_ms, uint64_t random);
