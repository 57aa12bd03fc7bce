/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/skeleton.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/attributes.h"
#include "lib/file.h"
#include "lib/sys.h"

void skeleton_free(struct skeleton *skeleton)
{
	for (size_t i = 0; i < skeleton->count; i++) {
		free(skeleton->entries[i].name);
		free(skeleton->entries[i].bytes);
	}
	free(skeleton->entries);
	if (skeleton->path && skeleton->directory >= 0)
		(void)close(skeleton->directory);
	*skeleton = skeleton_of(skeleton->path);
}

/* A file's bytes, where they are few and it has no attributes that would have to be copied with them. */
static int keep(int directory, struct skeleton_entry *entry, size_t *room)
{
	cleanup_close int source = -1;
	struct stat status;

	int r = file_open(directory, entry->name, &source, &status);
	if (r < 0)
		return r;
	if ((uint64_t)status.st_size > *room || flistxattr(source, NULL, 0) != 0)
		return 0;
	r = file_read_descriptor(source, *room, &entry->bytes, &entry->size);
	if (r < 0)
		return r == -EFBIG ? 0 : r;
	entry->is_kept = true;
	*room -= entry->size;
	return 0;
}

static int read_entries(struct skeleton *skeleton)
{
	cleanup_names char **names = NULL;
	size_t count, room = SKELETON_KEPT_MAX;
	struct stat status;

	int r = file_list(skeleton->directory, ".", SKELETON_ENTRIES_MAX, &names, &count);
	if (r < 0)
		return r;
	skeleton->entries = calloc(count + 1, sizeof(*skeleton->entries));
	if (!skeleton->entries)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < count; i++) {
		struct skeleton_entry *entry = &skeleton->entries[skeleton->count];
		if (sys.fstatat(skeleton->directory, names[i], &status, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		entry->name = names[i];
		names[i] = NULL;
		entry->mode = status.st_mode;
		skeleton->count++;
		if (S_ISREG(status.st_mode))
			r = keep(skeleton->directory, entry, &room);
	}
	return r;
}

static int write_kept(const struct skeleton_entry *entry, int to, uid_t uid, gid_t gid, bool later)
{
	cleanup_close int target =
		sys.openat(to, entry->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, entry->mode & 0777);

	if (target < 0)
		return -errno;
	int r = file_write_all(target, entry->bytes, entry->size);
	if (r < 0)
		return r;
	if (sys.fchown(target, uid, gid) < 0 || (!later && sys.fsync(target) < 0))
		return -errno;
	return 0;
}

static int copy_file(int from, const char *name, int to, uid_t uid, gid_t gid, bool later)
{
	cleanup_close int source = -1, target = -1;
	struct stat status;
	char bytes[16384];

	int r = file_open(from, name, &source, &status);
	if (r < 0)
		return r;
	target = sys.openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, status.st_mode & 0777);
	if (target < 0)
		return -errno;
	for (;;) {
		ssize_t size = sys.read(source, bytes, sizeof(bytes));
		if (size < 0 && errno == EINTR)
			continue;
		if (size < 0)
			return -errno;
		if (size == 0)
			break;
		r = file_write_all(target, bytes, (size_t)size);
		if (r < 0)
			return r;
	}
	if (sys.fchown(target, uid, gid) < 0)
		return -errno;
	r = attributes_copy(source, target);
	if (r < 0)
		return r;
	return !later && sys.fsync(target) < 0 ? -errno : 0;
}

static int copy_link(int from, const char *name, int to, uid_t uid, gid_t gid)
{
	char target[4097];
	ssize_t size = readlinkat(from, name, target, sizeof(target) - 1);

	if (size < 0)
		return -errno;
	target[size] = '\0';
	if (sys.symlinkat(target, to, name) < 0)
		return -errno;
	cleanup_close int link = sys.openat(to, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	if (link < 0 || fchownat(link, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int copy_tree(int from, int to, uid_t uid, gid_t gid, bool later, unsigned depth);

static int copy_directory(
	int from, const char *name, int to, mode_t mode, uid_t uid, gid_t gid, bool later, unsigned depth)
{
	cleanup_close int source = -1, target = -1;

	int r = file_open_directory(from, name, &source);
	if (r < 0)
		return r;
	if (sys.mkdirat(to, name, 0700) < 0)
		return -errno;
	r = file_open_directory(to, name, &target);
	if (r == 0)
		r = copy_tree(source, target, uid, gid, later, depth + 1);
	if (r == 0 && (sys.fchmod(target, mode & 0777) < 0 || sys.fchown(target, uid, gid) < 0))
		r = -errno;
	if (r == 0)
		r = attributes_copy(source, target);
	if (r == 0 && !later && sys.fsync(target) < 0)
		r = -errno;
	return r;
}

/* Sockets, FIFOs and devices have no place in a home. */
static int copy_entry(int from, const char *name, int to, mode_t mode, uid_t uid, gid_t gid, bool later, unsigned depth)
{
	if (S_ISREG(mode))
		return copy_file(from, name, to, uid, gid, later);
	if (S_ISLNK(mode))
		return copy_link(from, name, to, uid, gid);
	return S_ISDIR(mode) ? copy_directory(from, name, to, mode, uid, gid, later, depth) : 0;
}

static int copy_tree(int from, int to, uid_t uid, gid_t gid, bool later, unsigned depth)
{
	cleanup_names char **names = NULL;
	size_t count;

	if (depth == SKELETON_DEPTH_MAX)
		return -E2BIG;
	int r = file_list(from, ".", SKELETON_ENTRIES_MAX, &names, &count);
	for (size_t i = 0; r == 0 && i < count; i++) {
		struct stat status;

		if (sys.fstatat(from, names[i], &status, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		r = copy_entry(from, names[i], to, status.st_mode, uid, gid, later, depth);
	}
	if (r == 0 && !later && sys.fsync(to) < 0)
		r = -errno;
	return r;
}

int skeleton_copy(struct skeleton *skeleton, int root, int target, uid_t uid, gid_t gid, bool later)
{
	int r = 0;

	if (!skeleton->is_read) {
		r = file_open_directory(root, skeleton->path + strspn(skeleton->path, "/"), &skeleton->directory);
		if (r == 0)
			r = read_entries(skeleton);
		else if (r == -ENOENT)
			r = 0;
		if (r < 0) {
			skeleton_free(skeleton);
			return r;
		}
		skeleton->is_read = true;
	}
	for (size_t i = 0; r == 0 && i < skeleton->count; i++) {
		const struct skeleton_entry *entry = &skeleton->entries[i];
		r = entry->is_kept
			    ? write_kept(entry, target, uid, gid, later)
			    : copy_entry(skeleton->directory, entry->name, target, entry->mode, uid, gid, later, 0);
	}
	if (r == 0 && !later && sys.fsync(target) < 0)
		r = -errno;
	return r;
}
