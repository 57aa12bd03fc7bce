/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/signed_text.h"

#include <stdbool.h>
#include <string.h>

/* The offset of the first line at or after `from` that is exactly `line`, or size. `from` is a line's start. */
static size_t find_line(const char *text, size_t size, size_t from, const char *line)
{
	size_t line_size = strlen(line);

	while (from < size) {
		if (size - from >= line_size && memcmp(text + from, line, line_size) == 0)
			return from;
		const char *newline = memchr(text + from, '\n', size - from);
		if (!newline)
			return size;
		from = (size_t)(newline - text) + 1;
	}
	return size;
}

enum code signed_text_split(const char *text, size_t size, struct signed_text *ret_text)
{
	struct signed_text split = {0};

	if (size > SIGNED_TEXT_MAX)
		return CODE_MALFORMED;
	size_t at = find_line(text, size, 0, SIGNED_TEXT_BEGIN);
	if (at == size)
		return CODE_SIGNATURE_MISSING;
	if (at == 0)
		return CODE_MALFORMED;
	split.payload = (struct signed_text_part){text, at};
	while (at < size) {
		if (split.count == SIGNED_TEXT_SIGNATURES_MAX || find_line(text, size, at, SIGNED_TEXT_BEGIN) != at)
			return CODE_SIGNATURE_INVALID;
		size_t end = find_line(text, size, at, SIGNED_TEXT_END);
		if (end == size)
			return CODE_SIGNATURE_INVALID;
		end += strlen(SIGNED_TEXT_END);
		split.signatures[split.count++] = (struct signed_text_part){text + at, end - at};
		at = end;
	}
	*ret_text = split;
	return CODE_OK;
}
