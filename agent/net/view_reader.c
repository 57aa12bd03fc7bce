/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/view_reader.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_part(const struct view *view, size_t offset, size_t size, char **ret_text)
{
	cleanup_free char *text = malloc(size + 1);

	if (view->descriptor < 0)
		return -ENOENT;
	if (!text)
		return -ENOMEM;
	ssize_t n = pread(view->descriptor, text, size, (off_t)offset);
	if (n < 0)
		return -errno;
	if ((size_t)n != size)
		return -EIO;
	text[size] = '\0';
	*ret_text = steal_pointer(&text);
	return 0;
}

/* In a string of JSON these quotes would have a backslash, so this is the member. */
static uint32_t find_uid(const char *line, size_t size)
{
	static const char name[] = ",\"uid\":";
	const char *at = memmem(line, size, name, sizeof(name) - 1), *end = line + size;
	uint64_t uid = 0;

	if (!at)
		return VIEW_NOBODY;
	for (at += sizeof(name) - 1; at < end && *at >= '0' && *at <= '9' && uid < VIEW_NOBODY; at++)
		uid = uid * 10 + (uint64_t)(*at - '0');
	return uid < VIEW_NOBODY ? (uint32_t)uid : VIEW_NOBODY;
}

/* latchkey-apply writes the type first. */
static enum view_type find_type(const char *line, size_t size)
{
	static const char *const heads[] = {[VIEW_COMMAND] = "{\"t\":\"command\",",
		[VIEW_USER] = "{\"t\":\"user\",",
		[VIEW_KEY] = "{\"t\":\"key\","};

	for (unsigned i = 0; i < VIEW_TYPES; i++) {
		size_t length = strlen(heads[i]);
		if (size > length && memcmp(line, heads[i], length) == 0)
			return (enum view_type)i;
	}
	return VIEW_TYPES;
}

static int add_line(struct view *view, const char *text, size_t offset, size_t size, size_t *capacity)
{
	enum view_type type = find_type(text + offset, size);

	if (type == VIEW_TYPES)
		return 0;
	if (view->count == *capacity) {
		*capacity = *capacity * 2 + 64;
		struct view_line *more = reallocarray(view->lines, *capacity, sizeof(*more));
		if (!more)
			return -ENOMEM;
		view->lines = more;
	}
	view->lines[view->count++] =
		(struct view_line){(uint32_t)offset, (uint32_t)size, find_uid(text + offset, size), type};
	view->counts[type]++;
	return 0;
}

int view_take(struct view *view, int descriptor)
{
	cleanup_free char *text = NULL;
	size_t capacity = 0, size = 0;
	struct stat status;

	view_free(view);
	view->descriptor = descriptor;
	int r = fstat(descriptor, &status) < 0 ? -errno : 0;
	if (r == 0 && (status.st_size < 0 || status.st_size > (off_t)VIEW_SIZE_MAX))
		r = -EFBIG;
	if (r == 0) {
		size = (size_t)status.st_size;
		r = read_part(view, 0, size, &text);
	}
	for (size_t offset = 0; r == 0 && offset < size;) {
		const char *newline = memchr(text + offset, '\n', size - offset);
		size_t line_size = newline ? (size_t)(newline - text) - offset : size - offset;
		if (offset == 0)
			view->status_size = line_size;
		else
			r = add_line(view, text, offset, line_size, &capacity);
		offset += line_size + 1;
	}
	if (r < 0)
		view_free(view);
	return r;
}

void view_free(struct view *view)
{
	if (view->descriptor >= 0)
		(void)close(view->descriptor);
	free(view->lines);
	*view = (struct view){.descriptor = -1};
}

int view_read_status(const struct view *view, cJSON **ret_status)
{
	cleanup_free char *text = NULL;

	int r = read_part(view, 0, view->status_size, &text);
	return r < 0 ? r : json_parse_object(text, view->status_size, ret_status);
}

int view_walk(const struct view *view, enum view_type type, uid_t uid, int (*visit)(const cJSON *line, void *context),
	void *context)
{
	for (size_t i = 0; i < view->count; i++) {
		const struct view_line *at = &view->lines[i];
		cleanup_free char *text = NULL;
		cleanup_json cJSON *line = NULL;
		if (at->type != type || (uid != 0 && (at->uid != uid || at->uid == VIEW_NOBODY)))
			continue;
		int r = read_part(view, at->offset, at->size, &text);
		if (r < 0)
			return r;
		if (json_parse_object(text, at->size, &line) == 0 && visit(line, context) != 0)
			return 0;
	}
	return 0;
}
