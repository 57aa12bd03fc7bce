/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading /etc/passwd, shadow, group, gshadow and login.defs of a root directory, by line, as passwd(5), shadow(5),
 * group(5) and login.defs(5) describe them. Lines that are not ours to understand (comments, NIS, junk) are passed
 * over, never changed. Nothing here asks name services.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "lib/cleanup.h"

#define ACCOUNT_TABLE_MAX (64u << 20) /* about a million accounts */
#define ACCOUNT_LINE_MAX (1u << 20)   /* a group with very many members */

struct account_index;
struct account_memo;

struct account_table {
	char *bytes; /* NUL after the last byte */
	size_t size;
	struct stat seen;            /* just before it was read; what everybody may read is not wiped */
	bool mapped;                 /* the bytes are the file's own pages, which nobody may write to or need wipe */
	struct account_index *index; /* lib/account_index.h; NULL: every look-up reads the lines */
	struct account_memo *memo;   /* the last name looked up without an index; NULL: it is not remembered */
};

struct account_line {
	const char *start;
	size_t size; /* without the newline */
};

struct account {
	char *text; /* owned; the fields point into it */
	const char *name, *password, *gecos, *home, *shell;
	uid_t uid;
	gid_t gid;
};

struct shadow_entry {
	char *text;
	const char *name, *hash;
	/* days; -1 where the field is empty */
	int64_t last_change, minimum_age, maximum_age, warn, inactive, expire;
};

struct group_entry {
	char *text;
	const char *name, *password, *members; /* members as in the file, comma-separated */
	gid_t gid;
};

struct login_definitions {
	uid_t uid_min, uid_max; /* 1000..60000 when absent */
	gid_t gid_min, gid_max;
};

/*
 * `path` below root without a leading slash ("etc/passwd"). -ENOENT, -ELOOP, -EINVAL (not regular), -EFBIG. To look at
 * only: megabytes are mapped, not copied. Whoever cuts such a file short in place just then ends this process, as a
 * crash may at any time.
 */
int account_table_read(int root, const char *path, struct account_table *ret_table) MUST_CHECK;
/* By name in a directory; a copy of the bytes, for one who edits them, or as above. */
int account_table_read_in(int directory, const char *name, bool to_edit, struct account_table *ret_table) MUST_CHECK;
/* Reads it again if the file is not the one that was read, or was not read yet. */
int account_table_refresh(int root, const char *path, struct account_table *table) MUST_CHECK;
void account_table_free(struct account_table *table);
/* False when somebody has written the file, or exchanged it, since it was read. */
bool account_table_is_of(const struct account_table *table, const struct stat *now);
/* To be called when `old_size` bytes at `offset` have become `size` bytes. */
void account_table_moved(const struct account_table *table, size_t offset, size_t old_size, size_t size);
#define cleanup_account_table CLEANUP(account_table_free)

/* Walks lines: start with *offset 0. False at the end. */
bool account_next_line(const struct account_table *table, size_t *offset, struct account_line *ret_line);
/* The next line, from the line at *offset on, in which those bytes stand. False when there is none. */
bool account_next_with(const struct account_table *table, const char *bytes, size_t size, size_t *offset,
	struct account_line *ret_line);
/* The one line whose first field is `name`. -ENOENT, or -ENOTUNIQ when there are more. */
int account_find_line(const struct account_table *table, const char *name, struct account_line *ret_line) MUST_CHECK;

/* 0, -EBADMSG when the line is no passwd line, -ENOMEM. */
int account_parse(const struct account_line *line, struct account *ret_account) MUST_CHECK;
/* -EBADMSG also for a line that the C library takes for none. */
int shadow_parse(const struct account_line *line, struct shadow_entry *ret_entry) MUST_CHECK;
int group_parse(const struct account_line *line, struct group_entry *ret_entry) MUST_CHECK;

int account_find(const struct account_table *passwd, const char *name, struct account *ret_account) MUST_CHECK;
int shadow_find(const struct account_table *shadow, const char *name, struct shadow_entry *ret_entry) MUST_CHECK;
int group_find(const struct account_table *group, const char *name, struct group_entry *ret_entry) MUST_CHECK;
void account_free(struct account *account);
void shadow_free(struct shadow_entry *entry);
void group_free(struct group_entry *entry);
#define cleanup_account CLEANUP(account_free)
#define cleanup_shadow CLEANUP(shadow_free)
#define cleanup_group CLEANUP(group_free)

/* True when `name` stands in the comma-separated list. */
bool group_has_member(const struct group_entry *entry, const char *name);
/* The gids of all groups that list the user, and the primary one first. Owned by the caller (free). */
int account_groups(const struct account_table *group, const char *name, gid_t primary, gid_t **ret_groups,
	size_t *ret_count) MUST_CHECK;
/* True for a login shell that ends every session: nologin, false, true, sync, halt, shutdown, wherever they stand. */
bool account_shell_is_nologin(const char *shell);
/* The line's decimal field of that number, the name being 0; false when it is none. */
bool account_line_number(const struct account_line *line, unsigned field, uint32_t *ret_number);
/* The next line, from the line at *offset on, whose field is that number. False when there is none. */
bool account_next_number(const struct account_table *table, unsigned field, uint32_t number, size_t *offset,
	struct account_line *ret_line);
/* How many names have that uid. */
unsigned account_count_uid(const struct account_table *passwd, uid_t uid);

/* Values of a missing file or a missing line are the defaults above; nonsense too. */
int login_definitions_read(int root, struct login_definitions *ret_definitions) MUST_CHECK;
