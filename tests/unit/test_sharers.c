/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/sharers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char passwd[] = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n# note\nbroken:x:1\n"
			     "twin:x:1001:1001::/home/shared:/bin/sh\nother:x:1002:1002::/home/shared:/bin/sh\n"
			     "alias:x:1000:1000::/home/alice:/bin/sh\n";

/* Twice each: the first question reads the lines, later ones the expanded paths. */
static void T19_who_reads_the_same_file(void **state)
{
	static const struct {
		const char *user, *pattern, *path, *sharer;
	} rows[] = {
		{"alice", "%h/.ssh/authorized_keys", "/home/alice/.ssh/authorized_keys",
			""}, /* alias is the same uid */
		{"twin", "%h/.ssh/authorized_keys", "/home/shared/.ssh/authorized_keys", "other"},
		{"other", "%h/.ssh/authorized_keys", "/home/shared/.ssh/authorized_keys", "twin"},
		{"twin", "/etc/ssh/keys/%u", "/etc/ssh/keys/twin", ""},
		{"alice", "/etc/ssh/keys/all", "/etc/ssh/keys/all", "root"},
		{"alice", "/etc/ssh/keys/%U", "/etc/ssh/keys/1000", ""},
	};
	const struct account_table table = {.bytes = (char *)(uintptr_t)passwd, .size = strlen(passwd)};
	struct sharers sharers = {.passwd = &table};

	(void)state;
	for (size_t round = 0; round < 3; round++) {
		for (size_t i = 0; i < ELEMENTS(rows); i++) {
			cleanup_account struct account account = {0};
			char name[SHARERS_NAME_MAX];

			assert_int_equal(account_find(&table, rows[i].user, &account), 0);
			assert_int_equal(sharers_find(&sharers, &account, rows[i].pattern, rows[i].path, name), 0);
			if (strcmp(name, rows[i].sharer) != 0)
				fail_msg("round %zu row %zu: '%s'", round, i, name);
		}
	}
	sharers_free(&sharers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(T19_who_reads_the_same_file)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
