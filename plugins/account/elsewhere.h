/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What name services know though the account files do not: names and numbers that must not be given a second time. One
 * child for the names of a whole batch, and one for so many numbers: a directory that hangs costs its deadline once.
 * Another DIR than the host's has no name services.
 */
#pragma once

#include "lib/plugin.h"
#include "plugins/account/database.h"

struct elsewhere {
	bool *users;   /* for each command, whether its user is known */
	char **groups; /* those that were asked about, ended by NULL */
	bool *group_known;
	unsigned group_count;
	int error; /* why nothing is known, or 0 */
	struct elsewhere_numbers {
		uint32_t from;
		unsigned count;
		bool *known;
	} uids, gids;
};

/* Asks about every user of the request and every group it names that stands in no file. Only memory makes it fail. */
int elsewhere_ask(const struct plugin_request *request, const struct database *database,
	struct elsewhere *ret_elsewhere) MUST_CHECK;
/* Whether they know a group that was asked about; the error where they do not answer. */
int elsewhere_group(const struct elsewhere *elsewhere, const char *group, bool *ret_known) MUST_CHECK;
/* Whether they know that number. */
int elsewhere_uid(struct elsewhere *elsewhere, const struct plugin_request *request, const struct database *database,
	uid_t uid, bool *ret_known) MUST_CHECK;
int elsewhere_gid(struct elsewhere *elsewhere, const struct plugin_request *request, const struct database *database,
	gid_t gid, bool *ret_known) MUST_CHECK;
void elsewhere_free(struct elsewhere *elsewhere);
#define cleanup_elsewhere CLEANUP(elsewhere_free)
