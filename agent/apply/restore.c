/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/restore.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/apply/login_check.h"
#include "agent/apply/plugin_call.h"
#include "agent/apply/revert.h"
#include "lib/log.h"

#define DAY 86400
#define TRIAL 3600 /* the way back stands for so long while the steps of a lasting restore are taken */

enum value {
	VALUE_NONE,
	VALUE_TRUE,
	VALUE_CLEAR, /* true, and there is no way back */
	VALUE_EXPIRES,
	VALUE_SHELL,
	VALUE_ROOT,
};

/* Tried in this order while the blocker stands. */
static const struct relaxation {
	const char *blocker, *do_name, *field;
	enum value value;
} relaxations[] = {
	{"locked_hash", "user.unlock", NULL, VALUE_NONE},
	{"expired", "user.unlock", NULL, VALUE_NONE},
	{"expired", "user.ensure", "expires", VALUE_EXPIRES},
	{"shell_nologin", "user.ensure", "shell", VALUE_SHELL},
	{"shell_missing", "user.ensure", "shell", VALUE_SHELL},
	{"shell_unlisted", "user.ensure", "shell", VALUE_SHELL},
	{"faillock", "user.unlock", "clear_faillock", VALUE_CLEAR},
	{"pubkey_auth_off", "sshd.set", "pubkey_auth", VALUE_TRUE},
	{"password_auth_off", "sshd.set", "password_auth", VALUE_TRUE},
	{"root_login_off", "sshd.set", "permit_root_login", VALUE_ROOT},
	{"root_commands_only", "sshd.set", "permit_root_login", VALUE_ROOT},
	{"root_password_off", "sshd.set", "permit_root_login", VALUE_ROOT},
};

struct restore {
	struct apply *apply;
	const struct document *document;
	struct command *command;
	const char *method; /* key or password, once chosen */
	int64_t keep;
	cJSON *login; /* {"key":…,"password":…} of the user, as it is now */
	bool tried[ELEMENTS(relaxations)];
	struct buffer lifted; /* what was changed, for people */
};

static void restore_free(struct restore *restore)
{
	cJSON_Delete(restore->login);
	buffer_free(&restore->lifted);
}

static int look(struct restore *restore)
{
	struct outcome *outcome = &restore->command->outcome;
	cleanup_json cJSON *logins = NULL;

	enum code code = login_of_users(restore->apply, &restore->command->user, 1, &logins);
	if (code != CODE_OK) {
		outcome_set(outcome, code, "who can log in could not be found out");
		return -EIO;
	}
	cJSON_Delete(restore->login);
	restore->login = cJSON_DetachItemFromObjectCaseSensitive(logins, restore->command->user);
	return restore->login ? 0 : -ENOMEM;
}

static bool can(const struct restore *restore, const char *method)
{
	bool yes = false;
	return json_get_bool(json_member(restore->login, method), "can", &yes) == 0 && yes;
}

static bool has_blocker(const struct restore *restore, const char *method, const char *code)
{
	const cJSON *blockers = json_member(json_member(restore->login, method), "blockers"), *blocker;

	cJSON_ArrayForEach(blocker, blockers)
	{
		if (cJSON_IsString(blocker) && strcmp(blocker->valuestring, code) == 0)
			return true;
	}
	return false;
}

/* The blockers of a method that no command of ours lifts, named in the buffer. */
static unsigned list_unliftable(const struct restore *restore, const char *method, struct buffer *out)
{
	const cJSON *blockers = json_member(json_member(restore->login, method), "blockers"), *blocker;
	unsigned count = 0;

	cJSON_ArrayForEach(blocker, blockers)
	{
		bool liftable = false;
		for (unsigned i = 0; i < ELEMENTS(relaxations) && cJSON_IsString(blocker); i++)
			liftable = liftable || strcmp(relaxations[i].blocker, blocker->valuestring) == 0;
		if (!liftable && cJSON_IsString(blocker))
			buffer_append_format(out, "%s%s", count++ ? ", " : "", blocker->valuestring);
	}
	return count;
}

/* The method to open; false when none can be opened, and the outcome says why. */
static bool choose_method(struct restore *restore, const char *wanted)
{
	static const char *const methods[] = {"key", "password"};
	cleanup_buffer struct buffer why = {0};

	for (unsigned open = 1; open <= 2; open++) { /* first what is open already, then what can be opened */
		for (unsigned i = 0; i < ELEMENTS(methods); i++) {
			cleanup_buffer struct buffer left = {0};
			if (strcmp(wanted, "any") != 0 && strcmp(wanted, methods[i]) != 0)
				continue;
			restore->method = methods[i];
			if (open == 1 ? can(restore, methods[i]) : list_unliftable(restore, methods[i], &left) == 0)
				return true;
			if (open == 2)
				buffer_append_format(&why, "%s%s: %s", why.size > 0 ? "; " : "", methods[i],
					left.bytes ? left.bytes : "");
		}
	}
	outcome_set(&restore->command->outcome, CODE_STILL_BLOCKED,
		"nothing was changed, for this no command lifts: %s", why.bytes ? why.bytes : "");
	return false;
}

