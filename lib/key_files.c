/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/key_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/key_line.h"
#include "lib/name_map.h"
#include "lib/pattern.h"
#include "lib/sshd_open.h"

static bool is_listed(const char *const *list, const char *text)
{
	for (; list && *list; list++) {
		if (strcmp(*list, text) == 0)
			return true;
	}
	return false;
}

/* Whether one of the names that sshd knows the key type by stands in the comma-separated list. */
static bool is_accepted(const struct key_files_question *question, const struct key_line *line)
{
	const char *names[3] = {line->type, NULL, NULL};

	if (strcmp(line->type, "ssh-rsa") == 0) {
		if (line->bits < question->rsa_bits)
			return false;
		names[1] = "rsa-sha2-512";
		names[2] = "rsa-sha2-256";
	}
	if (!question->algorithms)
		return true;
	for (const char *at = question->algorithms; *at;) {
		size_t size = strcspn(at, ",");
		for (unsigned i = 0; i < ELEMENTS(names) && names[i]; i++) {
			if (strlen(names[i]) == size && strncmp(names[i], at, size) == 0)
				return true;
		}
		at += size + (at[size] == ',');
	}
	return false;
}

static bool is_from_there(const struct key_files_question *question, const char *list)
{
	return question->address ? pattern_list_matches_address(list, question->address)
				 : pattern_list_leaves_some_address(list, question->names);
}

/*
 * `forced` has the keys that a line before this one binds to a command: sshd goes by the first line of a key that is
 * good for the address and the time.
 */
static int judge(const struct key_files_question *question, const struct key_line *line, bool outlives,
	struct name_map *forced, struct key_files_answer *answer)
{
	if (line->is_authority)
		return 0;
	answer->keys++;
	if (question->fingerprint && strcmp(question->fingerprint, line->fingerprint) != 0)
		return 0;
	answer->seen++;
	if (is_listed(question->revoked, line->fingerprint))
		answer->revoked++;
	else if (is_listed(question->excluded, line->fingerprint))
		answer->excluded++;
	else if (line->expires && line->expiry < question->now)
		answer->expired++;
	else if (line->from && !is_from_there(question, line->from))
		answer->from++;
	else if (!is_accepted(question, line))
		answer->type_off++;
	else if (line->has_command || name_map_get(forced, line->fingerprint) != NAME_MAP_NONE) {
		answer->forced++;
		/* From somewhere else a later line may be the first. */
		return line->from && !question->address ? 0 : name_map_put(forced, line->fingerprint, 0);
	} else {
		answer->usable++;
		answer->lasting += outlives && !line->expires;
	}
	return 0;
}

static int judge_file(const struct key_files_question *question, const char *bytes, size_t size, bool outlives,
	struct name_map *forced, struct key_files_answer *answer)
{
	for (size_t offset = 0; offset < size;) {
		const char *newline = memchr(bytes + offset, '\n', size - offset);
		size_t length = newline ? (size_t)(newline - bytes) - offset : size - offset;
		cleanup_key_line struct key_line line = {0};
		int r = length <= KEY_LINE_MAX ? key_line_parse(bytes + offset, length, &line) : -EBADMSG;
		if (r == 0)
			r = judge(question, &line, outlives, forced, answer);
		if (r == -ENOMEM)
			return r;
		offset += length + 1;
	}
	return 0;
}

static int canonical(int descriptor, char *path, size_t size)
{
	char link[64];

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
	ssize_t n = readlink(link, path, size - 1);
	if (n < 0)
		return -errno;
	path[n] = '\0';
	return *path == '/' ? 0 : -EINVAL;
}

static bool is_safe(const struct key_files_question *question, const char *path, const struct stat *status,
	struct key_files_answer *answer)
{
	mode_t writable = 022;

	for (size_t i = 0; i < question->private_count; i++) {
		if (question->private_groups[i] == status->st_gid)
			writable = 002;
	}
	if ((status->st_uid == 0 || status->st_uid == question->uid) && (status->st_mode & writable) == 0)
		return true;
	if (answer->unsafe++ == 0) {
		(void)snprintf(answer->unsafe_path, sizeof(answer->unsafe_path), "%s", path);
		answer->unsafe_mode = status->st_mode & 07777;
		answer->unsafe_owner = status->st_uid;
	}
	return false;
}

/* sshd's rule: the file and every directory above it, up to the home or the root, owned by root or the user, and not
 * writable by others. On the canonical path, so that a link's own directory does not count. */
static bool check_modes(const struct key_files_question *question, int descriptor, const struct stat *status,
	struct key_files_answer *answer)
{
	char path[PATH_MAX], home[PATH_MAX] = "";
	cleanup_close int home_descriptor = -1;
	struct stat above;

