/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/identifiers.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/field.h"

static struct database database_of(const char *passwd, const char *group)
{
	struct database database = {.etc = -1};
	struct account_table tables[2] = {
		{.bytes = strdup(passwd), .size = strlen(passwd)}, {.bytes = strdup(group), .size = strlen(group)}};

	table_edit_begin(&database.files[DATABASE_PASSWD], &tables[0]);
	table_edit_begin(&database.files[DATABASE_GROUP], &tables[1]);
	return database;
}

static const struct account_defaults defaults = {.ranges = {1000, 1005, 1000, 1005}};

static void P31_a_uid_is_never_given_twice(void **state)
{
	static const struct {
		const char *passwd;
		uid_t seen; /* by the ledger; 0: none */
		int expected;
	} rows[] = {
		{"", 0, 1000},
		{"root:x:0:0::/:/\ndaemon:x:1:1::/:/\nnobody:x:65534:65534::/:/\n", 0, 1000},
		{"a:x:1000:1000::/:/\n", 0, 1001},
		{"a:x:1000:1000::/:/\nb:x:1003:1003::/:/\n", 0, 1004},
		{"a:x:1005:1005::/:/\n", 0, 1000},
		{"a:x:1005:1005::/:/\n", 1000, 1001},
		{"a:x:1000:1000::/:/\n", 1003, 1004},
		/* an account that somebody commented out may come back */
		{"# x:x:1002:\njunk:x:notanumber:\na:x:1000:1::/:/\r\n", 0, 1003},
		{"a:x:1000:1:\nb:x:1001:1:\nc:x:1002:1:\nd:x:1003:1:\ne:x:1004:1:\nf:x:1005:1:\n", 0, -ENOSPC},
		{"a:x:1000:1:\nb:x:1001:1:\nc:x:1002:1:\nd:x:1003:1:\nf:x:1005:1:\n", 1004, -ENOSPC},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		cleanup_database struct database database = database_of(rows[i].passwd, "");
		struct ledger_entry entry = {.uid = rows[i].seen, .gone = true};
		const struct ledger ledger = {.entries = &entry, .count = rows[i].seen != 0 ? 1 : 0};
		uid_t uid = 0;
		int r = identifiers_choose_uid(&database, &defaults, &ledger, &uid);
		assert_int_equal(r < 0 ? r : (int)uid, rows[i].expected);
	}
}

static void P31_what_a_name_service_has_is_passed_over(void **state)
{
	/* Also where the range lies beyond what is kept as bits. */
	static const struct account_defaults ranges[] = {{.ranges = {1000, 1005, 1000, 1005}},
		{.ranges = {1000, 200005, 1000, 200005}}, {.ranges = {200000, 200005, 200000, 200005}}};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(ranges); i++) {
		cleanup_database struct database database = database_of("a:x:1000:1::/:/\n", "g:x:1000:\n");
		const struct ledger ledger = {0};
		uid_t first = ranges[i].ranges.uid_min == 1000 ? 1001 : 200000, uid = 0;
		gid_t gid = 0;

		assert_int_equal(identifiers_choose_uid(&database, &ranges[i], &ledger, &uid), 0);
		assert_int_equal(uid, first);
		assert_int_equal(identifiers_take(&database, DATABASE_PASSWD, first), 0);
		assert_int_equal(identifiers_choose_uid(&database, &ranges[i], &ledger, &uid), 0);
		assert_int_equal(uid, first + 1);
		assert_int_equal(identifiers_take(&database, DATABASE_GROUP, first), 0);
		assert_int_equal(identifiers_choose_gid(&database, &ranges[i], first, &gid), 0);
		assert_int_equal(gid, first + 1);
	}
}

static void a_gid_is_like_the_uid_where_it_can_be(void **state)
{
	cleanup_database struct database database = database_of("", "dev:x:1002:\n");
	gid_t gid = 0;

	(void)state;
	assert_int_equal(identifiers_choose_gid(&database, &defaults, 1004, &gid), 0);
	assert_int_equal(gid, 1004);
	assert_int_equal(identifiers_choose_gid(&database, &defaults, 1002, &gid), 0);
	assert_int_equal(gid, 1003);
	assert_int_equal(identifiers_choose_gid(&database, &defaults, 0, &gid), 0);
	assert_int_equal(gid, 1003);
}

static void subordinate_ranges_fill_the_first_gap(void **state)
{
	static const struct {
		const char *text;
		int64_t expected;
	} rows[] = {
		{"", 100000},
		{"a:100000:65536\n", 165536},
		{"b:165536:65536\na:100000:65536\n", 231072},
		{"b:165536:65536\n", 100000},
		{"b:150000:10\n", 150010},
		{"junk\nx:y:z\na:100000:65536", 165536},
		{"a:100000:4000000000\n", -ENOSPC},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		char text[128];
		(void)snprintf(text, sizeof(text), "%s", rows[i].text);
		cleanup_database struct database database = {.etc = -1};
		struct account_table table = {.bytes = strdup(text), .size = strlen(text)};
		int64_t start = -1;
		table_edit_begin(&database.files[DATABASE_SUBUID], &table);
		int r = identifiers_choose_range(&database, DATABASE_SUBUID, 100000, 600100000, 65536, &start);
		assert_int_equal(r < 0 ? r : start, rows[i].expected);
	}
}

static void P30_names(void **state)
{
	static const struct {
		const char *name;
		bool is_new, existing;
	} rows[] = {
		{"alice", true, true},
		{"_svc-1", true, true},
		{"a", true, true},
		{"root", true, true},
		{"Root", false, true},
		{"john.doe", false, true},
		{"0", false, true},
		{"1abc", false, true},
		{"ALL", false, true},
		{"-", false, false},
		{"-x", false, false},
		{"--help", false, false},
		{".", false, false},
		{"..", false, false},
		{"a/b", false, false},
		{"a:b", false, false},
		{"a,b", false, false},
		{"a b", false, false},
		{"a\nb", false, false},
		{"a$", false, false},
		{"+", false, false},
		{"+@ng", false, false},
		{"%wheel", false, false},
		{"", false, false},
		{"$(id)", false, false},
		{"\xc3\x9cn\xc3\xaf", false, false},
		{"\xd0\xb0lice", false, false},
		{"abcdefghijklmnopqrstuvwxyzabcdef", true, true},
		{"abcdefghijklmnopqrstuvwxyzabcdefg", false, false},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		if (field_is_name(rows[i].name) != rows[i].is_new || field_is_user(rows[i].name) != rows[i].existing)
			fail_msg("%s", rows[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P31_a_uid_is_never_given_twice),
		cmocka_unit_test(P31_what_a_name_service_has_is_passed_over),
		cmocka_unit_test(a_gid_is_like_the_uid_where_it_can_be),
		cmocka_unit_test(subordinate_ranges_fill_the_first_gap),
		cmocka_unit_test(P30_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
