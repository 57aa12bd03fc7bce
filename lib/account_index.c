/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/account_index.h"

#include <errno.h>
#include <string.h>

#define NO_LINE UINT32_MAX         /* ACCOUNT_TABLE_MAX is far below */
#define OLD_LINE (UINT32_MAX - 1u) /* was a line: a search goes on behind it */
#define SLOTS_MIN 4096u
#define NUMBERS_MIN 1024u
#define MOVES_PER_LINE 8u /* more, and the file is in no order */

/* Open addressing; a slot holds where a line begins, its name is read from the table itself. */
struct account_index {
	uint32_t *slots;
	uint32_t mask;
	size_t used; /* slots that are not NO_LINE */
};

static uint32_t hash(const char *name, size_t size)
{
	uint32_t value = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < size; i++)
		value = (value ^ (unsigned char)name[i]) * 16777619u;
	return value ^ (value >> 15);
}

static bool line_at(const struct account_table *table, uint32_t start, const char *name, size_t size)
{
	return start + size < table->size && table->bytes[start + size] == ':' &&
	       memcmp(table->bytes + start, name, size) == 0;
}

/* Two lines of one name are enough to know that it is doubled. */
static void put(struct account_index *index, const struct account_table *table, uint32_t start, size_t size)
{
	const char *name = table->bytes + start;
	unsigned alike = 0;

	for (uint32_t slot = hash(name, size) & index->mask;; slot = (slot + 1) & index->mask) {
		if (index->slots[slot] == NO_LINE) {
			index->slots[slot] = start;
			index->used++;
			return;
		}
		if (index->slots[slot] != OLD_LINE && line_at(table, index->slots[slot], name, size) && ++alike == 2)
			return;
	}
}

static void put_line(struct account_index *index, const struct account_table *table, const struct account_line *line)
{
	const char *colon = memchr(line->start, ':', line->size);

	if (colon)
		put(index, table, (uint32_t)(line->start - table->bytes), (size_t)(colon - line->start));
}

void account_index_free(struct account_index *index)
{
	if (!index)
		return;
	free(index->slots);
	free(index);
}

int account_index_build(struct account_table *table)
{
	struct account_line line;
	size_t lines = 0, offset = 0, count = SLOTS_MIN;

	account_index_free(table->index);
	table->index = NULL;
	while (account_next_line(table, &offset, &line))
		lines++;
	while (count < lines * 3)
		count *= 2;
	struct account_index *index = calloc(1, sizeof(*index));
	if (!index)
		return -ENOMEM;
	index->mask = (uint32_t)(count - 1);
	index->slots = malloc(count * sizeof(*index->slots));
	if (!index->slots) {
		free(index);
		return -ENOMEM;
	}
	memset(index->slots, 0xff, count * sizeof(*index->slots));
	for (offset = 0; account_next_line(table, &offset, &line);)
		put_line(index, table, &line);
	table->index = index;
	return 0;
}

int account_index_find(const struct account_table *table, const char *name, size_t size, struct account_line *ret_line)
{
	const struct account_index *index = table->index;
	uint32_t found = NO_LINE;

	for (uint32_t slot = hash(name, size) & index->mask; index->slots[slot] != NO_LINE;
		slot = (slot + 1) & index->mask) {
		if (index->slots[slot] == OLD_LINE || !line_at(table, index->slots[slot], name, size))
			continue;
		if (found != NO_LINE)
			return -ENOTUNIQ;
		found = index->slots[slot];
	}
	if (found == NO_LINE)
		return -ENOENT;
	size_t offset = found;
	(void)account_next_line(table, &offset, ret_line);
	return 0;
}

void account_index_splice(struct account_index *index, size_t offset, size_t old_size, size_t size)
{
	uint32_t from = (uint32_t)offset, to = (uint32_t)(offset + old_size), by = (uint32_t)(size - old_size);

	for (size_t i = 0; i <= index->mask; i++) {
		uint32_t start = index->slots[i];
		if (start >= OLD_LINE || start < from)
			continue;
		index->slots[i] = start < to ? OLD_LINE : start + by;
	}
}

int account_index_add(struct account_table *table, size_t offset)
{
	struct account_line line;

	if (2 * (table->index->used + 1) > table->index->mask)
		return account_index_build(table);
	if (account_next_line(table, &offset, &line))
		put_line(table->index, table, &line);
	return 0;
}

static int compare_numbers(const void *a, const void *b)
{
	const struct account_number *first = a, *second = b;

	if (first->number != second->number)
		return first->number < second->number ? -1 : 1;
	return first->offset < second->offset ? -1 : first->offset > second->offset;
}

