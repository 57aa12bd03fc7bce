/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/sshd_paths.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/apply/plugin_call.h"
#include "lib/file.h"
#include "lib/log.h"

#define DROP_INS_MAX 256u /* of more, those beyond are not looked at */

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
