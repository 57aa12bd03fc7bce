/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One account that commands of the batch are about: who it is, where its keys stand, what stands there now. All its
 * commands share one child and one write per file.
 */
#pragma once

#include "plugins/authorized-keys/location.h"

struct subject {
	const char *user; /* borrowed from the request */
	enum code code;   /* why nothing can be done for this account, or OK */
	char detail[DETAIL_MAX + 1];
	struct account account;
	gid_t *groups;
	size_t group_count;
	struct locations locations;
	struct key_view views[KEY_PLACES_MAX];
	struct key_blob *blobs; /* of the commands, borrowed */
	unsigned blob_count, blob_capacity;
	unsigned timeout_ms;     /* of each child that works for it */
	bool sync_later;         /* see key_task.h */
	bool name_services_hang; /* they did not answer about this name */
};

/*
 * Looks the account up and finds its places; an account that cannot be worked on gets a code. Name services are asked
 * about a name that is not in the files, unless `ask` is false because they hang.
 */
int subject_open(const struct plugin_request *request, struct sshd *sshd, struct sharers *sharers,
	const struct account_table *group, const struct login_definitions *definitions, const char *user, bool ask,
	struct subject *ret_subject) MUST_CHECK;
void subject_free(struct subject *subject);
/* Remembers a key to look for. The bytes stay the caller's and must outlive the subject. */
int subject_add_blob(struct subject *subject, const unsigned char *bytes, size_t size, unsigned *ret_index) MUST_CHECK;
/*
 * Looks at every place, or (with edits) carries them out: one child as the user, one as root. A child that fails as a
 * whole gives its places a code.
 */
/* Brings the file system of that place to disk, in a child of the user. */
int subject_sync(const struct plugin_request *request, const struct subject *subject, unsigned place) MUST_CHECK;
int subject_run(const struct plugin_request *request, struct subject *subject, const struct key_edit *edits,
	unsigned edit_count, enum key_outcome *outcomes) MUST_CHECK;
