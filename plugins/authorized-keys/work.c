/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/work.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "lib/base64.h"
#include "plugins/authorized-keys/key_lines.h"

#define SWEPT_TEXT_MAX 2048u /* of expired lines in one plan: 512 of them go through one reply */
#define LOST_MAX 64u         /* keys under one label: one per place, and doubled ones; they, too, are in the reply */

void work_free(struct work *work)
{
	for (unsigned i = 0; i < work->edit_count; i++) {
		free(work->edits[i].label);
		free(work->edits[i].before);
		free(work->edits[i].after);
	}
	free(work->edits);
	work->edits = NULL;
	work->edit_count = 0;
	for (unsigned i = 0; i < work->forgotten_count; i++)
		free(work->forgotten[i]);
	work->forgotten_count = 0;
	for (unsigned i = 0; i < work->blob_count; i++)
		free(work->blobs[i].bytes);
	free(work->blobs);
	work->blobs = NULL;
	work->blob_count = 0;
	free(work->old_blob);
	work->old_blob = NULL;
	buffer_free(&work->lost);
	key_text_free(&work->text);
}

/* Takes the bytes over, also on failure. */
static int add_blob(struct work *work, unsigned char *bytes, size_t size, struct work_blob **ret_blob)
{
	struct work_blob *more = reallocarray(work->blobs, work->blob_count + 1, sizeof(*more));

	if (!more) {
		free(bytes);
		return -ENOMEM;
	}
	work->blobs = more;
	work->blobs[work->blob_count] = (struct work_blob){0, bytes, size};
	*ret_blob = &work->blobs[work->blob_count++];
	return 0;
}

int work_look_for_known(struct work *work, const struct key_ledger *ledger, const char *keypair)
{
	struct subject *subject = work->subject;

	for (unsigned i = key_ledger_first(ledger, subject->user); i != KEY_LEDGER_END; i = ledger->entries[i].next) {
		const struct key_entry *entry = &ledger->entries[i];
		const struct key_line line = {entry->line, strlen(entry->line)};
		struct work_blob *blob;
		unsigned char *bytes;
		size_t size;

		if ((keypair && strcmp(entry->keypair, keypair) != 0) || key_line_blob(&line, &bytes, &size) < 0)
			continue;
		int r = add_blob(work, bytes, size, &blob);
		if (r == 0)
			r = subject_add_blob(subject, bytes, size, &blob->index);
		if (r < 0)
			return r;
	}
	return 0;
}

void work_tell(struct work *work, const char *format, ...)
{
	char text[DETAIL_MAX + 1];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	size_t used = strlen(work->result->detail);
	char all[2 * DETAIL_MAX + 8];
	(void)snprintf(all, sizeof(all), "%s%s%s", work->result->detail, used > 0 ? "; " : "", text);
	(void)plugin_set(work->result, work->result->code, "%s", all);
}

