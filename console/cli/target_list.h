/* SPDX-License-Identifier: Apache-2.0 */
/* Files of instance ids: those to work on (--targets), and those that have it (--done). No network and no state here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/cleanup.h"

#define TARGETS_MAX 10000u /* as many as known_instances holds */
#define TARGETS_FILE_MAX (4u << 20)

struct target_list {
	char **names; /* in the file's order, each once */
	size_t count;
};

/*
 * One id a line, `#` begins a comment, blanks and empty lines do not count. 0; -EBADMSG with the line's number for what
 * is no instance id; -E2BIG; -ENOMEM.
 */
int target_list_parse(char *text, struct target_list *ret_list, unsigned *ret_line) MUST_CHECK;
void target_list_free(struct target_list *list);
#define cleanup_target_list CLEANUP(target_list_free)
/* Takes out the names of the other list; how many went. */
size_t target_list_remove(struct target_list *list, const struct target_list *other);
/* "10%" of `total`, rounded up and at least 1, or a count of at most `total`. -EINVAL. */
int target_list_share(const char *text, size_t total, size_t *ret_count) MUST_CHECK;
