/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/sshd/place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/file.h"
#include "lib/sys.h"

#define DROP_IN_MAX 65536u
#define MAIN_NAME "sshd_config"
#define HEADER "# Written by latchkey for its operator's commands, and rewritten as a whole: changes here are lost.\n"
#define BLOCK_BEGIN "# BEGIN latchkey: rewritten as a whole, changes here are lost"
#define BLOCK_END "# END latchkey"

static int read_one(int directory, const char *name, size_t limit, struct place_file *file)
{
	int r = file_read(directory, name, limit, &file->bytes, &file->size);
	file->exists = r == 0;
	return r == -ENOENT ? 0 : r;
}

/* The next line from `at` on that is this one, whatever ends it. NULL when there is none. */
static const char *find_line(const struct place_file *file, const char *at, const char *text, const char **ret_after)
{
	for (; at && (at = strstr(at, text)) != NULL; at++) {
		const char *end = at + strlen(text);
		end += *end == '\r';
		if ((at != file->bytes && at[-1] != '\n') || (*end && *end != '\n'))
			continue;
		*ret_after = end + (*end == '\n');
		return at;
	}
	return NULL;
}

/* We put it at the first byte, but somebody may have put lines above it since. One without its end is none. */
static bool find_block(const struct place_file *file, size_t from, size_t *ret_start, size_t *ret_size)
{
	const char *inside, *after, *next;
	const char *begin = file->exists ? find_line(file, file->bytes + from, BLOCK_BEGIN, &inside) : NULL;
	const char *end = begin ? find_line(file, inside, BLOCK_END, &after) : NULL;

	if (!end)
		return false;
	while ((next = find_line(file, inside, BLOCK_BEGIN, &inside)) != NULL && next < end)
		begin = next;
	*ret_start = (size_t)(begin - file->bytes);
	*ret_size = (size_t)(after - begin);
	return true;
}

static unsigned count_lines(const char *text, size_t size)
{
	unsigned count = 0;

	for (size_t i = 0; i < size; i++)
		count += text[i] == '\n';
	return count;
}

static void look_for_block(struct place *place, size_t *ret_start, size_t *ret_size)
{
	place->has_block = find_block(&place->main, 0, ret_start, ret_size);
	if (!place->has_block)
		return;
	place->block_first = count_lines(place->main.bytes, *ret_start) + 1;
	place->block_last = place->block_first + count_lines(place->main.bytes + *ret_start, *ret_size);
}

static int read_settings(struct place *place)
{
	size_t start, size;
	int r = 0;

	look_for_block(place, &start, &size);
	if (place->has_block) {
		cleanup_free char *block = strndup(place->main.bytes + start, size);
		if (!block)
			return -ENOMEM;
		r = settings_parse(block, &place->settings);
	}
	if (r == 0 && place->drop_in.exists)
		r = settings_parse(place->drop_in.bytes, &place->settings);
	return r;
}

int place_read(int root, struct place *ret_place)
{
	cleanup_place struct place place = {.root = root};
	cleanup_close int directory = -1, drop_ins = -1;

	int r = file_open_directory(root, &SSHD_DIRECTORY[1], &directory);
	if (r < 0)
		return r;
	r = read_one(directory, MAIN_NAME, SSHD_SCAN_BYTES_MAX, &place.main);
	place.main_is_link = r == -ELOOP;
	if (r < 0 && r != -ELOOP)
		return r;
	r = file_open_directory(root, &SSHD_DROP_IN_DIRECTORY[1], &drop_ins);
	if (r == 0)
		r = read_one(drop_ins, SSHD_DROP_IN_NAME, DROP_IN_MAX, &place.drop_in);
	if (r < 0 && r != -ENOENT)
		return r;
	r = read_settings(&place);
	if (r < 0)
		return r;
	*ret_place = place;
	place = (struct place){0};
	return 0;
}

void place_free(struct place *place)
{
	free(place->drop_in.bytes);
	free(place->main.bytes);
	settings_free(&place->settings);
	*place = (struct place){0};
}

