/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/key_task.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "lib/file.h"
#include "lib/sys.h"
#include "plugins/authorized-keys/key_lines.h"
#include "plugins/authorized-keys/key_walk.h"
#include "plugins/authorized-keys/key_wire.h"

#define ATTEMPTS_MAX 10u /* with their pauses well below the shortest time that a child has */
#define ATTEMPTS_PAUSE_MS 20u

/* What the child knows of one file. */
struct content {
	int directory, descriptor; /* descriptor -1: no such file */
	const char *name;
	char *text;
	size_t size;
};

static void content_free(struct content *content)
{
	if (content->directory >= 0)
		(void)close(content->directory);
	if (content->descriptor >= 0)
		(void)close(content->descriptor);
	free(content->text);
}

static int refuse_errno(struct key_view *view, int error, const char *path)
{
	switch (error) {
	case ELOOP:
		return key_view_refuse(view, CODE_SYMLINK, "%.150s", path);
	case ENXIO:
	case EINVAL:
	case EISDIR:
		return key_view_refuse(view, CODE_NOT_REGULAR, "%.150s", path);
	case EFBIG:
		return key_view_refuse(view, CODE_TOO_LARGE, "%.120s is larger than %u bytes", path, KEY_FILE_MAX);
	case EACCES:
		return key_view_refuse(view, CODE_OWNER, "%.150s cannot be read by its user", path);
	default:
		return key_view_refuse(view, code_from_errno(error), "%.120s: %s", path, strerror(error));
	}
}

/* -ENOENT: there is no such file (or directory), which is no failure. */
static int read_content(const struct key_task *task, const struct key_place *place, enum key_walk_purpose purpose,
	struct key_view *view, struct content *content)
{
	struct stat status;

	int r = key_walk(task, place, purpose, view, &content->directory, &content->name);
	if (r < 0)
		return r;
	r = file_open(content->directory, content->name, &content->descriptor, &status);
	if (r == -ENOENT)
		return r;
	if (r < 0)
		return refuse_errno(view, -r, place->path);
	if (status.st_nlink != 1)
		return key_view_refuse(view, CODE_HARD_LINK, "%.150s", place->path);
	if (status.st_uid != task->identity.uid)
		return key_view_refuse(
			view, CODE_OWNER, "%.120s belongs to uid %u", place->path, (unsigned)status.st_uid);
	r = file_read_descriptor(content->descriptor, KEY_FILE_MAX, &content->text, &content->size);
	if (r < 0)
		return refuse_errno(view, -r, place->path);
	view->exists = true;
	return 0;
}

/* -EAGAIN is for edit_place(), which tries again. */
static int fail_write(struct key_view *view, int r, const char *path)
{
	return r == 0 || r == -EAGAIN ? r : refuse_errno(view, -r, path);
}

static int write_content(const struct key_task *task, const struct key_place *place, struct content *content,
	const struct buffer *text, struct key_view *view)
{
	const struct file_reading was = {content->text, content->size};
	struct file_attributes attributes = {.mode = place->home_size > 0 ? 0600 : 0644,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
		.like = content->descriptor,
		.unsynced = task->sync_later && content->descriptor < 0};
	struct stat status;
	int r = 0;

	if (text->size > KEY_FILE_MAX)
		return refuse_errno(view, EFBIG, place->path);
	if (text->size == 0 && place->made) {
		if (content->descriptor >= 0)
			r = file_remove_shared(content->directory, content->name, content->descriptor, &was);
		/* Who keeps it open does not keep the key in it: then it is emptied. */
		if (r != -EBUSY)
			return fail_write(view, r, place->path);
	}
	if (content->descriptor >= 0) {
		/* sshd refuses a file that others can write to; the new one must be good. */
		if (sys.fstat(content->descriptor, &status) < 0)
			return refuse_errno(view, errno, place->path);
		if ((status.st_mode & 022) != 0) {
			if (sys.fchmod(content->descriptor, status.st_mode & 07755) < 0)
				return refuse_errno(view, errno, place->path);
			view->tightened = true;
		}
	}
	r = file_replace_shared(content->directory, content->name, text->bytes, text->size, &attributes, &was);
	if (r == 0 && attributes.unsynced) {
		if (sys.fstat(content->directory, &status) < 0)
			return refuse_errno(view, errno, place->path);
		view->unsynced = true;
		view->device = status.st_dev;
	}
	return fail_write(view, r, place->path);
}

/* What an apply that was ended has written may not be on disk yet; who is told that it stands closes the journal. */
static int sync_content(const struct content *content, struct key_view *view, const char *path)
{
	if ((content->descriptor >= 0 && sys.fsync(content->descriptor) < 0) ||
		(content->directory >= 0 && sys.fsync(content->directory) < 0))
		return refuse_errno(view, errno, path);
	return 0;
}

/* What stands for a label; "" for none. */
static bool stands(const char *text, size_t size, const char *label, const char *line)
{
	struct key_line found;

	if (key_lines_find(text, size, label, &found) < 0)
		return *line == '\0';
	return strlen(line) == found.size && memcmp(line, found.start, found.size) == 0;
}

