/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/target_list.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int parse(const char *text, struct target_list *ret_list, unsigned *ret_line)
{
	cleanup_free char *copy = strdup(text);
	assert_non_null(copy);
	return target_list_parse(copy, ret_list, ret_line);
}

static void comments_blanks_and_repeats_do_not_count(void **state)
{
	(void)state;
	cleanup_target_list struct target_list list = {0};
	unsigned line;

	assert_int_equal(parse("# all of them\n vm-1 # the first\r\n\n\tvm-2\nvm-1\n#vm-3\nvm-4", &list, &line), 0);
	assert_int_equal(list.count, 3);
	assert_string_equal(list.names[0], "vm-1");
	assert_string_equal(list.names[1], "vm-2");
	assert_string_equal(list.names[2], "vm-4");
}

static void what_is_no_instance_id_refuses_the_file_with_its_line(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"vm-1\nvm 2\n", "vm-1\n-x\n", "vm-1\n../etc\n", "vm-1\nvm-2,vm-3\n", "vm-1\n\xc3\xa9\n"};

	for (size_t i = 0; i < ELEMENTS(bad); i++) {
		cleanup_target_list struct target_list list = {0};
		unsigned line = 0;
		assert_int_equal(parse(bad[i], &list, &line), -EBADMSG);
		assert_int_equal(line, 2);
		assert_null(list.names);
	}
}

static void more_than_the_maximum_is_refused(void **state)
{
	(void)state;
	cleanup_free char *text = malloc((TARGETS_MAX + 1) * 8);
	cleanup_target_list struct target_list list = {0};
	size_t size = 0;
	unsigned line;

	assert_non_null(text);
	for (unsigned i = 0; i < TARGETS_MAX; i++)
		size += (size_t)snprintf(text + size, 8, "v%05u\n", i);
	assert_int_equal(parse(text, &list, &line), 0);
	assert_int_equal(list.count, TARGETS_MAX);
	target_list_free(&list);
	(void)snprintf(text + size, 8, "more\n");
	assert_int_equal(parse(text, &list, &line), -E2BIG);
}

static void those_that_are_done_are_left_out(void **state)
{
	(void)state;
	cleanup_target_list struct target_list list = {0}, done = {0};
	unsigned line;

	assert_int_equal(parse("a\nb\nc\nd\n", &list, &line), 0);
	assert_int_equal(parse("# latchkey user add x\nd\nb\nzz\n", &done, &line), 0);
	assert_int_equal(target_list_remove(&list, &done), 2);
	assert_int_equal(list.count, 2);
	assert_string_equal(list.names[0], "a");
	assert_string_equal(list.names[1], "c");
}

static void a_share_is_rounded_up(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t total, count;
	} good[] = {{"10%", 100, 10}, {"10%", 5, 1}, {"1%", 101, 2}, {"100%", 7, 7}, {"3", 10, 3}, {"30", 10, 10},
		{"1", 0, 0}};
	static const char *const bad[] = {"", "0", "0%", "101%", "%", "-1", "1.5", "10 %", "10%%", "1234567"};
	size_t count;

	for (size_t i = 0; i < ELEMENTS(good); i++) {
		assert_int_equal(target_list_share(good[i].text, good[i].total, &count), 0);
		assert_int_equal(count, good[i].count);
	}
	for (size_t i = 0; i < ELEMENTS(bad); i++)
		assert_int_equal(target_list_share(bad[i], 10, &count), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comments_blanks_and_repeats_do_not_count),
		cmocka_unit_test(what_is_no_instance_id_refuses_the_file_with_its_line),
		cmocka_unit_test(more_than_the_maximum_is_refused),
		cmocka_unit_test(those_that_are_done_are_left_out),
		cmocka_unit_test(a_share_is_rounded_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
