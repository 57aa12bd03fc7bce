/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sshd_scan.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/sshd_open.h"

#define BLANKS " \t\r\n"
#define DIRECTORY_NAMES_MAX 4096u /* one directory that an Include pattern lists */

struct storage {
	char ***lines; /* one per setting, each one allocation */
	size_t capacity, file_capacity;
};

struct scanner {
	int root;
	const struct sshd_overlay *overlay;
	struct sshd_scan *scan;
	struct storage *storage;
	size_t bytes;
	char *detail;
};

static int complain(struct scanner *scanner, const char *path, unsigned line, const char *what)
{
	(void)snprintf(scanner->detail, SSHD_SCAN_DETAIL_MAX + 1, "%s:%u: %s", path, line, what);
	return -EINVAL;
}

/*
 * The keyword ends at a blank, a quote or one '='; quotes around it are allowed. Returns what follows, or NULL when a
 * quote stays open.
 */
static char *split_keyword(char *line)
{
	char *end = strpbrk(line, BLANKS "\"=");
	if (!end)
		return line + strlen(line);
	if (*end == '"') {
		memmove(end, end + 1, strlen(end));
		end = strchr(end, '"');
		if (!end)
			return NULL;
		*end++ = '\0';
		return end + strspn(end, BLANKS);
	}
	bool equals = *end == '=';
	*end++ = '\0';
	end += strspn(end, BLANKS);
	if (!equals && *end == '=') {
		end++;
		end += strspn(end, BLANKS);
	}
	return end;
}

/* Takes one argument out of *at into `out` and returns the byte after its NUL; NULL when a quote stays open. */
static char *take_argument(const char **at, char *out)
{
	const char *in = *at;
	char quote = '\0';

	for (; *in; in++) {
		if (*in == '\\' && (in[1] == '\'' || in[1] == '"' || in[1] == '\\' || (!quote && in[1] == ' ')))
			*out++ = *++in;
		else if (!quote && (*in == ' ' || *in == '\t'))
			break;
		else if (!quote && (*in == '"' || *in == '\''))
			quote = *in;
		else if (quote && *in == quote)
			quote = '\0';
		else
			*out++ = *in;
	}
	if (quote)
		return NULL;
	*out++ = '\0';
	*at = in;
	return out;
}

int sshd_scan_line(const char *line, char ***ret_words, unsigned *ret_count)
{
	size_t size;
	unsigned count = 0;

	line += strspn(line, BLANKS);
	size = strlen(line);
	while (size > 0 && strchr(BLANKS "\f", line[size - 1]))
		size--;
	/* At least two bytes a word but the last. */
	size_t slots = size / 2 + 3;
	if (slots > SSHD_SCAN_ARGUMENTS_MAX + 2)
		slots = SSHD_SCAN_ARGUMENTS_MAX + 2;
	cleanup_free char **words = malloc(slots * sizeof(*words) + 2 * (size + 2));
	if (!words)
		return -ENOMEM;
	char *copy = (char *)(words + slots), *out = copy + size + 2;
	memcpy(copy, line, size);
	copy[size] = '\0';
	char *rest = split_keyword(copy);
	if (!rest)
		return -EINVAL;
	if (*copy == '\0' && *rest) { /* "=" or an empty pair of quotes first: the next word is the keyword */
		copy = rest;
		rest = split_keyword(copy);
		if (!rest)
			return -EINVAL;
	}
	if (*copy == '\0' || *copy == '#') {
		*ret_words = steal_pointer(&words);
		*ret_count = 0;
		return 0;
	}
	if (*rest == '\0')
		return -EINVAL;
	for (char *at = copy; *at; at++)
		*at = (char)tolower((unsigned char)*at);
	words[count++] = copy;
	for (const char *at = rest;;) {
		at += strspn(at, " \t");
		if (*at == '\0' || *at == '#')
			break;
		if (count + 1 == slots)
			return -E2BIG;
		words[count++] = out;
		out = take_argument(&at, out);
		if (!out)
			return -EINVAL;
	}
	words[count] = NULL;
	*ret_words = steal_pointer(&words);
	*ret_count = count;
	return 0;
}

static int add_file(
	struct scanner *scanner, const char *path, const struct stat *status, bool is_overlay, unsigned *ret_index)
{
	struct sshd_scan *scan = scanner->scan;

