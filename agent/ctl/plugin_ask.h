/* SPDX-License-Identifier: Apache-2.0 */
/* Running a plugin as latchkey-apply does: its manifest's capabilities alone, the policy's settings, its own directory.
 */
#pragma once

#include <stdbool.h>

#include "lib/json.h"

/* `command` is the text of one command object. The only result, and the reply that it lives in; an exit code,
 * explained. */
int plugin_ask(
	const char *plugin, bool apply, const char *command, cJSON **ret_reply, const cJSON **ret_result) MUST_CHECK;
