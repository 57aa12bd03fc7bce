/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a function as a user: a forked child takes the user's groups, gid and uid for good (verified, no way back),
 * and arms a timer of its own that ends in SIGKILL before the function makes its first path call. Neither kill() nor
 * PDEATHSIG of a parent without CAP_KILL reaches such a child; its own timer does, even while the user has it stopped.
 */
#pragma once

#include <sys/types.h>

#include "lib/buffer.h"

#define USER_CHILD_TIMEOUT_MS 10000u /* a home on a hung mount costs this much */

struct user_identity {
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* supplementary, as the account files say */
	size_t group_count;
};

/* What the child does; its output goes to the parent. 0 or negative errno. It must not use the parent's descriptors. */
typedef int (*user_child_function)(void *context, struct buffer *output);

/*
 * 0 and the output; the function's negative errno (output is returned then too); -ETIMEDOUT when the timer ended it;
 * -ECHILD when it died otherwise; -EFBIG when the output is over the limit. For uid 0 the child stays root.
 */
int user_child_run(const struct user_identity *identity, unsigned timeout_ms, size_t output_limit,
	user_child_function function, void *context, struct buffer *ret_output) MUST_CHECK;
/* In a child that was just forked: the timer, the identity, no new privileges, no core, die with the parent; "/". */
int user_child_enter(const struct user_identity *identity, unsigned timeout_ms) MUST_CHECK;
