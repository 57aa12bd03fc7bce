/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/key_lines.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "lib/base64.h"
#include "lib/field.h"
#include "lib/ssh_wire.h"
#include "lib/sshkey.h"

#define TYPE_MAX 64u

bool key_lines_next(const char *text, size_t size, size_t *offset, struct key_line *ret_line)
{
	if (*offset >= size)
		return false;
	const char *start = text + *offset;
	const char *newline = memchr(start, '\n', size - *offset);
	size_t length = newline ? (size_t)(newline - start) : size - *offset;
	*ret_line = (struct key_line){start, length};
	*offset += length + (newline ? 1 : 0);
	return true;
}

static size_t skip_blanks(const struct key_line *line, size_t at)
{
	while (at < line->size && (line->start[at] == ' ' || line->start[at] == '\t'))
		at++;
	return at;
}

static size_t skip_word(const struct key_line *line, size_t at)
{
	while (at < line->size && line->start[at] != ' ' && line->start[at] != '\t')
		at++;
	return at;
}

/* Options end at the first blank outside quotes; a quote inside quotes is written \". */
static size_t skip_options(const struct key_line *line, size_t at)
{
	bool quoted = false;

	for (; at < line->size; at++) {
		char c = line->start[at];
		if (!quoted && (c == ' ' || c == '\t'))
			break;
		if (c == '\\' && at + 1 < line->size && line->start[at + 1] == '"')
			at++;
		else if (c == '"')
			quoted = !quoted;
	}
	return at;
}

bool key_line_is_ours(const struct key_line *line, char ret_label[KEY_LABEL_MAX + 1])
{
	size_t end = line->size, begin = skip_blanks(line, 0);
	char label[KEY_LABEL_MAX + 1];

	if (end > 0 && line->start[end - 1] == '\r') /* somebody made it a CRLF file: that is its line's end */
		end--;
	size_t at = end;
	if (begin >= end || line->start[begin] == '#' || memchr(line->start, '\0', line->size))
		return false;
	while (at > 0 && line->start[at - 1] != ' ')
		at--;
	size_t mark = strlen(SSHKEY_MARK), size = end - at;
	if (at == 0 || size <= mark || size - mark > KEY_LABEL_MAX || memcmp(line->start + at, SSHKEY_MARK, mark) != 0)
		return false;
	memcpy(label, line->start + at + mark, size - mark);
	label[size - mark] = '\0';
	if (strlen(label) != size - mark || !field_is_label(label))
		return false;
	memcpy(ret_label, label, size - mark + 1);
	return true;
}

/* sshd passes over the white space that a word may hold. */
static int decode_word(const char *word, size_t size, unsigned char **ret_blob, size_t *ret_size)
{
	cleanup_free char *plain = malloc(size + 1);
	size_t used = 0;

	if (!plain)
		return -ENOMEM;
	for (size_t i = 0; i < size; i++) {
		if (word[i] != '\f' && word[i] != '\v' && word[i] != '\r')
			plain[used++] = word[i];
	}
	return base64_decode(plain, used, ret_blob, ret_size);
}

/* "TYPE BASE64" at that place, where the type inside the key is the same. */
static int read_key(const struct key_line *line, size_t at, unsigned char **ret_blob, size_t *ret_size)
{
	size_t type_end = skip_word(line, at), start = skip_blanks(line, type_end), end = skip_word(line, start);
	cleanup_free unsigned char *blob = NULL;
	struct ssh_slice slice, inner;
	size_t size;

	if (type_end == at || type_end - at > TYPE_MAX || end == start)
		return -ENOENT;
	int r = decode_word(line->start + start, end - start, &blob, &size);
	if (r < 0)
		return r == -ENOMEM ? r : -ENOENT;
	slice = (struct ssh_slice){blob, size};
	if (ssh_wire_take_string(&slice, &inner) < 0 ||
		!sshkey_is_named(line->start + at, type_end - at, (const char *)inner.bytes, inner.size))
		return -ENOENT;
	*ret_blob = steal_pointer(&blob);
	*ret_size = size;
	return 0;
}

int key_line_blob(const struct key_line *whole, unsigned char **ret_blob, size_t *ret_size)
{
	const struct key_line line = {whole->start, strnlen(whole->start, whole->size)}; /* sshd reads no further */
	size_t at = skip_blanks(&line, 0);

	if (at == line.size || line.start[at] == '#')
		return -ENOENT;
	int r = read_key(&line, at, ret_blob, ret_size);
	if (r != -ENOENT)
		return r;
	at = skip_blanks(&line, skip_options(&line, at));
	return read_key(&line, at, ret_blob, ret_size);
}

bool key_line_has_blob(const struct key_line *line, const unsigned char *blob, size_t size)
{
	cleanup_free unsigned char *other = NULL;
	size_t other_size;

	return key_line_blob(line, &other, &other_size) == 0 && other_size == size && memcmp(other, blob, size) == 0;
}

int key_lines_find(const char *text, size_t size, const char *label, struct key_line *ret_line)
{
	char found[KEY_LABEL_MAX + 1];
	struct key_line line;
	size_t offset = 0;

	while (key_lines_next(text, size, &offset, &line)) {
		if (key_line_is_ours(&line, found) && strcmp(found, label) == 0) {
			*ret_line = line;
			return 0;
		}
	}
	return -ENOENT;
}

bool key_line_expiry(const struct key_line *line, int64_t *ret_time)
{
	static const char option[] = "expiry-time=\"";
	size_t end = skip_options(line, skip_blanks(line, 0));
	const char *at = memmem(line->start, end, option, strlen(option));
	int numbers[6] = {0};
	static const unsigned digits[6] = {4, 2, 2, 2, 2, 2};

	if (!at)
		return false;
	at += strlen(option);
	for (unsigned i = 0; i < ELEMENTS(digits); i++) {
		for (unsigned j = 0; j < digits[i]; j++, at++) {
			if (at >= line->start + end || *at < '0' || *at > '9')
				return false;
			numbers[i] = numbers[i] * 10 + (*at - '0');
		}
	}
	if (at >= line->start + end || *at != 'Z')
		return false;
	struct tm tm = {.tm_year = numbers[0] - 1900,
		.tm_mon = numbers[1] - 1,
		.tm_mday = numbers[2],
		.tm_hour = numbers[3],
		.tm_min = numbers[4],
		.tm_sec = numbers[5]};
	*ret_time = (int64_t)timegm(&tm);
	return true;
}

int key_lines_set(const char *text, size_t size, const char *label, const char *line, struct buffer *out)
{
	char found[KEY_LABEL_MAX + 1];
	struct key_line current;
	size_t offset = 0, begin = 0;
	bool placed = false;

	if (line && (strchr(line, '\n') || strchr(line, '\r')))
		return -EINVAL;
	if (line && key_lines_find(text, size, label, &current) == -ENOENT) {
		buffer_append_text(out, line);
		buffer_append(out, "\n", 1);
		placed = true;
	}
	for (; key_lines_next(text, size, &offset, &current); begin = offset) {
		if (!key_line_is_ours(&current, found) || strcmp(found, label) != 0) {
			buffer_append(out, text + begin, offset - begin);
			continue;
		}
		if (!line || placed)
			continue;
		buffer_append_text(out, line);
		buffer_append(out, "\n", 1);
		placed = true;
	}
	return buffer_status(out);
}