static int edit_once(const struct key_task *task, unsigned place, struct key_view *view, enum key_outcome *outcomes)
{
	CLEANUP(content_free) struct content content = {.directory = -1, .descriptor = -1};
	cleanup_buffer struct buffer text = {0};
	bool changed = false, adds = false, stood = false;

	for (unsigned i = 0; i < task->edit_count; i++)
		adds = adds || (task->edits[i].place == place && *task->edits[i].after != '\0');
	int r = read_content(task, &task->places[place], adds ? KEY_WALK_ADD : KEY_WALK_EDIT, view, &content);
	if (r < 0 && r != -ENOENT)
		return r;
	buffer_append(&text, content.text ? content.text : "", content.size);
	for (unsigned i = 0; i < task->edit_count; i++) {
		const struct key_edit *edit = &task->edits[i];
		cleanup_buffer struct buffer next = {0};

		if (edit->place != place)
			continue;
		if (buffer_status(&text) < 0)
			return -ENOMEM;
		if (stands(text.bytes, text.size, edit->label, edit->after)) {
			outcomes[i] = KEY_ALREADY;
			stood = true;
			continue;
		}
		if (!stands(text.bytes, text.size, edit->label, edit->before)) {
			outcomes[i] = KEY_MOVED;
			continue;
		}
		r = key_lines_set(text.bytes, text.size, edit->label, *edit->after ? edit->after : NULL, &next);
		if (r < 0)
			return r;
		struct buffer old = text;
		text = next;
		next = old;
		outcomes[i] = KEY_DONE;
		changed = true;
	}
	/* latchkey-apply runs one at a time, so a temporary file of ours is one that a crash left. */
	if (content.directory >= 0)
		file_sweep_temporaries(content.directory, INT64_MAX);
	if (changed)
		return write_content(task, &task->places[place], &content, &text, view);
	return stood ? sync_content(&content, view, task->places[place].path) : 0;
}

/* Its user may be writing to the file at this moment: what he writes must not go with the old one. */
static int edit_place(const struct key_task *task, unsigned place, struct key_view *view, enum key_outcome *outcomes)
{
	const struct timespec pause = {0, ATTEMPTS_PAUSE_MS * 1000000L};

	for (unsigned attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
		view->exists = false;
		int r = edit_once(task, place, view, outcomes);
		if (r != -EAGAIN)
			return r;
		(void)nanosleep(&pause, NULL);
	}
	return key_view_refuse(view, CODE_BUSY, "%.120s changes all the time", task->places[place].path);
}

static void put_lines(const struct key_task *task, const char *text, size_t size, struct buffer *output)
{
	char label[KEY_LABEL_MAX + 1];
	cleanup_buffer struct buffer ours = {0};
	struct key_line line;
	size_t offset = 0;

	while (key_lines_next(text, size, &offset, &line)) {
		if (!key_line_is_ours(&line, label))
			continue;
		buffer_append(&ours, line.start, line.size);
		buffer_append(&ours, "\n", 1);
	}
	key_wire_put_bytes(output, ours.bytes ? ours.bytes : "", ours.size);
	for (unsigned i = 0; i < task->blob_count; i++) {
		unsigned any = 0, number = 1;

		key_wire_put_number(
			output, key_lines_find_foreign(text, size, task->blobs[i].bytes, task->blobs[i].size));
		offset = 0;
		for (; any == 0 && key_lines_next(text, size, &offset, &line); number++)
			any = key_line_has_blob(&line, task->blobs[i].bytes, task->blobs[i].size) ? number : 0;
		key_wire_put_number(output, any);
	}
}

/* Brings the places' file systems to disk. */
static int sync_places(const struct key_task *task)
{
	for (unsigned i = 0; i < task->place_count; i++) {
		CLEANUP(content_free) struct content content = {.directory = -1, .descriptor = -1};
		struct key_view view = {0};

		if (!task->chosen[i])
			continue;
		int r = key_walk(task, &task->places[i], KEY_WALK_LOOK, &view, &content.directory, &content.name);
		if (r < 0)
			return r;
		if (sys.syncfs(content.directory) < 0)
			return -errno;
	}
	return 0;
}

int key_task_work(const struct key_task *task, struct buffer *output)
{
	cleanup_free enum key_outcome *outcomes = calloc((size_t)task->edit_count + 1, sizeof(*outcomes));

	if (!outcomes)
		return -ENOMEM;
	if (task->sync)
		return sync_places(task);
	for (unsigned i = 0; i < task->place_count; i++) {
		CLEANUP(content_free) struct content content = {.directory = -1, .descriptor = -1};
		struct key_view view = {0}, after = {0};
		bool edited = false;

		if (!task->chosen[i])
			continue;
		for (unsigned j = 0; j < task->edit_count; j++)
			edited = edited || task->edits[j].place == i;
		if (edited) {
			int r = edit_place(task, i, &view, outcomes);
			if (r == -ENOMEM)
				return r;
			for (unsigned j = 0; r < 0 && j < task->edit_count; j++) {
				if (task->edits[j].place == i)
					outcomes[j] = KEY_FAILED;
			}
		}
		(void)!read_content(task, &task->places[i], KEY_WALK_LOOK, &after, &content);
		if (view.code == CODE_OK && after.code != CODE_OK) {
			view.code = after.code;
			memcpy(view.detail, after.detail, sizeof(view.detail));
		}
		key_wire_put_number(output, (unsigned)view.code);
		key_wire_put_number(output, ((edited ? view.exists : after.exists) ? KEY_VIEW_EXISTS : 0) |
						    (after.home_open ? KEY_VIEW_HOME_OPEN : 0) |
						    (view.tightened || after.tightened ? KEY_VIEW_TIGHTENED : 0) |
						    (view.unsynced ? KEY_VIEW_UNSYNCED : 0));
		key_wire_put_bytes(output, (const char *)&view.device, sizeof(view.device));
		key_wire_put_bytes(output, view.detail, strlen(view.detail));
		put_lines(task, content.text ? content.text : "", content.size, output);
	}
	for (unsigned i = 0; i < task->edit_count; i++) {
		if (task->chosen[task->edits[i].place])
			key_wire_put_number(output, (unsigned)outcomes[i]);
	}
	return 0;
}

void key_view_free(struct key_view *view)
{
	free(view->ours);
	free(view->foreign);
	free(view->copies);
	*view = (struct key_view){0};
}
