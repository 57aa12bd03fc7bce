/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/home.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/file.h"
#include "lib/sys.h"

/*
 * No account lives below these, whoever owns what stands there: root's programs, and what they believe or run because
 * it lies there, such as our own state.
 */
static const char *const system_trees[] = {"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc",
	"root", "run", "sbin", "sys", "tmp", "usr", "var/lib/cloud", "var/lib/dpkg", "var/lib/latchkey",
	"var/lib/latchkey-endpoint", "var/lib/polkit-1", "var/lib/sudo", "var/lib/systemd", "var/spool/cron"};

bool home_lies_in(const char *path, const char *end, const char *home)
{
	for (;;) {
		while (path < end && *path == '/')
			path++;
		home += strspn(home, "/");
		size_t size = strcspn(home, "/");
		if (size == 0)
			return true;
		if ((size_t)(end - path) < size || memcmp(path, home, size) != 0 ||
			((size_t)(end - path) > size && path[size] != '/'))
			return false;
		path += size;
		home += size;
	}
}

static bool is_system_tree(const char *path)
{
	const char *end = path + strlen(path);

	for (unsigned i = 0; i < ELEMENTS(system_trees); i++) {
		if (home_lies_in(path, end, system_trees[i]))
			return true;
	}
	return path[strspn(path, "/")] == '\0';
}

/*
 * Opens the parent of the path, checking every directory. 0, -EPERM when one of them is not safe, -ENOENT when one is
 * missing and `create` is not set. ret_name is its last component.
 */
static int open_parent(int root, const char *path, bool create, int *ret_parent, char ret_name[NAME_MAX + 1])
{
	cleanup_close int current = -1;
	struct stat status;

	if (is_system_tree(path))
		return -EPERM;
	int r = file_open_directory(root, ".", &current);
	if (r < 0)
		return r;
	for (path += strspn(path, "/");;) {
		char component[256];
		size_t size = strcspn(path, "/");
		const char *next_component = path + size + strspn(path + size, "/");
		int next = -1;

		if (sys.fstat(current, &status) < 0)
			return -errno;
		if (status.st_uid != 0 || (status.st_mode & 022) != 0)
			return -EPERM;
		if (*next_component == '\0')
			break;
		if (size >= sizeof(component))
			return -ENAMETOOLONG;
		memcpy(component, path, size);
		component[size] = '\0';
		r = create ? file_make_directory(current, component, 0755, &next)
			   : file_open_directory(current, component, &next);
		if (r < 0)
			return r;
		(void)close(current);
		current = next;
		path = next_component;
	}
	/* Without a slash behind it, which would follow a link. */
	size_t size = strcspn(path, "/");
	if (size == 0 || size > NAME_MAX)
		return -EPERM;
	memcpy(ret_name, path, size);
	ret_name[size] = '\0';
	*ret_parent = steal_descriptor(&current);
	return 0;
}

static int look_at(int parent, const char *name, uid_t uid, enum home_state *ret_state)
{
	struct stat status;

	if (sys.fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return -errno;
		*ret_state = HOME_MISSING;
		return 0;
	}
	if (S_ISLNK(status.st_mode))
		return -ELOOP;
	*ret_state = !S_ISDIR(status.st_mode) ? HOME_NOT_SAFE : status.st_uid == uid ? HOME_OWN : HOME_FOREIGN;
	return 0;
}

int home_look(int root, const char *path, uid_t uid, enum home_state *ret_state)
{
	cleanup_close int parent = -1;
	char name[NAME_MAX + 1];

	int r = open_parent(root, path, false, &parent, name);
	if (r == -ENOENT || r == -EPERM || r == -ENOTDIR) {
		*ret_state = r == -ENOENT ? HOME_MISSING : HOME_NOT_SAFE;
		return 0;
	}
	return r < 0 ? r : look_at(parent, name, uid, ret_state);
}

static int mount_of(int descriptor, uint64_t *ret_mount)
{
	struct statx status;

	if (statx(descriptor, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &status) < 0)
		return -errno;
	/* Linux before 5.8 does not say which mount it is; the device is the next best. */
	*ret_mount = (status.stx_mask & STATX_MNT_ID) ? status.stx_mnt_id
						      : ((uint64_t)status.stx_dev_major << 32 | status.stx_dev_minor);
	return 0;
}

int64_t home_clock(void)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int delete_tree(int directory, uint64_t mount, int64_t until, unsigned depth)
{
	cleanup_names char **names = NULL;
	size_t count;
	uint64_t here;

	if (depth == HOME_DELETE_DEPTH_MAX)
		return -E2BIG;
	int r = mount_of(directory, &here);
	if (r < 0)
		return r;
	if (here != mount)
		return -EXDEV;
	r = file_list(directory, ".", SIZE_MAX, &names, &count);
	for (size_t i = 0; r == 0 && i < count; i++) {
		cleanup_close int below = -1;

		if (home_clock() >= until)
			return -ETIME;
		if (sys.unlinkat(directory, names[i], 0) == 0 || errno == ENOENT)
			continue;
		if (errno != EISDIR && errno != EPERM)
			return -errno;
		r = file_open_directory(directory, names[i], &below);
		if (r < 0)
			return r;
		r = delete_tree(below, mount, until, depth + 1);
		if (r == 0 && sys.unlinkat(directory, names[i], AT_REMOVEDIR) < 0)
			r = -errno;
	}
	return r;
}

