/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/database.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/file.h"

struct tree {
	char path[64];
	int root, etc;
};

static void put(const struct tree *tree, const char *name, const char *text)
{
	assert_int_equal(file_replace_simple(tree->etc, name, text, strlen(text), 0640), 0);
}

static int setup(void **state)
{
	static struct tree tree;

	(void)snprintf(tree.path, sizeof(tree.path), "/tmp/latchkey-database.XXXXXX");
	if (!mkdtemp(tree.path))
		return -1;
	tree.root = open(tree.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(file_make_directory(tree.root, "etc", 0755, &tree.etc), 0);
	put(&tree, "passwd", "root:x:0:0::/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n");
	put(&tree, "shadow", "root:*:1::::::\nbob:*:1::::::\n");
	put(&tree, "group", "root:x:0:\n");
	*state = &tree;
	return 0;
}

static int teardown(void **state)
{
	struct tree *tree = *state;
	cleanup_names char **names = NULL;
	size_t count = 0;

	assert_int_equal(file_list(tree->etc, ".", 100, &names, &count), 0);
	for (size_t i = 0; i < count; i++)
		(void)unlinkat(tree->etc, names[i], 0);
	(void)unlinkat(tree->root, "etc", AT_REMOVEDIR);
	(void)close(tree->etc);
	(void)close(tree->root);
	return rmdir(tree->path);
}

static void P33_what_is_read_back_is_what_was_written(void **state)
{
	static const struct {
		const char *file, *text;
		int expected;
	} rows[] = {
		{NULL, NULL, 0},
		{"shadow", "root:*:1::::::\nbob:new:1::::::\n", 0},
		{"shadow", "root:!:1::::::\nbob:new:1::::::\n", 0}, /* not his line */
		{"shadow", "root:*:1::::::\nbob:neW:1::::::\n", -EIO},
		{"shadow", "root:*:1::::::\nbob:\0ew:1::::::\n", -EIO},
		{"shadow", "root:*:1::::::\n", -EIO},
		{"shadow", "", -EIO},
		{"passwd", "root:x:0:0::/root:/bin/sh\nbob:x:0000:1000::/home/bob:/bin/sh\n", -EIO},
	};
	const struct tree *tree = *state;

	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		cleanup_database struct database database = {.etc = -1};
		const char *what;
		bool touched = false;

		put(tree, "passwd",
			"root:x:0:0::/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\ntwin:x:1:\ntwin:x:2:\n");
		put(tree, "shadow", "root:*:1::::::\nbob:*:1::::::\n");
		assert_int_equal(database_read(tree->root, DATABASE_ALL, true, &database, &what), 0);
		assert_int_equal(table_edit_set_field(&database.files[DATABASE_SHADOW], "bob", 9, 1, "new"), 0);
		assert_int_equal(database_write(&database, false, &what, &touched), 0);
		if (rows[i].file)
			put(tree, rows[i].file, rows[i].text);
		if (database_read_back(&database, "bob") != rows[i].expected)
			fail_msg("row %zu", i);
		assert_int_equal(database_read_back(&database, "nobodyhere"), 0);
		assert_int_equal(database_read_back(&database, "twin"), 0);
	}
}

/* A line that is remembered, and to which one is added that has to bring the newline. */
static void P22_a_remembered_line_ends_where_it_ends(void **state)
{
	const struct tree *tree = *state;
	cleanup_database struct database database = {.etc = -1};
	struct table_edit *shadow = &database.files[DATABASE_SHADOW];
	struct account_line field;
	const char *what;

	put(tree, "passwd", "root:x:0:0::/root:/bin/sh\n");
	put(tree, "shadow", "root:*:1::::::\nbob:*:1::::::");
	assert_int_equal(database_read(tree->root, DATABASE_ALL, true, &database, &what), 0);
	assert_int_equal(table_edit_field(shadow, "bob", 9, 1, &field), 0);
	assert_int_equal(table_edit_set_field(shadow, "bob", 9, 1, "longer"), 0);
	assert_int_equal(table_edit_field(shadow, "bob", 9, 2, &field), 0);
	assert_int_equal(field.size, 1);
	assert_int_equal(table_edit_add_line(shadow, "al:*:1::::::"), 0);
	assert_int_equal(table_edit_field(shadow, "bob", 9, 2, &field), 0);
	assert_int_equal(table_edit_remove_line(shadow, "bob"), 0);
	assert_string_equal(shadow->table.bytes, "root:*:1::::::\nal:*:1::::::\n");
}

/* To look at and to edit: the same bytes, below and above what is mapped, with a last page that is full and one that is
 * not. */
static void a_large_file_is_the_same_mapped_and_read(void **state)
{
	static const struct {
		size_t size;
		bool mapped;
	} rows[] = {{(1u << 20) - 1, false}, {1u << 20, false}, {(1u << 20) + 1, true}, {(1u << 20) + 5000, true},
		{(1u << 20) + 65536, false}};
	const struct tree *tree = *state;
	cleanup_free char *text = malloc((2u << 20) + 1);

	assert_non_null(text);
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		cleanup_account_table struct account_table mapped = {0}, read = {0};
		cleanup_database struct database database = {.etc = -1};
		const char *what;
		size_t used = 0;

		while (used + 64 < rows[i].size)
			used += (size_t)snprintf(
				text + used, 65, "u%07zu:x:%zu:1000::/home/u:/bin/sh\n", used, 100000 + used);
		memset(text + used, '#', rows[i].size - used);
		memcpy(text, "root", 4);
		text[rows[i].size] = '\0';
		put(tree, "passwd", text);
		assert_int_equal(account_table_read(tree->root, "etc/passwd", &mapped), 0);
		assert_int_equal(account_table_read_in(tree->etc, "passwd", true, &read), 0);
		assert_true(mapped.mapped == rows[i].mapped && !read.mapped);
		assert_true(mapped.size == rows[i].size && read.size == rows[i].size);
		assert_memory_equal(mapped.bytes, text, rows[i].size + 1);
		assert_memory_equal(read.bytes, text, rows[i].size + 1);
		/* A plan is a change that is not written. */
		put(tree, "shadow", "root:*:1::::::\n");
		assert_int_equal(database_read(tree->root, DATABASE_ALL, false, &database, &what), 0);
		struct table_edit *passwd = &database.files[DATABASE_PASSWD];
		assert_int_equal(table_edit_add_line(passwd, "bob:x:1:1::/:/bin/sh"), 0);
		assert_memory_equal(passwd->old.bytes, text, rows[i].size);
		assert_int_equal(passwd->old.size, rows[i].size);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(P33_what_is_read_back_is_what_was_written, setup, teardown),
		cmocka_unit_test_setup_teardown(P22_a_remembered_line_ends_where_it_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(a_large_file_is_the_same_mapped_and_read, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
