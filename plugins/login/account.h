/* SPDX-License-Identifier: Apache-2.0 */
/* What passwd, shadow and group say about one user, and what of it keeps the user out. */
#pragma once

#include <stdbool.h>

#include "lib/account_files.h"
#include "lib/blocker.h"
#include "plugins/login/world.h"

struct person {
	struct account account;
	struct shadow_entry shadow; /* days are -1 when there is no entry */
	const char *hash;           /* from shadow, else from passwd: what sshd itself goes by */
	const char *pam_hash;       /* from passwd, unless that says that it stands in shadow: pam_unix(8) */
	bool shadow_missing;        /* it says so, and there is no such entry: pam_unix then refuses whatever opens */
	gid_t *groups;
	size_t group_count;
	char **group_names; /* NULL-terminated */
	char *shell, *home; /* as a change would leave them; account points there then */
};

/* -ENOENT; -ENOTUNIQ when the name stands twice. */
int person_find(const struct world *world, const char *user, struct person *ret_person) MUST_CHECK;
/* As a change of the account (one of struct without's accounts) would leave it. */
int person_change(struct person *person, const cJSON *account) MUST_CHECK;
void person_free(struct person *person);
#define cleanup_person CLEANUP(person_free)

/* Whether one of the user's groups has that name, which need not end in a NUL. */
bool person_is_in_group(const struct person *person, const char *group, size_t size);
/* Those of the user's groups that have no other member. Owned by the caller (free). */
int person_private_groups(
	const struct person *person, struct world *world, gid_t **ret_groups, size_t *ret_count) MUST_CHECK;
/* Adds what keeps the user out by either method; for_good: what passes by itself at boot is left out. */
void person_blockers(const struct person *person, const struct world *world, bool use_pam, bool for_good,
	blocker_set *key, blocker_set *password);
/* What makes a password useless. */
blocker_set person_password_blockers(const struct person *person, bool use_pam, bool empty_allowed);
/* A due password change stops a user who comes by key and has no password to change. */
blocker_set person_change_blockers(const struct person *person, const struct world *world, bool use_pam);
