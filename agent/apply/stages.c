/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Third step: create → admit by key → restrict (guarded) → admit by password → relax → look. A stage is planned only
 * when the one before it has been applied, so nothing is decided on an imagined state.
 */
#include <errno.h>
#include <string.h>

#include "agent/apply/history.h"
#include "agent/apply/journal.h"
#include "agent/apply/login_check.h"
#include "agent/apply/plugin_call.h"
#include "agent/apply/restore.h"
#include "agent/apply/revert.h"
#include "agent/apply/sshd_paths.h"
#include "agent/apply/sweep.h"
#include "lib/log.h"

#define STAGE_RESTRICT 3u /* the last with commands that close; user.ensure and keys.replace before it can, too */
#define BATCH_MAX 1024u   /* commands of one plugin call */
#define BATCH_TEXT_MAX (1024u << 10) /* request and reply, with the plans, stay under 2 MiB */
#define PLAN_GUESS 2560u             /* the bytes of a plan that is not made yet: it may have lines of files */
#define SHORT_GUESS 512u /* user.ensure's has some short fields and one for each group, keys.bind's the key */
#define GROUP_GUESS 64u

/* Where nothing is applied, the door that this document opens first is not open when the guard looks. */
static bool would_let_in(const struct document *document)
{
	for (size_t i = 0; i < document->count; i++) {
		const struct command *command = &document->commands[i];
		if (command->stage < STAGE_RESTRICT && command->outcome.known &&
			command->outcome.code == CODE_WOULD_CHANGE)
			return true;
	}
	return false;
}

/* The more of these, the fewer can log in: whoever survives all of them survives each, in whatever order. */
static bool only_takes(const struct command *command)
{
	static const char *const names[] = {
		"keys.revoke", "keys.unbind", "password.remove", "user.lock", "user.remove"};

	for (unsigned i = 0; i < ELEMENTS(names); i++) {
		if (strcmp(command->do_name, names[i]) == 0)
			return true;
	}
	return false;
}

/*
 * One question for a run of at most *run such commands from `first` on, instead of one for each: a yes is a yes to all,
 * and they are added to the sum. A no says nothing of any single one: the run is halved, and a single one is the
 * caller's. How many of the batch are through, or negative errno.
 */
static ssize_t guard_run(const struct apply *apply, const struct trial *trial, struct command *const *batch,
	size_t count, size_t first, size_t *run, struct removal *sum)
{
	for (; *run > 1; *run /= 2) {
		cleanup_removal struct removal next = {0};
		bool anyone = false;
		size_t taken = 0, i = first;

		int r = removal_copy(sum, &next);
		for (; r >= 0 && i < count && taken < *run; i++) {
			if (command_is_ended(batch[i]))
				continue;
			if (!only_takes(batch[i]))
				break;
			taken++;
			r = removal_add(batch[i], &next);
		}
		if (r < 0)
			return r;
		if (taken < 2)
			return 0;
		removal_add_trial(trial, &next);
		*run = taken;
		if (login_anyone(apply, &next, &anyone) != CODE_OK || !anyone)
			continue;
		removal_free(sum);
		*sum = next;
		next = (struct removal){0};
		*run = BATCH_MAX;
		return (ssize_t)(i - first);
	}
	return 0;
}

/* What the commands of a batch that are on trial themselves set for root, and what it was before them. */
struct root_trial {
	bool any;
	const char *before; /* as in struct removal */
};

/* Also with that gone back: whoever sent it may not confirm it. */
static enum code judge(
	const struct apply *apply, struct removal *after, const struct root_trial *trial, bool *ret_anyone)
{
	const char *root = after->root;

	enum code code = login_anyone(apply, after, ret_anyone);
	if (code != CODE_OK || !*ret_anyone || !trial->any)
		return code;
	after->root = trial->before;
	code = login_anyone(apply, after, ret_anyone);
	after->root = root;
	return code;
}

static void note_trial(const struct command *command, const struct trial *earlier, const struct removal *before,
	struct root_trial *trial)
{
	int64_t within = 0;

