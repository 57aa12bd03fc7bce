/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a user still runs something, from /proc. */
#pragma once

#include <sys/types.h>

#include "lib/cleanup.h"

/* How many processes have that uid as real, effective, saved or file system uid; the first one's pid. */
int user_processes_count(uid_t uid, unsigned *ret_count, pid_t *ret_first) MUST_CHECK;
