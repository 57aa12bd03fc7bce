/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/bindings.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "lib/log.h"
#include "plugins/authorized-keys/batch.h"
#include "plugins/authorized-keys/key_lines.h"
#include "plugins/authorized-keys/sessions.h"
#include "plugins/authorized-keys/sweep.h"

#define CHILDREN_MAX 4u           /* homes that are worked on at once */
#define SYNC_TRIES 4u             /* of users, to bring one file system to disk */
#define SESSIONS_BUDGET_MS 10000u /* what ending sessions may cost all keys.unbind of a batch */

/* Some homes are worked on at once; each started one is finished, also after an error. */
static int look_at_all(struct batch *batch)
{
	int r = 0;

	for (unsigned i = 0; i < batch->subject_count + CHILDREN_MAX; i++) {
		struct subject *last = i < CHILDREN_MAX ? NULL : batch->subjects[i - CHILDREN_MAX];
		struct subject *next = i < batch->subject_count ? batch->subjects[i] : NULL;

		if (last && last->code == CODE_OK) {
			int finished = subject_finish(batch->request, last, NULL);
			r = r < 0 ? r : finished;
		}
		if (next && next->code == CODE_OK)
			subject_start(batch->request, next, NULL, 0);
	}
	return r;
}

/* A list that cannot be read any more would keep every command from its work: the one that would fill it is refused. */
static void check_ledger(struct batch *batch, struct work *work)
{
	const struct locations *locations = &work->subject->locations;
	size_t weight = 0;

	for (unsigned i = 0; i < work->edit_count; i++) {
		const struct work_edit *edit = &work->edits[i];
		const char *path = locations->places[edit->place].path;
		if (*edit->after != '\0' && !key_ledger_find(&batch->ledger, work->subject->user, edit->label, path))
			weight += key_ledger_weight(work->subject->user, path, edit->after);
	}
	if (weight > 0 && batch->ledger.size + batch->added + weight > KEY_LEDGER_FULL)
		(void)plugin_set(work->result, CODE_TOO_LARGE,
			"the list of bound keys is full (%u keys): unbind some first", batch->ledger.count);
	else
		batch->added += weight;
}

/* Looks at everything and decides every command. */
static int decide_all(struct batch *batch)
{
	int r = batch_prepare(batch);

	if (r == 0)
		r = look_at_all(batch);
	for (unsigned i = 0; r == 0 && i < batch->request->count; i++) {
		struct work *work = &batch->works[i];

		if (work->result->code != CODE_OK || !work->subject)
			continue;
		r = work_is_sweep(work) ? sweep_decide(batch->request, &batch->ledger, work)
					: work_decide(batch->request, work);
		if (r == 0 && work->result->code == CODE_OK && !work_is_sweep(work))
			r = work_compare_ledger(work, &batch->ledger);
		if (r == -E2BIG)
			r = plugin_set(work->result, CODE_TOO_LARGE, "too many lines of ours to change at once");
		if (r == 0 && work->result->code == CODE_OK && !work_is_sweep(work))
			check_ledger(batch, work);
	}
	return r;
}

static int fail_all(const struct plugin_request *request, struct plugin_result *results, int error)
{
	for (unsigned i = 0; i < request->count; i++) {
		if (results[i].code == CODE_OK)
			(void)plugin_set(&results[i], code_from_errno(-error), "%s", strerror(-error));
	}
	return 0;
}

/* What goes, and the line that comes where it outlives a reboot: the guard judges both. */
static int tell_guard(const struct work *work, struct plugin_result *result)
{
	const struct locations *locations = &work->subject->locations;
	cleanup_buffer struct buffer extra = {0};
	struct json_writer writer = {&extra, false};
	const char *label = plugin_text(work->command, "keypair"), *line = NULL;

	if (work->lost.size == 0 && strcmp(work->command->do_name, "keys.unbind") != 0)
		return 0;
	json_begin_array(&writer, "fingerprints");
	if (work->lost.size > 0)
		buffer_append(&extra, work->lost.bytes, work->lost.size);
	json_end_array(&writer);
	for (unsigned i = 0; i < work->edit_count; i++) {
		const struct work_edit *edit = &work->edits[i];
		if (strcmp(edit->label, label) == 0 && *edit->after && locations->read_by_sshd[edit->place] &&
			edit->place != (unsigned)locations->runtime)
			line = edit->after;
	}
	if (line)
		json_put_string(&writer, "line", line);
	result->extra = buffer_steal(&extra);
	return result->extra ? 0 : -ENOMEM;
}

