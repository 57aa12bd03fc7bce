/* SPDX-License-Identifier: Apache-2.0 */
/* "Would anyone still be able to log in?" */
#pragma once

#include "plugins/login/look.h"

#define GUARD_CANDIDATES_MAX 256u /* the answer must come in seconds on a machine with many accounts */

/* Root first, then people (UID_MIN to UID_MAX) in the order of the file; the first who can ends it. */
int guard_anyone(struct world *world, const struct without *without, bool *ret_anyone) MUST_CHECK;