	if (canonical(descriptor, path, sizeof(path)) < 0)
		return false;
	if (sshd_open_below(question->root, question->home, O_PATH | O_DIRECTORY, &home_descriptor) == 0)
		(void)canonical(home_descriptor, home, sizeof(home));
	if (!is_safe(question, path, status, answer))
		return false;
	for (;;) {
		char *slash = strrchr(path, '/');
		slash[slash == path] = '\0';
		if (stat(path, &above) < 0 || !is_safe(question, path, &above, answer))
			return false;
		if (strcmp(path, "/") == 0 || strcmp(path, home) == 0 || strcmp(path, question->root_path) == 0)
			return true;
	}
}

/* What stands in /run is gone at the next boot; a place that cannot be told counts as such. */
static bool outlives_reboot(const struct key_files_question *question, int descriptor)
{
	size_t above = strcmp(question->root_path, "/") == 0 ? 0 : strlen(question->root_path);
	char path[PATH_MAX];

	return canonical(descriptor, path, sizeof(path)) == 0 && strlen(path) > above &&
	       strncmp(path + above, "/run/", strlen("/run/")) != 0;
}

static int look_at(const struct key_files_question *question, const char *path, struct name_map *forced,
	struct key_files_answer *answer)
{
	cleanup_close int descriptor = -1;
	cleanup_free char *bytes = NULL;
	struct stat status;
	size_t size;

	answer->files++;
	int r = sshd_open_below(question->root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, &descriptor);
	if (r == -ENOENT || r == -ENOTDIR) {
		answer->missing++;
		return 0;
	}
	if (r < 0 || fstat(descriptor, &status) < 0 || !S_ISREG(status.st_mode)) {
		answer->unreadable++;
		return 0;
	}
	if (question->strict && !check_modes(question, descriptor, &status, answer))
		return 0;
	r = file_read_descriptor(descriptor, KEY_FILES_SIZE_MAX, &bytes, &size);
	if (r == -EFBIG)
		answer->too_large++;
	else if (r < 0)
		answer->unreadable++;
	return r < 0 ? 0 : judge_file(question, bytes, size, outlives_reboot(question, descriptor), forced, answer);
}

int key_files_look(const struct key_files_question *question, struct key_files_answer *ret_answer)
{
	struct key_files_answer answer = {.is_one = question->fingerprint != NULL};
	cleanup_name_map struct name_map forced = {0}, none = {0};

	for (const char *const *path = question->paths; *path; path++) {
		int r = look_at(question, *path, &forced, &answer);
		if (r < 0)
			return r;
	}
	/* What goes was read from a file that sshd reads, so what comes in its place will be. */
	struct key_files_question added = *question;
	added.excluded = NULL;
	for (const char *const *line = question->added; line && answer.excluded > 0 && *line; line++) {
		int r = judge_file(&added, *line, strlen(*line), true, &none, &answer);
		if (r < 0)
			return r;
	}
	*ret_answer = answer;
	return 0;
}

blocker_set key_files_blockers(const struct key_files_answer *answer, bool lasting)
{
	blocker_set set = 0;

	if (lasting ? answer->lasting > 0 : answer->usable > 0)
		return 0;
	if (answer->files == 0)
		return BLOCKER_BIT(BLOCKER_KEYS_FILE_NONE);
	if (answer->unsafe)
		set |= BLOCKER_BIT(BLOCKER_STRICT_MODES);
	if (answer->unreadable)
		set |= BLOCKER_BIT(BLOCKER_KEYS_FILE_UNREADABLE);
	if (answer->too_large)
		set |= BLOCKER_BIT(BLOCKER_KEYS_FILE_TOO_LARGE);
	if (answer->expired)
		set |= BLOCKER_BIT(BLOCKER_KEY_EXPIRED);
	if (answer->from)
		set |= BLOCKER_BIT(BLOCKER_KEY_FROM);
	if (answer->revoked)
		set |= BLOCKER_BIT(BLOCKER_KEY_REVOKED);
	if (answer->type_off)
		set |= BLOCKER_BIT(BLOCKER_KEY_TYPE_OFF);
	if (answer->forced)
		set |= BLOCKER_BIT(BLOCKER_KEY_COMMAND_ONLY);
	if (answer->missing == answer->files)
		set |= BLOCKER_BIT(BLOCKER_KEYS_FILE_MISSING);
	if (set)
		return set;
	return answer->is_one && answer->seen == 0 ? BLOCKER_BIT(BLOCKER_KEY_NOT_PRESENT) : BLOCKER_BIT(BLOCKER_NO_KEY);
}
