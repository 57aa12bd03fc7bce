/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/later.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/file.h"
#include "lib/log.h"
#include "lib/sys.h"

#define FOLDER "later"
#define NAMES_MAX 256u /* one per journal, and there are at most 64 in /var and 64 in /run */
#define NAME_SIZE 48u
#define RETRIED "+"

/* The part of a name that says which journal it is about, without the mark; "" for a strange name. */
static void journal_of(const char *name, char ret_journal[NAME_SIZE])
{
	const char *dash = strchr(name, '-');

	(void)snprintf(ret_journal, NAME_SIZE, "%s", dash ? dash + 1 : "");
	ret_journal[strcspn(ret_journal, RETRIED)] = '\0';
}

static void remove_of(int directory, const char *journal)
{
	cleanup_names char **names = NULL;
	size_t count;

	if (file_list(directory, ".", NAMES_MAX, &names, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		char of[NAME_SIZE];
		journal_of(names[i], of);
		if (strcmp(of, journal) == 0 && sys.unlinkat(directory, names[i], 0) < 0)
			log_warning("later/%s cannot be removed: %s", names[i], strerror(errno));
	}
}

void later_forget(const struct apply *apply, const struct document *document)
{
	cleanup_close int directory = -1;
	char journal[NAME_SIZE];

	if (apply->run < 0 || file_open_directory(apply->run, FOLDER, &directory) < 0)
		return;
	(void)snprintf(journal, sizeof(journal), "%" PRIi64, document->seq);
	remove_of(directory, journal);
}

void later_note(const struct apply *apply, const struct document *document)
{
	cleanup_close int directory = -1;
	int64_t deadline = 0;
	bool retried = false;
	char name[NAME_SIZE];

	for (size_t i = 0; i < document->count; i++) {
		const struct command *command = &document->commands[i];
		const struct outcome *outcome = &command->outcome;
		if (!outcome->known || outcome->status != STATUS_PENDING || !code_is_retried(outcome->code))
			continue;
		if (outcome->code != CODE_NOT_YET) {
			retried = true;
			continue;
		}
		/* What waits for another command has no time of its own, only an end. */
		int64_t when = command->not_before > apply->now ? command->not_before : command->until;
		if (deadline == 0 || when < deadline)
			deadline = when;
	}
	if (apply->run < 0 || deadline == 0)
		return;
	(void)snprintf(
		name, sizeof(name), "%" PRIi64 "-%" PRIi64 "%s", deadline, document->seq, retried ? RETRIED : "");
	int r = file_make_directory(apply->run, FOLDER, 0700, &directory);
	if (r == 0)
		r = file_replace_simple(directory, name, "", 0, 0600);
	if (r < 0)
		log_warning(
			"when document %" PRIi64 " goes on cannot be written down: %s", document->seq, strerror(-r));
}

static bool has_journal(int parent, const char *name)
{
	cleanup_close int directory = -1;
	struct stat status;

	return parent >= 0 && *name && file_open_directory(parent, "journal", &directory) == 0 &&
	       sys.fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

void later_sweep(const struct apply *apply)
{
	cleanup_names char **names = NULL;
	cleanup_close int directory = -1;
	size_t count;

	if (apply->run < 0 || file_open_directory(apply->run, FOLDER, &directory) < 0 ||
		file_list(directory, ".", NAMES_MAX, &names, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		char journal[NAME_SIZE];
		journal_of(names[i], journal);
		if (!has_journal(apply->state, journal) && !has_journal(apply->run, journal))
			(void)sys.unlinkat(directory, names[i], 0);
	}
}