/* Takes over nothing: the edit has its own copies. */
static int append_edit(struct work *work, unsigned place, const char *label, const char *before, const char *after,
	bool made, bool swept)
{
	if (work->edit_count == WORK_EDITS_MAX)
		return -E2BIG;
	struct work_edit *more = reallocarray(work->edits, work->edit_count + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	work->edits = more;
	struct work_edit *edit = &more[work->edit_count++];
	*edit = (struct work_edit){place, strdup(label), strdup(before), strdup(after), made, swept};
	return edit->label && edit->before && edit->after ? 0 : -ENOMEM;
}

int work_add_edit(
	struct work *work, unsigned place, const char *label, const char *before, const char *after, bool swept)
{
	struct key_view *view = &work->subject->views[place];
	cleanup_buffer struct buffer ours = {0};

	if (strcmp(before, after) == 0)
		return 0;
	int r = append_edit(work, place, label, before, after, !view->exists, swept);
	if (r < 0)
		return r;
	/* What the next command of the batch will find. */
	r = key_lines_set(view->ours ? view->ours : "", view->ours_size, label, *after ? after : NULL, &ours);
	if (r < 0)
		return r;
	free(view->ours);
	view->ours_size = ours.size;
	view->ours = buffer_steal(&ours);
	return view->ours ? 0 : -ENOMEM;
}

static bool find_label(const struct key_view *view, const char *label, struct key_line *ret_line)
{
	return view->ours && key_lines_find(view->ours, view->ours_size, label, ret_line) == 0;
}

static bool is_expired(const struct key_line *line, int64_t now)
{
	int64_t expiry;
	return key_line_expiry(line, &expiry) && expiry <= now;
}

/* Expired lines of ours in a file that is written anyway. */
static int sweep(struct work *work, unsigned place, int64_t now)
{
	const char *own = plugin_text(work->command, "keypair");
	size_t left = SWEPT_TEXT_MAX;
	bool again = true;

	while (again) {
		const struct key_view *view = &work->subject->views[place];
		char label[KEY_LABEL_MAX + 1];
		struct key_line line;
		size_t offset = 0;

		again = false;
		while (view->ours && key_lines_next(view->ours, view->ours_size, &offset, &line)) {
			if (!key_line_is_ours(&line, label) || strcmp(label, own) == 0 || line.size > left ||
				!is_expired(&line, now))
				continue; /* the next write takes what is too much now */
			left -= line.size;
			cleanup_free char *before = strndup(line.start, line.size);
			int r = before ? work_add_edit(work, place, label, before, "", true) : -ENOMEM;
			if (r == -E2BIG)
				return 0; /* the next write takes the rest */
			if (r < 0)
				return r;
			again = true; /* the view has changed under the walk */
			break;
		}
	}
	return 0;
}

/* Every key that stands under the label: lines may have been edited or doubled by hand since they were bound. */
static int note_lost(struct work *work, const struct key_view *view, const char *label)
{
	struct json_writer writer = {&work->lost, work->lost.size > 0};
	char found[KEY_LABEL_MAX + 1], fingerprint[SSHKEY_FINGERPRINT_SIZE];
	struct key_line line;
	size_t offset = 0;

	while (key_lines_next(view->ours, view->ours_size, &offset, &line)) {
		cleanup_free unsigned char *blob = NULL;
		size_t size;

		if (!key_line_is_ours(&line, found) || strcmp(found, label) != 0)
			continue;
		int r = key_line_blob(&line, &blob, &size);
		if (r == -ENOMEM)
			return r;
		if (r < 0)
			continue; /* no key that anybody could log in with */
		sshkey_fingerprint(blob, size, fingerprint);
		if (work->lost.size > 0 && memmem(work->lost.bytes, work->lost.size, fingerprint, strlen(fingerprint)))
			continue;
		if (work->lost_count++ == LOST_MAX)
			return -E2BIG;
		json_put_string(&writer, NULL, fingerprint);
	}
	return buffer_status(&work->lost);
}

static int set_line(struct work *work, unsigned place, const char *after, int64_t now)
{
	const char *label = plugin_text(work->command, "keypair");
	const struct key_view *view = &work->subject->views[place];
	cleanup_free char *before = NULL;
	struct key_line line = {"", 0};
	unsigned count = work->edit_count;

	(void)find_label(view, label, &line);
	before = strndup(line.start, line.size);
	if (!before)
		return -ENOMEM;
	int r = strcmp(before, after) != 0 ? note_lost(work, view, label) : 0;
	if (r == 0)
		r = work_add_edit(work, place, label, before, after, false);
	return r < 0 || work->edit_count == count ? r : sweep(work, place, now);
}

/* The place that the command names, looked at and fit to be written; otherwise the result says why not. */
static int find_place(struct work *work, unsigned *ret_place)
{
	const struct locations *locations = &work->subject->locations;
	const char *location = plugin_text(work->command, "location");
	bool home = !location || strcmp(location, "home") == 0;
	int place = home ? locations->home : strcmp(location, "system") == 0 ? locations->system : locations->runtime;

	if (place < 0)
		return plugin_set(work->result, locations->home_code, "%s", locations->home_detail);
	if (!home && !locations->read_by_sshd[place] && *locations->note == '\0')
		return plugin_set(
			work->result, CODE_KEYS_FILE_NONE, "sshd does not read %.150s", locations->places[place].path);
	const struct key_view *view = &work->subject->views[place];
	if (view->code != CODE_OK)
		return plugin_set(work->result, view->code, "%s", view->detail);
	*ret_place = (unsigned)place;
	return 0;
}

/* Another key under that label, anywhere: a refusal. */
static int check_conflict(struct work *work, int64_t now)
{
	const char *label = plugin_text(work->command, "keypair");
	const struct sshkey *key = &work->text.key;

	for (unsigned i = 0; i < work->subject->locations.count; i++) {
		struct key_line line;

		if (find_label(&work->subject->views[i], label, &line) &&
			!key_line_has_blob(&line, key->blob, key->blob_size) && !is_expired(&line, now))
			return plugin_set(
				work->result, CODE_CONFLICT, "%s is bound with another key; use keys.replace", label);
	}
	return 0;
}

/* Where the key stands on a line that is not ours, and lets him in: there, or where sshd looks. */
static bool find_foreign(const struct work *work, unsigned place, unsigned *ret_place, unsigned *ret_line)
{
	const struct locations *locations = &work->subject->locations;

	for (unsigned i = 0; i < locations->count; i++) {
		const struct key_view *view = &work->subject->views[i];
		if ((i == place || locations->read_by_sshd[i]) && view->foreign && view->foreign[work->blob] > 0) {
			*ret_place = i;
			*ret_line = view->foreign[work->blob];
			return true;
		}
	}
	return false;
}

static bool is_same(const struct work_blob *blob, const unsigned char *bytes, size_t size)
{
	return bytes && blob->size == size && memcmp(blob->bytes, bytes, size) == 0;
}

/* Where the keys that were bound stand on lines that are no longer ours: those stay. */
static void tell_unmarked(struct work *work)
{
	const struct locations *locations = &work->subject->locations;
	const struct sshkey *key = &work->text.key;

	for (unsigned i = 0; i < work->blob_count; i++) {
		const struct work_blob *blob = &work->blobs[i];
		/* The copies of one whose line is cut are told when it is. */
		bool told =
			is_same(blob, work->old_blob, work->old_blob_size) || is_same(blob, key->blob, key->blob_size);

		for (unsigned j = 0; j < i; j++)
			told = told || is_same(blob, work->blobs[j].bytes, work->blobs[j].size);
		for (unsigned place = 0; !told && place < locations->count; place++) {
			const struct key_view *view = &work->subject->views[place];
			if (locations->read_by_sshd[place] && view->foreign && view->foreign[blob->index] > 0)
				work_tell(work, "still authorised by %.100s:%u", locations->places[place].path,
					view->foreign[blob->index]);
		}
	}
}

static int decide_bind(const struct plugin_request *request, struct work *work, bool replace)
{
	const struct locations *locations = &work->subject->locations;
	const char *label = plugin_text(work->command, "keypair");
	unsigned place = 0, foreign_place, foreign_line;
	struct key_line line;
	bool standing = false;

	int r = find_place(work, &place);
	if (r < 0 || work->result->code != CODE_OK)
		return r;
	if (!replace)
		(void)check_conflict(work, request->time);
	if (work->result->code != CODE_OK)
		return 0;
	bool foreign = find_foreign(work, place, &foreign_place, &foreign_line);
	if (foreign)
		work_tell(
			work, "key was added by hand (%.120s:%u)", locations->places[foreign_place].path, foreign_line);
	for (unsigned i = 0; replace && r == 0 && i < locations->count; i++) {
		if (!find_label(&work->subject->views[i], label, &line))
			continue;
		/* Where sshd does not look it is kept in step, but does not let anybody in. */
		standing = standing || i == place || locations->read_by_sshd[i];
		/* A line of ours above the user's own would bypass what his says. */
		r = set_line(work, i, foreign ? "" : work->text.line, request->time);
	}
	if (r == 0 && !standing && !foreign)
		r = set_line(work, place, work->text.line, request->time);
	if (r == 0)
		tell_unmarked(work);
	if (r == 0 && work->subject->views[place].home_open)
		work_tell(work, "%.60s is writable by others: sshd may refuse keys there (StrictModes)",
			work->subject->account.home);
	if (r == 0 && *locations->note)
		work_tell(work, "%s", locations->note);
	return r;
}

static int decide_unbind(const struct plugin_request *request, struct work *work)
{
	const struct locations *locations = &work->subject->locations;
	const char *label = plugin_text(work->command, "keypair");
	const struct key_view *unknown = NULL;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < locations->count; i++) {
		const struct key_view *view = &work->subject->views[i];
		struct key_line line;

		/* A home that is gone, or files that cannot be looked at: nothing is known of them. */
		if (view->code != CODE_OK && locations->read_by_sshd[i] && !unknown)
			unknown = view;
		if (!find_label(view, label, &line))
			continue;
		if (!work->old_blob && key_line_blob(&line, &work->old_blob, &work->old_blob_size) == -ENOMEM)
			return -ENOMEM;
		r = set_line(work, i, "", request->time);
	}
	if (r < 0)
		return r;
	if (work->edit_count == 0 && unknown)
		return plugin_set(work->result, unknown->code, "%s", unknown->detail);
	if (locations->has_command)
		work_tell(work, "AuthorizedKeysCommand may still authorise it");
	if (work->edit_count == 0)
		work_tell(work, "no key of ours is bound as %s", label);
	else if (unknown)
		work_tell(work, "not looked at: %.150s", unknown->detail);
	tell_unmarked(work);
	return 0;
}