static int add_value(const struct restore *restore, const struct relaxation *relaxation, cJSON *node)
{
	const struct apply *apply = restore->apply;
	struct stat status;
	bool bash;

	switch (relaxation->value) {
	case VALUE_TRUE:
	case VALUE_CLEAR:
		return cJSON_AddTrueToObject(node, relaxation->field) ? 0 : -ENOMEM;
	case VALUE_EXPIRES:
		/* The way back has the old date; this one only has to outlive it. */
		return cJSON_AddNumberToObject(node, relaxation->field, (double)(apply->now + restore->keep + 2 * DAY))
			       ? 0
			       : -ENOMEM;
	case VALUE_SHELL:
		bash = fstatat(apply->root, "bin/bash", &status, 0) == 0 && S_ISREG(status.st_mode);
		return cJSON_AddStringToObject(node, relaxation->field, bash ? "/bin/bash" : "/bin/sh") &&
				       cJSON_AddTrueToObject(node, "adopt") /* it comes back, whoever made him */
			       ? 0
			       : -ENOMEM;
	case VALUE_ROOT:
		return cJSON_AddStringToObject(node, relaxation->field,
			       strcmp(restore->method, "key") == 0 ? "prohibit-password" : "yes")
			       ? 0
			       : -ENOMEM;
	case VALUE_NONE:
	default:
		return 0;
	}
}

static int make_part(const struct restore *restore, const struct relaxation *relaxation, struct command *part,
	char id[RESTORE_ID_SIZE])
{
	cJSON *node = cJSON_CreateObject();

	part->node = node;
	(void)snprintf(id, RESTORE_ID_SIZE, "%.64s" RESTORE_MARK "%s", restore->command->id,
		relaxation->field ? relaxation->field : "unlock");
	part->id = id;
	part->do_name = relaxation->do_name;
	part->actor = restore->command->actor;
	part->until = restore->command->until;
	part->row = manifest_find(&restore->apply->manifests, relaxation->do_name);
	if (!node || !part->row || !cJSON_AddStringToObject(node, "id", id) ||
		!cJSON_AddStringToObject(node, "do", relaxation->do_name))
		return -ENOMEM;
	part->stage = part->row->stage;
	if (strcmp(relaxation->do_name, "sshd.set") != 0) {
		part->user = restore->command->user;
		if (!cJSON_AddStringToObject(node, "user", part->user))
			return -ENOMEM;
	}
	return add_value(restore, relaxation, node);
}

static void part_free(struct command *part)
{
	cJSON_Delete(part->node);
	free(part->plan);
	cJSON_Delete(part->lost);
	cJSON_Delete(part->account);
	cJSON_Delete(part->line);
	outcome_free(&part->outcome);
}

/* As any command: the policy on the account as it is, the plugin's plan, the way back, the plugin's apply. */
static int run_part(struct restore *restore, const struct relaxation *relaxation, struct command *part)
{
	struct apply *apply = restore->apply;
	struct resolved_account account = {0};
	char detail[DETAIL_MAX + 1];
	int64_t seq;

	enum code code = manifest_check(part->row, part->node, detail);
	if (code != CODE_OK)
		outcome_set(&part->outcome, code, "%s", detail);
	int r = decide_batch(apply, restore->document, &part, 1, &account);
	if (r == 0 && !command_is_ended(part))
		r = plugin_run(apply, restore->document, PLUGIN_PLAN, &part, &account, 1);
	if (r < 0 || command_is_ended(part))
		return r;
	if (relaxation->value != VALUE_CLEAR)
		r = revert_prepare(apply, restore->document, part, &account, restore->keep > 0 ? restore->keep : TRIAL);
	if (r < 0) {
		outcome_set(&part->outcome, code_from_errno(-r), "the way back could not be written down first");
		return r == -ENOMEM ? r : 0;
	}
	r = plugin_run(apply, restore->document, PLUGIN_APPLY, &part, &account, 1);
	if (r == 0 && part->outcome.code != CODE_OK && part->outcome.code != CODE_OVERRIDDEN &&
		!outcome_may_have_changed(&part->outcome))
		(void)!revert_remove(apply, part->id, &seq);
	return r;
}

