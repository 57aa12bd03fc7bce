/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "agent/medium/file_system.h"

static const char *type_of(size_t offset, const char *bytes, size_t count, size_t size, bool boot_sector)
{
	unsigned char *head = calloc(1, FILE_SYSTEM_HEAD);

	assert_non_null(head);
	memcpy(head + offset, bytes, count);
	if (boot_sector)
		memcpy(head + 510, "\x55\xaa", 2);
	const struct file_system *found = file_system_find(head, size);
	free(head);
	return found ? found->type : "none";
}

static void the_three_file_systems_are_told_by_their_first_bytes(void **state)
{
	(void)state;
	assert_string_equal(type_of(32768, "\001CD001\001", 7, FILE_SYSTEM_HEAD, false), "iso9660");
	assert_string_equal(type_of(54, "FAT12   ", 8, FILE_SYSTEM_HEAD, true), "vfat");
	assert_string_equal(type_of(54, "FAT16   ", 8, 512, true), "vfat");
	assert_string_equal(type_of(82, "FAT32   ", 8, FILE_SYSTEM_HEAD, true), "vfat");
	assert_string_equal(type_of(1080, "\x53\xef", 2, FILE_SYSTEM_HEAD, false), "ext4");
}

static void everything_else_is_not_mounted(void **state)
{
	(void)state;
	assert_string_equal(type_of(3, "NTFS    ", 8, FILE_SYSTEM_HEAD, true), "none");
	assert_string_equal(type_of(3, "EXFAT   ", 8, FILE_SYSTEM_HEAD, true), "none");
	assert_string_equal(type_of(0, "XFSB", 4, FILE_SYSTEM_HEAD, false), "none");
	assert_string_equal(type_of(0, "hsqs", 4, FILE_SYSTEM_HEAD, false), "none");
	assert_string_equal(type_of(54, "FAT16   ", 8, FILE_SYSTEM_HEAD, false), "none"); /* no boot sector */
	assert_string_equal(type_of(32768, "\001CD001\001", 7, 32774, false), "none");    /* cut */
	assert_string_equal(type_of(0, "", 0, 0, false), "none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_three_file_systems_are_told_by_their_first_bytes),
		cmocka_unit_test(everything_else_is_not_mounted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
