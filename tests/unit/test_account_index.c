/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/account_index.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct account_table table_of(const char *text)
{
	return (struct account_table){.bytes = (char *)(uintptr_t)text, .size = strlen(text)};
}

static void P104_names_of_one_uid_are_found_whatever_the_order(void **state)
{
	static const char text[] = "root:x:0:0::/:/\nnobody:x:65534:65534::/:/\n# late:x:7:7::/:/\njunk\nx:y:z:0\n"
				   "bob:x:1001:1::/:/\nal:x:1000:1::/:/\ntoor:x:0:0::/:/\nfar:x:4294967295:1::/:/\n"
				   "over:x:4294967296:1::/:/\nempty:x::1::/:/\nsign:x:-1:1::/:/\nzero:x:007:1001::/:/\n"
				   "rob:x:1001:2::/:/";
	static const struct {
		uint32_t number;
		const char *names[3];
	} rows[] = {
		{0, {"root", "toor"}},
		{1001, {"bob", "rob"}},
		{1000, {"al"}},
		{65534, {"nobody"}},
		{UINT32_MAX, {"far"}},
		{7, {"# late", "zero"}}, /* somebody may take the '#' away */
		{1, {NULL}},
		{1002, {NULL}},
	};
	const struct account_table table = table_of(text);
	cleanup_account_numbers struct account_numbers numbers = {0};

	(void)state;
	assert_int_equal(account_numbers_read(&table, 2, &numbers), 0);
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		const struct account_number *first;
		size_t count = account_numbers_find(&numbers, rows[i].number, &first), expected = 0;

		for (; rows[i].names[expected]; expected++) {
			const char *name = rows[i].names[expected];
			assert_true(expected < count);
			assert_memory_equal(table.bytes + first[expected].offset, name, strlen(name));
		}
		assert_int_equal(count, expected);
		/* From the bytes, and from the numbers: the same lines. */
		for (unsigned j = 0; j < 2; j++) {
			struct account_alike alike = {
				.table = &table, .numbers = j ? &numbers : NULL, .field = 2, .number = rows[i].number};
			struct account_line line;

			assert_int_equal(account_count_alike(alike), expected);
			for (count = 0; account_next_alike(&alike, &line); count++)
				assert_memory_equal(line.start, rows[i].names[count], strlen(rows[i].names[count]));
			assert_int_equal(count, expected);
		}
	}
}

/* As reading each line finds it, and as the index does: first, last, doubled, within another, or not at all. */
static void P104_a_name_is_found_where_its_line_begins(void **state)
{
	static const struct {
		const char *text, *name;
		int result;
		size_t offset;
	} rows[] = {
		{"", "al", -ENOENT, 0},
		{"al", "al", -ENOENT, 0},
		{"al:", "al", 0, 0},
		{"al:x\n", "al", 0, 0},
		{"bob:al:al:x\nal:1", "al", 0, 12},
		{"xal:1\nal :2\nal:3\n#al:4\n", "al", 0, 12},
		{"al:1\nbob:2\nal:3\n", "al", -ENOTUNIQ, 0},
		{"al:1\nal:2", "al", -ENOTUNIQ, 0},
		{"\n\nal:1\n", "al", 0, 2},
		{":1\nal:2\n", "", 0, 0},
		{"al:1\r\nbob:2\r\n", "bob", 0, 6},
		{"al:bob:1\n", "al\nbob", -ENOENT, 0},
		{"x:1\nal\nbob:2\n", "al\nbob", -ENOENT, 0},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		struct account_table table = table_of(rows[i].text);
		for (unsigned j = 0; j < 2; j++) {
			struct account_line line;

			assert_int_equal(account_find_line(&table, rows[i].name, &line), rows[i].result);
			if (rows[i].result == 0)
				assert_ptr_equal(line.start, table.bytes + rows[i].offset);
			assert_int_equal(account_index_build(&table), 0);
		}
		account_index_free(table.index);
	}
}

/* Longer than any name that is remembered. */
static void a_long_name_is_found_too(void **state)
{
	char name[400], text[1300];
	struct account_line line;

	(void)state;
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	(void)snprintf(text, sizeof(text), "al:1\nn%s:2\n%s:3\n", name, name);
	const struct account_table table = table_of(text);
	assert_int_equal(account_find_line(&table, name, &line), 0);
	assert_int_equal(line.start[line.size - 1], '3');
}

