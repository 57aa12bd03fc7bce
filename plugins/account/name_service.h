/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking name services (LDAP, SSSD, systemd) whether they know a name, and /proc whether a user still runs something.
 * Name service modules may hang or crash, so they run in a child as another user with a deadline.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "lib/cleanup.h"

#define NAME_SERVICE_TIMEOUT_MS 3000u /* what one unreachable directory costs a whole batch */

/* For each name whether getpwnam finds it. The child becomes uid and gid. -ETIMEDOUT, -ECHILD. */
int name_service_known(const char *const *names, unsigned count, uid_t uid, gid_t gid, bool *ret_known) MUST_CHECK;
/* How many processes have that real, effective or saved uid; the first one's pid. */
int name_service_processes(uid_t uid, unsigned *ret_count, pid_t *ret_first) MUST_CHECK;