	if (scan->file_count == SSHD_SCAN_FILES_MAX)
		return -E2BIG;
	if (scan->file_count == scanner->storage->file_capacity) {
		size_t capacity = scan->file_count ? scan->file_count * 2 : 16;
		struct sshd_file *more = reallocarray(scan->files, capacity, sizeof(*more));
		if (!more)
			return -ENOMEM;
		scan->files = more;
		scanner->storage->file_capacity = capacity;
	}
	struct sshd_file *file = &scan->files[scan->file_count];
	sshd_file_identify(status, file);
	file->is_overlay = is_overlay;
	file->path = strdup(path);
	if (!file->path)
		return -ENOMEM;
	*ret_index = (unsigned)scan->file_count++;
	return 0;
}

static int add_setting(struct scanner *scanner, char **words, unsigned count, unsigned file, unsigned line, int match)
{
	struct sshd_scan *scan = scanner->scan;
	struct storage *storage = scanner->storage;

	if (scan->count == storage->capacity) {
		size_t capacity = scan->count ? scan->count * 2 : 64;
		struct sshd_setting *more = reallocarray(scan->settings, capacity, sizeof(*more));
		if (!more)
			return -ENOMEM;
		scan->settings = more;
		char ***lines = reallocarray(storage->lines, capacity, sizeof(*lines));
		if (!lines)
			return -ENOMEM;
		storage->lines = lines;
		storage->capacity = capacity;
	}
	storage->lines[scan->count] = words;
	scan->settings[scan->count++] = (struct sshd_setting){.keyword = words[0],
		.arguments = (const char *const *)(words + 1),
		.count = count - 1,
		.file = file,
		.line = line,
		.match = match};
	return 0;
}

static int scan_file(struct scanner *scanner, const char *path, unsigned depth, int match, bool must_exist);

static bool is_overlay(const struct scanner *scanner, const char *path)
{
	return scanner->overlay && strcmp(scanner->overlay->path, path) == 0;
}

/* The overlay's own name takes its place in the sorted listing of its directory, or leaves it. */
static int overlay_names(const struct scanner *scanner, const char *directory, char ***names, size_t *count)
{
	size_t size = strlen(directory), i;

	if (!scanner->overlay || strncmp(scanner->overlay->path, directory, size) != 0 ||
		scanner->overlay->path[size] != '/' || strchr(scanner->overlay->path + size + 1, '/'))
		return 0;
	const char *name = scanner->overlay->path + size + 1;
	for (i = 0; i < *count && strcmp((*names)[i], name) < 0; i++)
		;
	bool present = i < *count && strcmp((*names)[i], name) == 0;
	if (present && !scanner->overlay->bytes) {
		free((*names)[i]);
		memmove(*names + i, *names + i + 1, (*count - i) * sizeof(**names));
		(*count)--;
	} else if (!present && scanner->overlay->bytes) {
		char **more = reallocarray(*names, *count + 2, sizeof(*more));
		if (!more)
			return -ENOMEM;
		*names = more;
		char *copy = strdup(name);
		if (!copy)
			return -ENOMEM;
		memmove(more + i + 1, more + i, (*count - i + 1) * sizeof(*more));
		more[i] = copy;
		(*count)++;
	}
	return 0;
}

static int list_directory(struct scanner *scanner, const char *path, char ***ret_names, size_t *ret_count)
{
	cleanup_names char **names = NULL;
	cleanup_close int descriptor = -1;
	struct stat status;
	size_t count = 0;
	unsigned index;

	int r = sshd_open_below(scanner->root, path, O_RDONLY | O_DIRECTORY, &descriptor);
	if (r == 0) {
		if (fstat(descriptor, &status) < 0)
			return -errno;
		r = add_file(scanner, path, &status, false, &index);
		if (r < 0)
			return r;
		r = file_list(descriptor, ".", DIRECTORY_NAMES_MAX, &names, &count);
		if (r < 0)
			return r == -EFBIG ? -E2BIG : r;
	} else if (r == -ENOENT || r == -ENOTDIR) {
		r = add_file(scanner, path, NULL, false, &index);
		names = calloc(1, sizeof(*names));
		if (r < 0 || !names)
			return r < 0 ? r : -ENOMEM;
	} else {
		return r;
	}
	r = overlay_names(scanner, path, &names, &count);
	if (r < 0)
		return r;
	*ret_names = steal_pointer(&names);
	*ret_count = count;
	return 0;
}

/* `prefix` is a directory without a wildcard ("" is the root), `rest` the pattern below it. As glob(3) without flags.
 */