int work_decide(const struct plugin_request *request, struct work *work)
{
	if (strcmp(work->command->do_name, "keys.unbind") == 0)
		return decide_unbind(request, work);
	return decide_bind(request, work, strcmp(work->command->do_name, "keys.replace") == 0);
}

static int forget(struct work *work, const char *path)
{
	if (work->forgotten_count == KEY_PLACES_MAX)
		return -E2BIG;
	work->forgotten[work->forgotten_count] = strdup(path);
	return work->forgotten[work->forgotten_count++] ? 0 : -ENOMEM;
}

int work_compare_ledger(struct work *work, const struct key_ledger *ledger)
{
	const char *label = plugin_text(work->command, "keypair");
	const struct locations *locations = &work->subject->locations;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < locations->count; i++) {
		const struct key_view *view = &work->subject->views[i];
		const char *path = locations->places[i].path;
		const struct key_entry *entry = key_ledger_find(ledger, work->subject->user, label, path);
		struct key_line line;

		if (!entry || view->code != CODE_OK)
			continue;
		if (!find_label(view, label, &line)) {
			r = forget(work, path);
			continue;
		}
		cleanup_free char *text = strndup(line.start, line.size);
		if (!text)
			return -ENOMEM;
		if (work->text.line && strcmp(text, work->text.line) == 0 && strcmp(text, entry->line) != 0)
			r = append_edit(work, i, label, text, text, false, false);
	}
	return r;
}

