/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands between sshd's own word and a session: pam_access(8) with access.conf(5), pam_limits(8) with
 * limits.conf(5), pam_faillock(8), the rules of other modules (pam_rule.h), and hosts.allow and hosts.deny
 * (hosts_access(5)) where sshd is linked with libwrap.
 * Each counts only where sshd really asks it.
 */
#pragma once

#include "lib/blocker.h"
#include "plugins/login/account.h"
#include "plugins/login/world.h"

/*
 * Adds what keeps the user out by either method; for_good: also what may, for whom it cannot be told is no way in.
 * -ENOMEM.
 */
int gates_blockers(const struct world *world, const struct person *person, bool use_pam, bool for_good,
	blocker_set *key, blocker_set *password) MUST_CHECK;
/* What makes his password useless for a while. -ENOMEM. */
int gates_password_blockers(
	const struct world *world, const struct person *person, bool use_pam, blocker_set *ret_set) MUST_CHECK;
