/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/identifiers.h"

#include <errno.h>
#include <string.h>

#define NUMBERS_MAX 131072 /* ids above it are rare, and looked for line by line */
#define RANGES_MAX 65536u  /* lines of /etc/subuid; a range of 65536 ids each fills the whole space */

struct range {
	int64_t start, count;
};

struct used_numbers {
	unsigned lines; /* the table's own count when this was true */
	uint64_t bits[NUMBERS_MAX / 64];
	uint32_t *taken; /* without a line */
	size_t taken_count;
	struct range *ranges; /* sorted */
	size_t range_count, range_capacity;
	/* No gap of `wanted` above `from` lies before ranges[at], and none below `next`. */
	int64_t from, wanted, next;
	size_t at;
};

static void numbers_free(struct used_numbers *numbers)
{
	if (numbers) {
		free(numbers->ranges);
		free(numbers->taken);
	}
	free(numbers);
}

void identifiers_forget(struct database *database)
{
	for (unsigned i = 0; i < DATABASE_FILES; i++) {
		numbers_free(database->numbers[i]);
		database->numbers[i] = NULL;
	}
}

static void mark(struct used_numbers *numbers, int64_t number)
{
	if (number >= 0 && number < NUMBERS_MAX)
		numbers->bits[number / 64] |= UINT64_C(1) << (number % 64);
}

static bool is_marked(const struct used_numbers *numbers, int64_t number)
{
	return numbers->bits[number / 64] & UINT64_C(1) << (number % 64);
}

static int insert_range(struct used_numbers *numbers, size_t at, struct range range)
{
	if (numbers->range_count == RANGES_MAX)
		return -ENOSPC;
	if (numbers->range_count == numbers->range_capacity) {
		size_t capacity = numbers->range_capacity * 2 + 64;
		struct range *more = reallocarray(numbers->ranges, capacity, sizeof(*numbers->ranges));
		if (!more)
			return -ENOMEM;
		numbers->ranges = more;
		numbers->range_capacity = capacity;
	}
	memmove(numbers->ranges + at + 1, numbers->ranges + at, (numbers->range_count - at) * sizeof(range));
	numbers->ranges[at] = range;
	numbers->range_count++;
	return 0;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct range *first = a, *second = b;
	return (first->start > second->start) - (first->start < second->start);
}

static int read_ranges(const struct account_table *table, struct used_numbers *numbers)
{
	struct account_line line;
	size_t offset = 0;

	while (account_next_line(table, &offset, &line)) {
		uint32_t start, count;
		if (!account_line_number(&line, 1, &start) || !account_line_number(&line, 2, &count) || count == 0)
			continue;
		int r = insert_range(numbers, numbers->range_count, (struct range){start, count});
		if (r < 0)
			return r;
	}
	if (numbers->range_count > 0)
		qsort(numbers->ranges, numbers->range_count, sizeof(*numbers->ranges), compare_ranges);
	return 0;
}

static void read_numbers(const struct account_table *table, struct used_numbers *numbers)
{
	struct account_line line;
	size_t offset = 0;
	uint32_t number;

	while (account_next_line(table, &offset, &line)) {
		if (account_line_number(&line, 2, &number))
			mark(numbers, number);
	}
}

/* What the file's lines use, read once for as long as no other line comes or goes. */
static int numbers_of(struct database *database, enum database_file file, struct used_numbers **ret_numbers)
{
	struct used_numbers *numbers = database->numbers[file];
	const struct table_edit *edit = &database->files[file];
	int r = 0;

	if (!numbers || numbers->lines != edit->lines) {
		numbers_free(numbers);
		numbers = database->numbers[file] = calloc(1, sizeof(*numbers));
		if (!numbers)
			return -ENOMEM;
		numbers->lines = edit->lines;
		numbers->from = -1;
		if (file == DATABASE_SUBUID || file == DATABASE_SUBGID)
			r = read_ranges(&edit->table, numbers);
		else
			read_numbers(&edit->table, numbers);
	}
	if (r < 0) {
		numbers_free(numbers);
		database->numbers[file] = NULL;
		return r;
	}
	*ret_numbers = numbers;
	return 0;
}

static bool in_use(struct database *database, enum database_file file, uint32_t id)
{
	struct used_numbers *numbers;
	struct account_line line;
	size_t offset = 0;

	if (id < NUMBERS_MAX && numbers_of(database, file, &numbers) == 0)
		return is_marked(numbers, id);
	return account_next_number(&database->files[file].table, 2, id, &offset, &line);
}

bool identifiers_uid_in_use(struct database *database, uid_t uid)
{
	return in_use(database, DATABASE_PASSWD, uid);
}

bool identifiers_gid_in_use(struct database *database, gid_t gid)
{
	return in_use(database, DATABASE_GROUP, gid);
}

static bool is_taken(const struct used_numbers *numbers, uint32_t number)
{
	bool taken = false;

	for (size_t i = 0; numbers && i < numbers->taken_count; i++)
		taken = taken || numbers->taken[i] == number;
	return taken;
}

