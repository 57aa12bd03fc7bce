/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/table_edit.h"

#include <errno.h>
#include <string.h>

#include "lib/account_index.h"
#include "lib/file.h"

#define GROWTH 4096u /* room for some thirty new lines before the next copy */

void table_edit_begin(struct table_edit *edit, struct account_table *table)
{
	*edit = (struct table_edit){.table = *table, .capacity = table->size};
	*table = (struct account_table){0};
}

void table_edit_free(struct table_edit *edit)
{
	edit->table.size = edit->capacity; /* what stood behind it once is wiped too */
	account_table_free(&edit->table);
	account_table_free(&edit->old);
	*edit = (struct table_edit){0};
}

/* No realloc: it would leave hashes behind in memory that nobody wipes. What was read stays as it is, to go back to. */
static int reserve(struct table_edit *edit, size_t size)
{
	if (edit->edits > 0 && size <= edit->capacity)
		return 0;
	if (size > ACCOUNT_TABLE_MAX)
		return -EFBIG;
	size_t capacity = size + size / 4 + GROWTH;
	char *bytes = file_allocate(capacity + 1);
	if (!bytes)
		return -ENOMEM;
	if (edit->table.bytes)
		memcpy(bytes, edit->table.bytes, edit->table.size);
	bytes[edit->table.size] = '\0';
	struct account_table before = {.bytes = edit->table.bytes,
		.size = edit->edits > 0 ? edit->capacity : edit->table.size,
		.seen = edit->table.seen,
		.mapped = edit->table.mapped};
	if (edit->edits > 0)
		account_table_free(&before);
	else
		edit->old = before;
	edit->table.bytes = bytes;
	edit->table.mapped = false;
	edit->capacity = capacity;
	return 0;
}

/* Replaces `old_size` bytes at `offset` by the new ones. The new bytes must not lie in the table. */
static int splice(struct table_edit *edit, size_t offset, size_t old_size, const char *bytes, size_t size)
{
	size_t total = edit->table.size - old_size + size;

	int r = reserve(edit, total);
	if (r < 0)
		return r;
	char *at = edit->table.bytes + offset;
	memmove(at + size, at + old_size, edit->table.size - offset - old_size);
	memcpy(at, bytes, size);
	edit->table.size = total;
	edit->table.bytes[total] = '\0';
	edit->changed = true;
	edit->edits++;
	account_table_moved(&edit->table, offset, old_size, size);
	if (edit->table.index && (old_size > 0 || offset + size < total))
		account_index_splice(edit->table.index, offset, old_size, size);
	if (edit->end != SIZE_MAX && offset <= edit->end)
		edit->end += size - old_size;
	return 0;
}

static bool is_safe(const char *text, bool colons)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f || (*text == ':' && !colons))
			return false;
	}
	return true;
}

bool table_edit_is_field(const char *text)
{
	return is_safe(text, false);
}

static int split_field(struct account_line line, unsigned fields, unsigned index, struct account_line *ret_field)
{
	if (line.size > ACCOUNT_LINE_MAX || memchr(line.start, '\0', line.size))
		return -EBADMSG;
	if (line.size > 0 && line.start[line.size - 1] == '\r')
		line.size--;
	const char *at = line.start, *end = line.start + line.size;
	struct account_line found = {0};
	for (unsigned i = 0;; i++) {
		const char *colon = memchr(at, ':', (size_t)(end - at));
		if (i == index)
			found = (struct account_line){at, (size_t)((colon ? colon : end) - at)};
		if (!colon) {
			if (i + 1 != fields)
				return -EBADMSG;
			break;
		}
		at = colon + 1;
	}
	*ret_field = found;
	return 0;
}

int table_edit_field(const struct table_edit *edit, const char *name, unsigned fields, unsigned index,
	struct account_line *ret_field)
{
	struct account_line line;

	int r = account_find_line(&edit->table, name, &line);
	return r < 0 ? r : split_field(line, fields, index, ret_field);
}

int table_edit_set_field(struct table_edit *edit, const char *name, unsigned fields, unsigned index, const char *value)
{
	struct account_line field;
	size_t size = strlen(value);

	if (!is_safe(value, false))
		return -EINVAL;
	int r = table_edit_field(edit, name, fields, index, &field);
	if (r < 0)
		return r;
	if (field.size == size && memcmp(field.start, value, size) == 0)
		return 0;
	return splice(edit, (size_t)(field.start - edit->table.bytes), field.size, value, size);
}

/* What follows a NIS line is found only after the name service has been asked: new lines go before the first. */
static void find_end(struct table_edit *edit)
{
	struct account_line line;
	size_t offset = 0;

	if (edit->end_known)
		return;
	edit->end_known = true;
	edit->end = SIZE_MAX;
	while (edit->end == SIZE_MAX && account_next_line(&edit->table, &offset, &line)) {
		if (line.size > 0 && (line.start[0] == '+' || line.start[0] == '-'))
			edit->end = (size_t)(line.start - edit->table.bytes);
	}
}

