/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sudo_rules.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/account_files.h"
#include "lib/file.h"

#define SUDOERS_MAX (1u << 20)
#define SUDOERS_TOTAL_MAX (16u << 20)
#define SUDOERS_NAMES_MAX 65536u /* of one directory: each user whom we gave sudo has a file there */
#define SUDOERS_PATH_MAX 512u
#define SUDOERS_DEPTH_MAX 8u /* of nested @include; sudo allows 128 */
#define OURS "latchkey-"     /* /etc/sudoers.d/latchkey-USER: what policy itself let us give */

static int read_sudoers_file(int root, const char *path, unsigned depth, struct buffer *out);

/* sudo skips names with a dot or a trailing ~ in an included directory; ours are skipped for they are policy's own. */
static int read_sudoers_directory(int root, const char *directory, unsigned depth, struct buffer *out)
{
	cleanup_names char **names = NULL;
	size_t count;

	int r = file_list(root, directory, SUDOERS_NAMES_MAX, &names, &count);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (size_t i = 0; i < count; i++) {
		char path[SUDOERS_PATH_MAX];
		size_t size = strlen(names[i]);
		if (strchr(names[i], '.') || names[i][size - 1] == '~' || strncmp(names[i], OURS, strlen(OURS)) == 0)
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", directory, names[i]) >= (int)sizeof(path))
			return -ENAMETOOLONG;
		r = read_sudoers_file(root, path, depth, out);
		if (r < 0 && r != -EINVAL) /* sudo passes over what is not a regular file */
			return r;
	}
	return 0;
}

/* An absolute path is below the root; a relative one stands beside the including file. */
static int read_include(int root, const char *line, const char *including, unsigned depth, struct buffer *out)
{
	bool is_directory = strncmp(line + 1, "includedir", 10) == 0;
	const char *at = line + 1 + strlen(is_directory ? "includedir" : "include"), *slash = strrchr(including, '/');
	char name[SUDOERS_PATH_MAX], path[SUDOERS_PATH_MAX];

	at += strspn(at, " \t\"");
	if (snprintf(name, sizeof(name), "%s", at) >= (int)sizeof(name))
		return -ENAMETOOLONG;
	name[strcspn(name, " \t\"")] = '\0';
	int length = name[0] == '/' ? snprintf(path, sizeof(path), "%s", name + 1)
				    : snprintf(path, sizeof(path), "%.*s%s", slash ? (int)(slash + 1 - including) : 0,
					      including, name);
	if (length >= (int)sizeof(path))
		return -ENAMETOOLONG;
	if (depth == SUDOERS_DEPTH_MAX)
		return -ELOOP; /* what is not read could grant something */
	return is_directory ? read_sudoers_directory(root, path, depth + 1, out)
			    : read_sudoers_file(root, path, depth + 1, out);
}

/* Where a comment begins, or the line's end: `#` that is no uid, not quoted, not escaped; never of an include. */
static size_t comment_start(const char *line, size_t size)
{
	size_t first = 0;
	bool quoted = false;

	while (first < size && (line[first] == ' ' || line[first] == '\t'))
		first++;
	if (size - first > 8 && strncmp(line + first, "#include", 8) == 0)
		return size;
	for (size_t i = first; i < size; i++) {
		if (line[i] == '\\')
			i++;
		else if (line[i] == '"')
			quoted = !quoted;
		else if (line[i] == '#' && !quoted &&
			 (i + 1 == size || (line[i + 1] != '-' && (line[i + 1] < '0' || line[i + 1] > '9'))))
			return i;
	}
	return size;
}

/* As sudo's lexer: a backslash continues the line, blanks and a carriage return may follow it; but never in a comment.
 */
int sudo_rules_join(const char *source, const char *text, size_t size, struct buffer *out)
{
	struct account_table table = {.bytes = (char *)(uintptr_t)text, .size = size};
	struct account_line line;
	size_t offset = 0;
	unsigned number = 0;
	bool continued = false;

	while (account_next_line(&table, &offset, &line)) {
		number++;
		if (!continued)
			buffer_append_format(out, "%s:%u\t", source, number);
		if (line.size > 0 && line.start[line.size - 1] == '\r')
			line.size--;
		size_t end = comment_start(line.start, line.size), last = end;
		while (last > 0 && (line.start[last - 1] == ' ' || line.start[last - 1] == '\t'))
			last--;
		continued = end == line.size && last > 0 && line.start[last - 1] == '\\';
		for (size_t i = 0; i < (continued ? last - 1 : end); i++)
			buffer_append(out, line.start[i] == '\0' ? "?" : line.start + i, 1);
		buffer_append(out, continued ? " " : "\n", 1);
	}
	if (continued)
		buffer_append(out, "\n", 1);
	return buffer_status(out);
}

static int read_sudoers_file(int root, const char *path, unsigned depth, struct buffer *out)
{
	cleanup_free char *text = NULL;
	cleanup_buffer struct buffer lines = {0};
	cleanup_close int directory = -1;
	char parent[SUDOERS_PATH_MAX];
	size_t size;

	(void)snprintf(parent, sizeof(parent), "%s", path);
	char *slash = strrchr(parent, '/');
	if (slash)
		*slash = '\0';
	int r = file_open_directory(root, slash ? parent : ".", &directory);
	if (r == 0)
		r = file_read(directory, slash ? slash + 1 : path, SUDOERS_MAX, &text, &size);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = sudo_rules_join(strncmp(path, "etc/", 4) == 0 ? path + 4 : path, text, size, &lines);
	if (r < 0)
		return r;
	for (char *line = lines.bytes, *next; line && *line; line = next) {
		next = strchr(line, '\n');
		*next++ = '\0';
		const char *rule = strchr(line, '\t') + 1;
		rule += strspn(rule, " \t");
		if ((*rule == '@' || *rule == '#') && strncmp(rule + 1, "include", 7) == 0) {
			r = read_include(root, rule, path, depth, out);
			if (r < 0)
				return r;
			continue;
		}
		buffer_append_format(out, "%s\n", line);
	}
	return out->size > SUDOERS_TOTAL_MAX ? -EFBIG : buffer_status(out);
}

int sudo_rules_read(int root, struct buffer *out)
{
	return read_sudoers_file(root, "etc/sudoers", 0, out);
}

uint32_t sudo_rules_stamp(const struct buffer *rules)
{
	uint32_t value = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < rules->size; i++)
		value = (value ^ (unsigned char)rules->bytes[i]) * 16777619u;
	return value;
}