/* What searching line by line finds, in files in order, nearly in order, and in none. */
static void numbers_agree_with_counting(void **state)
{
	static const unsigned spreads[] = {1, 7, 5000};
	char *text = malloc(5000 * 32);

	(void)state;
	assert_non_null(text);
	for (size_t s = 0; s < ELEMENTS(spreads); s++) {
		cleanup_account_numbers struct account_numbers numbers = {0};
		size_t used = 0;

		for (unsigned i = 0; i < 5000; i++) {
			unsigned uid = s == 2 ? (i * 7919u) % 3001u : i / spreads[s];
			used += (size_t)snprintf(text + used, 32, "u%u:x:%u:1::/:/\n", i, uid);
		}
		const struct account_table table = table_of(text);
		assert_int_equal(account_numbers_read(&table, 2, &numbers), 0);
		assert_int_equal(numbers.count, 5000);
		for (unsigned uid = 0; uid < 5001; uid += 97) {
			const struct account_number *first;
			size_t count = account_numbers_find(&numbers, uid, &first);
			assert_int_equal(count, account_count_uid(&table, uid));
			for (size_t i = 1; i < count; i++)
				assert_true(first[i - 1].offset < first[i].offset);
		}
	}
	free(text);
}

static void an_empty_table_has_no_numbers(void **state)
{
	const struct account_table table = table_of("");
	cleanup_account_numbers struct account_numbers numbers = {0};
	const struct account_number *first;

	(void)state;
	assert_int_equal(account_numbers_read(&table, 2, &numbers), 0);
	assert_int_equal(account_numbers_find(&numbers, 0, &first), 0);
}

static void members_are_the_lines_that_list_somebody(void **state)
{
	static const struct {
		const char *group, *members;
	} rows[] = {
		{"", ""},
		{"root:x:0:\nsudo:x:27:bob\nalice:x:1000:\n", "sudo:x:27:bob\n"},
		{"sudo:x:27:bob", "sudo:x:27:bob"},
		{"\n\nroot:x:0:\r\n", "root:x:0:\r\n"},
		{"# note\n+:::\ndev:x:5:a,b\n", "# note\ndev:x:5:a,b\n"},
		{"twin:x:5:a\ntwin:x:6:b", "twin:x:5:a\ntwin:x:6:b"},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		const struct account_table group = table_of(rows[i].group);
		cleanup_account_table struct account_table members = {0};
		assert_int_equal(account_members_read(&group, &members), 0);
		assert_string_equal(members.bytes, rows[i].members);
		assert_int_equal(members.size, strlen(rows[i].members));
	}
}

static uint32_t stamp_of(const char *group, const char *line, unsigned names, uint32_t rules)
{
	const struct account_table table = table_of(group), passwd = table_of(line);
	cleanup_account_table struct account_table members = {0};
	cleanup_account struct account account = {0};
	uint32_t value = 0;

	assert_int_equal(account_members_read(&table, &members), 0);
	assert_int_equal(account_find(&passwd, "bob", &account), 0);
	assert_int_equal(account_stamp(&members, &account, names, rules, &value), 0);
	return value;
}

static uint32_t stamp(const char *group, const char *line, unsigned names)
{
	return stamp_of(group, line, names, 7);
}

static void P104_the_stamp_is_another_when_what_was_decided_on_is(void **state)
{
	static const char bob[] = "bob:x:1000:1000::/:/\n", dev[] = "dev:x:5:bob\nops:x:6:bob\nsudo:x:27:al\n";
	uint32_t now = stamp(dev, bob, 1);

	(void)state;
	assert_int_equal(stamp("ops:x:6:bob\ndev:x:5:eve,bob\n", "bob:x:1000:1000:named:/srv:/bin/sh\n", 1), now);
	assert_int_not_equal(stamp("dev:x:5:bob\nsudo:x:27:al\n", bob, 1), now);
	assert_int_not_equal(stamp("dev:x:5:bob\nops:x:6:bob\nsudo:x:27:al,bob\n", bob, 1), now);
	assert_int_not_equal(stamp("dev:x:0:bob\nops:x:6:bob\n", bob, 1), now);
	assert_int_not_equal(stamp(dev, "bob:x:1001:1000::/:/\n", 1), now);
	assert_int_not_equal(stamp(dev, "bob:x:1000:27::/:/\n", 1), now);
	assert_int_not_equal(stamp(dev, bob, 2), now);
	assert_int_not_equal(stamp_of(dev, bob, 1, 8), now);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P104_names_of_one_uid_are_found_whatever_the_order),
		cmocka_unit_test(P104_a_name_is_found_where_its_line_begins),
		cmocka_unit_test(a_long_name_is_found_too),
		cmocka_unit_test(numbers_agree_with_counting),
		cmocka_unit_test(an_empty_table_has_no_numbers),
		cmocka_unit_test(members_are_the_lines_that_list_somebody),
		cmocka_unit_test(P104_the_stamp_is_another_when_what_was_decided_on_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
