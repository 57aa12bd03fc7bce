/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The account files of one root directory in memory: read once, edited by many commands, written once each. gshadow,
 * subuid and subgid are there only if the files exist. See passwd(5), shadow(5), group(5), gshadow(5), subuid(5).
 */
#pragma once

#include <sys/stat.h>

#include "plugins/account/table_edit.h"

enum database_file {
	DATABASE_GROUP,
	DATABASE_GSHADOW,
	DATABASE_SUBUID,
	DATABASE_SUBGID,
	DATABASE_SHADOW,
	DATABASE_PASSWD, /* last: on creation its line is the commit point */
	DATABASE_FILES,
};

#define DATABASE_BIT(file) (1u << (file))
#define DATABASE_ALL (DATABASE_BIT(DATABASE_FILES) - 1u)

/* Fields of a line, by file. */
#define PASSWD_FIELDS 7u
#define SHADOW_FIELDS 9u
#define GROUP_FIELDS 4u

struct used_numbers; /* identifiers.c: what it has read of a file, until lines come or go */

struct database {
	int etc;
	struct table_edit files[DATABASE_FILES];
	bool present[DATABASE_FILES];
	struct used_numbers *numbers[DATABASE_FILES];
};

/*
 * `files`: a bit for each that is read; the others count as not there. Not to_edit: to plan on, nothing is written.
 * -EOPNOTSUPP and the file's name when a file is a symbolic link, no regular file, or passwd, shadow or group is
 * missing: such systems manage their accounts otherwise, and guessing would break them.
 */
int database_read(
	int root, unsigned files, bool to_edit, struct database *ret_database, const char **ret_file) MUST_CHECK;
/* For many commands: names are found without reading every line. */
int database_index(struct database *database) MUST_CHECK;
void database_free(struct database *database);
#define cleanup_database CLEANUP(database_free)
/* How many edits were made: it grows when a command really changed something. */
unsigned database_edits(const struct database *database);
/*
 * Reads the user's lines of passwd and shadow from the files as they now stand by name: -EIO where these are not what
 * was written. Without such a line there is nothing to compare.
 */
int database_read_back(const struct database *database, const char *user) MUST_CHECK;
/*
 * Writes the changed files, each with a backup (`passwd-`, 0600) before it, passwd last, or first when accounts are
 * removed. On failure those written are taken back, as far as that works; the name of the one that failed is returned,
 * and whether any file has its new content (which it can have even though making that durable failed).
 */
int database_write(struct database *database, bool removing, const char **ret_file, bool *ret_touched) MUST_CHECK;
