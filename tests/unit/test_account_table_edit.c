/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/table_edit.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/account_index.h"

static struct table_edit edit_of(const char *text)
{
	struct account_table table = {.bytes = strdup(text), .size = strlen(text)};
	struct table_edit edit;

	assert_non_null(table.bytes);
	table_edit_begin(&edit, &table);
	return edit;
}

static void P22_only_the_named_field_changes(void **state)
{
	static const struct {
		const char *before, *after;
	} rows[] = {
		{"a:x:1\nbob:old:2\nc:x:3\n", "a:x:1\nbob:new:2\nc:x:3\n"},
		{"bob:old:2", "bob:new:2"},
		{"# bob:old:2\n\nbobby:old:2\nbob:old:2\r\n\xff\xfe\njunk",
			"# bob:old:2\n\nbobby:old:2\nbob:new:2\r\n\xff\xfe\njunk"},
		{"+@ng::\nbob::2\n-x::\n", "+@ng::\nbob:new:2\n-x::\n"},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		struct table_edit edit = edit_of(rows[i].before);
		assert_int_equal(table_edit_set_field(&edit, "bob", 3, 1, "new"), 0);
		assert_string_equal(edit.table.bytes, rows[i].after);
		assert_true(edit.changed);
		edit.changed = false;
		assert_int_equal(table_edit_set_field(&edit, "bob", 3, 1, "new"), 0);
		assert_false(edit.changed);
		table_edit_free(&edit);
	}
}

static int find(const struct table_edit *edit, const char *name, size_t *ret_offset)
{
	struct account_line line = {edit->table.bytes, 0};
	int r = account_find_line(&edit->table, name, &line);

	*ret_offset = (size_t)(line.start - edit->table.bytes);
	return r;
}

/* The same edits with and without an index, on lines of which some are doubled. */
static void P22_an_index_finds_what_reading_finds(void **state)
{
	static const char start[] = "n1:a:b\n#n2:a:b\nn3:a:b\nn3:c:d\njunk\n:x:y\n";
	static const char *const ends[] = {"", "+@ng::\nn5:after:nis\n"};
	unsigned random = 1;

	(void)state;
	for (size_t e = 0; e < ELEMENTS(ends); e++) {
		char text[128];
		(void)snprintf(text, sizeof(text), "%s%s", start, ends[e]);
		struct table_edit plain = edit_of(text), indexed = edit_of(text);
		assert_int_equal(account_index_build(&indexed.table), 0);
		for (unsigned i = 0; i < 20000; i++) {
			char name[16], line[64];
			size_t offset, indexed_offset;

			random = random * 1103515245u + 12345u;
			unsigned what = (random >> 16) % 4;
			random = random * 1103515245u + 12345u;
			(void)snprintf(name, sizeof(name), "n%u", (random >> 16) % 3000);
			(void)snprintf(line, sizeof(line), "%s:%.*s:z", name, (int)(random >> 8) % 9, "xxxxxxxxx");
			int r = find(&plain, name, &offset);
			assert_int_equal(find(&indexed, name, &indexed_offset), r);
			if (r == 0)
				assert_int_equal(indexed_offset, offset);
			if (what == 0)
				assert_int_equal(
					table_edit_remove_line(&plain, name), table_edit_remove_line(&indexed, name));
			else if (what == 1)
				assert_int_equal(table_edit_set_field(&plain, name, 3, 1, line + strlen(name) + 3),
					table_edit_set_field(&indexed, name, 3, 1, line + strlen(name) + 3));
			else if (r == -ENOENT || (random >> 20) % 64 == 0)
				assert_int_equal(
					table_edit_add_line(&plain, line), table_edit_add_line(&indexed, line));
		}
		assert_int_equal(plain.table.size, indexed.table.size);
		assert_memory_equal(plain.table.bytes, indexed.table.bytes, plain.table.size);
		table_edit_free(&plain);
		table_edit_free(&indexed);
	}
}

