/* SPDX-License-Identifier: Apache-2.0 */
/* The first bytes of a medium: whatever they are, the file system is one of three, or none. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/medium/file_system.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const struct file_system *found = file_system_find(bytes, size);

	if (found && strcmp(found->type, "iso9660") != 0 && strcmp(found->type, "vfat") != 0 &&
		strcmp(found->type, "ext4") != 0)
		abort();
	return 0;
}
