/* SPDX-License-Identifier: Apache-2.0 */
/* A pasted key: whatever is accepted is written as a line that is accepted again and gives the same blob. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sshkey.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	cleanup_sshkey struct sshkey key = {0}, again = {0};
	cleanup_buffer struct buffer line = {0};
	char detail[DETAIL_MAX + 1];

	if (sshkey_parse((const char *)bytes, size, &key, detail) != CODE_OK)
		return 0;
	sshkey_append(&key, &line);
	if (buffer_status(&line) < 0)
		return 0;
	if (memchr(line.bytes, '\n', line.size) || sshkey_parse(line.bytes, line.size, &again, detail) != CODE_OK ||
		again.blob_size != key.blob_size || memcmp(again.blob, key.blob, key.blob_size) != 0)
		abort();
	return 0;
}
