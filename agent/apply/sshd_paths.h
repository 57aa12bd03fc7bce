/* SPDX-License-Identifier: Apache-2.0 */
/* At the boot redo the sshd plugin makes sshd read the locations that policy allows, so that no later bind needs a
 * reload. */
#pragma once

#include "agent/apply/apply.h"

void sshd_paths_ensure(struct apply *apply);
