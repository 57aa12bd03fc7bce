/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the root to the directory of a key file; runs in the child of key_task. No symbolic link is followed but those
 * that root alone can change, down to the home (where nothing of the user has a say yet) or in root's own places.
 */
#pragma once

#include "plugins/authorized-keys/key_task.h"

/*
 * The directory that holds the file, open for reading, and the file's name (borrowed from the place). Missing
 * directories below the home (0700) or of our own trees (0755) are made when `create` is set; otherwise -ENOENT and
 * view->code OK. Any other failure leaves view->code and detail set and returns -EPERM.
 */
int key_walk(const struct key_task *task, const struct key_place *place, bool create, struct key_view *view,
	int *ret_directory, const char **ret_name) MUST_CHECK;
/* Sets code and detail; returns -EPERM. */
int key_view_refuse(struct key_view *view, enum code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
