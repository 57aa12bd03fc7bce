/* SPDX-License-Identifier: Apache-2.0 */
/* The split of a signed text: the parts lie in the text, in order, and are the whole of it. */
#include <stdint.h>
#include <stdlib.h>

#include "lib/signed_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct signed_text text;
	const char *begin = (const char *)bytes;

	if (signed_text_split(begin, size, &text) != CODE_OK)
		return 0;
	const char *at = begin + text.payload.size;
	if (text.payload.text != begin || at[-1] != '\n' || text.count == 0)
		abort();
	for (unsigned i = 0; i < text.count; i++) {
		if (text.signatures[i].text != at)
			abort();
		at += text.signatures[i].size;
	}
	if (at != begin + size)
		abort();
	return 0;
}
