/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking name services (LDAP, SSSD, systemd) whether they know a name. Their modules may hang or crash, so they run in
 * a child as another user with a deadline. See nsswitch.conf(5).
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "lib/account_files.h"
#include "lib/cleanup.h"

#define NAME_SERVICE_TIMEOUT_MS 3000u /* what one unreachable directory costs a whole batch */

/*
 * For each name whether getpwnam finds it. The child becomes the agent's own user as passwd has it, else nobody.
 * -ETIMEDOUT when no answer came in time, -ECHILD when a module crashed.
 */
int name_service_known(
	const struct account_table *passwd, const char *const *names, unsigned count, bool *ret_known) MUST_CHECK;
