/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The skeleton of new homes (useradd(8), SKEL): files, links and directories with their modes, ACLs and other
 * attributes; nothing else has a place in a home. Read once for a batch, for it is copied for each of its users.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "lib/cleanup.h"

#define SKELETON_DEPTH_MAX 32u     /* directories in directories; skeletons have two or three levels */
#define SKELETON_ENTRIES_MAX 4096u /* of one skeleton directory */
#define SKELETON_KEPT_MAX                                                                          \
	65536u /* the bytes of its files that are kept in memory; what is larger is read each time \
		*/

struct skeleton_entry {
	char *name;
	mode_t mode;
	bool is_kept; /* a file without attributes: bytes and size hold it */
	char *bytes;
	size_t size;
};

struct skeleton {
	const char *path; /* borrowed, absolute */
	bool is_read;
	int directory; /* -1: a minimal image without one */
	struct skeleton_entry *entries;
	size_t count;
};

/* Nothing is read until the first copy. */
static inline struct skeleton skeleton_of(const char *path)
{
	return (struct skeleton){.path = path, .directory = -1};
}

void skeleton_free(struct skeleton *skeleton);
/* Into an empty directory that is root's 0700 until its contents are complete; with `later` nothing is synced. */
int skeleton_copy(struct skeleton *skeleton, int root, int target, uid_t uid, gid_t gid, bool later) MUST_CHECK;
