/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/key_task.h"

#include <errno.h>
#include <string.h>
#include <sys/fsuid.h>
#include <time.h>

#include "lib/file.h"
#include "lib/file_shared.h"
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

/*
 * -ENOENT: there is no such file (or directory), which is no failure. `at_once` after an edit; else what somebody has
 * just emptied to write it anew is waited for, for a file without its lines has neither the key to be unbound nor his
 * own.
 */
static int read_content(const struct key_task *task, const struct key_place *place, enum key_walk_purpose purpose,
	bool at_once, struct key_view *view, struct content *content)
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
	r = (at_once ? file_read_descriptor : file_shared_read)(
		content->descriptor, KEY_FILE_MAX, &content->text, &content->size);
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
		.own_group = !place->root_owned,
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
	/* Whom the operator lets read a key file of root's by its group must read the new one, and there is no chown.
	 */
	int group = place->root_owned && content->descriptor >= 0 ? setfsgid(status.st_gid) : -1;
	r = file_replace_shared(content->directory, content->name, text->bytes, text->size, &attributes, &was);
	if (group >= 0)
		(void)setfsgid((gid_t)group);
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

/* Behind the last line of ours. They are the first, as a rule: each edit then costs nothing for a long file of his. */
static size_t end_of_ours(const char *text, size_t size)
{
	char label[KEY_LABEL_MAX + 1];
	struct key_line line;
	size_t offset = 0, end = 0;

	while (key_lines_next(text, size, &offset, &line)) {
		if (key_line_is_ours(&line, label))
			end = offset;
	}
	return end;
}

static int edit_once(const struct key_task *task, unsigned place, struct key_view *view, enum key_outcome *outcomes)
{
	CLEANUP(content_free) struct content content = {.directory = -1, .descriptor = -1};
	cleanup_buffer struct buffer text = {0};
	bool changed = false, adds = false, stood = false;

	for (unsigned i = 0; i < task->edit_count; i++)
		adds = adds || (task->edits[i].place == place && *task->edits[i].after != '\0');
	int r = read_content(task, &task->places[place], adds ? KEY_WALK_ADD : KEY_WALK_EDIT, false, view, &content);
	if (r < 0 && r != -ENOENT)
		return r;
	size_t head = end_of_ours(content.text, content.size);
	buffer_append(&text, content.text ? content.text : "", head);
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
	buffer_append(&text, content.text ? content.text + head : "", content.size - head);
	if (buffer_status(&text) < 0)
		return -ENOMEM;
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

/* A blob that is looked for, and the first lines that hold it. */
struct sought {
	struct key_blob blob;
	unsigned index, foreign, any;
};

static int compare_blobs(const struct key_blob *first, const struct key_blob *second)
{
	if (first->size != second->size)
		return first->size < second->size ? -1 : 1;
	return memcmp(first->bytes, second->bytes, first->size);
}

static int by_blob(const void *a, const void *b)
{
	return compare_blobs(&((const struct sought *)a)->blob, &((const struct sought *)b)->blob);
}

static int by_index(const void *a, const void *b)
{
	const struct sought *first = a, *second = b;

	return first->index < second->index ? -1 : first->index > second->index;
}

static void note_line(struct sought *sought, unsigned count, const struct key_blob *blob, unsigned number, bool ours)
{
	unsigned low = 0, high = count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		if (compare_blobs(&sought[middle].blob, blob) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < count && compare_blobs(&sought[low].blob, blob) == 0; low++) {
		if (sought[low].any == 0)
			sought[low].any = number;
		if (sought[low].foreign == 0 && !ours)
			sought[low].foreign = number;
	}
}

static int put_lines(const struct key_task *task, const char *text, size_t size, struct buffer *output)
{
	cleanup_free struct sought *sought = calloc((size_t)task->blob_count + 1, sizeof(*sought));
	char label[KEY_LABEL_MAX + 1];
	cleanup_buffer struct buffer ours = {0};
	struct key_line line;
	size_t offset = 0;

	if (!sought)
		return -ENOMEM;
	for (unsigned i = 0; i < task->blob_count; i++)
		sought[i] = (struct sought){task->blobs[i], i, 0, 0};
	qsort(sought, task->blob_count, sizeof(*sought), by_blob);
	for (unsigned number = 1; key_lines_next(text, size, &offset, &line); number++) {
		cleanup_free unsigned char *blob = NULL;
		size_t blob_size;
		bool is_ours = key_line_is_ours(&line, label);

		if (is_ours) {
			buffer_append(&ours, line.start, line.size);
			buffer_append(&ours, "\n", 1);
		}
		if (task->blob_count == 0)
			continue;
		int r = key_line_blob(&line, &blob, &blob_size);
		if (r == -ENOMEM)
			return r;
		if (r == 0)
			note_line(sought, task->blob_count, &(struct key_blob){blob, blob_size}, number, is_ours);
	}
	key_wire_put_bytes(output, ours.bytes ? ours.bytes : "", ours.size);
	qsort(sought, task->blob_count, sizeof(*sought), by_index);
	for (unsigned i = 0; i < task->blob_count; i++) {
		key_wire_put_number(output, sought[i].foreign);
		key_wire_put_number(output, sought[i].any);
	}
	return buffer_status(&ours);
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
		(void)!read_content(task, &task->places[i], KEY_WALK_LOOK, edited, &after, &content);
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
		int r = put_lines(task, content.text ? content.text : "", content.size, output);
		if (r < 0)
			return r;
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
