/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/sharers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/sshd_config.h"

void sharers_free(struct sharers *sharers)
{
	for (unsigned i = 0; i < sharers->count; i++) {
		free(sharers->patterns[i].pattern);
		free(sharers->patterns[i].items);
	}
	*sharers = (struct sharers){0};
}

/* The path of the line's account. -EBADMSG when it is no account or the pattern gives it none. */
static int expand_line(
	const struct account_line *line, const char *pattern, struct account *ret_account, char **ret_path)
{
	int r = account_parse(line, ret_account);
	if (r == 0)
		r = sshd_expand(pattern, ret_account, ret_path);
	return r == 0 || r == -ENOMEM ? r : -EBADMSG;
}

/* 1 when the line's account is another one that reads the same file. */
static int compare_line(const struct account_line *line, const struct account *account, const char *pattern,
	const char *path, char ret_name[SHARERS_NAME_MAX])
{
	cleanup_account struct account other = {0};
	cleanup_free char *other_path = NULL;

	int r = expand_line(line, pattern, &other, &other_path);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	if (other.uid == account->uid || strcmp(other_path, path) != 0)
		return 0;
	(void)snprintf(ret_name, SHARERS_NAME_MAX, "%.32s", other.name);
	return 1;
}

static int find_in_table(const struct account_table *passwd, const struct account *account, const char *pattern,
	const char *path, char ret_name[SHARERS_NAME_MAX])
{
	struct account_line line;
	size_t offset = 0;
	int r = 0;

	while (r == 0 && account_next_line(passwd, &offset, &line))
		r = compare_line(&line, account, pattern, path, ret_name);
	return r < 0 ? r : 0;
}

static uint64_t hash(const char *text)
{
	uint64_t value = UINT64_C(14695981039346656037); /* FNV-1a */

	for (; *text; text++)
		value = (value ^ (unsigned char)*text) * UINT64_C(1099511628211);
	return value;
}

static int compare_items(const void *a, const void *b)
{
	const struct sharer *first = a, *second = b;

	if (first->hash != second->hash)
		return first->hash < second->hash ? -1 : 1;
	return first->offset < second->offset ? -1 : first->offset > second->offset;
}

static int expand_all(const struct account_table *passwd, struct sharers_pattern *pattern)
{
	struct account_line line;
	size_t offset = 0, lines = 0;

	while (account_next_line(passwd, &offset, &line))
		lines++;
	pattern->items = calloc(lines + 1, sizeof(*pattern->items));
	if (!pattern->items)
		return -ENOMEM;
	for (offset = 0; account_next_line(passwd, &offset, &line);) {
		cleanup_account struct account account = {0};
		cleanup_free char *path = NULL;

		int r = expand_line(&line, pattern->pattern, &account, &path);
		if (r == -ENOMEM)
			return r;
		if (r == 0)
			pattern->items[pattern->count++] =
				(struct sharer){hash(path), (size_t)(line.start - passwd->bytes)};
	}
	qsort(pattern->items, pattern->count, sizeof(*pattern->items), compare_items);
	return 0;
}

static int find_in_items(const struct account_table *passwd, const struct sharers_pattern *pattern,
	const struct account *account, const char *path, char ret_name[SHARERS_NAME_MAX])
{
	uint64_t wanted = hash(path);
	size_t low = 0, high = pattern->count;
	int r = 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (pattern->items[middle].hash < wanted)
			low = middle + 1;
		else
			high = middle;
	}
	for (; r == 0 && low < pattern->count && pattern->items[low].hash == wanted; low++) {
		struct account_line line;
		size_t offset = pattern->items[low].offset;
		if (account_next_line(passwd, &offset, &line))
			r = compare_line(&line, account, pattern->pattern, path, ret_name);
	}
	return r < 0 ? r : 0;
}

int sharers_find(struct sharers *sharers, const struct account *account, const char *pattern, const char *path,
	char ret_name[SHARERS_NAME_MAX])
{
	ret_name[0] = '\0';
	for (unsigned i = 0; i < sharers->count; i++) {
		struct sharers_pattern *known = &sharers->patterns[i];
		if (strcmp(known->pattern, pattern) != 0)
			continue;
		int r = known->items ? 0 : expand_all(sharers->passwd, known);
		return r < 0 ? r : find_in_items(sharers->passwd, known, account, path, ret_name);
	}
	if (sharers->count < SHARERS_PATTERNS_MAX) {
		char *copy = strdup(pattern);
		if (!copy)
			return -ENOMEM;
		sharers->patterns[sharers->count++] = (struct sharers_pattern){.pattern = copy};
	}
	return find_in_table(sharers->passwd, account, pattern, path, ret_name);
}
