/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/identifiers.h"

#include <errno.h>
#include <string.h>

#define RANGES_MAX 65536u /* lines of /etc/subuid; a range of 65536 ids each fills the whole space */

/* The number in field `index` of a colon-separated line, which may end there. */
static bool field_number(const struct account_line *line, unsigned index, int64_t *ret_number)
{
	const char *at = line->start, *end = line->start + line->size;
	int64_t number = 0;

	for (unsigned i = 0; i < index; i++) {
		at = memchr(at, ':', (size_t)(end - at));
		if (!at)
			return false;
		at++;
	}
	const char *digit = at;
	for (; digit < end && *digit >= '0' && *digit <= '9' && number <= UINT32_MAX; digit++)
		number = number * 10 + (*digit - '0');
	if (digit == at || (digit < end && *digit != ':' && *digit != '\r') || number > UINT32_MAX)
		return false;
	*ret_number = number;
	return true;
}

static bool in_use(const struct account_table *table, int64_t id)
{
	struct account_line line;
	size_t offset = 0;
	int64_t number;

	while (account_next_line(table, &offset, &line)) {
		if (field_number(&line, 2, &number) && number == id)
			return true;
	}
	return false;
}

bool identifiers_uid_in_use(const struct database *database, uid_t uid)
{
	return in_use(&database->files[DATABASE_PASSWD].table, uid);
}

bool identifiers_gid_in_use(const struct database *database, gid_t gid)
{
	return in_use(&database->files[DATABASE_GROUP].table, gid);
}

/* Marks what is in use in [min, max] and takes the number above the highest, else the lowest free one. */
static int choose(
	const struct account_table *table, const struct ledger *ledger, int64_t min, int64_t max, uint32_t *ret_id)
{
	struct account_line line;
	size_t offset = 0;
	int64_t number, highest = min - 1;

	if (min > max || max - min > UINT32_MAX)
		return -ENOSPC;
	size_t count = (size_t)(max - min) + 1;
	cleanup_free unsigned char *used = calloc(count / 8 + 1, 1);
	if (!used)
		return -ENOMEM;
	while (account_next_line(table, &offset, &line)) {
		if (!field_number(&line, 2, &number) || number < min || number > max)
			continue;
		used[(number - min) / 8] |= (unsigned char)(1u << ((number - min) % 8));
		highest = number > highest ? number : highest;
	}
	for (unsigned i = 0; ledger && i < ledger->count; i++) {
		number = ledger->entries[i].uid;
		if (number < min || number > max)
			continue;
		used[(number - min) / 8] |= (unsigned char)(1u << ((number - min) % 8));
		highest = number > highest ? number : highest;
	}
	if (highest < max) {
		*ret_id = (uint32_t)(highest + 1);
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

int identifiers_choose_uid(const struct database *database, const struct account_defaults *defaults,
	const struct ledger *ledger, uid_t *ret_uid)
{
	return choose(&database->files[DATABASE_PASSWD].table, ledger, defaults->ranges.uid_min,
		defaults->ranges.uid_max, ret_uid);
}

int identifiers_choose_gid(
	const struct database *database, const struct account_defaults *defaults, gid_t preferred, gid_t *ret_gid)
{
	if (preferred >= defaults->ranges.gid_min && preferred <= defaults->ranges.gid_max &&
		!identifiers_gid_in_use(database, preferred)) {
		*ret_gid = preferred;
		return 0;
	}
	return choose(&database->files[DATABASE_GROUP].table, NULL, defaults->ranges.gid_min, defaults->ranges.gid_max,
		ret_gid);
}

struct range {
	int64_t start, count;
};

static int compare_ranges(const void *a, const void *b)
{
	const struct range *first = a, *second = b;
	return (first->start > second->start) - (first->start < second->start);
}

int identifiers_choose_range(
	const struct account_table *table, int64_t min, int64_t max, int64_t count, int64_t *ret_start)
{
	cleanup_free struct range *ranges = NULL;
	struct account_line line;
	size_t offset = 0, used = 0, capacity = 0;

	while (account_next_line(table, &offset, &line)) {
		struct range range;
		if (!field_number(&line, 1, &range.start) || !field_number(&line, 2, &range.count) || range.count == 0)
			continue;
		if (used == RANGES_MAX)
			return -ENOSPC;
		if (used == capacity) {
			capacity = capacity * 2 + 64;
			struct range *more = reallocarray(ranges, capacity, sizeof(*ranges));
			if (!more)
				return -ENOMEM;
			ranges = more;
		}
		ranges[used++] = range;
	}
	if (used > 0)
		qsort(ranges, used, sizeof(*ranges), compare_ranges);
	int64_t start = min;
	for (size_t i = 0; i < used; i++) {
		if (ranges[i].start >= start + count)
			break;
		if (ranges[i].start + ranges[i].count > start)
			start = ranges[i].start + ranges[i].count;
	}
	if (count <= 0 || start + count - 1 > max)
		return -ENOSPC;
	*ret_start = start;
	return 0;
}