/* What a crash leaves of a line at the end is taken away and made anew. */
static void P22_the_last_line_goes_from_the_index_too(void **state)
{
	struct table_edit edit = edit_of("root:x:1\nbob:x:2\n");
	size_t offset;

	(void)state;
	assert_int_equal(account_index_build(&edit.table), 0);
	assert_int_equal(table_edit_remove_line(&edit, "bob"), 0);
	assert_int_equal(find(&edit, "bob", &offset), -ENOENT);
	assert_int_equal(table_edit_add_line(&edit, "bob:x:3"), 0);
	assert_int_equal(find(&edit, "bob", &offset), 0);
	table_edit_free(&edit);
}

static void P22_the_last_field_keeps_its_carriage_return(void **state)
{
	struct table_edit edit = edit_of("bob:x:/bin/sh\r\nc:x:y\r\n");

	(void)state;
	assert_int_equal(table_edit_set_field(&edit, "bob", 3, 2, "/bin/bash"), 0);
	assert_string_equal(edit.table.bytes, "bob:x:/bin/bash\r\nc:x:y\r\n");
	table_edit_free(&edit);
}

static void P29_a_value_never_makes_a_second_line_or_field(void **state)
{
	static const char *const bad[] = {"a:b", "a\nroot::0:0", "a\r", "\x1b[0m", "\x7f"};
	struct table_edit edit = edit_of("bob:x:y\n");

	(void)state;
	for (size_t i = 0; i < ELEMENTS(bad); i++) {
		assert_int_equal(table_edit_set_field(&edit, "bob", 3, 1, bad[i]), -EINVAL);
		assert_int_equal(table_edit_set_member(&edit, "bob", 3, 2, bad[i], true), -EINVAL);
	}
	assert_int_equal(table_edit_add_line(&edit, "a:b\nc:d"), -EINVAL);
	assert_int_equal(table_edit_add_line(&edit, ""), -EINVAL);
	assert_string_equal(edit.table.bytes, "bob:x:y\n");
	table_edit_free(&edit);
}

static void what_is_doubled_broken_or_missing_is_refused(void **state)
{
	struct table_edit edit = edit_of("twin:x:1\ntwin:x:2\nshort:x\nlong:x:1:2\n");

	(void)state;
	assert_int_equal(table_edit_set_field(&edit, "twin", 3, 1, "y"), -ENOTUNIQ);
	assert_int_equal(table_edit_set_field(&edit, "short", 3, 1, "y"), -EBADMSG);
	assert_int_equal(table_edit_set_field(&edit, "long", 3, 1, "y"), -EBADMSG);
	assert_int_equal(table_edit_set_field(&edit, "none", 3, 1, "y"), -ENOENT);
	assert_int_equal(table_edit_remove_line(&edit, "twin"), -ENOTUNIQ);
	assert_false(edit.changed);
	table_edit_free(&edit);
}

static void a_line_is_added_before_name_services(void **state)
{
	static const struct {
		const char *before, *after;
	} rows[] = {
		{"", "new:x\n"},
		{"a:x\n", "a:x\nnew:x\n"},
		{"a:x", "a:x\nnew:x\n"},
		{"a:x\n+::::::", "a:x\nnew:x\n+::::::"},
		{"+::::::\nb:x\n", "new:x\n+::::::\nb:x\n"},
		{"a:x\n-bad::\n+::", "a:x\nnew:x\n-bad::\n+::"},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		struct table_edit edit = edit_of(rows[i].before);
		assert_int_equal(table_edit_add_line(&edit, "new:x"), 0);
		assert_string_equal(edit.table.bytes, rows[i].after);
		table_edit_free(&edit);
	}
}

