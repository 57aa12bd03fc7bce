/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines of an authorized_keys file, as sshd(8) reads them. A line is ours if and only if it is no comment and ends
 * in " latchkey:LABEL". Ours stand before the file's first byte, newest first; taking one away leaves every other byte
 * as it was.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"

#define KEY_FILE_MAX (1u << 20) /* sshd reads no more in practice: 1,000 keys are 100 KiB */
#define KEY_LABEL_MAX 64u

struct key_line {
	const char *start; /* borrowed */
	size_t size;       /* without the newline */
};

/* Walks lines: start with *offset 0. False at the end. */
bool key_lines_next(const char *text, size_t size, size_t *offset, struct key_line *ret_line);
/* True and the label when the line is ours. */
bool key_line_is_ours(const struct key_line *line, char ret_label[KEY_LABEL_MAX + 1]);
/* The decoded key of a line, options or not (free); -ENOENT for a comment, an empty line or junk. */
int key_line_blob(const struct key_line *line, unsigned char **ret_blob, size_t *ret_size) MUST_CHECK;
/* True when the line holds that very key. */
bool key_line_has_blob(const struct key_line *line, const unsigned char *blob, size_t size);
/* The first line of ours with that label: -ENOENT. */
int key_lines_find(const char *text, size_t size, const char *label, struct key_line *ret_line) MUST_CHECK;
/* The time in a line's expiry-time option when it is in UTC ("…Z"); false without. */
bool key_line_expiry(const struct key_line *line, int64_t *ret_time);
/*
 * The text with the label's line set to `line` (no newline in it), in the place of the one that stands, or before the
 * first byte; NULL takes every line of that label. Appends to `out`.
 */
int key_lines_set(const char *text, size_t size, const char *label, const char *line, struct buffer *out) MUST_CHECK;