/* What stands in a user's file may be any bytes. */
static void put_line(struct json_writer *writer, const char *name, const char *encoded_name, const char *line)
{
	cleanup_buffer struct buffer encoded = {0};

	if (json_is_utf8(line)) {
		json_put_string(writer, name, line);
		return;
	}
	base64_append(&encoded, line, strlen(line));
	if (buffer_status(&encoded) < 0)
		writer->out->failed = true;
	else
		json_put_string(writer, encoded_name, encoded.bytes);
}

static int take_line(const cJSON *edit, const char *name, const char *encoded_name, char **ret_line)
{
	cleanup_free unsigned char *bytes = NULL;
	const char *text;
	size_t size;

	if (json_get_string(edit, name, &text) == 0) {
		*ret_line = strdup(text);
		return *ret_line ? 0 : -ENOMEM;
	}
	int r = json_get_string(edit, encoded_name, &text) == 0 ? base64_decode(text, strlen(text), &bytes, &size)
								: -EBADMSG;
	if (r == 0 && strlen((const char *)bytes) != size)
		r = -EBADMSG;
	if (r < 0)
		return r;
	*ret_line = (char *)steal_pointer(&bytes);
	return 0;
}

int work_write_plan(const struct work *work, char **ret_plan)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};

	json_begin_object(&writer, NULL);
	json_begin_array(&writer, "edits");
	for (unsigned i = 0; i < work->edit_count; i++) {
		const struct work_edit *edit = &work->edits[i];

		json_begin_object(&writer, NULL);
		json_put_string(&writer, "path", work->subject->locations.places[edit->place].path);
		put_line(&writer, "before", "before_base64", edit->before);
		put_line(&writer, "after", "after_base64", edit->after);
		json_put_bool(&writer, "made", edit->made);
		if (edit->swept)
			json_put_string(&writer, "swept", edit->label);
		json_end_object(&writer);
	}
	json_end_array(&writer);
	if (work->forgotten_count > 0) {
		json_begin_array(&writer, "forgotten");
		for (unsigned i = 0; i < work->forgotten_count; i++)
			json_put_string(&writer, NULL, work->forgotten[i]);
		json_end_array(&writer);
	}
	json_put_string(&writer, "detail", work->result->detail);
	json_end_object(&writer);
	int r = buffer_status(&text);
	if (r < 0)
		return r;
	if (text.size > PLUGIN_PLAN_MAX)
		return -EFBIG;
	*ret_plan = buffer_steal(&text);
	return 0;
}

