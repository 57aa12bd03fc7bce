/* SPDX-License-Identifier: Apache-2.0 */
/* At the boot redo the sshd plugin makes sshd read the locations that policy allows, so that no later bind needs a
 * reload. */
#pragma once

#include "agent/apply/apply.h"

void sshd_paths_ensure(const struct apply *apply);
/* Has sshd read the list of revoked keys once one was written; what it says then is the outcome of keys.revoke. */
void sshd_paths_name_revoked(const struct apply *apply, struct command **batch, size_t count);
