/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/sshd_paths.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/apply/plugin_call.h"
#include "lib/file.h"
#include "lib/log.h"

#define DROP_INS_MAX 256u /* of more, those beyond are not looked at */

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
		if (strcmp(batch[i]->do_name, "keys.revoke") != 0 || !outcome->known ||
			(outcome->code != CODE_OK && outcome->code != CODE_OVERRIDDEN))
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

static bool is_later(int directory, const char *name, const struct timespec *time)
{
	struct stat status;

	if (fstatat(directory, name, &status, 0) < 0)
		return false;
	return status.st_ctim.tv_sec > time->tv_sec ||
	       (status.st_ctim.tv_sec == time->tv_sec && status.st_ctim.tv_nsec > time->tv_nsec);
}

bool sshd_paths_changed_since(const struct apply *apply, const struct timespec *time)
{
	static const char *const paths[] = {"etc/ssh/sshd_config", "etc/ssh/sshd_config.d", "usr/etc/ssh/sshd_config"};
	cleanup_close int directory = -1;
	cleanup_names char **names = NULL;
	size_t count = 0;

	for (unsigned i = 0; i < ELEMENTS(paths); i++) {
		if (is_later(apply->root, paths[i], time))
			return true;
	}
	if (file_list(apply->root, paths[1], DROP_INS_MAX, &names, &count) < 0 ||
		file_open_directory(apply->root, paths[1], &directory) < 0)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (is_later(directory, names[i], time))
			return true;
	}
	return false;
}