	if (json_get_integer(command->node, "confirm_within", &within) < 0 || within == 0 ||
		!json_member(command->node, "permit_root_login"))
		return;
	trial->any = true;
	trial->before = earlier->root ? "no" : before->root;
}

/* Asks before each closing command whether anybody could still log in; what is refused no longer counts. */
static int guard(const struct apply *apply, const struct document *document, struct command **batch, size_t count)
{
	cleanup_removal struct removal sum = {.password = -1, .key = -1};
	cleanup_trial struct trial trial = {0};
	struct root_trial root_trial = {false, NULL};

	int s = trial_find(apply, &trial);
	if (s == -ENOMEM)
		return s;
	if (s < 0) /* what is on trial cannot be read: count on none of these doors */
		trial.password = trial.key = trial.root = true;
	sum.users = trial.users;
	trial.users = (struct buffer){0};

	size_t run = BATCH_MAX;
	for (size_t i = 0; i < count; i++) {
		cleanup_removal struct removal next = {0};
		bool accepted = false, anyone = false;
		if (command_is_ended(batch[i]))
			continue;
		ssize_t through = guard_run(apply, &trial, batch, count, i, &run, &sum);
		if (through < 0)
			return (int)through;
		if (through > 0) {
			i += (size_t)through - 1;
			continue;
		}
		int r = removal_copy(&sum, &next);
		if (r == 0)
			r = removal_add(batch[i], &next);
		if (r < 0)
			return r;
		removal_add_trial(&trial, &next);
		(void)!json_get_bool(batch[i]->node, "accept_lockout", &accepted);
		if (r == 0 && !accepted) {
			enum code code = judge(apply, &next, &root_trial, &anyone);
			if (code != CODE_OK) {
				outcome_set(&batch[i]->outcome, code, "the guard could not tell who can log in");
				continue;
			}
			bool before = true;
			if (!anyone)
				code = login_anyone(apply, &sum, &before);
			/* A service account on a machine that nobody can log in to yet takes nothing away. */
			if (!anyone && (batch[i]->stage >= STAGE_RESTRICT || before || code != CODE_OK)) {
				bool on_trial = trial.password || trial.key || trial.root || root_trial.any;
				outcome_set(&batch[i]->outcome, CODE_WOULD_LOCK_OUT, "%s",
					would_let_in(document)
						? "after this nobody could log in, not counting whom this "
						  "document would let in before"
					: code == CODE_OK && !before
						? "nobody can log in as it is, so nothing is closed: latchctl doctor "
						  "says why"
					: on_trial
						? "after this nobody could log in once the sshd.set on trial goes "
						  "back: confirm it, or bind a key or set a password that works first"
						: "after this nobody could log in: bind a key or set a password that "
						  "works first");
				continue;
			}
		}
		note_trial(batch[i], &trial, &sum, &root_trial);
		removal_free(&sum);
		sum = next;
		next = (struct removal){0};
		run = run < 2 ? 2 : run; /* after one that is refused the next is asked alone */
	}
	return 0;
}

