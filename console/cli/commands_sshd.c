/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "console/cli/change.h"
#include "console/cli/commands.h"
#include "console/cli/results.h"

#define CONFIRM_WITHIN 600 /* a closing change goes back after this long unless it is confirmed, as routers do */

static bool is_restricting(const cJSON *command)
{
	const char *root;
	bool value;

	return (json_get_bool(command, "pubkey_auth", &value) == 0 && !value) ||
	       (json_get_bool(command, "password_auth", &value) == 0 && !value) ||
	       (json_get_string(command, "permit_root_login", &root) == 0 && strcmp(root, "yes") != 0);
}

enum cli_exit command_sshd_set(struct cli *cli, const struct arguments *arguments)
{
	cleanup_change struct change change = {0};

	enum cli_exit r = change_begin(cli, arguments, "sshd.set", &change);
	if (r != CLI_OK)
		return r;
	if (is_restricting(change.command) && !json_member(change.command, "confirm_within") &&
		!cJSON_AddNumberToObject(change.command, "confirm_within", CONFIRM_WITHIN))
		return CLI_LOCAL;
	r = change_send(cli, arguments, &change);
	return r == CLI_OK ? change_finish(cli, arguments, &change) : r;
}

static void merge(void *context, const cJSON *payload)
{
	(void)results_merge(context, payload);
}

/* The one command of that instance that awaits it. */
static enum cli_exit find_awaiting(struct cli *cli, const struct pin *pin, char ret_id[65])
{
	cleanup_json cJSON *outcomes = cJSON_CreateObject();
	struct results_cursor cursor = {0};
	unsigned found = 0;
	const cJSON *result;

	if (!outcomes)
		return CLI_LOCAL;
	enum cli_exit r = results_read(cli, pin, &cursor, merge, outcomes);
	if (r != CLI_OK)
		return r;
	cJSON_ArrayForEach(result, outcomes)
	{
		const char *code = "";
		(void)!json_get_string(result, "code", &code);
		if (!result_is_final(result) && strcmp(code, "awaiting_confirm") == 0) {
			(void)snprintf(ret_id, 65, "%s", result->string);
			found++;
		}
	}
	if (found == 1)
		return CLI_OK;
	complain(found == 0 ? "nothing on %s awaits confirmation"
			    : "more than one change on %s awaits confirmation: give its id",
		pin->instance);
	return CLI_FAILED;
}

enum cli_exit command_sshd_confirm(struct cli *cli, const struct arguments *arguments)
{
	cleanup_change struct change change = {0};
	char id[65];

	enum cli_exit r = change_begin(cli, arguments, "sshd.confirm", &change);
	if (r != CLI_OK)
		return r;
	if (!json_member(change.command, "confirms")) {
		r = find_awaiting(cli, &change.pin, id);
		if (r != CLI_OK)
			return r;
		if (!cJSON_AddStringToObject(change.command, "confirms", id))
			return CLI_LOCAL;
	}
	r = change_send(cli, arguments, &change);
	return r == CLI_OK ? change_finish(cli, arguments, &change) : r;
}