/* Account files are nearly in order (nobody's 65534 stands among the first): inserting costs one pass then. */
static void sort(struct account_numbers *numbers)
{
	size_t moves = numbers->count * MOVES_PER_LINE;

	for (size_t i = 1; i < numbers->count; i++) {
		struct account_number item = numbers->items[i];
		size_t at = i;

		for (; at > 0 && numbers->items[at - 1].number > item.number && moves > 0; at--, moves--)
			numbers->items[at] = numbers->items[at - 1];
		numbers->items[at] = item;
		if (moves == 0) {
			qsort(numbers->items, numbers->count, sizeof(*numbers->items), compare_numbers);
			return;
		}
	}
}

int account_numbers_read(const struct account_table *table, unsigned field, struct account_numbers *ret_numbers)
{
	struct account_numbers numbers = {0};
	struct account_line line;
	size_t offset = 0, room = 0;
	bool sorted = true;

	while (account_next_line(table, &offset, &line)) {
		if (numbers.count == room) {
			room = room ? room * 2 : NUMBERS_MIN;
			struct account_number *more = reallocarray(numbers.items, room, sizeof(*more));
			if (!more) {
				account_numbers_free(&numbers);
				return -ENOMEM;
			}
			numbers.items = more;
		}
		struct account_number *item = &numbers.items[numbers.count];
		if (!account_line_number(&line, field, &item->number))
			continue;
		item->offset = (uint32_t)(line.start - table->bytes);
		sorted = sorted && (numbers.count == 0 || item[-1].number <= item->number);
		numbers.count++;
	}
	if (!sorted)
		sort(&numbers);
	*ret_numbers = numbers;
	return 0;
}

void account_numbers_free(struct account_numbers *numbers)
{
	free(numbers->items);
	*numbers = (struct account_numbers){0};
}

size_t account_numbers_find(
	const struct account_numbers *numbers, uint32_t number, const struct account_number **ret_first)
{
	size_t low = 0, high = numbers->count, count = 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (numbers->items[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_first = &numbers->items[low];
	while (low + count < numbers->count && numbers->items[low + count].number == number)
		count++;
	return count;
}

bool account_next_alike(struct account_alike *alike, struct account_line *ret_line)
{
	if (!alike->numbers || !alike->numbers->items)
		return account_next_number(alike->table, alike->field, alike->number, &alike->at, ret_line);
	if (alike->at == 0)
		alike->count = account_numbers_find(alike->numbers, alike->number, &alike->first);
	if (alike->at >= alike->count)
		return false;
	size_t offset = alike->first[alike->at++].offset;
	return account_next_line(alike->table, &offset, ret_line);
}

size_t account_count_alike(struct account_alike alike)
{
	struct account_line line;
	size_t count = 0;

	if (alike.numbers && alike.numbers->items)
		return account_numbers_find(alike.numbers, alike.number, &alike.first);
	while (account_next_alike(&alike, &line))
		count++;
	return count;
}

int account_members_read(const struct account_table *group, struct account_table *ret_members)
{
	struct account_table members = {.bytes = malloc(group->size + 1)};
	struct account_line line;
	size_t offset = 0;

	if (!members.bytes)
		return -ENOMEM;
	while (account_next_line(group, &offset, &line)) {
		if (line.size == 0 || line.start[line.size - 1] == ':')
			continue;
		memcpy(members.bytes + members.size, line.start, line.size);
		members.size += line.size;
		members.bytes[members.size++] = '\n';
	}
	/* The last line of a file may lack its newline; the copy of it then takes the byte of the final NUL. */
	if (members.size > group->size)
		members.size--;
	members.bytes[members.size] = '\0';
	*ret_members = members;
	return 0;
}

static int compare_gids(const void *a, const void *b)
{
	gid_t first = *(const gid_t *)a, second = *(const gid_t *)b;
	return first < second ? -1 : first > second;
}

int account_stamp(const struct account_table *members, const struct account *account, unsigned names_of_uid,
	uint32_t rules, uint32_t *ret_stamp)
{
	cleanup_free gid_t *groups = NULL;
	uint32_t numbers[4] = {account->uid, account->gid, names_of_uid, rules};
	size_t count;

	int r = account_groups(members, account->name, account->gid, &groups, &count);
	if (r < 0)
		return r;
	qsort(groups, count, sizeof(*groups), compare_gids);
	numbers[0] ^= hash((const char *)groups, count * sizeof(*groups));
	*ret_stamp = hash((const char *)numbers, sizeof(numbers));
	return 0;
}
