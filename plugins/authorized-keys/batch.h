/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands of one call share: the account files, sshd's configuration, the ledger, one subject per account. */
#pragma once

#include "lib/account_files.h"
#include "plugins/authorized-keys/ledger.h"
#include "plugins/authorized-keys/revocation.h"
#include "plugins/authorized-keys/sharers.h"
#include "plugins/authorized-keys/work.h"

struct batch {
	struct plugin_request *request;
	struct account_table passwd, members; /* members: the groups that list somebody */
	struct login_definitions definitions;
	struct sharers sharers;
	struct sshd *sshd;
	struct key_ledger ledger;
	size_t added; /* to the ledger, about, by what the plan binds */
	struct revocation revocation;
	struct subject **subjects;
	struct name_map by_user; /* their places in it */
	unsigned subject_count;
	struct work *works; /* one per command */
};

int batch_open(struct batch *batch, struct plugin_request *request, struct plugin_result *results) MUST_CHECK;
void batch_free(struct batch *batch);
/* Every command as far as its own fields and its account go; those that need no more are complete then. */
int batch_prepare(struct batch *batch) MUST_CHECK;

/* keys.revoke, keys.sweep */
bool work_is_revocation(const struct work *work);
bool work_is_sweep(const struct work *work);