int table_edit_add_line(struct table_edit *edit, const char *line)
{
	size_t size = strlen(line);

	if (!is_safe(line, true) || size == 0 || size > ACCOUNT_LINE_MAX)
		return -EINVAL;
	find_end(edit);
	size_t start = edit->end != SIZE_MAX ? edit->end : edit->table.size;
	bool bare = start > 0 && edit->table.bytes[start - 1] != '\n';
	cleanup_free char *text = malloc(size + 2);
	if (!text)
		return -ENOMEM;
	size_t used = 0;
	if (bare)
		text[used++] = '\n';
	memcpy(text + used, line, size);
	used += size;
	text[used] = '\n';
	int r = splice(edit, start, 0, text, used + (size_t)1);
	explicit_bzero(text, used);
	if (r < 0)
		return r;
	account_table_moved(&edit->table, 0, 0, 0); /* the line before it may have lacked its newline */
	edit->lines++;
	return edit->table.index ? account_index_add(&edit->table, start + (bare ? 1u : 0u)) : 0;
}

int table_edit_remove_line(struct table_edit *edit, const char *name)
{
	struct account_line line;

	int r = account_find_line(&edit->table, name, &line);
	if (r < 0)
		return r;
	size_t offset = (size_t)(line.start - edit->table.bytes);
	size_t newline = offset + line.size < edit->table.size ? 1 : 0;
	edit->lines++;
	return splice(edit, offset, line.size + newline, "", 0);
}

/* Where the member stands in the list: its first byte, or NULL. */
static const char *find_member(const struct account_line *list, const char *member)
{
	size_t size = strlen(member);
	const char *end = list->start + list->size;

	for (const char *at = list->start; at < end;) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		if ((size_t)((comma ? comma : end) - at) == size && memcmp(at, member, size) == 0)
			return at;
		if (!comma)
			break;
		at = comma + 1;
	}
	return NULL;
}

int table_edit_has_member(const struct table_edit *edit, const char *name, unsigned fields, unsigned index,
	const char *member, bool *ret_present)
{
	struct account_line list;

	int r = table_edit_field(edit, name, fields, index, &list);
	if (r < 0)
		return r;
	*ret_present = find_member(&list, member) != NULL;
	return 0;
}

/* Every time that it stands there. */
static int remove_member(struct table_edit *edit, struct account_line *list, const char *member)
{
	size_t start = (size_t)(list->start - edit->table.bytes), left = list->size;
	const char *found;

	while ((found = find_member(&(struct account_line){edit->table.bytes + start, left}, member)) != NULL) {
		/* The comma that goes is the one behind it, or the one before it when it is the last of several. */
		size_t offset = (size_t)(found - edit->table.bytes), size = strlen(member);
		if (offset + size < start + left) {
			size++;
		} else if (offset > start) {
			offset--;
			size++;
		}
		int r = splice(edit, offset, size, "", 0);
		if (r < 0)
			return r;
		left -= size;
	}
	return 0;
}

int table_edit_set_member(
	struct table_edit *edit, const char *name, unsigned fields, unsigned index, const char *member, bool present)
{
	struct account_line list;
	size_t size = strlen(member);

	if (!is_safe(member, false) || size == 0 || strchr(member, ','))
		return -EINVAL;
	int r = table_edit_field(edit, name, fields, index, &list);
	if (r < 0)
		return r;
	const char *found = find_member(&list, member);
	if ((found != NULL) == present)
		return 0;
	size_t start = (size_t)(list.start - edit->table.bytes);
	if (present) {
		cleanup_free char *text = malloc(size + 2);
		if (!text)
			return -ENOMEM;
		text[0] = ',';
		memcpy(text + 1, member, size + 1);
		return list.size == 0 ? splice(edit, start, 0, member, size)
				      : splice(edit, start + list.size, 0, text, size + 1);
	}
	return remove_member(edit, &list, member);
}

int table_edit_remove_member(struct table_edit *edit, unsigned fields, unsigned index, const char *member)
{
	struct account_line line, list;
	size_t offset = 0, size = strlen(member);

	while (account_next_with(&edit->table, member, size, &offset, &line)) {
		size_t start = (size_t)(line.start - edit->table.bytes);
		/* Comments and NIS lines are nobody's groups. */
		if (strchr("#+-", *line.start) || split_field(line, fields, index, &list) < 0 ||
			!find_member(&list, member))
			continue;
		int r = remove_member(edit, &list, member);
		if (r < 0)
			return r;
		offset = start; /* the line is another now: walk on from its start */
	}
	return 0;
}