int bindings_plan(struct plugin_request *request, struct plugin_result *results)
{
	CLEANUP(batch_free) struct batch batch = {.request = request};

	int r = batch_open(&batch, request, results);
	if (r == 0)
		r = decide_all(&batch);
	if (r < 0)
		return fail_all(request, results, r);
	for (unsigned i = 0; i < request->count; i++) {
		struct work *work = &batch.works[i];

		if (results[i].code != CODE_OK || !work->subject)
			continue;
		results[i].changes = work->edit_count > 0 || work->forgotten_count > 0 || work->ledger_changed;
		r = work_is_sweep(work) ? plugin_set_plan(&results[i], "{}") : work_write_plan(work, &results[i].plan);
		if (r == 0 && !work_is_sweep(work))
			r = tell_guard(work, &results[i]);
		if (r == -EFBIG)
			r = plugin_set(&results[i], CODE_TOO_LARGE,
				"his lines for it are longer than a plan; keys.revoke works all the same");
		if (r < 0)
			(void)plugin_set(&results[i], CODE_INTERNAL, "the plan: %s", strerror(-r));
	}
	return 0;
}

static int note(struct batch *batch, struct work *work, const struct work_edit *edit)
{
	const struct locations *locations = &work->subject->locations;
	const struct key_place *place = &locations->places[edit->place];
	const struct key_line line = {edit->after, strlen(edit->after)};
	char fingerprint[SSHKEY_FINGERPRINT_SIZE];
	cleanup_free unsigned char *blob = NULL;
	size_t size;

	struct key_entry *known = key_ledger_find(&batch->ledger, work->subject->user, edit->label, place->path);
	work->outdates = work->outdates || (known && !edit->swept && strcmp(known->line, edit->after) != 0);
	if (*edit->after == '\0') {
		key_ledger_remove(&batch->ledger, work->subject->user, edit->label, place->path);
		return 0;
	}
	if (work_is_sweep(work) && known) { /* put back: who bound it and when stays */
		free(known->state);
		known->state = strdup("present");
		batch->ledger.changed = true;
		return known->state ? 0 : -ENOMEM;
	}
	int r = key_line_blob(&line, &blob, &size);
	if (r < 0)
		return r;
	sshkey_fingerprint(blob, size, fingerprint);
	/* The ledger copies and never writes to the texts. */
	struct key_entry entry = {.user = (char *)(uintptr_t)work->subject->user,
		.keypair = edit->label,
		.fingerprint = fingerprint,
		.signer = (char *)(uintptr_t)batch->request->signer,
		.command = (char *)(uintptr_t)work->command->id,
		.location = (char *)(uintptr_t)((int)edit->place == locations->system    ? "system"
						: (int)edit->place == locations->runtime ? "runtime"
											 : "home"),
		.path = place->path,
		.state = (char *)(uintptr_t) "present",
		.line = edit->after,
		.bound = batch->request->time,
		.expires = plugin_integer(work->command, "expires", -1),
		.made = edit->made,
		.uid = work->subject->account.uid};
	memcpy(entry.mark, batch->ledger.mark, sizeof(entry.mark));
	return key_ledger_put(&batch->ledger, &entry);
}

static void tell_copies(struct work *work, unsigned blob)
{
	const struct locations *locations = &work->subject->locations;

	for (unsigned i = 0; i < locations->count; i++) {
		const struct key_view *view = &work->subject->views[i];
		if (locations->read_by_sshd[i] && view->copies && view->copies[blob] > 0)
			work_tell(work, "still authorised by %.100s:%u", locations->places[i].path, view->copies[blob]);
	}
}