static int prepare_reverts(
	const struct apply *apply, const struct document *document, struct command **batch, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int64_t within = 0;
		if (json_get_integer(batch[i]->node, "confirm_within", &within) < 0 || within == 0)
			continue;
		int r = revert_prepare(apply, document, batch[i], NULL, within);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The same value is on trial under another id: its end would take this command's word back. */
static int repeats(const char *id, const cJSON *other, void *context)
{
	static const char *const fields[] = {"pubkey_auth", "password_auth", "permit_root_login", "shell", "expires"};
	struct command *command = context;
	const char *name = "", *user = "";

	(void)!json_get_string(other, "do", &name);
	(void)!json_get_string(other, "user", &user);
	if (strcmp(id, command->id) == 0 || strcmp(name, command->do_name) != 0 ||
		strcmp(user, command->user ? command->user : "") != 0)
		return 0;
	const char *what = strcmp(name, "user.unlock") == 0 ? "user.unlock" : NULL;
	for (unsigned i = 0; !what && i < ELEMENTS(fields); i++) {
		const cJSON *ours = json_member(command->node, fields[i]), *theirs = json_member(other, fields[i]);
		if (ours && theirs && cJSON_Compare(ours, theirs, true))
			what = fields[i];
	}
	if (what)
		outcome_set(&command->outcome, CODE_CONFLICT,
			"%s: it is so on trial already: send sshd.confirm for %.*s", what,
			(int)strcspn(id, RESTORE_MARK), id);
	return what != NULL;
}

static bool may_repeat(const struct command *command)
{
	return !command->redo &&
	       (strcmp(command->do_name, "sshd.set") == 0 || strcmp(command->do_name, "user.unlock") == 0 ||
		       strcmp(command->do_name, "user.ensure") == 0);
}

/* What is applied on trial waits for its confirmation; what failed has nothing to take back. */
static void settle_reverts(const struct apply *apply, struct command **batch, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct outcome *outcome = &batch[i]->outcome;
		int64_t within = 0, seq;
		if (json_get_integer(batch[i]->node, "confirm_within", &within) < 0 || within == 0)
			continue;
		bool applied = outcome->code == CODE_OK || outcome->code == CODE_OVERRIDDEN;
		if (applied && outcome->changed) {
			char detail[DETAIL_MAX + 1];
			memcpy(detail, outcome->detail, sizeof(detail));
			outcome_set(outcome, CODE_AWAITING_CONFIRM, "%.100s%sgoes back in %lld s without sshd.confirm",
				detail, detail[0] ? "; " : "", (long long)within);
			outcome->changed = true;
		} else if (!outcome_may_have_changed(outcome)) {
			(void)!revert_remove(apply, batch[i]->id, &seq);
		}
	}
}

/* Applies what has a plan; the plan is on disk already. */
static int apply_batch(struct apply *apply, struct document *document, struct journal *journal, unsigned stage,
	struct command **batch, const struct resolved_account *accounts, size_t count)
{
	int r = prepare_reverts(apply, document, batch, count);
	if (r < 0)
		outcome_fail_open(batch, count, code_from_errno(-r), "the way back could not be written down first");
	else
		r = plugin_run(apply, document, PLUGIN_APPLY, batch, accounts, count);
	if (r < 0 && !command_is_ended(batch[0]))
		return r;
	settle_reverts(apply, batch, count);
	sshd_paths_name_revoked(apply, batch, count);
	sweep_removed(apply, batch, count);
	for (size_t i = 0; i < count; i++) {
		if (json_member(batch[i]->node, "sealed") && batch[i]->outcome.code == CODE_OK)
			apply->box_used = true;
	}
	r = journal_applied(journal, stage, apply->manifests.plugins[batch[0]->row->plugin].name, batch, count);
	if (r < 0)
		log_error("the journal cannot be written (%s): after a crash this step is done again", strerror(-r));
	return 0;
}

/* The confirmed step's own command, when the document repeats it as still pending: it is final now. */
static void settle_repeated(struct document *document, const char *id)
{
	for (size_t i = 0; i < document->count; i++) {
		struct outcome *outcome = &document->commands[i].outcome;
		if (strcmp(document->commands[i].id, id) != 0 || outcome->code != CODE_AWAITING_CONFIRM)
			continue;
		outcome_set(outcome, CODE_OK, "confirmed");
		outcome->changed = true;
		outcome->from_history = outcome->in_history = true; /* report_late has written its line */
	}
}

/* A crash may have come between the confirmation and this document's own end. */
static bool was_confirmed(const struct apply *apply, const struct command *confirmed)
{
	cleanup_history struct history history = {0};
	cleanup_json cJSON *line = NULL;
	const char *code = "", *detail = "";

	if (history_load(apply, &history) < 0 || history_find(&history, confirmed->id, &line) < 0)
		return false;
	(void)!json_get_string(line, "code", &code);
	(void)!json_get_string(line, "detail", &detail);
	return strcmp(code, code_name(CODE_OK)) == 0 && strcmp(detail, confirmed->outcome.detail) == 0;
}

