/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changing single fields and lines of a colon-separated account file in memory. Every byte that is not the named line's
 * named field is kept: comments, NIS lines, junk, CRLF, a missing last newline. -ENOENT: no such line; -ENOTUNIQ: more
 * than one; -EBADMSG: the line has not that many fields; -EINVAL: a value that would break the line.
 */
#pragma once

#include "lib/account_files.h"

struct table_edit {
	struct account_table table; /* readable by everything in lib/account_files.h */
	size_t capacity;
	struct account_table old; /* as it was before the first change, once there is one */
	bool changed;
	unsigned edits; /* how often something was really changed */
	unsigned lines; /* how often a line came or went */
	bool end_known; /* where new lines go, so that it is not searched each time */
	size_t end;     /* the first NIS line, or SIZE_MAX: the end of the file */
};

/* True when the text can be one field: no colon, no control byte. */
bool table_edit_is_field(const char *text);
/* Takes the table's bytes over. */
void table_edit_begin(struct table_edit *edit, struct account_table *table);
/* Wipes: shadow passes through here. */
void table_edit_free(struct table_edit *edit);
/* Borrowed copy-free look at a field of the one line of that name; without a final CR. */
int table_edit_field(const struct table_edit *edit, const char *name, unsigned fields, unsigned index,
	struct account_line *ret_field) MUST_CHECK;
int table_edit_set_field(
	struct table_edit *edit, const char *name, unsigned fields, unsigned index, const char *value) MUST_CHECK;
/* A whole line without newline, before the first NIS line (+ or -) or at the end. */
int table_edit_add_line(struct table_edit *edit, const char *line) MUST_CHECK;
/* Cuts the line with its newline. */
int table_edit_remove_line(struct table_edit *edit, const char *name) MUST_CHECK;
/* Adds or takes one member of a comma-separated field; nothing changes where it is so already. */
int table_edit_set_member(struct table_edit *edit, const char *name, unsigned fields, unsigned index,
	const char *member, bool present) MUST_CHECK;
/* Takes it out of that field of every group line that has so many fields, doubled names too. */
int table_edit_remove_member(struct table_edit *edit, unsigned fields, unsigned index, const char *member) MUST_CHECK;
/* True when the member stands in that field of a line of that name. */
int table_edit_has_member(const struct table_edit *edit, const char *name, unsigned fields, unsigned index,
	const char *member, bool *ret_present) MUST_CHECK;
