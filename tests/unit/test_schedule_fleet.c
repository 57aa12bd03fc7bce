/* SPDX-License-Identifier: Apache-2.0 */
/* A fleet in simulated time on the scheduler that ships: what an endpoint sees when it comes back after a day. */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "agent/net/schedule.h"

#if defined(__SANITIZE_ADDRESS__)
#define AGENTS 20000 /* an instrumented run looks at memory, not at the distribution's tail */
#else
#define AGENTS 1000000
#endif
#define DAY_MS (INT64_C(24) * 3600 * 1000)
#define POLL_MS 300000
#define WINDOW_S 320u /* the cap, the bucket's delay, and some room */

static uint64_t next_random(uint64_t *seed)
{
	*seed += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t z = *seed;
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Six standard deviations of a count whose mean this is, and one for the rounding. */
static unsigned at_most(double mean)
{
	double root = mean;

	for (unsigned i = 0; i < 40; i++)
		root = root > 0 ? (root + mean / root) / 2 : 0;
	return (unsigned)(mean + 6 * root) + 1;
}

/*
 * One agent whose held request broke at 0 and whose endpoint answers again at `back`: when it asks the first time after
 * that, and how often it has asked in vain.
 */
static int64_t returns_at(int64_t back, uint64_t *seed, unsigned *attempts)
{
	struct schedule schedule;
	enum schedule_event event = SCHEDULE_LOST;
	int64_t now = 0;

	schedule_initialise(&schedule, POLL_MS, 0);
	for (;;) {
		now += schedule_next(&schedule, event, -1, now, next_random(seed));
		if (now >= back)
			return now;
		event = SCHEDULE_FAILED;
		++*attempts;
	}
}

static void P84_a_million_agents_come_back_after_a_day(void **state)
{
	unsigned *arrivals = calloc(WINDOW_S, sizeof(*arrivals));
	uint64_t seed = 20, asked = 0;
	unsigned most = 0;

	(void)state;
	assert_non_null(arrivals);
	for (unsigned agent = 0; agent < AGENTS; agent++) {
		unsigned attempts = 0;
		int64_t at = returns_at(DAY_MS, &seed, &attempts) - DAY_MS;
		assert_in_range(at, 0, (WINDOW_S - 1) * 1000);
		arrivals[at / 1000]++;
		asked += attempts;
	}
	/*
	 * Gaps are uniform over (0, cap): a renewal process in its steady state, so who is still to come is spread with
	 * the density (1 - x / cap) / (cap / 2), which is highest at once: 2 / cap of the fleet in the first second.
	 */
	const double cap = SCHEDULE_CAP_MS / 1000.0;
	for (unsigned second = 0; second < WINDOW_S; second++) {
		double share = second < cap ? (1 - second / cap) * 2 / cap : 0;
		assert_in_range(arrivals[second], 0, at_most(AGENTS * share));
		if (arrivals[second] > most)
			most = arrivals[second];
	}
	/* While it is down a proxy before it sees the same: each agent once in cap / 2 on average. */
	double per_agent = (double)asked / AGENTS, expected = (double)DAY_MS / 1000 / (cap / 2);
	assert_true(per_agent > expected * 0.97 && per_agent < expected * 1.05);
	print_message("%u agents, a day's outage: at most %u in a second (%.0f by the formula), all within %.0f s\n",
		AGENTS, most, AGENTS * 2 / cap, cap);
	free(arrivals);
}

/* A restart that takes a second must not bring the fleet back at once either. */
static void P84_a_million_agents_after_a_restart(void **state)
{
	unsigned *arrivals = calloc(WINDOW_S, sizeof(*arrivals));
	uint64_t seed = 21;

	(void)state;
	assert_non_null(arrivals);
	for (unsigned agent = 0; agent < AGENTS; agent++) {
		unsigned attempts = 0;
		int64_t at = returns_at(1000, &seed, &attempts);
		assert_in_range(at, 1000, (WINDOW_S - 1) * 1000);
		arrivals[at / 1000]++;
	}
	const double spread = SCHEDULE_LOST_MS / 1000.0;
	for (unsigned second = 0; second < WINDOW_S; second++)
		/* Those that had tried in vain in the first second come in the eight after it. */
		assert_in_range(arrivals[second], 0, at_most(AGENTS / spread * (second < 10 ? 1.2 : 1)));
	free(arrivals);
}

/* An endpoint that says when: nobody comes before, and they are spread over a quarter of it. */
static void P84_a_million_agents_are_told_when(void **state)
{
	unsigned *arrivals = calloc(WINDOW_S, sizeof(*arrivals));
	uint64_t seed = 22;

	(void)state;
	assert_non_null(arrivals);
	for (unsigned agent = 0; agent < AGENTS; agent++) {
		struct schedule schedule;
		schedule_initialise(&schedule, POLL_MS, 0);
		int64_t at = schedule_next(&schedule, SCHEDULE_FAILED, 120, 0, next_random(&seed));
		assert_in_range(at, 120000, 150000);
		arrivals[at / 1000]++;
	}
	for (unsigned second = 120; second < 150; second++)
		assert_in_range(arrivals[second], 0, at_most(AGENTS / 30.0));
	free(arrivals);
}

/*
 * The clock that is handed in is CLOCK_BOOTTIME: it goes on while the machine sleeps. After years of sleep there is one
 * bucket of requests, not one for each second of it; and no delay is ever longer than the cap and the bucket's.
 */
static void P85_years_of_sleep_are_no_burst(void **state)
{
	static const int64_t year = INT64_C(365) * DAY_MS;
	uint64_t seed = 23;

	(void)state;
	for (unsigned round = 0; round < 1000; round++) {
		struct schedule schedule;
		int64_t now = 0;
		schedule_initialise(&schedule, POLL_MS, 0);
		for (unsigned i = 0; i < 20; i++)
			now += schedule_next(&schedule, SCHEDULE_FAILED, -1, now, next_random(&seed));
		now += 10 * year;
		unsigned at_once = 0;
		for (unsigned i = 0; i < 100; i++) {
			int64_t delay = schedule_next(&schedule, SCHEDULE_HELD, -1, now, next_random(&seed));
			assert_in_range(delay, 0, SCHEDULE_REFILL_MS);
			at_once += delay == 0;
			now += delay;
		}
		assert_in_range(at_once, 1, SCHEDULE_BUCKET);
		for (unsigned i = 0; i < 20; i++) {
			int64_t delay = schedule_next(&schedule, SCHEDULE_FAILED, -1, now, next_random(&seed));
			assert_in_range(delay, 0, SCHEDULE_CAP_MS + SCHEDULE_BUCKET * SCHEDULE_REFILL_MS);
			now += delay;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P84_a_million_agents_come_back_after_a_day),
		cmocka_unit_test(P84_a_million_agents_after_a_restart),
		cmocka_unit_test(P84_a_million_agents_are_told_when),
		cmocka_unit_test(P85_years_of_sleep_are_no_burst),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
