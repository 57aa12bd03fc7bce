/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/base64.h"

#include <errno.h>
#include <sodium.h>

int base64_decode(const char *text, size_t text_size, unsigned char **ret_bytes, size_t *ret_size)
{
	size_t capacity = text_size / 4 * 3 + 1;
	size_t size = 0;

	if (text_size % 4 != 0)
		return -EBADMSG;
	cleanup_free unsigned char *bytes = malloc(capacity);
	if (!bytes)
		return -ENOMEM;
	if (text_size > 0 && sodium_base642bin(bytes, capacity, text, text_size, NULL, &size, NULL,
				     sodium_base64_VARIANT_ORIGINAL) != 0)
		return -EBADMSG;
	bytes[size] = '\0';
	*ret_bytes = steal_pointer(&bytes);
	*ret_size = size;
	return 0;
}

void base64_append(struct buffer *buffer, const void *bytes, size_t size)
{
	size_t capacity = sodium_base64_ENCODED_LEN(size, sodium_base64_VARIANT_ORIGINAL);
	cleanup_free char *text = malloc(capacity);

	if (!text) {
		buffer->failed = true;
		return;
	}
	(void)sodium_bin2base64(text, capacity, bytes, size, sodium_base64_VARIANT_ORIGINAL);
	buffer_append_text(buffer, text);
}
