/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "agent/apply/apply.h"

void outcome_set(struct outcome *outcome, enum code code, const char *format, ...)
{
	va_list arguments;

	outcome->known = true;
	outcome->code = code;
	outcome->status = code_status(code);
	va_start(arguments, format);
	(void)vsnprintf(outcome->detail, sizeof(outcome->detail), format, arguments);
	va_end(arguments);
	for (char *at = outcome->detail; *at; at++) {
		if ((unsigned char)*at < 0x20 || (unsigned char)*at >= 0x7f)
			*at = '?';
	}
}

int outcome_add_user(struct outcome *outcome, const char *user)
{
	for (unsigned i = 0; i < outcome->user_count; i++) {
		if (strcmp(outcome->users[i], user) == 0)
			return 0;
	}
	if (outcome->user_count == PLUGIN_USERS_MAX)
		return 0;
	char *copy = strdup(user);
	if (!copy)
		return -ENOMEM;
	outcome->users[outcome->user_count++] = copy;
	return 0;
}

void outcome_free(struct outcome *outcome)
{
	free(outcome->sealed);
	free(outcome->login);
	for (unsigned i = 0; i < outcome->user_count; i++)
		free(outcome->users[i]);
	*outcome = (struct outcome){0};
}

bool command_is_ended(const struct command *command)
{
	return command->outcome.known;
}

void outcome_fail_open(struct command **batch, size_t count, enum code code, const char *why)
{
	for (size_t i = 0; i < count; i++) {
		if (!command_is_ended(batch[i]))
			outcome_set(&batch[i]->outcome, code, "%s", why);
	}
}

/* Killed or gone mad half-way: nobody knows what it changed, so the way back stays until its time. */
bool outcome_may_have_changed(const struct outcome *outcome)
{
	enum code code = outcome->code;
	return code == CODE_TIMEOUT || code == CODE_PLUGIN_CRASHED || code == CODE_PLUGIN_PROTOCOL;
}

bool command_is_for_this_boot(const struct command *command)
{
	const char *location = NULL;

	return strcmp(command->do_name, "keys.bind") == 0 &&
	       json_get_string(command->node, "location", &location) == 0 && strcmp(location, "runtime") == 0;
}
