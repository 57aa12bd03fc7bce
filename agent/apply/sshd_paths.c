/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/sshd_paths.h"

#include <errno.h>
#include <string.h>

#include "agent/apply/plugin_call.h"
#include "lib/log.h"

static enum code ensure(const struct apply *apply, char ret_detail[DETAIL_MAX + 1])
{
	static const char text[] = "{\"id\":\"paths\",\"do\":\"sshd.paths\"}";
	cleanup_json cJSON *node = NULL;
	struct command command = {.id = "paths", .do_name = "sshd.paths"};

	if (json_parse_object(text, strlen(text), &node) < 0)
		return CODE_INTERNAL;
	command.node = node;
	int r = plugin_run_internal(apply, &command, 1);
	enum code code = r < 0 || !command.outcome.known ? CODE_INTERNAL : command.outcome.code;
	(void)snprintf(ret_detail, DETAIL_MAX + 1, "%s", command.outcome.detail);
	free(command.plan);
	outcome_free(&command.outcome);
	return code;
}

void sshd_paths_ensure(const struct apply *apply)
{
	char detail[DETAIL_MAX + 1];

	if (policy_mode(&apply->policy) != POLICY_ENFORCE)
		return;
	enum code code = ensure(apply, detail);
	/* Not a failure of the boot: a machine without sshd has no paths. */
	if (code != CODE_OK)
		log_notice("sshd does not read Latchkey's own key locations: %s%s%s", code_name(code),
			*detail ? ": " : "", detail);
}

void sshd_paths_name_revoked(const struct apply *apply, struct command **batch, size_t count)
{
	char detail[DETAIL_MAX + 1];
	enum code code = CODE_OK;
	bool asked = false;

	for (size_t i = 0; i < count; i++) {
		struct outcome *outcome = &batch[i]->outcome;
		if (strcmp(batch[i]->do_name, "keys.revoke") != 0 || !outcome->known || outcome->code != CODE_OK)
			continue;
		if (!asked)
			code = ensure(apply, detail);
		asked = true;
		if (code != CODE_OK)
			outcome_set(outcome, code, "it stands in the list, which sshd does not read: %.140s", detail);
		else
			outcome->changed = true;
	}
}