static int take_outcome(struct batch *batch, struct work *work, const struct work_edit *edit, enum key_outcome outcome)
{
	const struct key_view *view = &work->subject->views[edit->place];

	switch (outcome) {
	case KEY_DONE:
	case KEY_ALREADY:
		if (!edit->swept)
			work->result->changes = work->result->changes || outcome == KEY_DONE;
		if (view->tightened && !edit->swept && outcome == KEY_DONE)
			work_tell(work, "others could write to his key file; now they cannot");
		return note(batch, work, edit);
	case KEY_MOVED:
		if (edit->swept)
			return 0;
		return batch->request->redo || batch->request->undo
			       ? plugin_set(
					 work->result, CODE_SUPERSEDED, "the line of %s was changed since", edit->label)
			       : plugin_set(work->result, CODE_BUSY, "the file changes while it is edited");
	case KEY_FAILED:
	default:
		return edit->swept ? 0
				   : plugin_set(work->result, view->code == CODE_OK ? CODE_IO_ERROR : view->code, "%s",
					     view->detail);
	}
}

/* All edits of one subject, which one child carries out. */
struct carried {
	struct subject *subject;
	struct key_edit *edits;
	enum key_outcome *outcomes;
	unsigned *old_blobs; /* of each command: the blob whose other copies are looked for */
};

static void carried_free(struct carried *carried)
{
	free(carried->edits);
	free(carried->outcomes);
	free(carried->old_blobs);
	*carried = (struct carried){0};
}

static bool is_for(const struct work *work, const struct subject *subject)
{
	return work->subject == subject && work->result->code == CODE_OK;
}

static int carry_out_start(struct batch *batch, struct subject *subject, struct carried *ret_carried)
{
	CLEANUP(carried_free) struct carried carried = {0};
	unsigned total = 0, used = 0;

	for (unsigned i = 0; i < batch->request->count; i++)
		total += is_for(&batch->works[i], subject) ? batch->works[i].edit_count : 0;
	if (total == 0)
		return 0;
	carried.edits = calloc(total, sizeof(*carried.edits));
	carried.outcomes = calloc(total, sizeof(*carried.outcomes));
	carried.old_blobs = calloc(batch->request->count, sizeof(*carried.old_blobs));
	if (!carried.edits || !carried.outcomes || !carried.old_blobs)
		return -ENOMEM;
	for (unsigned i = 0; i < batch->request->count; i++) {
		struct work *work = &batch->works[i];

		if (!is_for(work, subject))
			continue;
		for (unsigned j = 0; j < work->edit_count; j++) {
			const struct work_edit *edit = &work->edits[j];
			struct key_place *place = &subject->locations.places[edit->place];

			carried.edits[used++] = (struct key_edit){edit->place, edit->label, edit->before, edit->after};
			/* The plan's own word counts when it is taken back before the ledger was written. */
			place->made = place->made || key_ledger_made(&batch->ledger, subject->user, place->path) ||
				      (edit->made && *edit->after == '\0');
		}
		if (work->old_blob) {
			int r = subject_add_blob(subject, work->old_blob, work->old_blob_size, &carried.old_blobs[i]);
			if (r < 0)
				return r;
		}
	}
	subject_start(batch->request, subject, carried.edits, used);
	carried.subject = subject;
	*ret_carried = carried;
	carried = (struct carried){0};
	return 0;
}

static int carry_out_finish(struct batch *batch, struct carried *carried)
{
	unsigned used = 0;

	int r = subject_finish(batch->request, carried->subject, carried->outcomes);
	for (unsigned i = 0; r == 0 && i < batch->request->count; i++) {
		struct work *work = &batch->works[i];

		if (!is_for(work, carried->subject))
			continue;
		for (unsigned j = 0; r == 0 && j < work->edit_count; j++)
			r = take_outcome(batch, work, &work->edits[j], carried->outcomes[used++]);
		if (work->old_blob && work->result->code == CODE_OK)
			tell_copies(work, carried->old_blobs[i]);
	}
	carried_free(carried);
	return r;
}

/* Two names of one account may well have one file: they take turns. */
static bool may_share(const struct subject *one, const struct subject *other)
{
	return one->account.text && other->account.text &&
	       (one->account.uid == other->account.uid || strcmp(one->account.home, other->account.home) == 0);
}

