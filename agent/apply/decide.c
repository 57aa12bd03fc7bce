/* SPDX-License-Identifier: Apache-2.0 */
/* Second step: may each command be done? A bad command is rejected whole, the others go on. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "agent/apply/apply.h"
#include "agent/apply/history.h"
#include "agent/apply/revert.h"

#define FACT_MAX 192u
#define INDEX_FROM 4u /* commands; for fewer reading the lines is as fast */

/* sshd.set closes doors or opens them, never both: the stage says which, and so what the guard must see. */
static void place_sshd_set(struct command *command)
{
	const char *root = NULL;
	bool value, restricts = false, relaxes = false;
	static const char *const doors[] = {"pubkey_auth", "password_auth"};

	for (unsigned i = 0; i < ELEMENTS(doors); i++) {
		if (json_get_bool(command->node, doors[i], &value) == 0) {
			relaxes = relaxes || value;
			restricts = restricts || !value;
		}
	}
	if (json_get_string(command->node, "permit_root_login", &root) == 0) {
		relaxes = relaxes || strcmp(root, "yes") == 0;
		restricts = restricts || strcmp(root, "yes") != 0;
	}
	if (restricts && relaxes)
		outcome_set(&command->outcome, CODE_CONFLICT,
			"one command both restricts and relaxes sshd: send two commands");
	command->stage = restricts ? 3 : 5;
}

/* The facts that a command sets; two commands of one document that set the same fact contradict each other. */
static unsigned list_facts(const struct command *command, char facts[3][FACT_MAX])
{
	const char *name = command->do_name, *user = command->user ? command->user : "";
	const char *keypair = NULL;
	unsigned count = 0;

	if (strncmp(name, "password.", 9) == 0) {
		(void)snprintf(facts[count++], FACT_MAX, "password %s", user);
	} else if (strcmp(name, "user.lock") == 0 || strcmp(name, "user.unlock") == 0) {
		(void)snprintf(facts[count++], FACT_MAX, "lock %s", user);
	} else if (strcmp(name, "user.ensure") == 0 || strcmp(name, "user.remove") == 0) {
		(void)snprintf(facts[count++], FACT_MAX, "account %s", user);
	} else if (json_get_string(command->node, "keypair", &keypair) == 0) {
		(void)snprintf(facts[count++], FACT_MAX, "key %s %s", user, keypair);
	} else if (strcmp(name, "sshd.set") == 0) {
		static const char *const settings[] = {"pubkey_auth", "password_auth", "permit_root_login"};
		for (unsigned i = 0; i < ELEMENTS(settings); i++) {
			if (json_member(command->node, settings[i]))
				(void)snprintf(facts[count++], FACT_MAX, "sshd %s", settings[i]);
		}
	}
	return count;
}

struct fact {
	char text[FACT_MAX];
	struct command *command;
};

static int compare_facts(const void *a, const void *b)
{
	return strcmp(((const struct fact *)a)->text, ((const struct fact *)b)->text);
}

static int find_conflicts(struct document *document)
{
	cleanup_free struct fact *facts = calloc(document->count * 3 + 1, sizeof(*facts));
	size_t count = 0;

	if (!facts)
		return -ENOMEM;
	for (size_t i = 0; i < document->count; i++) {
		char texts[3][FACT_MAX];
		struct command *command = &document->commands[i];
		unsigned of_command = command_is_ended(command) ? 0 : list_facts(command, texts);
		for (unsigned j = 0; j < of_command; j++) {
			memcpy(facts[count].text, texts[j], FACT_MAX);
			facts[count++].command = command;
		}
	}
	qsort(facts, count, sizeof(*facts), compare_facts);
	for (size_t i = 1; i < count; i++) {
		if (strcmp(facts[i - 1].text, facts[i].text) != 0)
			continue;
		for (size_t j = i - 1; j <= i; j++)
			outcome_set(&facts[j].command->outcome, CODE_CONFLICT,
				"two commands of this document set the same fact: %.120s", facts[i].text);
	}
	return 0;
}

static int compare_commands(const void *a, const void *b)
{
	const struct command *left = a, *right = b;
	unsigned left_plugin = left->row ? left->row->plugin : 0, right_plugin = right->row ? right->row->plugin : 0;

	if (left->stage != right->stage)
		return left->stage < right->stage ? -1 : 1;
	if (left_plugin != right_plugin)
		return left_plugin < right_plugin ? -1 : 1;
	return left->position < right->position ? -1 : left->position > right->position;
}

