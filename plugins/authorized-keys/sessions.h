/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sessions.end: the open SSH sessions of a user, found by sshd's own privileged process of each (root's, titled
 * "sshd: USER [priv]"), which no user can forge. Ending it ends the session; what the user detached from it runs on.
 * Which key opened a session sshd tells only its log, so a fingerprint is refused here.
 */
#pragma once

#include "lib/plugin.h"

#define SESSIONS_GRACE_MS 3000u /* between SIGTERM and SIGKILL */

int sessions_plan(const struct plugin_request *request, const struct plugin_command *command,
	struct plugin_result *result) MUST_CHECK;
int sessions_apply(const struct plugin_request *request, const struct plugin_command *command,
	struct plugin_result *result) MUST_CHECK;