static int include_pattern(struct scanner *scanner, const char *prefix, const char *rest, unsigned depth, int match)
{
	cleanup_buffer struct buffer path = {0};
	cleanup_names char **names = NULL;
	cleanup_free char *component = NULL;
	size_t count = 0;
	int r;

	buffer_append_text(&path, prefix);
	for (;;) {
		rest += strspn(rest, "/");
		size_t size = strcspn(rest, "/");
		free(component);
		component = strndup(rest, size);
		if (!component)
			return -ENOMEM;
		rest += size;
		if (strpbrk(component, "*?[\\"))
			break;
		if (strcmp(component, ".") != 0) {
			buffer_append(&path, "/", 1);
			buffer_append(&path, component, size);
		}
		r = buffer_status(&path);
		if (r < 0)
			return r;
		if (*rest == '\0')
			return scan_file(scanner, path.bytes, depth, match, false);
	}
	r = buffer_status(&path);
	if (r == 0)
		r = list_directory(scanner, *path.bytes ? path.bytes : "/", &names, &count);
	for (size_t i = 0; r == 0 && i < count; i++) {
		cleanup_free char *found = NULL;
		if (fnmatch(component, names[i], FNM_PERIOD) != 0)
			continue;
		if (asprintf(&found, "%s/%s", path.bytes, names[i]) < 0)
			return -ENOMEM;
		r = *rest ? include_pattern(scanner, found, rest, depth, match)
			  : scan_file(scanner, found, depth, match, true);
	}
	return r;
}

static int include(struct scanner *scanner, const char *pattern, unsigned depth, int match)
{
	cleanup_free char *absolute = NULL;

	if (*pattern == '~')
		return 0; /* sshd's glob expands no home: nothing has such a name */
	if (asprintf(&absolute, "%s%s", *pattern == '/' ? "" : SSHD_DIRECTORY "/", pattern) < 0)
		return -ENOMEM;
	return include_pattern(scanner, "", absolute, depth, match);
}

