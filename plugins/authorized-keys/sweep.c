/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/sweep.h"

#include <errno.h>
#include <string.h>

#include "lib/file.h"
#include "plugins/authorized-keys/key_lines.h"

static bool is_of(const struct key_entry *entry, const char *user)
{
	return strcmp(entry->user, user) == 0;
}

static bool fits(const struct key_line *line, const struct key_entry *entry)
{
	char fingerprint[SSHKEY_FINGERPRINT_SIZE];
	cleanup_free unsigned char *blob = NULL;
	size_t size;

	if (key_line_blob(line, &blob, &size) < 0)
		return false;
	sshkey_fingerprint(blob, size, fingerprint);
	return strcmp(fingerprint, entry->fingerprint) == 0;
}

/* The key stands there on a line that is not ours: somebody took our mark off. */
static bool is_foreign(const struct work *work, const struct key_view *view, const struct key_entry *entry)
{
	for (unsigned i = 0; i < work->blob_count; i++) {
		char fingerprint[SSHKEY_FINGERPRINT_SIZE];

		sshkey_fingerprint(work->blobs[i].bytes, work->blobs[i].size, fingerprint);
		if (strcmp(fingerprint, entry->fingerprint) == 0 && view->foreign[work->blobs[i].index] > 0)
			return true;
	}
	return false;
}

static int set_state(struct key_ledger *ledger, struct key_entry *entry, const char *state, struct work *work)
{
	if (strcmp(entry->state, state) == 0)
		return 0;
	char *copy = strdup(state);
	if (!copy)
		return -ENOMEM;
	free(entry->state);
	entry->state = copy;
	ledger->changed = true;
	work->ledger_changed = true;
	return 0;
}

/* True when it may be put back once more today. */
static bool may_restore(struct key_ledger *ledger, struct key_entry *entry, int64_t now, struct work *work)
{
	bool contested = false;

	if (*entry->line == '\0') /* bound by a version that did not keep it */
		return false;
	if (entry->restored_at > now || now - entry->restored_at >= SWEEP_WINDOW)
		entry->restored = 0;
	if (entry->restored >= SWEEP_RESTORES_MAX)
		contested = true;
	else if (entry->restored++ == 0)
		entry->restored_at = now;
	ledger->changed = true;
	work->ledger_changed = work->ledger_changed || contested != entry->contested;
	entry->contested = contested;
	return !contested;
}

static int report_missing(struct key_ledger *ledger, struct key_entry *entry, bool foreign, struct work *work)
{
	work_tell(work, "%s: %s%s", entry->keypair, foreign ? "its line is no longer ours" : "gone",
		entry->contested ? ", put back too often today" : "");
	return set_state(ledger, entry, foreign ? "foreign" : "missing", work);
}

