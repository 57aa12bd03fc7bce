/* SPDX-License-Identifier: Apache-2.0 */
/* Which passwords are good enough, and making ones that are. */
#pragma once

#include <stdint.h>

#include "lib/secret.h"

struct password_policy {
	int64_t minimum, maximum; /* characters */
	int64_t classes;          /* of lower case, upper case, digits, everything else */
};

/* NULL when it is good; else why not, in words that show nothing of it. */
const char *password_policy_check(
	const struct password_policy *policy, const struct secret *password, const char *user);
/*
 * A password of that many unambiguous ASCII characters with all four classes, every such password being equally likely.
 * Random bytes from getrandom(2) alone.
 */
int password_generate(unsigned length, struct secret *ret_password) MUST_CHECK;