static void confirm(const struct apply *apply, struct document *document, struct command *command)
{
	struct command confirmed = {.do_name = "sshd.set", .actor = command->actor};
	int64_t seq = 0;

	if (json_get_string(command->node, "confirms", &confirmed.id) < 0)
		return;
	outcome_set(&confirmed.outcome, CODE_OK, "confirmed by %.64s", command->id);
	confirmed.outcome.changed = true;
	int r = revert_find(apply, confirmed.id, &seq);
	if (r == -ENOENT && !was_confirmed(apply, &confirmed)) {
		outcome_set(&command->outcome, CODE_CONFLICT,
			"nothing awaits confirmation under that id: it was confirmed or taken back");
		return;
	}
	/* Reported before the way back goes: after a crash between the two this is simply done again. */
	if (r == 0) {
		int reported = report_late(apply, seq, &confirmed);
		if (reported < 0)
			log_error("cannot report that %s was confirmed: %s", confirmed.id, strerror(-reported));
		r = revert_remove(apply, confirmed.id, &seq);
	}
	if (r < 0 && r != -ENOENT) {
		outcome_set(&command->outcome, code_from_errno(-r), "the way back could not be removed");
		return;
	}
	outcome_set(&command->outcome, CODE_OK, "confirmed");
	command->outcome.changed = true;
	settle_repeated(document, confirmed.id);
}

static void observe(struct command **batch, size_t count, const char *why)
{
	for (size_t i = 0; i < count; i++) {
		struct outcome *outcome = &batch[i]->outcome;
		if (!outcome->known)
			outcome_set(outcome, CODE_WOULD_CHANGE, "%s: nothing was changed", why);
		else if (outcome->code == CODE_OK)
			outcome_set(outcome, CODE_WOULD_NOT_CHANGE, "%s: it is so already", why);
	}
}

/*
 * What needs an account that could not be made yet waits with it, instead of failing for good; and what needs one that
 * would only be made can say no more than that.
 */
static void wait_for_account(const struct document *document, struct command *command)
{
	for (size_t i = 0; command->user && i < document->count; i++) {
		const struct command *other = &document->commands[i];
		if (!other->outcome.known ||
			!(code_is_retried(other->outcome.code) || other->outcome.code == CODE_WOULD_CHANGE) ||
			strcmp(other->do_name, "user.ensure") != 0 || !other->user ||
			strcmp(other->user, command->user) != 0 || other == command)
			continue;
		outcome_set(&command->outcome, other->outcome.code, "%s user.ensure of %s",
			other->outcome.code == CODE_WOULD_CHANGE ? "after" : "waits for", command->user);
		return;
	}
}

static int run_fresh(struct apply *apply, struct document *document, struct journal *journal, unsigned stage,
	struct command **batch, const struct resolved_account *accounts, size_t count)
{
	const char *plugin = apply->manifests.plugins[batch[0]->row->plugin].name;
	const char *observing = decide_only_observes(apply, document);
	cleanup_free struct command **open = calloc(count, sizeof(struct command *));
	cleanup_free struct resolved_account *open_accounts = calloc(count, sizeof(*accounts));
	size_t kept = 0;

	if (!open || !open_accounts)
		return -ENOMEM;
	int r = plugin_run(apply, document, PLUGIN_PLAN, batch, accounts, count);
	if (r == 0 && stage <= STAGE_RESTRICT)
		r = guard(apply, document, batch, count);
	if (r < 0)
		return r;
	if (observing) {
		observe(batch, count, observing);
		return 0;
	}
	for (size_t i = 0; i < count; i++) {
		if (command_is_ended(batch[i]))
			continue;
		open_accounts[kept] = accounts[i];
		open[kept++] = batch[i];
	}
	if (kept == 0)
		return 0;
	r = journal_plan(journal, stage, plugin, batch, count);
	if (r < 0) {
		outcome_fail_open(
			batch, count, code_from_errno(-r), "the journal cannot be written, so nothing was begun");
		return 0;
	}
	return apply_batch(apply, document, journal, stage, open, open_accounts, kept);
}

/* Commands of one stage and plugin, at most BATCH_MAX. First what a crash left in hand, then what is new. */
static int run_batch(struct apply *apply, struct document *document, struct journal *journal, unsigned stage,
	struct command **batch, size_t count)
{
	cleanup_free struct resolved_account *accounts = calloc(count, sizeof(*accounts));
	cleanup_free struct resolved_account *fresh_accounts = calloc(count, sizeof(*accounts));
	cleanup_free struct command **open = calloc(count, sizeof(struct command *));
	size_t kept = 0;