/* One relaxation; false when it could not be had, and the outcome says why. */
static int lift(struct restore *restore, const struct relaxation *relaxation, bool *ret_done)
{
	CLEANUP(part_free) struct command part = {0};
	char id[RESTORE_ID_SIZE];

	*ret_done = false;
	int r = make_part(restore, relaxation, &part, id);
	if (r == 0)
		r = run_part(restore, relaxation, &part);
	if (r < 0)
		return r;
	log_notice("%s: %s %s: %s %s", part.id, part.do_name, restore->command->user, code_name(part.outcome.code),
		part.outcome.detail);
	if (part.outcome.code != CODE_OK) {
		outcome_set(&restore->command->outcome, part.outcome.code, "%.60s: %.130s", part.do_name,
			part.outcome.detail);
		return 0;
	}
	if (part.outcome.changed)
		buffer_append_format(&restore->lifted, "%s%s%s", restore->lifted.size > 0 ? ", " : "",
			relaxation->field ? relaxation->field : "unlock",
			relaxation->value == VALUE_CLEAR ? " (for good)" : "");
	*ret_done = true;
	return buffer_status(&restore->lifted);
}

/* The next relaxation whose blocker stands; NULL when there is none left to try. */
static const struct relaxation *next(struct restore *restore)
{
	for (unsigned i = 0; i < ELEMENTS(relaxations); i++) {
		if (restore->tried[i] || !has_blocker(restore, restore->method, relaxations[i].blocker))
			continue;
		restore->tried[i] = true;
		return &relaxations[i];
	}
	return NULL;
}

static int open_door(struct restore *restore)
{
	struct outcome *outcome = &restore->command->outcome;
	const struct relaxation *relaxation;
	cleanup_buffer struct buffer left = {0};

	while (!can(restore, restore->method) && (relaxation = next(restore)) != NULL) {
		bool done;
		int r = lift(restore, relaxation, &done);
		if (r < 0 || !done)
			return r;
		r = look(restore);
		if (r < 0)
			return r == -EIO ? 0 : r;
	}
	if (can(restore, restore->method))
		return 0;
	const cJSON *blockers = json_member(json_member(restore->login, restore->method), "blockers"), *blocker;
	cJSON_ArrayForEach(blocker, blockers)
		buffer_append_format(&left, "%s%s", left.size > 0 ? ", " : "", cJSON_GetStringValue(blocker));
	outcome_set(outcome, CODE_STILL_BLOCKED, "%s stays blocked: %s", restore->method, left.bytes ? left.bytes : "");
	return 0;
}

static int conclude(struct restore *restore)
{
	struct outcome *outcome = &restore->command->outcome;
	const char *lifted = restore->lifted.size > 0 ? restore->lifted.bytes : NULL;
	int64_t seq;
	int r = 0;

	if (outcome->known) { /* it failed: what was lifted goes back at once, unless it will be tried again */
		if (!code_is_retried(outcome->code))
			r = revert_now(restore->apply, restore->command->id);
		return r;
	}
	if (restore->keep == 0)
		r = revert_remove(restore->apply, restore->command->id, &seq);
	if (r < 0 && r != -ENOENT)
		return r;
	if (!lifted)
		outcome_set(outcome, CODE_OK, "nothing is in the way of %s", restore->method);
	else if (restore->keep > 0)
		outcome_set(outcome, CODE_OK, "%s is open; lifted for %lld s: %s", restore->method,
			(long long)restore->keep, lifted);
	else
		outcome_set(outcome, CODE_OK, "%s is open; lifted: %s", restore->method, lifted);
	outcome->changed = lifted != NULL;
	return 0;
}

static void observe(struct restore *restore, const char *why)
{
	bool open = can(restore, restore->method);

	outcome_set(&restore->command->outcome, open ? CODE_WOULD_NOT_CHANGE : CODE_WOULD_CHANGE, "%s: %s", why,
		open ? "nothing is in the way" : "what is in the way could be lifted");
}

int restore_access(struct apply *apply, const struct document *document, struct command *command)
{
	CLEANUP(restore_free) struct restore restore = {.apply = apply, .document = document, .command = command};
	const char *wanted = "any";

	(void)!json_get_string(command->node, "method", &wanted);
	(void)!json_get_integer(command->node, "keep", &restore.keep);
	int r = outcome_add_user(&command->outcome, command->user);
	if (r == 0)
		r = look(&restore);
	if (r < 0)
		return r == -EIO ? 0 : r;
	if (!choose_method(&restore, wanted))
		return 0;
	if (decide_only_observes(apply, document)) {
		observe(&restore, decide_only_observes(apply, document));
		return 0;
	}
	r = open_door(&restore);
	return r < 0 ? r : conclude(&restore);
}