/* Some accounts at once; what was started is finished, also after an error. */
static int carry_out(struct batch *batch)
{
	struct carried ring[CHILDREN_MAX] = {{0}};
	int r = 0;

	for (unsigned i = 0; i < batch->subject_count + CHILDREN_MAX; i++) {
		const struct subject *next = i < batch->subject_count ? batch->subjects[i] : NULL;
		struct carried *carried = &ring[i % CHILDREN_MAX];

		for (unsigned j = 0; j < CHILDREN_MAX; j++) {
			if (!ring[j].subject || (&ring[j] != carried && !(next && may_share(ring[j].subject, next))))
				continue;
			int finished = carry_out_finish(batch, &ring[j]);
			r = r < 0 ? r : finished;
		}
		if (r == 0 && i < batch->subject_count)
			r = carry_out_start(batch, batch->subjects[i], carried);
	}
	return r;
}

/* The plan is what is carried out, each line only if what the plan saw still stands there. */
static int find_edits(struct batch *batch)
{
	/* A sweep is nobody's command: what it finds is what it does. */
	if (batch->request->count > 0 && work_is_sweep(&batch->works[0]))
		return decide_all(batch);
	int r = batch_prepare(batch);

	for (unsigned i = 0; r == 0 && i < batch->request->count; i++) {
		struct work *work = &batch->works[i];

		if (work->result->code != CODE_OK || !work->subject)
			continue;
		r = work_read_plan(work, batch->request->undo);
		if (r == -EBADMSG)
			r = plugin_set(work->result, CODE_INTERNAL, "the plan is not one of this plugin");
	}
	return r;
}

static void fail_unsynced(struct batch *batch, const struct subject *subject, int error)
{
	for (unsigned i = 0; i < batch->request->count; i++) {
		struct work *work = &batch->works[i];
		if (work->subject == subject && work->result->code == CODE_OK)
			(void)plugin_set(work->result, error == -ETIMEDOUT ? CODE_TIMEOUT : code_from_errno(-error),
				"the key could not be brought to disk: %s", strerror(-error));
	}
}

/* A file system that is brought to disk as one user, whose process he can stop: the next user's may get further. */
struct synced {
	dev_t device;
	int error;
	unsigned tries;
};

/* The new files of all users, one file system after the other; the journal is open until then. */
static int sync_all(struct batch *batch)
{
	cleanup_free struct synced *done = calloc((size_t)batch->subject_count * KEY_PLACES_MAX + 1, sizeof(*done));
	size_t count = 0;

	if (!done)
		return -ENOMEM;
	for (unsigned i = 0; i < batch->subject_count; i++) {
		const struct subject *subject = batch->subjects[i];

		for (unsigned place = 0; place < subject->locations.count; place++) {
			size_t at = 0;
			if (!subject->views || !subject->views[place].unsynced)
				continue;
			while (at < count && done[at].device != subject->views[place].device)
				at++;
			struct synced *synced = &done[at];
			if (at == count) {
				*synced = (struct synced){subject->views[place].device, -EAGAIN, 0};
				count++;
			}
			if (synced->error < 0 && synced->tries++ < SYNC_TRIES)
				synced->error = subject_sync(batch->request, subject, place);
			if (synced->error < 0)
				fail_unsynced(batch, subject, synced->error);
		}
	}
	return 0;
}

