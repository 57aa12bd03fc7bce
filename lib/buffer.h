/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing run of bytes, always followed by a NUL that does not count. A failed allocation sticks: appends become
 * no-ops and buffer_status says -ENOMEM, so a long series of appends needs one test at its end. Not for secrets.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/cleanup.h"

struct buffer {
	char *bytes;
	size_t size, capacity;
	bool failed;
};

void buffer_append(struct buffer *buffer, const void *bytes, size_t size);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_append_format(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* 0, or -ENOMEM when any append failed. After 0, bytes is never NULL. */
int buffer_status(struct buffer *buffer) MUST_CHECK;
/* Hands the bytes over to the caller (free); the buffer is empty afterwards. NULL when an append failed. */
char *buffer_steal(struct buffer *buffer);
void buffer_free(struct buffer *buffer);
#define cleanup_buffer CLEANUP(buffer_free)
