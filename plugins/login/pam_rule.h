/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The modules of PAM that refuse by rules on their own line: pam_listfile(8), pam_succeed_if(8), pam_time(8),
 * pam_deny(8). What they ask for that is not known here, and any other module, is unknown.
 */
#pragma once

#include "plugins/login/account.h"
#include "plugins/login/world.h"

enum pam_verdict {
	PAM_LETS_IN,
	PAM_KEEPS_OUT,
	PAM_UNKNOWN,
};

/* What the line's module says of somebody who comes to sshd from anywhere. -ENOMEM. */
int pam_rule_verdict(const struct world *world, const struct person *person, const char *line,
	enum pam_verdict *ret_verdict) MUST_CHECK;