static bool wins_in(const struct sshd_scan *scan, const struct settings *settings, const char *path)
{
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		if (!settings->values[i])
			continue;
		const struct sshd_setting *first = setting_find_global(scan, (enum setting)i);
		if (!first || strcmp(scan->files[first->file].path, path) != 0)
			return false;
	}
	return true;
}

bool place_wins(const struct place *place, const struct sshd_scan *scan, const struct settings *settings)
{
	return wins_in(scan, settings, place->has_block ? SSHD_MAIN : SSHD_DROP_IN) &&
	       (!place->has_block || place->block_first == 1);
}

/* The line that stands before ours, where no line of ours can stand before it. */
static void describe_competitor(
	const struct sshd_scan *scan, const struct settings *settings, char ret_detail[SSHD_DETAIL_MAX + 1])
{
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		const struct sshd_setting *first =
			settings->values[i] ? setting_find_global(scan, (enum setting)i) : NULL;
		const char *path = first ? scan->files[first->file].path : SSHD_DROP_IN;
		if (strcmp(path, SSHD_DROP_IN) == 0)
			continue;
		(void)snprintf(ret_detail, SSHD_DETAIL_MAX + 1, "%.100s:%u sets %s before " SSHD_DROP_IN_NAME, path,
			first->line, setting_keyword((enum setting)i));
		return;
	}
	(void)snprintf(ret_detail, SSHD_DETAIL_MAX + 1, "something is set before " SSHD_DROP_IN);
}

/* Decides without writing: would the drop-in, once there, be the first to set each of these? */
static int choose(const struct place *place, const struct settings *settings, const struct buffer *text,
	bool *ret_block, char ret_detail[SSHD_DETAIL_MAX + 1])
{
	const struct sshd_overlay overlay = {SSHD_DROP_IN, text->bytes, text->size};
	cleanup_sshd_scan struct sshd_scan scan = {0};

	if (place->has_block) { /* the first line of the main file beats everything */
		*ret_block = true;
		return 0;
	}
	int r = sshd_scan_read(place->root, &overlay, &scan, ret_detail);
	if (r < 0)
		return r;
	*ret_block = !wins_in(&scan, settings, SSHD_DROP_IN);
	if (!*ret_block)
		return 0;
	if (place->main_is_link || !place->main.exists) {
		if (sshd_scan_reads(&scan, SSHD_DROP_IN)) {
			describe_competitor(&scan, settings, ret_detail);
			return -ENOTSUP;
		}
		(void)snprintf(ret_detail, SSHD_DETAIL_MAX + 1, "%s",
			place->main_is_link ? SSHD_MAIN " is a link and does not include " SSHD_DROP_IN_DIRECTORY
			: scan.has_main     ? "the vendor's configuration does not include " SSHD_DROP_IN_DIRECTORY
					    : "sshd has no configuration file");
		return -ENOTSUP;
	}
	return 0;
}

void place_sweep(int root)
{
	static const char *const paths[] = {&SSHD_DIRECTORY[1], &SSHD_DROP_IN_DIRECTORY[1]};

	for (unsigned i = 0; i < ELEMENTS(paths); i++) {
		cleanup_close int directory = -1;
		if (file_open_directory(root, paths[i], &directory) == 0)
			file_sweep_temporaries(directory, INT64_MAX);
	}
}

static int put_drop_in(struct place *place, const void *bytes, size_t size, bool exists)
{
	cleanup_close int directory = -1;
	const struct file_attributes attributes = {.mode = 0600, .uid = 0, .gid = 0, .like = -1};
	int r;

	if (!exists) {
		r = file_open_directory(place->root, &SSHD_DROP_IN_DIRECTORY[1], &directory);
		if (r == 0)
			r = file_remove(directory, SSHD_DROP_IN_NAME);
		return r == -ENOENT ? 0 : r;
	}
	r = file_make_directory(place->root, &SSHD_DROP_IN_DIRECTORY[1], 0755, &directory);
	return r < 0 ? r : file_replace(directory, SSHD_DROP_IN_NAME, bytes, size, &attributes);
}

