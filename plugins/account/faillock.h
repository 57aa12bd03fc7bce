/* SPDX-License-Identifier: Apache-2.0 */
/* pam_faillock's count of failed logins: a new password does not clear it, and the user stays refused. */
#pragma once

#include <stdbool.h>

#include "lib/cleanup.h"

/* False when there surely is nothing to clear: no attempt of his is noted, where faillock.conf(5) names no other place.
 */
bool faillock_may_hold(int root, const char *user);
/* faillock(8) where it is installed, else the tally file itself; no tally is no error. */
int faillock_clear(int root, bool is_host, const char *user) MUST_CHECK;
