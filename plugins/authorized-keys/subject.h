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
	struct key_view *views; /* of each place, once it was looked at; owned */
	unsigned view_count;
	struct key_blob *blobs; /* of the commands, borrowed */
	unsigned blob_count, blob_capacity;
	unsigned timeout_ms;     /* of each child that works for it */
	bool sync_later;         /* see key_task.h */
	bool name_services_hang; /* they did not answer about this name */
	struct key_task task;    /* under way in the child; see subject_start() */
	struct user_spawned child;
	bool chosen[KEY_PLACES_MAX];
	int start_error;
};

/*
 * Looks the account of subject->user (all else zero) up and finds its places; an account that cannot be worked on gets
 * a code. Name services are asked about a name that is not in the files, unless `ask` is false because they hang.
 */
int subject_open(const struct plugin_request *request, struct sshd *sshd, struct sharers *sharers,
	const struct account_table *group, const struct login_definitions *definitions, bool ask,
	struct subject *subject) MUST_CHECK;
void subject_free(struct subject *subject);
/* Remembers a key to look for. The bytes stay the caller's and must outlive the subject. */
int subject_add_blob(struct subject *subject, const unsigned char *bytes, size_t size, unsigned *ret_index) MUST_CHECK;
/* Brings the file system of that place to disk, in a child of the user. */
int subject_sync(const struct plugin_request *request, const struct subject *subject, unsigned place) MUST_CHECK;
/*
 * Looks at every place, or (with edits) carries them out: a child as the user for the home, which works while others
 * are started; when it is waited for, the rest as root. A child that fails as a whole gives its places a code. The
 * edits must stay until then, and what was started must be finished.
 */
void subject_start(const struct plugin_request *request, struct subject *subject, const struct key_edit *edits,
	unsigned edit_count);
int subject_finish(
	const struct plugin_request *request, struct subject *subject, enum key_outcome *outcomes) MUST_CHECK;
