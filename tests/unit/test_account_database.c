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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(P33_what_is_read_back_is_what_was_written, setup, teardown)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
