/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/name_map.h"

static void what_was_put_is_found_and_nothing_else(void **state)
{
	cleanup_name_map struct name_map map = {0};
	char name[32];

	(void)state;
	assert_int_equal(name_map_get(&map, "nobody"), NAME_MAP_NONE);
	for (size_t i = 0; i < 5000; i++) {
		(void)snprintf(name, sizeof(name), "user%zu", i);
		assert_int_equal(name_map_put(&map, name, i), 0);
	}
	for (size_t i = 0; i < 6000; i++) {
		(void)snprintf(name, sizeof(name), "user%zu", i);
		assert_int_equal(name_map_get(&map, name), i < 5000 ? i : NAME_MAP_NONE);
	}
	assert_int_equal(name_map_get(&map, ""), NAME_MAP_NONE);
}

static void a_second_number_takes_the_first_ones_place(void **state)
{
	cleanup_name_map struct name_map map = {0};

	(void)state;
	assert_int_equal(name_map_put(&map, "alice", 1), 0);
	assert_int_equal(name_map_put(&map, "", 3), 0);
	assert_int_equal(name_map_put(&map, "alice", 2), 0);
	assert_int_equal(name_map_get(&map, "alice"), 2);
	assert_int_equal(name_map_get(&map, ""), 3);
	assert_int_equal(map.used, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_put_is_found_and_nothing_else),
		cmocka_unit_test(a_second_number_takes_the_first_ones_place),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