	if (!accounts || !fresh_accounts || !open)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (batch[i]->redo)
			open[kept++] = batch[i];
	}
	if (kept > 0) {
		int r = apply_batch(apply, document, journal, stage, open, NULL, kept);
		if (r < 0)
			return r;
	}
	if (document->only_in_hand)
		return 0;
	int r = decide_batch(apply, document, batch, count, accounts);
	if (r < 0) {
		if (r == -EOPNOTSUPP)
			outcome_fail_open(batch, count, CODE_UNSUPPORTED_BACKEND,
				"/etc/passwd or /etc/group is missing or no regular file");
		else
			outcome_fail_open(batch, count, code_from_errno(-r), "the account files cannot be read");
		return 0;
	}
	kept = 0;
	bool trials = revert_any(apply);
	for (size_t i = 0; i < count; i++) {
		if (!command_is_ended(batch[i]) && strcmp(batch[i]->do_name, "sshd.confirm") == 0 &&
			!decide_only_observes(apply, document))
			confirm(apply, document, batch[i]);
		if (trials && !command_is_ended(batch[i]) && may_repeat(batch[i]) &&
			revert_walk(apply, repeats, batch[i]) < 0)
			outcome_set(&batch[i]->outcome, CODE_IO_ERROR, "what is on trial cannot be read");
		if (!command_is_ended(batch[i]) && !accounts[i].exists)
			wait_for_account(document, batch[i]);
		if (!command_is_ended(batch[i]) && strcmp(batch[i]->do_name, "access.restore") == 0) {
			r = restore_access(apply, document, batch[i]);
			if (r < 0)
				return r;
			trials = revert_any(apply); /* its steps are */
		}
		if (command_is_ended(batch[i]))
			continue;
		fresh_accounts[kept] = accounts[i];
		open[kept++] = batch[i];
	}
	return kept == 0 ? 0 : run_fresh(apply, document, journal, stage, open, fresh_accounts, kept);
}

static size_t plan_size(const struct command *command)
{
	const cJSON *groups;

	if (command->plan)
		return strlen(command->plan);
	if (strcmp(command->do_name, "user.ensure") != 0 && strcmp(command->do_name, "keys.bind") != 0)
		return PLAN_GUESS;
	/* Groups that he leaves are named nowhere here; a line with `from` stands in the plan as it was and as it will
	 * be. */
	if (json_get_array(command->node, "groups", &groups) == 0)
		return PLAN_GUESS + (size_t)cJSON_GetArraySize(groups) * GROUP_GUESS;
	return json_member(command->node, "from") ? PLAN_GUESS : SHORT_GUESS;
}

static size_t text_size(const struct command *command)
{
	const char *text = NULL;
	size_t size = 256 + plan_size(command);
	static const char *const long_fields[] = {"key", "sealed", "hash", "gecos"};

	for (unsigned i = 0; i < ELEMENTS(long_fields); i++) {
		if (json_get_string(command->node, long_fields[i], &text) == 0)
			size += 2 * strlen(text);
	}
	return size;
}

int stages_run(struct apply *apply, struct document *document, struct journal *journal)
{
	cleanup_free struct command **batch = calloc(BATCH_MAX, sizeof(struct command *));

	if (!batch)
		return -ENOMEM;
	/* The commands are sorted by (stage, plugin, position): a batch is a run of them. */
	for (size_t i = 0; i < document->count;) {
		struct command *first = &document->commands[i];
		size_t count = 0, size = 0;
		if (command_is_ended(first) || !first->row) {
			i++;
			continue;
		}
		while (i < document->count && count < BATCH_MAX && size < BATCH_TEXT_MAX) {
			struct command *command = &document->commands[i];
			if (command_is_ended(command) || !command->row) {
				i++;
				continue;
			}
			if (command->stage != first->stage || command->row->plugin != first->row->plugin)
				break;
			batch[count++] = command;
			size += text_size(command);
			i++;
		}
		int r = run_batch(apply, document, journal, first->stage, batch, count);
		if (r < 0)
			return r;
	}
	return 0;
}
