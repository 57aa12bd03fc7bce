/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The home of a new account: built aside from the skeleton, complete and on disk, chowned last, then renamed in without
 * replacing anything. Every directory above it must be root's and writable by nobody else, so no name can be exchanged.
 */
#pragma once

#include <sys/types.h>

#include "lib/cleanup.h"

#define HOME_DEPTH_MAX 32u     /* directories in directories; skeletons have two or three levels */
#define HOME_ENTRIES_MAX 4096u /* of one skeleton directory */
#define HOME_DELETE_DEPTH_MAX 256u

enum home_state {
	HOME_MISSING,  /* it can be built */
	HOME_OWN,      /* stands and belongs to the uid */
	HOME_FOREIGN,  /* stands and belongs to another uid */
	HOME_NOT_SAFE, /* a path that must not become a home, or below what others can write, or no directory */
};

/* Looks only. -ELOOP for a symbolic link on the way. */
int home_look(int root, const char *path, uid_t uid, enum home_state *ret_state) MUST_CHECK;
/* Builds it where it is missing, creating parents 0755. ret_state tells what stood before. */
int home_build(int root, const char *path, const char *skel, uid_t uid, gid_t gid, mode_t mode,
	enum home_state *ret_state) MUST_CHECK;
/*
 * Deletes it with all below, following no link and crossing no mount. 0 also when it is gone already; -EPERM when it
 * does not belong to the uid or is not safe; -EXDEV when something is mounted below it.
 */
int home_delete(int root, const char *path, uid_t uid) MUST_CHECK;
