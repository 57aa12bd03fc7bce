/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one command changes, as named facets of one account with their text before and after: the plan that is
 * journalled, compared and set. Names: account ("UID:GID"), gecos, home, shell, hash, changed, expire, sudo,
 * home_directory, faillock, group.NAME.
 */
#pragma once

#include "lib/json.h"

#define FACETS_MAX 128u      /* 64 groups of the ledger, 32 of the command, and the fixed ones */
#define FACET_VALUE_MAX 640u /* the longest is a hash of 384 */

struct facet {
	char *name, *before, *after;
};

struct facets {
	struct facet items[FACETS_MAX];
	unsigned count;
};

/* Does nothing when before and after are alike. -E2BIG, -EINVAL (too long), -ENOMEM. */
int facets_add(struct facets *facets, const char *name, const char *before, const char *after) MUST_CHECK;
/* Wipes: hashes pass through here. */
void facets_free(struct facets *facets);
#define cleanup_facets CLEANUP(facets_free)
const struct facet *facets_find(const struct facets *facets, const char *name);
/* The after of that name, or the fallback. */
const char *facets_after(const struct facets *facets, const char *name, const char *fallback);
/* The member "facets" of a plan: {"NAME":["before","after"],…}. */
void facets_write(const struct facets *facets, struct json_writer *writer);
/* The member "account" of a result, for the guard: what decides over logins and would be different. False: nothing. */
bool facets_write_account(const struct facets *facets, struct json_writer *writer);
/* -EBADMSG on anything else. With `exchange` before and after change places (undo). */
int facets_read(const cJSON *plan, bool exchange, struct facets *ret_facets) MUST_CHECK;
