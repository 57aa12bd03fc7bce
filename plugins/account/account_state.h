/* SPDX-License-Identifier: Apache-2.0 */
/* One account's facets in the account files, read and set by name. */
#pragma once

#include "plugins/account/batch.h"

#define ACCOUNT_STATE_PART "part" /* of a membership: in one file of two */

void cleanup_wiped_text(char **text);
#define cleanup_wiped CLEANUP(cleanup_wiped_text)

/*
 * The facet's present text (free it wiped); "" where the account or the line is missing. -ENOENT: no such group;
 * -ENOTUNIQ, -EBADMSG: a doubled or broken line.
 */
int account_state_read(struct batch *batch, const char *user, const char *facet, char **ret_text) MUST_CHECK;
/* Adds the facet from what is present now. */
int account_state_change(
	struct batch *batch, const char *user, struct facets *facets, const char *facet, const char *after) MUST_CHECK;
/* Sets it. "account" is not set here. */
int account_state_write(struct batch *batch, const char *user, const char *facet, const char *text) MUST_CHECK;
/*
 * Adds the account as the facets' after say: home, group, gshadow, subuid, subgid, shadow, passwd. On failure the
 * result has a code when there is a better one than the errno.
 */
int account_state_create(
	struct batch *batch, const char *user, const struct facets *facets, struct plugin_result *result) MUST_CHECK;
/*
 * Takes it out of every file, with its memberships and its own group (that gid) when nobody else is in it. What is
 * already gone is passed over, so that a half-done removal is finished.
 */
int account_state_remove(struct batch *batch, const char *user, gid_t gid) MUST_CHECK;
/* True when another file than passwd still has a line or a membership of that name. */
bool account_state_has_rest(const struct batch *batch, const char *user);
/* Whether the home that the line of passwd names is that directory or lies below it. */
bool account_state_lives_in(const struct account_line *line, const char *home);
/* Brings the ledger in line with the facets that now stand. */
int account_state_note(struct batch *batch, const char *user, const struct facet *facet) MUST_CHECK;
/* "UID:GID" */
int account_state_parse_ids(const char *text, uid_t *ret_uid, gid_t *ret_gid) MUST_CHECK;
/* The shadow day on which something that ends at that time has ended. */
int64_t account_state_day(int64_t time);
