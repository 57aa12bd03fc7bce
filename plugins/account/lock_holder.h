/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds the lock of the account files. chsh, chfn and their like take it for anybody who runs them, and he can stop
 * or freeze them meanwhile: only these are ever ended, and only when an unprivileged user's process started them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct lock_holder {
	pid_t pid;     /* 0: unknown */
	char name[17]; /* comm */
	pid_t parent;
	uint64_t start; /* tells it from a later process of that pid */
	uid_t real, effective, parent_real;
};

/* Unknown when pid is 0 or the process is gone. */
void lock_holder_look(pid_t pid, struct lock_holder *ret_holder);
/* True for a setuid tool that an unprivileged user started. */
bool lock_holder_is_users_tool(const struct lock_holder *holder);
/* SIGKILL, to that very process. */
bool lock_holder_end(const struct lock_holder *holder);