static void T20_members_are_whole_names(void **state)
{
	static const struct {
		const char *before, *member;
		bool present;
		const char *after;
	} rows[] = {
		{"dev:x:5:", "bob", true, "dev:x:5:bob"},
		{"dev:x:5:bobby", "bob", true, "dev:x:5:bobby,bob"},
		{"dev:x:5:bobby,bob,al", "bob", false, "dev:x:5:bobby,al"},
		{"dev:x:5:bob,bobby", "bob", false, "dev:x:5:bobby"},
		{"dev:x:5:bobby,bob", "bob", false, "dev:x:5:bobby"},
		{"dev:x:5:bob", "bob", false, "dev:x:5:"},
		{"dev:x:5:bobby", "bob", false, "dev:x:5:bobby"},
		{"dev:x:5:bob", "bob", true, "dev:x:5:bob"},
		{"dev:x:5:a\r\nnext:x:6:", "bob", true, "dev:x:5:a,bob\r\nnext:x:6:"},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		struct table_edit edit = edit_of(rows[i].before);
		bool present = !rows[i].present;
		assert_int_equal(table_edit_set_member(&edit, "dev", 4, 3, rows[i].member, rows[i].present), 0);
		assert_string_equal(edit.table.bytes, rows[i].after);
		assert_int_equal(table_edit_has_member(&edit, "dev", 4, 3, rows[i].member, &present), 0);
		assert_int_equal(present, rows[i].present);
		table_edit_free(&edit);
	}
}

static void T20_who_goes_leaves_every_group(void **state)
{
	static const struct {
		const char *before, *after;
	} rows[] = {
		{"a:x:1:bob\nb:x:2:al,bob,eve\nc:x:3:bobby\n", "a:x:1:\nb:x:2:al,eve\nc:x:3:bobby\n"},
		{"twin:x:1:bob,al\ntwin:x:1:al,bob\n", "twin:x:1:al\ntwin:x:1:al\n"},
		{"a:x:1:bob,bob,al,bob\r\n", "a:x:1:al\r\n"},
		{"a:x:1:bob:\nb:x:bob\nbob\n#b:x:1:bob", "a:x:1:bob:\nb:x:bob\nbob\n#b:x:1:bob"},
		{"+b:::bob\n-b:::bob\n", "+b:::bob\n-b:::bob\n"},
		{"", ""},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		struct table_edit edit = edit_of(rows[i].before);
		assert_int_equal(table_edit_remove_member(&edit, 4, 3, "bob"), 0);
		assert_string_equal(edit.table.bytes, rows[i].after);
		table_edit_free(&edit);
	}
}

/* A small generator of its own: the same files on every machine. */
static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static void P22_add_then_remove_gives_the_file_back(void **state)
{
	static const char pieces[][12] = {
		"\n", ":", "root:x:0", "#", "+", "\r\n", "a", "bob", "bob:", "\xff", ",", " ", "::\n"};
	uint32_t seed = 7;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		char text[256] = "";
		size_t used = 0;
		for (uint32_t i = next_random(&seed) % 20; i > 0; i--) {
			const char *piece = pieces[next_random(&seed) % ELEMENTS(pieces)];
			memcpy(text + used, piece, strlen(piece) + 1); /* 20 × 11 bytes fit */
			used += strlen(piece);
		}
		struct table_edit edit = edit_of(text);
		assert_int_equal(table_edit_add_line(&edit, "victim:x:1"), 0);
		assert_int_equal(table_edit_set_field(&edit, "victim", 3, 2, "a longer value than before"), 0);
		assert_int_equal(table_edit_remove_line(&edit, "victim"), 0);
		/* The one byte that stays: a last line without newline has got one. */
		size_t size = strlen(text);
		assert_memory_equal(edit.table.bytes, text, size);
		assert_true(edit.table.size == size || (edit.table.size == size + 1 && edit.table.bytes[size] == '\n'));
		table_edit_free(&edit);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P22_only_the_named_field_changes),
		cmocka_unit_test(P22_an_index_finds_what_reading_finds),
		cmocka_unit_test(P22_the_last_line_goes_from_the_index_too),
		cmocka_unit_test(P22_the_last_field_keeps_its_carriage_return),
		cmocka_unit_test(P29_a_value_never_makes_a_second_line_or_field),
		cmocka_unit_test(what_is_doubled_broken_or_missing_is_refused),
		cmocka_unit_test(a_line_is_added_before_name_services),
		cmocka_unit_test(T20_members_are_whole_names),
		cmocka_unit_test(T20_who_goes_leaves_every_group),
		cmocka_unit_test(P22_add_then_remove_gives_the_file_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
