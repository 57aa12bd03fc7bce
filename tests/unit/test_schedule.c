/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "agent/net/schedule.h"

/* A small generator, so that a failure can be repeated. */
static uint64_t next_random(uint64_t *seed)
{
	*seed += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t z = *seed;
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void a_good_answer_asks_again_at_once(void **state)
{
	struct schedule schedule;

	(void)state;
	schedule_initialise(&schedule, 300000, 0);
	assert_int_equal(schedule_next(&schedule, SCHEDULE_STARTED, -1, 0, 5), 0);
	assert_int_equal(schedule_next(&schedule, SCHEDULE_HELD, -1, 1000, 5), 0);
	assert_int_equal(schedule_next(&schedule, SCHEDULE_TAKEN, -1, 2000, 5), 0);
	assert_int_equal(schedule_next(&schedule, SCHEDULE_UNHELD, -1, 3000, 5), 300000);
}

static void P84_back_off_has_full_jitter_and_a_cap(void **state)
{
	static const int64_t most[] = {4000, 8000, 16000, 32000, 64000, 128000, 256000, 300000, 300000};
	uint64_t seed = 1;

	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		struct schedule schedule;
		int64_t now = 0;
		schedule_initialise(&schedule, 300000, 0);
		for (unsigned i = 0; i < sizeof(most) / sizeof(most[0]); i++) {
			int64_t delay = schedule_next(&schedule, SCHEDULE_FAILED, -1, now, next_random(&seed));
			assert_in_range(delay, 0, most[i] + 1000);
			now += 100000;
		}
	}
}

static void P84_a_lost_long_poll_spreads_a_fleet_over_half_a_minute(void **state)
{
	unsigned buckets[30] = {0};
	uint64_t seed = 2;

	(void)state;
	for (unsigned agent = 0; agent < 300000; agent++) {
		struct schedule schedule;
		schedule_initialise(&schedule, 300000, 0);
		int64_t delay = schedule_next(&schedule, SCHEDULE_LOST, -1, 1000, next_random(&seed));
		assert_in_range(delay, 0, SCHEDULE_LOST_MS);
		buckets[delay >= SCHEDULE_LOST_MS ? 29 : delay / 1000]++;
	}
	for (unsigned i = 0; i < 30; i++)
		assert_in_range(buckets[i], 9000, 11000); /* 10,000 expected, 100 is one standard deviation */
}

static void P84_retry_after_is_clamped_and_spread(void **state)
{
	uint64_t seed = 3;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		struct schedule schedule;
		schedule_initialise(&schedule, 300000, 0);
		assert_in_range(schedule_next(&schedule, SCHEDULE_FAILED, 0, 0, next_random(&seed)), 1000, 1250);
		assert_in_range(schedule_next(&schedule, SCHEDULE_FAILED, 60, 0, next_random(&seed)), 60000, 75000);
		assert_in_range(
			schedule_next(&schedule, SCHEDULE_FAILED, 1000000, 0, next_random(&seed)), 3600000, 4500000);
	}
}

static void a_network_that_comes_a_moment_later_is_used_within_a_moment(void **state)
{
	uint64_t seed = 4;

	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		struct schedule schedule;
		int64_t now = 0, after_window;
		unsigned requests = 1;
		schedule_initialise(&schedule, 300000, 1000000);
		assert_int_equal(schedule_next(&schedule, SCHEDULE_STARTED, -1, 1000000, 5), 0);
		/* Nothing before 200 ms, then the network is there: the next request is at most that much later again.
		 */
		while (now < 200)
			now += schedule_next(&schedule, SCHEDULE_SILENT, -1, 1000000 + now, next_random(&seed));
		assert_in_range(now, 200, 200 + 500);
		while (now < SCHEDULE_QUICK_MS) {
			int64_t delay =
				schedule_next(&schedule, SCHEDULE_SILENT, -1, 1000000 + now, next_random(&seed));
			assert_in_range(delay, 125, SCHEDULE_QUICK_CAP_MS + SCHEDULE_REFILL_MS);
			now += delay;
			requests++;
		}
		assert_in_range(requests, 7, 20);
		after_window = schedule_next(&schedule, SCHEDULE_SILENT, -1, 1000000 + now, next_random(&seed));
		assert_in_range(after_window, 0, SCHEDULE_BASE_MS + 2000);
		assert_int_equal(schedule.failures, 1); /* from here on it is the ordinary back-off */
	}
}

static void an_answer_ends_the_quick_beginning(void **state)
{
	struct schedule schedule;

	(void)state;
	schedule_initialise(&schedule, 300000, 0);
	(void)schedule_next(&schedule, SCHEDULE_STARTED, -1, 0, 5);
	(void)schedule_next(&schedule, SCHEDULE_SILENT, -1, 10, 5);
	(void)schedule_next(
		&schedule, SCHEDULE_FAILED, -1, 300, 5); /* 503: the network is there, the endpoint is not */
	assert_true(schedule.answered);
	assert_int_equal(schedule_next(&schedule, SCHEDULE_SILENT, -1, 400, 7999), 7999); /* of U(0, 8 s) */
}

/* An endpoint that answers everything at once must not be asked more than once a second on average. */
static void never_more_than_one_request_a_second_on_average(void **state)
{
	struct schedule schedule;
	int64_t now = 0;
	unsigned requests = 0;

	(void)state;
	schedule_initialise(&schedule, 300000, 0);
	while (now < 100000) {
		now += schedule_next(&schedule, SCHEDULE_HELD, -1, now, 7);
		requests++;
	}
	assert_in_range(requests, 90, 100 + SCHEDULE_BUCKET + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_answer_asks_again_at_once),
		cmocka_unit_test(P84_back_off_has_full_jitter_and_a_cap),
		cmocka_unit_test(P84_a_lost_long_poll_spreads_a_fleet_over_half_a_minute),
		cmocka_unit_test(P84_retry_after_is_clamped_and_spread),
		cmocka_unit_test(a_network_that_comes_a_moment_later_is_used_within_a_moment),
		cmocka_unit_test(an_answer_ends_the_quick_beginning),
		cmocka_unit_test(never_more_than_one_request_a_second_on_average),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
