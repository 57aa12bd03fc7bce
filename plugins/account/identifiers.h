/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Choosing the numbers of a new account as useradd(8) does: one above the highest in use within the range of
 * login.defs, else the lowest free one; never one that the ledger has seen, since files of a removed account may still
 * carry it.
 */
#pragma once

#include "plugins/account/database.h"
#include "plugins/account/defaults.h"
#include "plugins/account/ledger.h"

bool identifiers_uid_in_use(struct database *database, uid_t uid);
bool identifiers_gid_in_use(struct database *database, gid_t gid);
/* -ENOSPC when the range is used up. */
int identifiers_choose_uid(struct database *database, const struct account_defaults *defaults,
	const struct ledger *ledger, uid_t *ret_uid) MUST_CHECK;
/* The preferred number when no group has it (so that uid and gid are alike), else as for a uid. */
int identifiers_choose_gid(
	struct database *database, const struct account_defaults *defaults, gid_t preferred, gid_t *ret_gid) MUST_CHECK;
/* The first gap of `count` in a subuid or subgid file. -ENOSPC when there is none. */
int identifiers_choose_range(struct database *database, enum database_file file, int64_t min, int64_t max,
	int64_t count, int64_t *ret_start) MUST_CHECK;
/* Adds a line whose number (of the account, of the group, or the start of its range) is known. */
int identifiers_add_line(
	struct database *database, enum database_file file, const char *line, int64_t number, int64_t count) MUST_CHECK;
/* No line of the file has that number, but it is not free. */
int identifiers_take(struct database *database, enum database_file file, uint32_t number) MUST_CHECK;
/* Frees what was read. */
void identifiers_forget(struct database *database);
