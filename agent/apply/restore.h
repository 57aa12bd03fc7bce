/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access.restore: what keeps one user out is looked up as a stranger would meet it, and every blocker that a command
 * can lift is lifted by that command, under the policy and with a way back that is on disk first (revert.h). Nothing is
 * lifted when something would still be in the way. After `keep` seconds, or at a reboot, all of it goes back;
 * sshd.confirm makes it stay.
 */
#pragma once

#include "agent/apply/apply.h"

/* Gives the command its outcome. -ENOMEM. */
int restore_access(struct apply *apply, const struct document *document, struct command *command) MUST_CHECK;
