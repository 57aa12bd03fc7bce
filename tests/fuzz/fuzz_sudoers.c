/* SPDX-License-Identifier: Apache-2.0 */
/* Joining lines never makes more of them, and each keeps its place in front. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sudo_rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	cleanup_buffer struct buffer out = {0};

	if (sudo_rules_join("sudoers", (const char *)bytes, size, &out) < 0)
		return 0;
	for (char *line = out.bytes; *line;) {
		char *end = strchr(line, '\n');
		if (!end || strncmp(line, "sudoers:", 8) != 0 || !memchr(line, '\t', (size_t)(end - line)))
			abort();
		line = end + 1;
	}
	return 0;
}
