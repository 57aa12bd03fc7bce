/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/attributes.h"

static void a_label_of_another_type(void **state)
{
	static const char *const table[][2] = {
		{"unconfined_u:object_r:user_home_dir_t:s0", "unconfined_u:object_r:ssh_home_t:s0"},
		{"system_u:object_r:admin_home_t:s0-s0:c0.c1023", "system_u:object_r:ssh_home_t:s0-s0:c0.c1023"},
		{"u:r:t", "u:r:ssh_home_t"},
		{"u:r", ""},
		{"", ""},
	};
	struct label from, label;
	(void)state;

	for (size_t i = 0; i < ELEMENTS(table); i++) {
		from.size = strlen(table[i][0]) + 1;
		memcpy(from.bytes, table[i][0], from.size);
		label_with_type(&from, "ssh_home_t", &label);
		if (table[i][1][0] == '\0') {
			assert_int_equal(label.size, 0);
			continue;
		}
		assert_int_equal(label.size, strlen(table[i][1]) + 1);
		assert_string_equal(label.bytes, table[i][1]);
	}
	from.size = 0;
	label_with_type(&from, "ssh_home_t", &label);
	assert_int_equal(label.size, 0);
	memset(from.bytes, ':', sizeof(from.bytes)); /* no NUL, and too long with another type */
	from.size = sizeof(from.bytes);
	label_with_type(&from, "ssh_home_t", &label);
	assert_int_equal(label.size, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_label_of_another_type)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
