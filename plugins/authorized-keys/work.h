/* SPDX-License-Identifier: Apache-2.0 */
/* One command on its way from its fields to the edits of files that it wants. */
#pragma once

#include "plugins/authorized-keys/key_text.h"
#include "plugins/authorized-keys/ledger.h"
#include "plugins/authorized-keys/subject.h"

#define WORK_EDITS_MAX 64u /* one per place, and expired lines swept on the way */

struct work_edit {
	unsigned place;
	char *label, *before, *after; /* owned */
	bool made;                    /* the file was not there before */
	bool swept;                   /* an expired line of another label: its outcome is nobody's result */
};

struct work_blob {
	unsigned index; /* among the subject's blobs */
	unsigned char *bytes;
	size_t size;
};

struct work {
	const struct plugin_command *command;
	struct plugin_result *result;
	struct subject *subject;
	struct key_text text;
	unsigned blob;           /* its place among the subject's blobs, when it has a key */
	unsigned char *old_blob; /* of the line that is taken away; owned */
	size_t old_blob_size;
	struct work_edit *edits; /* owned */
	unsigned edit_count;
	struct work_blob *blobs; /* of the ledger's keys that it is about */
	unsigned blob_count;
	char *forgotten[KEY_PLACES_MAX]; /* owned; where the ledger has the label, but no line stands */
	unsigned forgotten_count;
	bool outdates;       /* the ledger as it stood would put back what this command took away */
	bool ledger_changed; /* keys.sweep: there is something to write even without an edit */
	unsigned lost_count;
	struct buffer lost; /* fingerprints of the keys whose lines go or change: JSON array elements */
};

/* Decides on what the subject's views show, and brings those views up to date. Sets the result's code and detail. */
int work_decide(const struct plugin_request *request, struct work *work) MUST_CHECK;
/*
 * For each place that was looked at: an entry of the ledger without a line is to be forgotten, one with another line to
 * be noted anew. Otherwise the next sweep would put back what was taken away.
 */
int work_compare_ledger(struct work *work, const struct key_ledger *ledger) MUST_CHECK;
/* The plan's JSON (free), and back. With `exchange` before and after change places. -EBADMSG. */
int work_write_plan(const struct work *work, char **ret_plan) MUST_CHECK;
int work_read_plan(struct work *work, bool exchange) MUST_CHECK;
void work_free(struct work *work);
/* The keys that the ledger has for the user, of one pair or (NULL) all: where do they stand? */
int work_look_for_known(struct work *work, const struct key_ledger *ledger, const char *keypair) MUST_CHECK;
/* One change of a line, in the view too. -E2BIG when there are WORK_EDITS_MAX. */
int work_add_edit(struct work *work, unsigned place, const char *label, const char *before, const char *after,
	bool swept) MUST_CHECK;
/* Appends to the result's detail, after "; " when there is some; cut at DETAIL_MAX. */
void work_tell(struct work *work, const char *format, ...) __attribute__((format(printf, 2, 3)));
