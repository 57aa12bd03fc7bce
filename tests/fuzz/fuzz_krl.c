/* SPDX-License-Identifier: Apache-2.0 */
/* A key revocation list of any bytes: what is carried over reads as what it was. */
#include <stdint.h>
#include <stdlib.h>

#include "lib/krl.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static int count(enum krl_kind kind, unsigned section, const struct ssh_slice *value, void *context)
{
	(void)kind;
	(void)section;
	*(size_t *)context += value->size + 1;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	cleanup_buffer struct buffer carried = {0};
	size_t theirs = 0, ours = 0;

	if (krl_walk(bytes, size, count, &theirs) < 0)
		return 0;
	krl_put_header(&carried, 1, 0);
	if (krl_put_sections(&carried, bytes, size, 0) < 0 || krl_walk(carried.bytes, carried.size, count, &ours) < 0 ||
		ours != theirs)
		abort();
	return 0;
}
