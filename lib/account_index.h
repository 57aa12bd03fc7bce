/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where each line of an account table begins, by its first field, for those who look up many names. It finds what
 * searching line by line finds, doubled lines too, and is kept in step with edits.
 */
#pragma once

#include "lib/account_files.h"

/* Gives the table an index, which account_find_line then uses; the table's own free frees it. -ENOMEM. */
int account_index_build(struct account_table *table) MUST_CHECK;
void account_index_free(struct account_index *index);
int account_index_find(
	const struct account_table *table, const char *name, size_t size, struct account_line *ret_line) MUST_CHECK;
/* After `old_size` bytes at `offset` have become `size` bytes; lines that begin in the old bytes are forgotten. */
void account_index_splice(struct account_index *index, size_t offset, size_t old_size, size_t size);
/* The line that begins there is new. -ENOMEM. */
int account_index_add(struct account_table *table, size_t offset) MUST_CHECK;

/* The lines of a table by the number in one of their fields (a uid, a gid). */
struct account_numbers {
	struct account_number {
		uint32_t number, offset;
	} * items; /* sorted, alike ones in file order */
	size_t count;
};

int account_numbers_read(
	const struct account_table *table, unsigned field, struct account_numbers *ret_numbers) MUST_CHECK;
void account_numbers_free(struct account_numbers *numbers);
#define cleanup_account_numbers CLEANUP(account_numbers_free)
/* How many lines have that number; ret_first is the first one's item. */
size_t account_numbers_find(
	const struct account_numbers *numbers, uint32_t number, const struct account_number **ret_first);

/* The lines of one number, in file order: from the numbers where those were read (items), else from the bytes. */
struct account_alike {
	const struct account_table *table;
	const struct account_numbers *numbers;
	unsigned field;
	uint32_t number;
	size_t at;                          /* 0 before the first */
	const struct account_number *first; /* and how many, once they are known from the numbers */
	size_t count;
};

bool account_next_alike(struct account_alike *alike, struct account_line *ret_line);
/* How many there are, from the first. */
size_t account_count_alike(struct account_alike alike);
/* A group table of only those groups that list members: with a group per user that is few. */
int account_members_read(const struct account_table *group, struct account_table *ret_members) MUST_CHECK;

/*
 * A number that is another when the account's uid, its groups, how many names share its uid, or the rules of sudo
 * (their stamp) have changed: what was decided on can be compared with what stands later. `members` is
 * account_members_read's.
 */
int account_stamp(const struct account_table *members, const struct account *account, unsigned names_of_uid,
	uint32_t rules, uint32_t *ret_stamp) MUST_CHECK;
