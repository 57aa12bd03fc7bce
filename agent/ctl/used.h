/* SPDX-License-Identifier: Apache-2.0 */
/* When each key was last used, by what sshd told the journal and the caller may read of it. */
#pragma once

#include "lib/json.h"

/*
 * Adds "used" (Unix seconds) to each key of the list that a login of its user was made with. *ret_seen: how many logins
 * of sshd's were there to be read at all. An exit code, explained when not 0.
 */
int used_add(cJSON *keys, unsigned *ret_seen) MUST_CHECK;