/* With all below it; a missing one is no error. */
static int remove_directory(int parent, const char *name, uint64_t mount, int64_t until)
{
	cleanup_close int directory = -1;

	int r = file_open_directory(parent, name, &directory);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = delete_tree(directory, mount, until, 0);
	if (r == 0 && sys.unlinkat(parent, name, AT_REMOVEDIR) < 0)
		r = -errno;
	return r;
}

/* Keeps a descriptor of the file system. False when there are too many: then nothing may wait. */
static bool sync_later(struct home_sync *sync, int parent)
{
	struct stat status;

	if (!sync || sys.fstat(parent, &status) < 0)
		return false;
	for (unsigned i = 0; i < sync->count; i++) {
		if (sync->devices[i] == status.st_dev)
			return true;
	}
	if (sync->count == HOME_SYNC_MAX)
		return false;
	int descriptor = fcntl(parent, F_DUPFD_CLOEXEC, 3);
	if (descriptor < 0)
		return false;
	sync->devices[sync->count] = status.st_dev;
	sync->descriptors[sync->count++] = descriptor;
	return true;
}

int home_sync_finish(struct home_sync *sync)
{
	for (unsigned i = 0; i < sync->count; i++) {
		if (sys.syncfs(sync->descriptors[i]) < 0)
			return -errno;
	}
	home_sync_free(sync);
	return 0;
}

void home_sync_free(struct home_sync *sync)
{
	for (unsigned i = 0; i < sync->count; i++)
		(void)close(sync->descriptors[i]);
	sync->count = 0;
}

/* Under the same name each time, so that the redo finds what a crash left; only root can write here. */
static int make_temporary(int parent, const char *name)
{
	uint64_t mount;

	if (sys.mkdirat(parent, name, 0700) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	int r = mount_of(parent, &mount);
	if (r == 0)
		r = remove_directory(parent, name, mount, INT64_MAX);
	return r == 0 && sys.mkdirat(parent, name, 0700) < 0 ? -errno : r;
}

/* Takes back what was made; whatever stays is root's. */
static int take_back(int parent, const char *name, int error)
{
	uint64_t mount;

	if (mount_of(parent, &mount) == 0)
		(void)!remove_directory(parent, name, mount, INT64_MAX);
	return error;
}

int home_build(int root, const char *path, struct skeleton *skeleton, uid_t uid, gid_t gid, mode_t mode,
	struct home_sync *sync, enum home_state *ret_state)
{
	cleanup_close int parent = -1, target = -1;
	char name[NAME_MAX + 1], temporary[NAME_MAX + 1];

	int r = open_parent(root, path, true, &parent, name);
	if (r == -EPERM || r == -ENOTDIR) {
		*ret_state = HOME_NOT_SAFE;
		return 0;
	}
	if (r == 0)
		r = look_at(parent, name, uid, ret_state);
	if (r < 0 || *ret_state != HOME_MISSING)
		return r;
	if (snprintf(temporary, sizeof(temporary), FILE_TEMPORARY_PREFIX "%s", name) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	r = make_temporary(parent, temporary);
	if (r < 0)
		return r;
	bool later = sync_later(sync, parent);
	r = file_open_directory(parent, temporary, &target);
	if (r == 0)
		r = skeleton_copy(skeleton, root, target, uid, gid, later);
	/* The owner last: until here nobody but root can look inside. */
	if (r == 0 &&
		(sys.fchmod(target, mode) < 0 || sys.fchown(target, uid, gid) < 0 || (!later && sys.fsync(target) < 0)))
		r = -errno;
	if (r == 0 && sys.renameat2(parent, temporary, parent, name, RENAME_NOREPLACE) < 0)
		r = -errno;
	if (r < 0)
		return take_back(parent, temporary, r);
	if (!later && sys.fsync(parent) < 0)
		return take_back(parent, name, -errno);
	return 0;
}

int home_delete(int root, const char *path, uid_t uid, int64_t until, struct home_sync *sync)
{
	cleanup_close int parent = -1;
	enum home_state state;
	char name[NAME_MAX + 1];
	uint64_t mount;

	int r = open_parent(root, path, false, &parent, name);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = look_at(parent, name, uid, &state);
	if (r < 0)
		return r;
	if (state == HOME_MISSING)
		return 0;
	if (state != HOME_OWN || uid == 0)
		return -EPERM;
	r = mount_of(parent, &mount);
	if (r == 0)
		r = remove_directory(parent, name, mount, until);
	if (r == 0 && !sync_later(sync, parent) && sys.fsync(parent) < 0)
		r = -errno;
	return r;
}
