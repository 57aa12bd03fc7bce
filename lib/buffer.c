/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/buffer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

static bool reserve(struct buffer *buffer, size_t more)
{
	if (buffer->failed)
		return false;
	if (more >= SIZE_MAX / 4 - buffer->size) {
		buffer->failed = true;
		return false;
	}
	size_t needed = buffer->size + more + 1;
	if (needed <= buffer->capacity)
		return true;
	size_t capacity = buffer->capacity ? buffer->capacity : 256;
	while (capacity < needed)
		capacity *= 2;
	char *bytes = realloc(buffer->bytes, capacity);
	if (!bytes) {
		buffer->failed = true;
		return false;
	}
	buffer->bytes = bytes;
	buffer->capacity = capacity;
	return true;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t size)
{
	if (!reserve(buffer, size))
		return;
	if (size)
		memcpy(buffer->bytes + buffer->size, bytes, size);
	buffer->size += size;
	buffer->bytes[buffer->size] = '\0';
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
	buffer_append(buffer, text, strlen(text));
}

void buffer_append_format(struct buffer *buffer, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int size = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (size < 0 || !reserve(buffer, (size_t)size)) {
		buffer->failed = true;
		return;
	}
	va_start(arguments, format);
	(void)vsnprintf(buffer->bytes + buffer->size, (size_t)size + 1, format, arguments);
	va_end(arguments);
	buffer->size += (size_t)size;
}

int buffer_status(struct buffer *buffer)
{
	if (!reserve(buffer, 0))
		return -ENOMEM;
	buffer->bytes[buffer->size] = '\0';
	return 0;
}

char *buffer_steal(struct buffer *buffer)
{
	if (buffer_status(buffer) < 0)
		return NULL;
	char *bytes = buffer->bytes;
	*buffer = (struct buffer){0};
	return bytes;
}

void buffer_free(struct buffer *buffer)
{
	free(buffer->bytes);
	*buffer = (struct buffer){0};
}
