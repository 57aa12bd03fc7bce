/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a command on one screen: verify (main.c has called it) → decide → stages → prove → report. */
#include <errno.h>
#include <string.h>

#include "agent/apply/identity.h"
#include "agent/apply/journal.h"
#include "agent/apply/later.h"
#include "lib/log.h"
#include "lib/log_event.h"

/* What was put off stays open while there is time; then it has failed with the code it had. */
static bool close_late(const struct apply *apply, struct document *document)
{
	bool open = false;

	for (size_t i = 0; i < document->count; i++) {
		struct command *command = &document->commands[i];
		if (!command->outcome.known || !code_is_retried(command->outcome.code))
			continue;
		if (command->until <= apply->now)
			command->outcome.status = STATUS_FAILED;
		else
			open = true;
	}
	return open;
}

/* Also in a run before a crash. */
static bool opened_box(const struct document *document)
{
	bool opened = false;

	for (size_t i = 0; i < document->count; i++) {
		const struct command *command = &document->commands[i];
		opened = opened || (command->outcome.known && command->outcome.code == CODE_OK &&
					   !command->outcome.from_history && json_member(command->node, "sealed"));
	}
	return opened;
}

/* What was sealed to the key in use and is not done yet would not open any more two uses later. */
static bool needs_box(const struct document *document)
{
	bool needed = false;

	for (size_t i = 0; i < document->count; i++) {
		const struct outcome *outcome = &document->commands[i].outcome;
		bool ended = outcome->known && outcome->status != STATUS_PENDING;
		needed = needed || (!ended && json_member(document->commands[i].node, "sealed"));
	}
	return needed;
}

static void log_outcomes(const struct document *document)
{
	for (size_t i = 0; i < document->count; i++) {
		const struct command *command = &document->commands[i];
		if (!command->outcome.known || command->outcome.from_history)
			continue;
		log_event(LOG_EVENT_COMMAND_ENDED, LOG_INFO, command->id, "%s %s%s%s: %s%s%s", command->id,
			command->do_name, command->user ? " " : "", command->user ? command->user : "",
			code_name(command->outcome.code), command->outcome.detail[0] ? ": " : "",
			command->outcome.detail);
	}
}

/* Nobody tries anything of it again, and what a refusal is about has not happened. */
static void end_dry_run(struct document *document)
{
	for (size_t i = 0; i < document->count; i++) {
		struct outcome *outcome = &document->commands[i].outcome;
		char detail[DETAIL_MAX + 1];
		if (!outcome->known || outcome->from_history || outcome->status == STATUS_OBSERVED)
			continue;
		if (outcome->status == STATUS_PENDING && code_is_retried(outcome->code))
			outcome->status = STATUS_FAILED;
		memcpy(detail, outcome->detail, sizeof(detail));
		(void)snprintf(outcome->detail, sizeof(outcome->detail), "dry run: %.190s", detail);
	}
}

/* Nothing has ended of which a later boot must know: a record in /run is enough. */
static bool is_for_this_boot(const struct document *document)
{
	for (size_t i = 0; i < document->count; i++) {
		const struct command *command = &document->commands[i];
		const struct outcome *outcome = &command->outcome;
		if (outcome->known && !outcome->in_history && outcome->status != STATUS_PENDING &&
			!command_is_for_this_boot(command))
			return false;
	}
	return true;
}

int document_run(struct apply *apply, struct document *document, struct journal *journal)
{
	later_forget(apply, document);
	int r = decide_commands(apply, document);
	if (r == 0)
		r = stages_run(apply, document, journal);
	if (r < 0) {
		log_error("document %lld cannot be finished now: %s", (long long)document->seq, strerror(-r));
		return EXIT_TRY_AGAIN;
	}
	bool open = close_late(apply, document) && !document->dry_run;
	if (document->dry_run)
		end_dry_run(document);
	prove_document(apply, document);
	log_outcomes(document);
	r = report_document(apply, document, document->dry_run || is_for_this_boot(document));
	if (r < 0) {
		/* The journal stays, and with it the work of reporting. */
		log_error("the results of document %lld cannot be kept: %s", (long long)document->seq, strerror(-r));
		return document->dry_run ? EXIT_TRY_AGAIN : EXIT_TAKEN_OVER;
	}
	/* Before the journal goes, or a crash between the two would leave the key in use. */
	if ((apply->box_used || (!open && opened_box(document))) && !needs_box(document)) {
		r = identity_rotate_box(apply);
		if (r < 0)
			log_warning("the box key cannot be rotated: %s", strerror(-r));
	}
	if (!open || document->only_in_hand) {
		r = journal_finish(journal);
		document->finished = r == 0;
		if (r < 0)
			log_error("the journal of document %lld cannot be removed: %s", (long long)document->seq,
				strerror(-r));
	} else {
		later_note(apply, document);
	}
	journal_prepare_spare(apply);
	return EXIT_TAKEN_OVER;
}

void document_put_off(struct apply *apply, struct document *document, int error)
{
	enum code code = code_from_errno(-error);
	bool is_news = false;

	if (!code_is_retried(code) || decide_commands(apply, document) < 0)
		return;
	for (size_t i = 0; i < document->count; i++) {
		struct command *command = &document->commands[i];
		if (command_is_ended(command))
			continue;
		is_news = is_news || !command->is_known_pending || command->known_pending != code;
		outcome_set(&command->outcome, code, "not begun, for it cannot be journalled: %s", strerror(-error));
	}
	int r = is_news ? report_not_begun(apply, document) : 0;
	if (r < 0)
		log_warning("that document %lld waits cannot be told: %s", (long long)document->seq, strerror(-r));
}
