/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The home of a new account: built aside from the skeleton, complete and on disk, chowned last, then renamed in without
 * replacing anything. Every directory above it must be root's and writable by nobody else, so no name can be exchanged.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/cleanup.h"
#include "plugins/account/skeleton.h"

#define HOME_DELETE_DEPTH_MAX 256u
#define HOME_SYNC_MAX 8u /* file systems with homes; on a ninth each home is brought to disk by itself */

enum home_state {
	HOME_MISSING,  /* it can be built */
	HOME_OWN,      /* stands and belongs to the uid */
	HOME_FOREIGN,  /* stands and belongs to another uid */
	HOME_NOT_SAFE, /* a path that must not become a home, or below what others can write, or no directory */
};

/* The path up to `end` is that directory or one below it, however the slashes of both are written. */
bool home_lies_in(const char *path, const char *end, const char *home);
/* Looks only. -ELOOP for a symbolic link on the way. */
int home_look(int root, const char *path, uid_t uid, enum home_state *ret_state) MUST_CHECK;
/* Homes that are built but not yet on disk, by file system: many are cheaper to bring there at once. */
struct home_sync {
	int descriptors[HOME_SYNC_MAX];
	dev_t devices[HOME_SYNC_MAX];
	unsigned count;
};

/*
 * Builds it where it is missing, creating parents 0755. ret_state tells what stood before. With `sync` it is on disk
 * only after home_sync_finish.
 */
int home_build(int root, const char *path, struct skeleton *skeleton, uid_t uid, gid_t gid, mode_t mode,
	struct home_sync *sync, enum home_state *ret_state) MUST_CHECK;
/* Brings all of them to disk. */
int home_sync_finish(struct home_sync *sync) MUST_CHECK;
void home_sync_free(struct home_sync *sync);
/* CLOCK_MONOTONIC in milliseconds. */
int64_t home_clock(void);
/*
 * Deletes it with all below, following no link and crossing no mount. 0 also when it is gone already; -EPERM when it
 * does not belong to the uid or is not safe; -EXDEV when something is mounted below it; -ETIME when there is more than
 * can be deleted until that time of home_clock. With `sync` that is on disk only after home_sync_finish.
 */
int home_delete(int root, const char *path, uid_t uid, int64_t until, struct home_sync *sync) MUST_CHECK;
