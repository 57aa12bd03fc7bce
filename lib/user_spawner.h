/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children that become a user, made by a small process that was forked before its program read anything: such a child
 * holds nothing but its own task (no shadow file, no other user's data), and forking it costs no copy of the program's
 * memory. What goes to it and comes back is bytes. One after the other is made, several may work at once.
 */
#pragma once

#include <stdint.h>

#include "lib/user_child.h"

#define USER_TASK_MAX (64u << 20) /* bytes of one task: 4,096 commands with their keys, many times over */

/*
 * What the child does with a task's bytes, NUL-terminated beyond their size; root is the descriptor that came with
 * them, or -1. 0 or negative errno.
 */
typedef int (*user_task_function)(char *task, size_t size, int root, struct buffer *output);

struct user_spawner {
	int socket; /* -1: there is none */
	pid_t pid;
};

struct user_task {
	const char *name; /* of the child in ps(1), below 16 bytes */
	struct user_identity identity;
	unsigned timeout_ms; /* the child's own timer ends it with SIGKILL */
	const struct buffer *bytes;
	int root; /* a descriptor that the child gets, or -1 */
};

struct user_spawned {
	int output;
	unsigned timeout_ms;
	int64_t begun_ms;
};

/* First thing in main(): forks the small process, which ends when the socket is closed. */
int user_spawner_open(user_task_function function, struct user_spawner *ret_spawner) MUST_CHECK;
void user_spawner_close(struct user_spawner *spawner);
/* What was started must be finished. For uid 0 the child stays root. */
int user_spawner_start(
	const struct user_spawner *spawner, const struct user_task *task, struct user_spawned *ret_child) MUST_CHECK;
/*
 * Waits for the child. 0 and the output; the function's negative errno (output is returned then too); -ETIMEDOUT when
 * its time is over, even if it hangs where no signal reaches it; -ECHILD when it died otherwise; -EFBIG when the output
 * is over the limit.
 */
int user_spawned_finish(struct user_spawned *child, size_t output_limit, struct buffer *ret_output) MUST_CHECK;
