/* SPDX-License-Identifier: Apache-2.0 */
/* Standard padded base64 (RFC 4648, section 4), strict: no white space, no missing padding, no stray bits. */
#pragma once

#include <stddef.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"

/* 0 and the decoded bytes (free; a NUL follows that does not count); -EBADMSG, -ENOMEM. Not for secrets. */
int base64_decode(const char *text, size_t text_size, unsigned char **ret_bytes, size_t *ret_size) MUST_CHECK;
/* Appends the encoding; a failure sticks in the buffer. */
void base64_append(struct buffer *buffer, const void *bytes, size_t size);