int work_read_plan(struct work *work, bool exchange)
{
	const char *label = plugin_text(work->command, "keypair");
	struct subject *subject = work->subject;
	const cJSON *edits, *forgotten, *node;
	const char *detail;

	if (json_get_array(work->command->plan, "edits", &edits) < 0)
		return -EBADMSG;
	if (!exchange && json_get_string(work->command->plan, "detail", &detail) == 0 && *detail)
		work_tell(work, "%s", detail);
	if (!exchange && json_get_array(work->command->plan, "forgotten", &forgotten) == 0) {
		cJSON_ArrayForEach(node, forgotten)
		{
			int r = cJSON_IsString(node) ? forget(work, node->valuestring) : -EBADMSG;
			if (r < 0)
				return r == -ENOMEM ? r : -EBADMSG;
		}
	}
	cJSON_ArrayForEach(node, edits)
	{
		cleanup_free char *one = NULL, *other = NULL;
		const char *path, *swept = NULL;
		unsigned place;
		bool made;

		int r = take_line(node, "before", "before_base64", &one);
		if (r == 0)
			r = take_line(node, "after", "after_base64", &other);
		if (r == 0 && (json_get_string(node, "path", &path) < 0 || json_get_bool(node, "made", &made) < 0 ||
				      work->edit_count == WORK_EDITS_MAX))
			r = -EBADMSG;
		if (r < 0)
			return r == -ENOMEM ? r : -EBADMSG;
		const char *before = exchange ? other : one, *after = exchange ? one : other;
		(void)!json_get_string(node, "swept", &swept);
		if (swept && exchange)
			continue; /* what had expired does not come back */
		r = locations_add(&subject->locations, &subject->account, path, &place);
		if (r < 0)
			return r == -EINVAL ? -EBADMSG : r;
		r = append_edit(work, place, swept ? swept : label, before, after, made, swept != NULL);
		if (r < 0)
			return r;
		const struct key_line line = {before, strlen(before)};
		if (*after == '\0' && !work->old_blob && !swept &&
			key_line_blob(&line, &work->old_blob, &work->old_blob_size) == -ENOMEM)
			return -ENOMEM;
	}
	return 0;
}
