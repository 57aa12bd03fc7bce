/* SPDX-License-Identifier: Apache-2.0 */
/* One line of an authorized_keys file, and what its from= and AllowUsers patterns do with an address. */
#include <stddef.h>
#include <stdint.h>

#include "lib/key_line.h"
#include "lib/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	cleanup_key_line struct key_line line = {0};

	if (size > KEY_LINE_MAX)
		return -1;
	if (key_line_parse((const char *)bytes, size, &line) == 0 && line.from) {
		(void)pattern_list_matches_address(line.from, "192.0.2.1");
		(void)pattern_matches_user("alice", "2001:db8::1", line.from, false);
	}
	return 0;
}
