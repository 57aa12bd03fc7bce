/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/key_wire.h"

#include <errno.h>
#include <string.h>

#define TASK_SYNC_LATER 1u
#define TASK_SYNC 2u
#define PLACE_CHOSEN 1u
#define PLACE_ROOT_OWNED 2u
#define PLACE_MADE 4u

void key_wire_put_number(struct buffer *output, unsigned number)
{
	buffer_append(output, &number, sizeof(number));
}

void key_wire_put_bytes(struct buffer *output, const char *bytes, size_t size)
{
	key_wire_put_number(output, (unsigned)size);
	buffer_append(output, bytes, size);
}

/* With its NUL, so that it can be used where it stands. */
static void put_text(struct buffer *output, const char *text)
{
	key_wire_put_bytes(output, text, strlen(text) + 1);
}

void key_wire_put_task(struct buffer *output, const struct key_task *task)
{
	unsigned flags = (task->sync_later ? TASK_SYNC_LATER : 0) | (task->sync ? TASK_SYNC : 0);

	key_wire_put_number(output, flags);
	key_wire_put_number(output, task->identity.uid);
	put_text(output, task->root_path);
	key_wire_put_number(output, task->place_count);
	for (unsigned i = 0; i < task->place_count; i++) {
		const struct key_place *place = &task->places[i];

		key_wire_put_number(output, (task->chosen[i] ? PLACE_CHOSEN : 0) |
						    (place->root_owned ? PLACE_ROOT_OWNED : 0) |
						    (place->made ? PLACE_MADE : 0));
		key_wire_put_number(output, (unsigned)place->home_size);
		put_text(output, place->path);
	}
	key_wire_put_number(output, task->edit_count);
	for (unsigned i = 0; i < task->edit_count; i++) {
		key_wire_put_number(output, task->edits[i].place);
		put_text(output, task->edits[i].label);
		put_text(output, task->edits[i].before);
		put_text(output, task->edits[i].after);
	}
	key_wire_put_number(output, task->blob_count);
	for (unsigned i = 0; i < task->blob_count; i++)
		key_wire_put_bytes(output, (const char *)task->blobs[i].bytes, task->blobs[i].size);
}

struct reader {
	const char *at, *end;
};

static int take_number(struct reader *reader, unsigned *ret_number)
{
	if ((size_t)(reader->end - reader->at) < sizeof(*ret_number))
		return -EBADMSG;
	memcpy(ret_number, reader->at, sizeof(*ret_number));
	reader->at += sizeof(*ret_number);
	return 0;
}

static int take_bytes(struct reader *reader, const char **ret_bytes, size_t *ret_size)
{
	unsigned size;

	if (take_number(reader, &size) < 0 || size > (size_t)(reader->end - reader->at))
		return -EBADMSG;
	*ret_bytes = reader->at;
	*ret_size = size;
	reader->at += size;
	return 0;
}

static int take_text(struct reader *reader, const char **ret_text)
{
	size_t size;

	int r = take_bytes(reader, ret_text, &size);
	return r < 0 ? r : size > 0 && (*ret_text)[size - 1] == '\0' ? 0 : -EBADMSG;
}

/* A task as the child has it, with the arrays that it points to. */
struct received {
	struct key_task task;
	struct key_place places[KEY_PLACES_MAX];
	bool chosen[KEY_PLACES_MAX];
	struct key_edit *edits;
	struct key_blob *blobs;
};

static void received_free(struct received *received)
{
	free(received->edits);
	free(received->blobs);
}

static int take_places(struct reader *reader, struct received *received)
{
	struct key_task *task = &received->task;

	if (take_number(reader, &task->place_count) < 0 || task->place_count > KEY_PLACES_MAX)
		return -EBADMSG;
	for (unsigned i = 0; i < task->place_count; i++) {
		struct key_place *place = &received->places[i];
		unsigned flags, home_size;
		const char *path;

		if (take_number(reader, &flags) < 0 || take_number(reader, &home_size) < 0 ||
			take_text(reader, &path) < 0 || home_size > strlen(path))
			return -EBADMSG;
		received->chosen[i] = (flags & PLACE_CHOSEN) != 0;
		*place = (struct key_place){
			(char *)(uintptr_t)path, home_size, (flags & PLACE_ROOT_OWNED) != 0, (flags & PLACE_MADE) != 0};
	}
	task->places = received->places;
	task->chosen = received->chosen;
	return 0;
}