static int scan_line(struct scanner *scanner, const char *path, unsigned file, const char *line, unsigned number,
	unsigned depth, int *match)
{
	cleanup_free char **words = NULL;
	unsigned count = 0;

	int r = sshd_scan_line(line, &words, &count);
	if (r == -EINVAL)
		return complain(scanner, path, number, "no argument or bad quotes");
	if (r < 0 || count == 0)
		return r;
	char **kept = words;
	r = add_setting(scanner, words, count, file, number, *match);
	if (r < 0)
		return r;
	words = NULL;
	if (strcmp(kept[0], "match") == 0) {
		*match = (int)scanner->scan->count - 1;
		scanner->scan->has_match = true;
		scanner->scan->settings[*match].match = *match; /* never a global setting */
	} else if (strcmp(kept[0], "include") == 0) {
		for (unsigned i = 1; i < count; i++) {
			if (*kept[i] == '\0')
				return complain(scanner, path, number, "empty file name");
			r = include(scanner, kept[i], depth + 1, *match);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/*
 * sshd reads by line, drops blanks in front and everything after a NUL, newline included, and only then splits again:
 * a NUL glues its line to the next one.
 */
static int scan_text(
	struct scanner *scanner, const char *path, unsigned file, char *bytes, size_t size, unsigned depth, int match)
{
	char *out = bytes, *end = bytes + size;
	unsigned number = 0;
	int r = 0;

	for (char *at = bytes; at < end;) {
		char *newline = memchr(at, '\n', (size_t)(end - at));
		char *next = newline ? newline + 1 : end;
		while (at < next && (*at == ' ' || *at == '\t' || *at == '\r'))
			at++;
		size_t kept = strnlen(at, (size_t)(next - at));
		memmove(out, at, kept);
		out += kept;
		at = next;
	}
	*out = '\0';
	for (char *line = bytes; r == 0 && line && *line;) {
		char *newline = strchr(line, '\n');
		if (newline)
			*newline++ = '\0';
		r = scan_line(scanner, path, file, line, ++number, depth, &match);
		line = newline;
	}
	return r;
}

static int read_file(struct scanner *scanner, const char *path, bool must_exist, char **ret_bytes, size_t *ret_size,
	unsigned *ret_file)
{
	cleanup_close int descriptor = -1;
	struct stat status;

	int r = sshd_open_below(scanner->root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, &descriptor);
	if (r == -ENOENT || r == -ENOTDIR) {
		if (must_exist || sshd_is_dangling(scanner->root, path))
			return complain(scanner, path, 0, "a link to nothing");
		r = add_file(scanner, path, NULL, false, ret_file);
		return r < 0 ? r : -ENOENT;
	}
	if (r < 0)
		return r;
	if (fstat(descriptor, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
		return complain(scanner, path, 0, "not a regular file");
	r = add_file(scanner, path, &status, false, ret_file);
	if (r < 0)
		return r;
	if (S_ISDIR(status.st_mode)) { /* sshd opens it and finds no line */
		*ret_bytes = strdup("");
		*ret_size = 0;
		return *ret_bytes ? 0 : -ENOMEM;
	}
	r = file_read_descriptor(descriptor, SSHD_SCAN_BYTES_MAX, ret_bytes, ret_size);
	return r == -EFBIG ? -E2BIG : r;
}

static int read_overlay(
	struct scanner *scanner, const char *path, char **ret_bytes, size_t *ret_size, unsigned *ret_file)
{
	const struct sshd_overlay *overlay = scanner->overlay;

	int r = add_file(scanner, path, NULL, true, ret_file);
	if (r < 0)
		return r;
	if (!overlay->bytes)
		return -ENOENT;
	char *copy = malloc(overlay->size + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, overlay->bytes, overlay->size);
	copy[overlay->size] = '\0';
	*ret_bytes = copy;
	*ret_size = overlay->size;
	return 0;
}

/* -ENOENT only at depth 0; an included file that does not exist is nothing. */
static int scan_file(struct scanner *scanner, const char *path, unsigned depth, int match, bool must_exist)
{
	cleanup_free char *bytes = NULL;
	size_t size = 0;
	unsigned file = 0;

	if (depth > SSHD_SCAN_DEPTH_MAX)
		return complain(scanner, path, 0, "included too deep");
	int r = is_overlay(scanner, path) ? read_overlay(scanner, path, &bytes, &size, &file)
					  : read_file(scanner, path, must_exist, &bytes, &size, &file);
	if (r == -ENOENT && depth > 0)
		return 0;
	if (r < 0)
		return r;
	scanner->bytes += size;
	if (scanner->bytes > SSHD_SCAN_BYTES_MAX)
		return -E2BIG;
	return scan_text(scanner, path, file, bytes, size, depth, match);
}

int sshd_scan_read(int root, const struct sshd_overlay *overlay, struct sshd_scan *ret_scan,
	char ret_detail[SSHD_SCAN_DETAIL_MAX + 1])
{
	static const char *const mains[] = {SSHD_MAIN, SSHD_MAIN_VENDOR};
	cleanup_sshd_scan struct sshd_scan scan = {0};
	char detail[SSHD_SCAN_DETAIL_MAX + 1] = "";
	struct storage *storage = calloc(1, sizeof(*storage));
	int r = -ENOENT;

	if (!storage)
		return -ENOMEM;
	scan.storage = storage;
	scan.main_path = SSHD_MAIN;
	struct scanner scanner = {root, overlay, &scan, storage, 0, detail};
	for (unsigned i = 0; r == -ENOENT && i < ELEMENTS(mains); i++) {
		r = scan_file(&scanner, mains[i], 0, -1, false);
		if (r == 0) {
			scan.main_path = mains[i];
			scan.has_main = true;
		}
	}
	if (r == -E2BIG && !*detail)
		(void)snprintf(detail, sizeof(detail), "sshd's configuration is too large to read");
	if (r < 0 && r != -ENOENT) {
		if (!*detail)
			(void)snprintf(detail, sizeof(detail), "sshd's configuration: %s", strerror(-r));
		memcpy(ret_detail, detail, sizeof(detail));
		return r;
	}
	*ret_scan = scan;
	scan = (struct sshd_scan){0};
	return 0;
}

void sshd_scan_free(struct sshd_scan *scan)
{
	struct storage *storage = scan->storage;

	for (size_t i = 0; i < scan->count; i++)
		free(storage->lines[i]);
	for (size_t i = 0; i < scan->file_count; i++)
		free(scan->files[i].path);
	if (storage)
		free(storage->lines);
	free(storage);
	free(scan->settings);
	free(scan->files);
	*scan = (struct sshd_scan){0};
}

const struct sshd_setting *sshd_scan_global(const struct sshd_scan *scan, const char *keyword)
{
	for (size_t i = 0; i < scan->count; i++) {
		if (scan->settings[i].match < 0 && strcmp(scan->settings[i].keyword, keyword) == 0)
			return &scan->settings[i];
	}
	return NULL;
}

const struct sshd_setting *sshd_scan_in_match(const struct sshd_scan *scan, const char *keyword, size_t from)
{
	for (size_t i = from; i < scan->count; i++) {
		if (scan->settings[i].match >= 0 && strcmp(scan->settings[i].keyword, keyword) == 0)
			return &scan->settings[i];
	}
	return NULL;
}

bool sshd_scan_reads(const struct sshd_scan *scan, const char *path)
{
	for (size_t i = 0; i < scan->count; i++) {
		if (scan->settings[i].match < 0 && strcmp(scan->files[scan->settings[i].file].path, path) == 0)
			return true;
	}
	return false;
}