static int decide_entry(
	const struct plugin_request *request, struct key_ledger *ledger, struct key_entry *entry, struct work *work)
{
	const struct plugin_command *command = work->command;
	bool restore = strcmp(plugin_text(command, "drift"), "restore") == 0;
	bool ignore = strcmp(plugin_text(command, "drift"), "ignore") == 0;
	struct key_line line = {"", 0};
	unsigned place;

	int r = locations_add(&work->subject->locations, &work->subject->account, entry->path, &place);
	if (r < 0)
		return r == -EINVAL ? 0 : r;
	if (place >= work->subject->view_count)
		return 0;
	const struct key_view *view = &work->subject->views[place];
	if (view->code != CODE_OK) { /* a home that is not there now: nothing is known */
		work_tell(work, "%s: not looked at: %.100s", entry->keypair, view->detail);
		return 0;
	}
	bool found = view->ours && key_lines_find(view->ours, view->ours_size, entry->keypair, &line) == 0;
	bool expired = entry->expires >= 0 && entry->expires <= request->time;
	bool here = *entry->mark && strcmp(entry->mark, ledger->mark) == 0;
	bool inherits = !here && plugin_flag(command, "inherits", false);
	cleanup_free char *before = strndup(line.start, line.size);
	if (!before)
		return -ENOMEM;
	if (expired || (inherits && plugin_flag(command, "remove_inherited", false))) {
		if (!found)
			work->ledger_changed = entry->gone = true;
		work_tell(work, "%s: %s", entry->keypair, expired ? "expired" : "inherited from another machine");
		return found ? work_add_edit(work, place, entry->keypair, before, "", false) : 0;
	}
	bool fitting = found && fits(&line, entry);
	if (entry->uid >= 0 && entry->uid != (int64_t)work->subject->account.uid) {
		work->ledger_changed = ledger->changed = true;
		if (fitting)
			entry->uid = work->subject->account.uid; /* he has it still: his number was changed */
		else
			entry->gone = true;
	}
	if (entry->gone) {
		work_tell(work, "%s: bound to another account of that name", entry->keypair);
		return 0;
	}
	if (fitting) {
		bool inherited = inherits || strcmp(entry->state, "inherited") == 0;
		ledger->changed = ledger->changed || entry->contested;
		work->ledger_changed = work->ledger_changed || entry->contested;
		entry->contested = false;
		return set_state(ledger, entry, inherited ? "inherited" : "present", work);
	}
	if (ignore)
		return 0;
	bool foreign = !found && is_foreign(work, view, entry);
	/* A line of ours above his own for the same key would bypass what his says. */
	if (!restore || foreign || !may_restore(ledger, entry, request->time, work))
		return report_missing(ledger, entry, foreign, work);
	work_tell(work, "%s: put back (%d)", entry->keypair, (int)entry->restored);
	return work_add_edit(work, place, entry->keypair, before, entry->line, false);
}

static void drop_gone(struct key_ledger *ledger)
{
	for (unsigned i = ledger->count; i > 0; i--) {
		struct key_entry *entry = &ledger->entries[i - 1];
		if (entry->gone)
			key_ledger_remove(ledger, entry->user, entry->keypair, entry->path);
	}
}

int sweep_decide(const struct plugin_request *request, struct key_ledger *ledger, struct work *work)
{
	int r = 0;

	for (unsigned i = key_ledger_first(ledger, work->subject->user); r == 0 && i != KEY_LEDGER_END;
		i = ledger->entries[i].next)
		r = decide_entry(request, ledger, &ledger->entries[i], work);
	drop_gone(ledger);
	return r == -E2BIG ? 0 : r; /* the next sweep goes on */
}

static bool is_all_ours(const char *text, size_t size)
{
	char label[KEY_LABEL_MAX + 1];
	struct key_line line;
	size_t offset = 0;

	while (key_lines_next(text, size, &offset, &line)) {
		if (line.size > 0 && !key_line_is_ours(&line, label))
			return false;
	}
	return true;
}

/* A file in our own directories: an account that gets the name later must not find these keys. */
static bool forget_file(const struct plugin_request *request, const struct key_entry *entry)
{
	const char *name = strrchr(entry->path, '/');
	cleanup_close int directory = -1;
	cleanup_free char *text = NULL;
	char parent[64];
	size_t size;

	if (!name || (size_t)(name - entry->path) >= sizeof(parent))
		return false;
	(void)snprintf(parent, sizeof(parent), "%.*s", (int)(name - entry->path), entry->path);
	if (strcmp(parent, LOCATION_SYSTEM) != 0 && strcmp(parent, LOCATION_RUNTIME) != 0)
		return false;
	int r = file_open_directory(request->root, &parent[1], &directory);
	if (r == 0)
		r = file_read(directory, &name[1], KEY_FILE_MAX, &text, &size);
	if (r == 0 && !is_all_ours(text, size))
		return false;
	if (r == 0 && request->apply)
		r = file_remove(directory, &name[1]);
	return r == 0 || r == -ENOENT;
}

void sweep_forget(
	const struct plugin_request *request, struct key_ledger *ledger, const char *user, struct plugin_result *result)
{
	for (unsigned i = 0; i < ledger->count; i++) {
		struct key_entry *entry = &ledger->entries[i];
		if (is_of(entry, user) && (strcmp(entry->location, "home") == 0 || forget_file(request, entry)))
			result->changes = entry->gone = true;
	}
	drop_gone(ledger);
}