static int take_edits(struct reader *reader, struct received *received)
{
	struct key_task *task = &received->task;

	if (take_number(reader, &task->edit_count) < 0 || task->edit_count > KEY_TASK_LINES_MAX)
		return -EBADMSG;
	received->edits = calloc((size_t)task->edit_count + 1, sizeof(*received->edits));
	if (!received->edits)
		return -ENOMEM;
	for (unsigned i = 0; i < task->edit_count; i++) {
		struct key_edit *edit = &received->edits[i];

		if (take_number(reader, &edit->place) < 0 || edit->place >= task->place_count ||
			take_text(reader, &edit->label) < 0 || take_text(reader, &edit->before) < 0 ||
			take_text(reader, &edit->after) < 0)
			return -EBADMSG;
	}
	task->edits = received->edits;
	return 0;
}

static int take_blobs(struct reader *reader, struct received *received)
{
	struct key_task *task = &received->task;

	if (take_number(reader, &task->blob_count) < 0 || task->blob_count > KEY_TASK_LINES_MAX)
		return -EBADMSG;
	received->blobs = calloc((size_t)task->blob_count + 1, sizeof(*received->blobs));
	if (!received->blobs)
		return -ENOMEM;
	for (unsigned i = 0; i < task->blob_count; i++) {
		const char *bytes;

		if (take_bytes(reader, &bytes, &received->blobs[i].size) < 0)
			return -EBADMSG;
		received->blobs[i].bytes = (const unsigned char *)bytes;
	}
	task->blobs = received->blobs;
	return 0;
}

int key_wire_serve(char *bytes, size_t size, int root, struct buffer *output)
{
	CLEANUP(received_free) struct received received = {0};
	struct reader reader = {bytes, bytes + size};
	unsigned flags, uid;

	(void)root; /* the way down begins at root_path, with the user's own rights */
	if (take_number(&reader, &flags) < 0 || take_number(&reader, &uid) < 0 ||
		take_text(&reader, &received.task.root_path) < 0)
		return -EBADMSG;
	received.task.identity.uid = uid;
	received.task.sync_later = (flags & TASK_SYNC_LATER) != 0;
	received.task.sync = (flags & TASK_SYNC) != 0;
	int r = take_places(&reader, &received);
	if (r == 0)
		r = take_edits(&reader, &received);
	if (r == 0)
		r = take_blobs(&reader, &received);
	if (r == 0 && reader.at != reader.end)
		r = -EBADMSG;
	return r < 0 ? r : key_task_work(&received.task, output);
}

static int take_view(struct reader *reader, const struct key_task *task, struct key_view *view)
{
	unsigned code, flags;
	const char *bytes;
	size_t size;

	key_view_free(view);
	if (take_number(reader, &code) < 0 || take_number(reader, &flags) < 0 || code >= CODE_COUNT ||
		take_bytes(reader, &bytes, &size) < 0 || size != sizeof(view->device))
		return -EBADMSG;
	memcpy(&view->device, bytes, size);
	view->unsynced = (flags & KEY_VIEW_UNSYNCED) != 0;
	if (take_bytes(reader, &bytes, &size) < 0 || size > DETAIL_MAX)
		return -EBADMSG;
	view->code = (enum code)code;
	memcpy(view->detail, bytes, size);
	view->detail[size] = '\0';
	view->exists = (flags & KEY_VIEW_EXISTS) != 0;
	view->home_open = (flags & KEY_VIEW_HOME_OPEN) != 0;
	view->tightened = (flags & KEY_VIEW_TIGHTENED) != 0;
	if (take_bytes(reader, &bytes, &size) < 0 || memchr(bytes, '\0', size))
		return -EBADMSG;
	view->ours = strndup(bytes, size);
	view->ours_size = size;
	view->foreign = calloc((size_t)task->blob_count + 1, sizeof(*view->foreign));
	view->copies = calloc((size_t)task->blob_count + 1, sizeof(*view->copies));
	if (!view->ours || !view->foreign || !view->copies)
		return -ENOMEM;
	for (unsigned i = 0; i < task->blob_count; i++) {
		if (take_number(reader, &view->foreign[i]) < 0 || take_number(reader, &view->copies[i]) < 0)
			return -EBADMSG;
	}
	return 0;
}

int key_wire_take_views(
	const struct key_task *task, const struct buffer *output, struct key_view *views, enum key_outcome *outcomes)
{
	struct reader reader = {output->bytes, output->bytes + output->size};
	int r = 0;

	for (unsigned i = 0; r == 0 && i < task->place_count; i++) {
		if (task->chosen[i])
			r = take_view(&reader, task, &views[i]);
	}
	for (unsigned i = 0; r == 0 && i < task->edit_count; i++) {
		unsigned outcome;
		if (!task->chosen[task->edits[i].place])
			continue;
		r = take_number(&reader, &outcome);
		if (r == 0 && outcome > KEY_FAILED)
			r = -EBADMSG;
		if (r == 0)
			outcomes[i] = (enum key_outcome)outcome;
	}
	return r == 0 && reader.at != reader.end ? -EBADMSG : r;
}
