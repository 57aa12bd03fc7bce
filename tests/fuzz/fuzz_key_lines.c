/* SPDX-License-Identifier: Apache-2.0 */
/* An authorized_keys file of any bytes: what is bound and unbound leaves it as it was. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/authorized-keys/key_lines.h"

#define LINE "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g latchkey:fuzzed"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	cleanup_buffer struct buffer without = {0}, with = {0}, again = {0};
	const char *text = (const char *)bytes;
	char label[KEY_LABEL_MAX + 1];
	struct key_line line;
	size_t offset = 0;
	int64_t expiry;

	while (key_lines_next(text, size, &offset, &line)) {
		cleanup_free unsigned char *blob = NULL;
		size_t blob_size;

		(void)key_line_is_ours(&line, label);
		(void)key_line_expiry(&line, &expiry);
		if (key_line_blob(&line, &blob, &blob_size) == 0 && !key_line_has_blob(&line, blob, blob_size))
			abort();
	}
	if (key_lines_set(text, size, "fuzzed", NULL, &without) < 0 ||
		key_lines_set(without.bytes, without.size, "fuzzed", LINE, &with) < 0 ||
		key_lines_set(with.bytes, with.size, "fuzzed", NULL, &again) < 0)
		return 0;
	if (key_lines_find(with.bytes, with.size, "fuzzed", &line) < 0 || again.size != without.size ||
		memcmp(again.bytes, without.bytes, again.size) != 0)
		abort();
	return 0;
}
