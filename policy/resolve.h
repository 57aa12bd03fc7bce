/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an account name really is on this machine, from the local files: its uid, whether it is privileged (uid 0, a
 * root-equivalent group by name or gid, any matching sudoers rule but our own), and whether it belongs to a person
 * (UID_MIN..UID_MAX). A uid that several names share takes the strictest verdict of all of them.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "lib/account_files.h"
#include "lib/account_index.h"
#include "lib/buffer.h"

struct resolved_account {
	bool exists; /* in /etc/passwd, once */
	uid_t uid;
	bool is_root;   /* uid 0 under whatever name */
	bool is_person; /* a new account counts as one */
	bool privileged;
	uint32_t stamp;  /* of his groups, the names that share his uid, the rules of sudo: what privileged was decided
			    on */
	char reason[96]; /* why privileged: "uid 0", "group docker", "sudoers.d/90-image line 3" */
};

/* Everything that is read once per batch. */
struct resolver {
	struct account_table passwd, group, members; /* members: the groups that list somebody */
	struct account_table known;                  /* the lines of the privileged groups */
	struct account_numbers uids;
	struct login_definitions definitions;
	char *sudoers; /* sudo_rules_read's text */
	uint32_t sudoers_stamp;
};

/* -EOPNOTSUPP where passwd or group is missing or no regular file: the accounts are managed otherwise. */
int resolver_open(int root, struct resolver *ret_resolver) MUST_CHECK;
/* For many accounts: each is then found without reading every line. */
int resolver_index(struct resolver *resolver) MUST_CHECK;
void resolver_free(struct resolver *resolver);
#define cleanup_resolver CLEANUP(resolver_free)
/* named_uid: what it is to get if it does not exist yet, or -1. */
int resolve_account(const struct resolver *resolver, const char *name, int64_t named_uid,
	struct resolved_account *ret_account) MUST_CHECK;
/* True for a group whose members can become root, by name (docker, lxd, disk, sudo, …) or by the gid of such a name. */
bool resolve_group_is_privileged(const struct resolver *resolver, const char *name);
/* True for a group that a rule of sudo names, by its name or number, and so its members. */
bool resolve_group_has_sudo(const struct resolver *resolver, const char *name);
