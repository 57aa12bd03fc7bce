/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/sshd_paths.h"

#include <errno.h>
#include <string.h>

#include "agent/apply/plugin_call.h"
#include "lib/log.h"

void sshd_paths_ensure(struct apply *apply)
{
	static const char text[] = "{\"id\":\"paths\",\"do\":\"sshd.paths\"}";
	cleanup_json cJSON *node = NULL;
	struct command command = {.id = "paths", .do_name = "sshd.paths"}, *batch = &command;
	const struct document document = {0};

	if (policy_mode(&apply->policy) != POLICY_ENFORCE || json_parse_object(text, strlen(text), &node) < 0)
		return;
	command.node = node;
	command.row = manifest_find(&apply->manifests, command.do_name);
	int r = command.row ? plugin_run(apply, &document, PLUGIN_PLAN, &batch, NULL, 1) : -ENOENT;
	if (r == 0 && !command_is_ended(&command))
		r = plugin_run(apply, &document, PLUGIN_APPLY, &batch, NULL, 1);
	enum code code = r < 0 || !command.outcome.known ? CODE_INTERNAL : command.outcome.code;
	/* Not a failure of the boot: a machine without sshd has no paths. */
	if (code != CODE_OK)
		log_notice("sshd does not read Latchkey's own key locations: %s%s%s", code_name(code),
			command.outcome.detail[0] ? ": " : "", command.outcome.detail);
	free(command.plan);
	outcome_free(&command.outcome);
}
