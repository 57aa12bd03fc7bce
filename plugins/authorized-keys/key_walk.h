/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the root to the directory of a key file; runs in the child of key_task. No symbolic link is followed but those
 * that root alone can change, down to the home (where nothing of the user has a say yet) or in root's own places.
 */
#pragma once

#include "plugins/authorized-keys/key_task.h"

enum key_walk_purpose {
	KEY_WALK_LOOK, /* changes nothing */
	KEY_WALK_EDIT, /* below the home, directories that others can write to are narrowed */
	KEY_WALK_ADD,  /* and missing ones made, there (0700) or in our own trees (0755) */
};

/*
 * The directory that holds the file, open for reading, and the file's name (borrowed from the place). -ENOENT and
 * view->code OK when there is no such directory. Any other failure leaves view->code and detail set and returns -EPERM.
 */
int key_walk(const struct key_task *task, const struct key_place *place, enum key_walk_purpose purpose,
	struct key_view *view, int *ret_directory, const char **ret_name) MUST_CHECK;
/* Sets code and detail; returns -EPERM. */
int key_view_refuse(struct key_view *view, enum code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
