/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a user still runs something, from /proc. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "lib/cleanup.h"

struct user_process {
	pid_t pid;
	uid_t uids[4]; /* real, effective, saved, file system */
};

/* Read once for all users of a batch. Zeroed: not read yet. */
struct user_processes {
	struct user_process *items;
	size_t count;
	bool is_read;
};

/* How many processes have that uid as one of theirs, when they were first asked for; the first one's pid. */
int user_processes_count(struct user_processes *processes, uid_t uid, unsigned *ret_count, pid_t *ret_first) MUST_CHECK;
void user_processes_free(struct user_processes *processes);
