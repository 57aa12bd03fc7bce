/* SPDX-License-Identifier: Apache-2.0 */
/* What a new account gets where the command says nothing: login.defs(5) and useradd(8)'s /etc/default/useradd. */
#pragma once

#include "lib/account_files.h"

struct account_defaults {
	struct login_definitions ranges;
	int64_t maximum_age, minimum_age, warn; /* PASS_*: days, -1 = empty field */
	mode_t home_mode;
	bool user_groups; /* USERGROUPS_ENAB */
	int64_t subuid_min, subuid_max, subuid_count, subgid_min, subgid_max, subgid_count;
	char shell[257], skel[257], home[257]; /* absolute paths */
	char group[64];                        /* the primary group without user groups: a name or a number */
	char inactive[16], expire[16];         /* the shadow fields, "" without */
};

/* Missing files and nonsense in them give the tools' built-in values. */
int account_defaults_read(int root, struct account_defaults *ret_defaults) MUST_CHECK;