/* The keys that the command took away; in a redo the ledger and the file no longer know them, but the plan does. */
static int list_taken(const struct work *work, char (*ret_fingerprints)[SSHKEY_FINGERPRINT_SIZE], const char **ret_list)
{
	unsigned count = 0;

	for (unsigned i = 0; i < work->edit_count; i++) {
		const struct key_line line = {work->edits[i].before, strlen(work->edits[i].before)};
		cleanup_free unsigned char *blob = NULL;
		size_t size;

		if (work->edits[i].swept)
			continue;
		int r = key_line_blob(&line, &blob, &size);
		if (r == -ENOMEM)
			return r;
		if (r < 0)
			continue;
		sshkey_fingerprint(blob, size, ret_fingerprints[count]);
		ret_list[count] = ret_fingerprints[count];
		count++;
	}
	ret_list[count] = NULL;
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int end_sessions(const struct plugin_request *request, struct work *work, unsigned budget_ms)
{
	char fingerprints[WORK_EDITS_MAX][SSHKEY_FINGERPRINT_SIZE];
	const char *list[WORK_EDITS_MAX + 1];
	struct sessions_outcome outcome;

	if (!work->subject || work->result->code != CODE_OK || !plugin_flag(work->command, "end_sessions", false) ||
		strcmp(work->command->do_name, "keys.unbind") != 0 || request->undo || !request->is_host)
		return 0;
	int r = list_taken(work, fingerprints, list);
	if (r < 0 || !*list)
		return r;
	r = sessions_end(work->subject->user, list, budget_ms, &outcome);
	if (r < 0)
		return r;
	if (outcome.ended > 0)
		work_tell(work, "%u sessions ended", outcome.ended);
	if (outcome.open > 0)
		return plugin_set(work->result, CODE_BUSY, "unbound; %u sessions are still open", outcome.open);
	if (outcome.unknown > 0)
		work_tell(work, "of %u sessions nobody can tell which key opened them; sessions.end ends all of his",
			outcome.unknown);
	return 0;
}

/* One list for all keys.revoke of the batch. */
static void write_revocation(struct batch *batch)
{
	struct revocation *revocation = &batch->revocation;
	char detail[DETAIL_MAX + 1] = "";
	bool written;

	if (!revocation->is_open || revocation->code != CODE_OK)
		return;
	enum code code = revocation_write(batch->request, revocation, &written, detail);
	for (unsigned i = 0; i < batch->request->count; i++) {
		struct work *work = &batch->works[i];

		bool swept = work_is_sweep(work) && !plugin_text(work->command, "user");
		if ((!work_is_revocation(work) && !swept) || work->result->code != CODE_OK)
			continue;
		work->result->changes = swept ? written : code == CODE_OK && work->result->changes;
		if (code != CODE_OK) {
			(void)plugin_set(work->result, code, "%s", detail);
			continue;
		}
		if (swept)
			continue;
		if (!batch->request->undo)
			(void)revocation_tell_overridden(revocation, work->result);
		if (revocation->carried)
			work_tell(work, "with what %.100s names, which sshd does not read beside it",
				revocation->carried);
	}
}

static void forget(struct batch *batch)
{
	for (unsigned i = 0; i < batch->request->count; i++) {
		struct work *work = &batch->works[i];

		for (unsigned j = 0; work->result->code == CODE_OK && j < work->forgotten_count; j++) {
			work->outdates = true;
			key_ledger_remove(&batch->ledger, work->subject->user, plugin_text(work->command, "keypair"),
				work->forgotten[j]);
		}
	}
}

/* A ledger that stands as it was must not put back what was taken away: that is done only when the ledger says so. */
static void fail_outdated(const struct batch *batch, int error)
{
	for (unsigned i = 0; i < batch->request->count; i++) {
		const struct work *work = &batch->works[i];
		if (work->outdates && work->result->code == CODE_OK && !work_is_sweep(work))
			(void)plugin_set(work->result, code_from_errno(-error),
				"done, but the list of bound keys could not be written: %s", strerror(-error));
	}
}

int bindings_apply(struct plugin_request *request, struct plugin_result *results)
{
	CLEANUP(batch_free) struct batch batch = {.request = request};

	int r = batch_open(&batch, request, results);
	if (r == 0)
		r = find_edits(&batch);
	if (r == 0)
		r = carry_out(&batch);
	if (r == 0)
		r = sync_all(&batch);
	if (r < 0)
		return fail_all(request, results, r);
	write_revocation(&batch);
	int64_t begun = now_ms();
	for (unsigned i = 0; i < request->count; i++) {
		int64_t spent = now_ms() - begun;
		r = end_sessions(request, &batch.works[i],
			spent < SESSIONS_BUDGET_MS ? SESSIONS_BUDGET_MS - (unsigned)spent : 0);
		if (r < 0 && results[i].code == CODE_OK)
			(void)plugin_set(
				&results[i], code_from_errno(-r), "unbound, but his sessions: %s", strerror(-r));
	}
	/* The keys stand whether or not the list of them could be written: a full disk must not keep a runtime key out.
	 */
	forget(&batch);
	r = key_ledger_write(request->state, &batch.ledger);
	if (r < 0) {
		log_warning("the ledger of keys could not be written: %s", strerror(-r));
		fail_outdated(&batch, r);
	}
	return 0;
}
