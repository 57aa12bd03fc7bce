/* SPDX-License-Identifier: Apache-2.0 */
/* The sshd plugin: one drop-in that wins, validated, reloaded, and seen to be in force. */
#include <errno.h>
#include <string.h>

#include "plugins/sshd/commands.h"

static int plan(struct plugin_request *request, struct plugin_result *results)
{
	cleanup_outlook struct outlook outlook = {0};

	int r = outlook_open(request, &outlook);
	for (unsigned i = 0; r == 0 && i < request->count; i++) {
		const struct plugin_command *command = &request->commands[i];
		if (strcmp(command->do_name, "sshd.set") == 0)
			r = set_plan(request, command, &outlook, &results[i]);
		else if (strcmp(command->do_name, "sshd.paths") == 0)
			r = paths_plan(request, command, &outlook, &results[i]);
		else if (strcmp(command->do_name, "sshd.confirm") == 0)
			r = plugin_set(&results[i], CODE_OK, "%s", ""); /* the revert file is latchkey-apply's */
		else
			r = action_plan(request, &outlook, &results[i]);
	}
	return r;
}

static int apply(struct plugin_request *request, struct plugin_result *results)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < request->count; i++) {
		const struct plugin_command *command = &request->commands[i];
		if (strcmp(command->do_name, "sshd.set") == 0 || strcmp(command->do_name, "sshd.paths") == 0)
			r = change_apply(request, command, &results[i]);
		else if (strcmp(command->do_name, "sshd.confirm") == 0)
			r = plugin_set(&results[i], CODE_OK, "%s", "");
		else
			r = action_apply(request, strcmp(command->do_name, "sshd.restart") == 0, &results[i]);
	}
	return r;
}

int main(int argc, char **argv)
{
	static const struct plugin plugin = {.name = "sshd", .plan = plan, .apply = apply};
	return plugin_main(&plugin, argc, argv);
}
