/* SPDX-License-Identifier: Apache-2.0 */
/* The two items of RFC 4251, section 5, that keys and signatures are made of, over a bounded slice. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"

struct ssh_slice {
	const unsigned char *bytes;
	size_t size;
};

/* Each takes its item off the front of the slice: 0, or -EBADMSG when the slice is too short. */
int ssh_wire_take_byte(struct ssh_slice *slice, uint8_t *ret_byte) MUST_CHECK;
int ssh_wire_take_uint32(struct ssh_slice *slice, uint32_t *ret_integer) MUST_CHECK;
int ssh_wire_take_string(struct ssh_slice *slice, struct ssh_slice *ret_string) MUST_CHECK;
bool ssh_slice_is(const struct ssh_slice *slice, const char *text);
void ssh_wire_put_uint32(struct buffer *buffer, uint32_t integer);
void ssh_wire_put_string(struct buffer *buffer, const void *bytes, size_t size);
void ssh_wire_put_text(struct buffer *buffer, const char *text);