int identifiers_take(struct database *database, enum database_file file, uint32_t number)
{
	struct used_numbers *numbers;

	int r = numbers_of(database, file, &numbers);
	if (r < 0)
		return r;
	uint32_t *more = reallocarray(numbers->taken, numbers->taken_count + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	numbers->taken = more;
	more[numbers->taken_count++] = number;
	mark(numbers, number);
	return 0;
}

int identifiers_add_line(
	struct database *database, enum database_file file, const char *line, int64_t number, int64_t count)
{
	struct used_numbers *numbers = database->numbers[file];
	struct table_edit *edit = &database->files[file];
	bool valid = numbers && numbers->lines == edit->lines;

	int r = table_edit_add_line(edit, line);
	if (r < 0 || !valid)
		return r;
	if (count == 0) {
		mark(numbers, number);
	} else {
		/* The gap that the last search found. Anything else is read again. */
		if (numbers->from < 0 || number != numbers->next)
			return 0;
		r = insert_range(numbers, numbers->at, (struct range){number, count});
		if (r < 0)
			return 0; /* read again, which says so */
		numbers->at++;
		numbers->next = number + count;
	}
	numbers->lines = edit->lines;
	return 0;
}

/* Numbers of a range, for ranges beyond the bitmap. */
struct marks {
	int64_t min, max, highest;
	unsigned char *used;
};

static void put_mark(struct marks *marks, int64_t number)
{
	if (number < marks->min || number > marks->max)
		return;
	marks->used[(number - marks->min) / 8] |= (unsigned char)(1u << ((number - marks->min) % 8));
	marks->highest = number > marks->highest ? number : marks->highest;
}

/* The number above the highest in use within [min, max], else the lowest free one. */
static int choose_far(const struct account_table *table, const struct used_numbers *numbers,
	const struct ledger *ledger, int64_t min, int64_t max, uint32_t *ret_id)
{
	struct account_line line;
	size_t offset = 0;
	uint32_t number;

	if (min > max || max - min > UINT32_MAX)
		return -ENOSPC;
	size_t count = (size_t)(max - min) + 1;
	cleanup_free unsigned char *used = calloc(count / 8 + 1, 1);
	struct marks marks = {min, max, min - 1, used};
	if (!used)
		return -ENOMEM;
	while (account_next_line(table, &offset, &line)) {
		if (account_line_number(&line, 2, &number))
			put_mark(&marks, number);
	}
	for (size_t i = 0; i < numbers->taken_count; i++)
		put_mark(&marks, numbers->taken[i]);
	for (unsigned i = 0; ledger && i < ledger->count; i++)
		put_mark(&marks, ledger->entries[i].uid);
	if (marks.highest < max) {
		*ret_id = (uint32_t)(marks.highest + 1);
		return 0;
	}
	for (size_t i = 0; i < count; i++) {
		if (!(used[i / 8] & (1u << (i % 8)))) {
			*ret_id = (uint32_t)(min + (int64_t)i);
			return 0;
		}
	}
	return -ENOSPC;
}

/* The number above the highest one in use, else the lowest free one. */
static int choose(struct database *database, enum database_file file, const struct ledger *ledger, int64_t min,
	int64_t max, uint32_t *ret_id)
{
	struct used_numbers *numbers;

	if (min > max)
		return -ENOSPC;
	int r = numbers_of(database, file, &numbers);
	if (r < 0)
		return r;
	if (max >= NUMBERS_MAX)
		return choose_far(&database->files[file].table, numbers, ledger, min, max, ret_id);
	cleanup_free uint64_t *bits = malloc(sizeof(numbers->bits));
	if (!bits)
		return -ENOMEM;
	memcpy(bits, numbers->bits, sizeof(numbers->bits));
	for (unsigned i = 0; ledger && i < ledger->count; i++) {
		uid_t uid = ledger->entries[i].uid;
		if (uid < NUMBERS_MAX)
			bits[uid / 64] |= UINT64_C(1) << (uid % 64);
	}
	int64_t id = max;
	while (id >= min && !(bits[id / 64] & UINT64_C(1) << (id % 64)))
		id -= bits[id / 64] == 0 && id % 64 == 63 ? 64 : 1;
	id = id < min ? min : id + 1;
	for (int64_t free_id = min; id > max && free_id <= max; free_id++) {
		if (!(bits[free_id / 64] & UINT64_C(1) << (free_id % 64)))
			id = free_id;
	}
	if (id > max)
		return -ENOSPC;
	*ret_id = (uint32_t)id;
	return 0;
}

int identifiers_choose_uid(
	struct database *database, const struct account_defaults *defaults, const struct ledger *ledger, uid_t *ret_uid)
{
	return choose(database, DATABASE_PASSWD, ledger, defaults->ranges.uid_min, defaults->ranges.uid_max, ret_uid);
}

int identifiers_choose_gid(
	struct database *database, const struct account_defaults *defaults, gid_t preferred, gid_t *ret_gid)
{
	if (preferred >= defaults->ranges.gid_min && preferred <= defaults->ranges.gid_max &&
		!identifiers_gid_in_use(database, preferred) &&
		!is_taken(database->numbers[DATABASE_GROUP], preferred)) {
		*ret_gid = preferred;
		return 0;
	}
	return choose(database, DATABASE_GROUP, NULL, defaults->ranges.gid_min, defaults->ranges.gid_max, ret_gid);
}

int identifiers_choose_range(
	struct database *database, enum database_file file, int64_t min, int64_t max, int64_t count, int64_t *ret_start)
{
	struct used_numbers *numbers;

	int r = numbers_of(database, file, &numbers);
	if (r < 0)
		return r;
	if (numbers->from != min || numbers->wanted != count) {
		numbers->from = min;
		numbers->wanted = count;
		numbers->next = min;
		numbers->at = 0;
	}
	for (; numbers->at < numbers->range_count; numbers->at++) {
		const struct range *range = &numbers->ranges[numbers->at];
		if (range->start >= numbers->next + count)
			break;
		if (range->start + range->count > numbers->next)
			numbers->next = range->start + range->count;
	}
	if (count <= 0 || numbers->next + count - 1 > max)
		return -ENOSPC;
	*ret_start = numbers->next;
	return 0;
}
