/* SPDX-License-Identifier: Apache-2.0 */
/* Whether two accounts read keys from one file, for many accounts: every pattern is expanded once for all. */
#pragma once

#include "lib/account_files.h"

#define SHARERS_PATTERNS_MAX 8u /* further ones, from Match blocks, are expanded each time */
#define SHARERS_NAME_MAX 64u

struct sharers {
	const struct account_table *passwd; /* borrowed */
	struct sharers_pattern {
		char *pattern;
		struct sharer {
			uint64_t hash; /* of the path */
			size_t offset; /* of the account's line */
		} * items;             /* sorted; NULL until it is asked about a second time */
		size_t count;
	} patterns[SHARERS_PATTERNS_MAX];
	unsigned count;
};

void sharers_free(struct sharers *sharers);
/* Another account, of another uid, for whom the pattern names the same file; its name, or "". */
int sharers_find(struct sharers *sharers, const struct account *account, const char *pattern, const char *path,
	char ret_name[SHARERS_NAME_MAX]) MUST_CHECK;