/* What was put off until its time was over has failed with the code that it had. */
static void give_up(struct command *command)
{
	outcome_set(&command->outcome, command->pending_code, "given up: its `until` has passed");
	command->outcome.status = STATUS_FAILED;
}

/* A step in hand is finished all the same: its time had come when it was planned, whatever the clock says now. */
static void wait_for_time(const struct apply *apply, const struct document *document, struct command *command)
{
	time_t time = (time_t)command->not_before;
	char text[32] = "";
	struct tm parts;

	if (command->not_before <= apply->now || command_is_ended(command) || command->redo || document->only_in_hand ||
		document->dry_run)
		return;
	if (gmtime_r(&time, &parts))
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
	outcome_set(&command->outcome, CODE_NOT_YET, "waits until %s", text);
}

int decide_commands(const struct apply *apply, struct document *document)
{
	cleanup_history struct history history = {0};

	for (size_t i = 0; i < document->count; i++) {
		struct command *command = &document->commands[i];
		char detail[DETAIL_MAX + 1];
		if (!command->row) {
			if (!command_is_ended(command))
				outcome_set(&command->outcome, CODE_UNKNOWN_COMMAND, "there is no command '%.64s'",
					command->do_name);
			continue;
		}
		/* Also after a crash: the check fills in the defaults, and the stage is not in the journal. */
		enum code code = manifest_check(command->row, command->node, detail);
		if (code != CODE_OK && !command_is_ended(command))
			outcome_set(&command->outcome, code, "%s", detail);
		else if (command->times_invalid && !command_is_ended(command))
			outcome_set(&command->outcome, CODE_FIELD_INVALID,
				"`not_before` must be a time before `until`, and so before the document's end");
		if (code == CODE_OK && strcmp(command->do_name, "sshd.set") == 0)
			place_sshd_set(command);
	}
	int r = history_load(apply, &history);
	if (r == 0)
		r = history_answer(&history, document);
	if (r < 0)
		return r;
	bool trials = revert_any(apply);
	for (size_t i = 0; i < document->count; i++) {
		struct command *command = &document->commands[i];
		if (command_is_ended(command) || command->redo)
			continue;
		if (trials && !command->put_off && revert_is_pending(apply, command->id))
			outcome_set(&command->outcome, CODE_AWAITING_CONFIRM, "applied; waits for sshd.confirm");
		else if (command->until <= apply->now && command->put_off)
			give_up(command);
		else if (command->until <= apply->now)
			outcome_set(&command->outcome, CODE_EXPIRED, "its `until` has passed");
	}
	/* Also with what is not due: whether two commands contradict each other must not hang on when this runs. */
	r = find_conflicts(document);
	if (r < 0)
		return r;
	for (size_t i = 0; i < document->count; i++)
		wait_for_time(apply, document, &document->commands[i]);
	qsort(document->commands, document->count, sizeof(*document->commands), compare_commands);
	return 0;
}

const char *decide_only_observes(const struct apply *apply, const struct document *document)
{
	if (document->dry_run)
		return "dry run";
	return policy_mode(&apply->policy) == POLICY_ENFORCE ? NULL : "mode observe";
}

int decide_batch(struct apply *apply, const struct document *document, struct command **batch, size_t count,
	struct resolved_account *accounts)
{
	cleanup_resolver struct resolver resolver = {0};
	bool resolved = false;

	for (size_t i = 0; i < count; i++) {
		struct command *command = batch[i];
		char detail[DETAIL_MAX + 1];
		if (command_is_ended(command))
			continue;
		if (command->user) {
			int r = resolved ? 0 : resolver_open(apply->root, &resolver);
			if (r == 0 && !resolved && count >= INDEX_FROM)
				r = resolver_index(&resolver);
			resolved = true;
			int64_t uid = -1;
			(void)!json_get_integer(command->node, "uid", &uid);
			if (r == 0)
				r = resolve_account(&resolver, command->user, uid, &accounts[i]);
			if (r < 0)
				return r;
		}
		/* A plan in the journal was allowed when it was made; the step in hand is finished. */
		if (command->redo)
			continue;
		enum code code = policy_decide(&apply->policy, document->signer, command->row, command->node,
			command->user ? &accounts[i] : NULL, detail);
		if (code == CODE_OK && command->user)
			code = policy_decide_groups(&apply->policy, &resolver, command->node, detail);
		if (code != CODE_OK)
			outcome_set(&command->outcome, code, "%s", detail);
	}
	/* The view looks at it too, and a reset of a password leaves it as it is. */
	account_table_free(&apply->passwd);
	apply->passwd = resolver.passwd;
	resolver.passwd = (struct account_table){0};
	return 0;
}
