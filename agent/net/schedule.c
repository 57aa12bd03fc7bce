/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/schedule.h"

void schedule_initialise(struct schedule *schedule, int64_t poll_ms, int64_t now_ms)
{
	*schedule = (struct schedule){
		.poll_ms = poll_ms, .tokens = SCHEDULE_BUCKET, .tokens_at = now_ms, .started_at = now_ms};
}

static int64_t uniform(uint64_t random, int64_t most)
{
	return (int64_t)(random % (uint64_t)(most + 1));
}

/* Full jitter: U(0, min(cap, base * 2^failures)). */
static int64_t back_off(struct schedule *schedule, uint64_t random)
{
	int64_t most = SCHEDULE_BASE_MS;

	for (unsigned i = 0; i < schedule->failures && most < SCHEDULE_CAP_MS; i++)
		most *= 2;
	if (schedule->failures < 32)
		schedule->failures++;
	return uniform(random, most > SCHEDULE_CAP_MS ? SCHEDULE_CAP_MS : most);
}

/* Of the first seconds: between half and the whole of 250 ms, 500 ms, 1 s, 2 s, 2 s … */
static int64_t soon(struct schedule *schedule, uint64_t random)
{
	int64_t most = SCHEDULE_QUICK_BASE_MS << schedule->quick;

	if (most >= SCHEDULE_QUICK_CAP_MS)
		most = SCHEDULE_QUICK_CAP_MS;
	else
		schedule->quick++;
	return most / 2 + uniform(random, most / 2);
}

static int64_t after_event(struct schedule *schedule, enum schedule_event event, int64_t now_ms, uint64_t random)
{
	schedule->answered = schedule->answered || (event != SCHEDULE_SILENT && event != SCHEDULE_STARTED);
	switch (event) {
	case SCHEDULE_STARTED:
	case SCHEDULE_ANSWERED:
	case SCHEDULE_HELD:
	case SCHEDULE_TAKEN:
		schedule->failures = 0;
		return 0;
	case SCHEDULE_UNHELD:
		schedule->failures = 0;
		return schedule->poll_ms;
	case SCHEDULE_LOST:
		if (schedule->failures > 0)
			return back_off(schedule, random);
		schedule->failures = 1;
		return uniform(random, SCHEDULE_LOST_MS);
	case SCHEDULE_SILENT:
		if (!schedule->answered && now_ms - schedule->started_at < SCHEDULE_QUICK_MS)
			return soon(schedule, random);
		return back_off(schedule, random);
	case SCHEDULE_REFUSED:
	case SCHEDULE_FAILED:
		return back_off(schedule, random);
	}
	return SCHEDULE_CAP_MS;
}

/* The bucket: each request takes a token; an empty one delays the request until there is one. */
static int64_t take_token(struct schedule *schedule, int64_t at_ms)
{
	int64_t fresh = (at_ms - schedule->tokens_at) / SCHEDULE_REFILL_MS;

	if (fresh > 0) {
		schedule->tokens += fresh;
		if (schedule->tokens > SCHEDULE_BUCKET)
			schedule->tokens = SCHEDULE_BUCKET;
		schedule->tokens_at += fresh * SCHEDULE_REFILL_MS;
	}
	schedule->tokens--;
	return schedule->tokens >= 0 ? 0 : -schedule->tokens * SCHEDULE_REFILL_MS;
}

int64_t schedule_next(
	struct schedule *schedule, enum schedule_event event, int64_t retry_after, int64_t now_ms, uint64_t random)
{
	int64_t delay = after_event(schedule, event, now_ms, random);

	if (retry_after >= 0 && (event == SCHEDULE_FAILED || event == SCHEDULE_LOST)) {
		int64_t seconds = retry_after < 1 ? 1 : retry_after;
		if (seconds > SCHEDULE_RETRY_AFTER_MAX)
			seconds = SCHEDULE_RETRY_AFTER_MAX;
		delay = seconds * 1000 + uniform(random, seconds * 250);
	}
	return delay + take_token(schedule, now_ms + delay);
}
