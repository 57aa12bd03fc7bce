/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/medium/file_system.h"

#include <stdbool.h>
#include <string.h>

#include "lib/cleanup.h"

static bool has(const unsigned char *head, size_t size, size_t offset, const char *bytes, size_t count)
{
	return offset + count <= size && memcmp(head + offset, bytes, count) == 0;
}

static bool is_iso9660(const unsigned char *head, size_t size)
{
	return has(head, size, 32768, "\001CD001\001", 7);
}

/* FAT12 and FAT16 say so at 54, FAT32 at 82. NTFS and exFAT have the same two bytes at 510, and neither. */
static bool is_vfat(const unsigned char *head, size_t size)
{
	return has(head, size, 510, "\x55\xaa", 2) &&
	       (has(head, size, 54, "FAT12   ", 8) || has(head, size, 54, "FAT16   ", 8) ||
		       has(head, size, 82, "FAT32   ", 8));
}

static bool is_ext4(const unsigned char *head, size_t size)
{
	return has(head, size, 1024 + 56, "\x53\xef", 2);
}

const struct file_system *file_system_find(const unsigned char *head, size_t size)
{
	static const struct {
		bool (*is)(const unsigned char *head, size_t size);
		struct file_system file_system;
	} known[] = {
		{is_iso9660, {"iso9660", ""}},
		{is_vfat, {"vfat", "uid=0,gid=0,umask=077"}},
		/* Without its journal, which would be written back, and read by more code. */
		{is_ext4, {"ext4", "noload"}},
	};

	for (unsigned i = 0; i < ELEMENTS(known); i++) {
		if (known[i].is(head, size))
			return &known[i].file_system;
	}
	return NULL;
}
