/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/ssh_wire.h"

#include <errno.h>
#include <string.h>

int ssh_wire_take_byte(struct ssh_slice *slice, uint8_t *ret_byte)
{
	if (slice->size < 1)
		return -EBADMSG;
	*ret_byte = slice->bytes[0];
	slice->bytes++;
	slice->size--;
	return 0;
}

int ssh_wire_take_uint32(struct ssh_slice *slice, uint32_t *ret_integer)
{
	const unsigned char *at = slice->bytes;

	if (slice->size < 4)
		return -EBADMSG;
	*ret_integer = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
	slice->bytes += 4;
	slice->size -= 4;
	return 0;
}

int ssh_wire_take_string(struct ssh_slice *slice, struct ssh_slice *ret_string)
{
	struct ssh_slice rest = *slice;
	uint32_t size;

	int r = ssh_wire_take_uint32(&rest, &size);
	if (r < 0)
		return r;
	if (size > rest.size)
		return -EBADMSG;
	*ret_string = (struct ssh_slice){rest.bytes, size};
	*slice = (struct ssh_slice){rest.bytes + size, rest.size - size};
	return 0;
}

bool ssh_slice_is(const struct ssh_slice *slice, const char *text)
{
	return slice->size == strlen(text) && memcmp(slice->bytes, text, slice->size) == 0;
}

void ssh_wire_put_uint32(struct buffer *buffer, uint32_t integer)
{
	const unsigned char bytes[4] = {(unsigned char)(integer >> 24), (unsigned char)(integer >> 16),
		(unsigned char)(integer >> 8), (unsigned char)integer};
	buffer_append(buffer, bytes, sizeof(bytes));
}

void ssh_wire_put_string(struct buffer *buffer, const void *bytes, size_t size)
{
	if (size > UINT32_MAX) {
		buffer->failed = true;
		return;
	}
	ssh_wire_put_uint32(buffer, (uint32_t)size);
	buffer_append(buffer, bytes, size);
}

void ssh_wire_put_text(struct buffer *buffer, const char *text)
{
	ssh_wire_put_string(buffer, text, strlen(text));
}