static int put_main(struct place *place, const void *bytes, size_t size)
{
	cleanup_close int directory = -1, like = -1;

	int r = file_open_directory(place->root, &SSHD_DIRECTORY[1], &directory);
	if (r == 0)
		r = file_open(directory, MAIN_NAME, &like, NULL);
	if (r < 0)
		return r;
	const struct file_attributes attributes = {.like = like};
	return file_replace(directory, MAIN_NAME, bytes, size, &attributes);
}

static int write_drop_in(struct place *place, const struct buffer *text)
{
	if (place->drop_in.exists == (text != NULL) &&
		(!text || (place->drop_in.size == text->size &&
				  memcmp(place->drop_in.bytes, text->bytes, text->size) == 0)))
		return 0;
	place->drop_in_written = true;
	return put_drop_in(place, text ? text->bytes : NULL, text ? text->size : 0, text != NULL);
}

static int write_block(struct place *place, const struct buffer *lines)
{
	cleanup_buffer struct buffer text = {0};
	size_t at = 0, start, size;

	if (lines)
		buffer_append_format(&text, BLOCK_BEGIN "\n%s" BLOCK_END "\n", lines->bytes);
	for (; find_block(&place->main, at, &start, &size); at = start + size)
		buffer_append(&text, place->main.bytes + at, start - at);
	buffer_append(&text, place->main.bytes + at, place->main.size - at);
	int r = buffer_status(&text);
	if (r < 0)
		return r;
	if (text.size == place->main.size && memcmp(text.bytes, place->main.bytes, text.size) == 0)
		return 0;
	place->main_written = true;
	return put_main(place, text.bytes, text.size);
}

int place_write(
	struct place *place, const struct settings *settings, bool *ret_changed, char ret_detail[SSHD_DETAIL_MAX + 1])
{
	cleanup_buffer struct buffer lines = {0}, text = {0};
	bool block = false, empty = settings_are_empty(settings);

	*ret_detail = '\0';
	int r = settings_format(settings, &lines);
	if (r == 0) {
		buffer_append_text(&text, HEADER);
		buffer_append(&text, lines.bytes, lines.size);
		r = buffer_status(&text);
	}
	if (r == 0 && !empty)
		r = choose(place, settings, &text, &block, ret_detail);
	if (r < 0)
		return r;
	/* The new place is written before the old one is cleared, so that the settings stand at every moment. */
	if (block)
		r = write_block(place, &lines);
	if (r == 0)
		r = write_drop_in(place, block || empty ? NULL : &text);
	if (r == 0 && !block && place->has_block)
		r = write_block(place, NULL);
	if (r < 0)
		return r;
	*ret_changed = place->drop_in_written || place->main_written;
	if (block != place->has_block)
		place->has_block = block;
	return 0;
}

int place_restore(struct place *place)
{
	int r = 0, s = 0;
	size_t start, size;

	if (place->main_written)
		r = put_main(place, place->main.bytes, place->main.size);
	if (place->drop_in_written)
		s = put_drop_in(place, place->drop_in.bytes, place->drop_in.size, place->drop_in.exists);
	place->main_written = r < 0;
	place->drop_in_written = s < 0;
	look_for_block(place, &start, &size);
	return r < 0 ? r : s;
}

#define UNFINISHED "unfinished"

void place_mark_unfinished(int state)
{
	cleanup_close int mark =
		state < 0 ? -1 : sys.openat(state, UNFINISHED, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	(void)mark;
}

void place_clear_unfinished(int state)
{
	if (state >= 0)
		(void)sys.unlinkat(state, UNFINISHED, 0);
}

bool place_is_unfinished(int state)
{
	struct stat status;

	return state >= 0 && sys.fstatat(state, UNFINISHED, &status, AT_SYMLINK_NOFOLLOW) == 0;
}
