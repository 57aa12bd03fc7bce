/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at and editing key files in a child that has become who owns them: the user for what lies below his home,
 * root (with sshd's own rule for every directory) for the rest. The walk follows no symbolic link; what the child sends
 * back is checked as bytes from outside.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/code.h"
#include "lib/manifest.h"
#include "lib/user_child.h"

#define KEY_PLACES_MAX 24u /* files that sshd reads for one user, ours, and one that the ledger or a plan names */
#define KEY_TASK_LINES_MAX (4096u * 64u) /* commands of a document, each with its own edits and sweeps */

/* One file. Below a home only its user's own authority is used. */
struct key_place {
	char *path;       /* absolute within the root */
	size_t home_size; /* length of the home at its front; 0: not below a home */
	bool root_owned;  /* every directory must be root's and writable by nobody else */
	bool made;        /* remove it when nothing is left in it */
};

/* Sets one label's line in one place, if `before` (or `after`) is what stands there. "" is no line. */
struct key_edit {
	unsigned place;
	const char *label, *before, *after;
};

enum key_outcome {
	KEY_DONE,
	KEY_ALREADY, /* stood so */
	KEY_MOVED,   /* another line stands there: nothing done */
	KEY_FAILED,  /* see the place's code */
};

struct key_blob {
	const unsigned char *bytes;
	size_t size;
};

struct key_view {
	enum code code; /* why the place could not be read or written, or OK */
	char detail[DETAIL_MAX + 1];
	bool exists;               /* before any edit */
	bool unsynced;             /* a new file that is not yet on disk */
	dev_t device;              /* where it is not */
	bool home_open, tightened; /* others can write to the home; a mode below it was narrowed */
	char *ours;                /* our lines, each with a newline; owned */
	size_t ours_size;
	unsigned *foreign, *copies; /* per blob: line number of a copy that is not ours, of any copy; 0: none */
};

struct key_task {
	const char *root_path;
	struct user_identity identity;
	const struct key_place *places;
	unsigned place_count;
	const bool *chosen;           /* which of the places; the others are left alone */
	const struct key_edit *edits; /* none: look only */
	unsigned edit_count;
	const struct key_blob *blobs;
	unsigned blob_count;
	bool sync_later; /* new files wait for a task with `sync`; what replaces a file never does */
	bool sync;       /* nothing but syncfs of the chosen places' file systems */
};

/* What the child does: every chosen place is looked at, after its edits; see key_wire.h for what it writes. */
int key_task_work(const struct key_task *task, struct buffer *output) MUST_CHECK;
void key_view_free(struct key_view *view);
