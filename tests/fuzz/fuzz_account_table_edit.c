/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An account file of any bytes, and any run of edits: each changes the line it names and nothing else, and what is
 * added comes out again. The first byte says which edits are made.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/account_index.h"
#include "plugins/account/table_edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static bool is_of(const struct account_line *line, const char *name)
{
	size_t size = strlen(name);
	return line->size > size && line->start[size] == ':' && memcmp(line->start, name, size) == 0;
}

/* The next line that is not of that name. */
static bool next_foreign(const struct account_table *table, size_t *offset, const char *name, struct account_line *line)
{
	while (account_next_line(table, offset, line)) {
		if (!is_of(line, name))
			return true;
	}
	return false;
}

/* Every line but those of `name` must be the same, in the same order; only the very last newline may be new. */
static void check_foreign(const struct account_table *before, const struct account_table *after, const char *name)
{
	struct account_line old, now;
	size_t old_offset = 0, now_offset = 0;

	while (next_foreign(before, &old_offset, name, &old)) {
		if (!next_foreign(after, &now_offset, name, &now) || old.size != now.size ||
			memcmp(old.start, now.start, old.size) != 0)
			abort();
	}
	if (next_foreign(after, &now_offset, name, &now))
		abort();
	if (after->bytes[after->size] != '\0')
		abort();
}

static void edit_once(struct table_edit *edit, unsigned which)
{
	static const char *const names[] = {"root", "dev", "victim", "bob"};
	const char *name = names[which % ELEMENTS(names)];
	struct account_table before = {.bytes = malloc(edit->table.size + 1), .size = edit->table.size};
	unsigned edits = edit->edits;
	char line[32];

	if (!before.bytes)
		return;
	memcpy(before.bytes, edit->table.bytes, edit->table.size + 1);
	(void)snprintf(line, sizeof(line), "%s:x:5:", name);
	int r = which / 4 % 6 == 0   ? table_edit_set_field(edit, name, 4, 1, "a longer value")
		: which / 4 % 6 == 1 ? table_edit_set_field(edit, name, 7, 6, "")
		: which / 4 % 6 == 2 ? table_edit_set_member(edit, name, 4, 3, "bob", true)
		: which / 4 % 6 == 3 ? table_edit_set_member(edit, name, 4, 3, "bob", false)
		: which / 4 % 6 == 4 ? table_edit_add_line(edit, line)
				     : table_edit_remove_line(edit, name);
	check_foreign(&before, &edit->table, name);
	if ((r < 0 || edits == edit->edits) &&
		(before.size != edit->table.size || memcmp(before.bytes, edit->table.bytes, before.size) != 0))
		abort();
	free(before.bytes);
}

static void add_and_remove(struct table_edit *edit)
{
	size_t size = edit->table.size;
	char *copy = malloc(size + 1);

	if (!copy)
		return;
	memcpy(copy, edit->table.bytes, size + 1);
	if (!memmem(copy, size, "added", 5) && table_edit_add_line(edit, "added:x:y") == 0) {
		if (table_edit_set_field(edit, "added", 3, 2, "longer") < 0 ||
			table_edit_remove_line(edit, "added") < 0)
			abort();
		/* Only the newline that a last line lacked may stay, where the line was added. */
		size_t same = 0;
		while (same < size && copy[same] == edit->table.bytes[same])
			same++;
		if (edit->table.size != size + (same < size || edit->table.size > size ? 1 : 0) ||
			memcmp(copy + same, edit->table.bytes + same + (edit->table.size - size), size - same) != 0)
			abort();
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	if (size < 4)
		return 0;
	struct account_table table = {.bytes = malloc(size - 3), .size = size - 4};
	struct table_edit edit;

	if (!table.bytes)
		return 0;
	memcpy(table.bytes, bytes + 4, size - 4);
	table.bytes[size - 4] = '\0';
	if (bytes[0] & 1 && account_index_build(&table) < 0)
		abort();
	table_edit_begin(&edit, &table);
	for (unsigned i = 0; i < 4; i++)
		edit_once(&edit, bytes[i]);
	add_and_remove(&edit);
	if (table_edit_remove_member(&edit, 4, 3, "bob") < 0)
		abort();
	table_edit_free(&edit);
	return 0;
}
