/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/name_service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void P32_the_files_are_left_out_of_what_is_asked(void **state)
{
	static const struct {
		const char *text, *others; /* NULL: as the system is set up */
	} rows[] = {
		{"passwd: files\n", ""},
		{"passwd: files systemd\n", "systemd"},
		{"passwd:\tfiles sss  systemd # ldap\n", "sss systemd"},
		{"# passwd: ldap\n\n  passwd: ldap files\ngroup: sss\n", "ldap"},
		{"passwd: sss files\r\n", "sss"},
		{"passwd: compat\n", "compat"},
		{"passwd:files sss", "sss"},
		{"passwd: filesystem\n", "filesystem"},
		{"passwd: sss [NOTFOUND=return] files\n", NULL},
		{"passwd: files\npasswd: sss\n", NULL},
		{"group: files\n", NULL},
		{"passwd:\n", NULL},
		{"", NULL},
		{"passwd", NULL},
		{"passwdx: sss\n", NULL},
		{"passwd: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		char services[64] = "untouched";
		bool known =
			name_service_others(rows[i].text, strlen(rows[i].text), "passwd", services, sizeof(services));
		if (known != (rows[i].others != NULL))
			fail_msg("row %zu: %s", i, rows[i].text);
		if (known)
			assert_string_equal(services, rows[i].others);
	}
}

static void P32_groups_have_a_line_of_their_own(void **state)
{
	static const char text[] = "passwd: files sss\ngroup: files ldap\nshadow: files\n";
	char services[64];

	(void)state;
	assert_true(name_service_others(text, strlen(text), "group", services, sizeof(services)));
	assert_string_equal(services, "ldap");
	assert_true(name_service_others(text, strlen(text), "shadow", services, sizeof(services)));
	assert_string_equal(services, "");
	assert_false(name_service_others(text, strlen(text), "grou", services, sizeof(services)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P32_the_files_are_left_out_of_what_is_asked),
		cmocka_unit_test(P32_groups_have_a_line_of_their_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
