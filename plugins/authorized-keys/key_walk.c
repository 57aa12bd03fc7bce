/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/key_walk.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "lib/file.h"
#include "lib/sys.h"

int key_view_refuse(struct key_view *view, enum code code, const char *format, ...)
{
	va_list arguments;

	view->code = code;
	va_start(arguments, format);
	(void)vsnprintf(view->detail, sizeof(view->detail), format, arguments);
	va_end(arguments);
	return -EPERM;
}

static int fail(struct key_view *view, int error, const char *what)
{
	return key_view_refuse(view, code_from_errno(error), "%s: %s", what, strerror(error));
}

/* What may be wrong with a directory on the way, by whose it is and how far down. `depth` is the length walked. */
static int check_directory(
	const struct key_task *task, const struct key_place *place, size_t depth, int descriptor, struct key_view *view)
{
	uid_t uid = task->identity.uid;
	struct stat status;

	if (sys.fstat(descriptor, &status) < 0)
		return fail(view, errno, "fstat");
	bool writable = (status.st_mode & 022) != 0;
	if (place->root_owned) {
		if (status.st_uid != 0 || writable)
			return key_view_refuse(view, CODE_OWNER, "%.*s must be root's and writable by nobody else",
				(int)(depth ? depth : 1), depth ? place->path : "/");
		return 0;
	}
	if (depth < place->home_size)
		return 0; /* above the home only names are looked up, with the user's own rights */
	if (status.st_uid != uid && status.st_uid != 0)
		return key_view_refuse(view, depth == place->home_size ? CODE_HOME_UNSAFE : CODE_OWNER,
			"%.*s belongs to uid %u", (int)depth, place->path, (unsigned)status.st_uid);
	if (!writable)
		return 0;
	if (depth == place->home_size) {
		view->home_open = true;
		return 0;
	}
	/* Below the home sshd refuses what others can write to; it is the user's own to narrow. */
	cleanup_close int directory = sys.openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (directory < 0 || sys.fchmod(directory, status.st_mode & 07755) < 0)
		return key_view_refuse(view, CODE_OWNER, "%.*s is writable by others", (int)depth, place->path);
	view->tightened = true;
	return 0;
}

static int make_directory(const struct key_task *task, int parent, const char *name, mode_t mode, struct key_view *view)
{
	if (sys.mkdirat(parent, name, mode) < 0 && errno != EEXIST)
		return fail(view, errno, name);
	/* The file in it is new too. */
	if (task->sync_later)
		return 0;
	/* O_PATH descriptors cannot be synced; a directory that its owner cannot read is synced by the file's own. */
	cleanup_close int readable = sys.openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (readable >= 0 && sys.fsync(readable) < 0)
		return fail(view, errno, name);
	return 0;
}

static int enter(int parent, const char *name, size_t depth, const struct key_place *place, struct key_view *view,
	int *ret_descriptor)
{
	int next = sys.openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (next >= 0) {
		*ret_descriptor = next;
		return 0;
	}
	int error = errno;
	struct stat status;
	if (error == ENOENT)
		return -ENOENT;
	if ((error == ENOTDIR || error == ELOOP) && sys.fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0)
		return key_view_refuse(view,
			S_ISLNK(status.st_mode)   ? CODE_SYMLINK
			: S_ISDIR(status.st_mode) ? CODE_BUSY
						  : /* it is exchanged while we look */
				CODE_NOT_REGULAR,
			"%.*s", (int)depth, place->path);
	if (error == EACCES)
		return key_view_refuse(view, depth <= place->home_size ? CODE_HOME_UNSAFE : CODE_OWNER,
			"%.*s cannot be entered by the user", (int)depth, place->path);
	return fail(view, error, name);
}

/* One step down; makes the directory when it is missing and may be made. */
static int descend(const struct key_task *task, const struct key_place *place, int *current, const char *name,
	size_t depth, bool create, struct key_view *view)
{
	int next = -1;

	int r = enter(*current, name, depth, place, view, &next);
	if (r == -ENOENT) {
		if (depth <= place->home_size)
			return key_view_refuse(
				view, CODE_HOME_UNSAFE, "%.*s does not exist", (int)place->home_size, place->path);
		if (!create)
			return -ENOENT;
		r = make_directory(task, *current, name, place->home_size > 0 ? 0700 : 0755, view);
		if (r == 0)
			r = enter(*current, name, depth, place, view, &next);
		if (r == -ENOENT)
			return fail(view, ENOENT, name);
	}
	if (r < 0)
		return r;
	(void)close(*current);
	*current = next;
	return check_directory(task, place, depth, next, view);
}

int key_walk(const struct key_task *task, const struct key_place *place, bool create, struct key_view *view,
	int *ret_directory, const char **ret_name)
{
	const char *at = place->path + strspn(place->path, "/");
	cleanup_close int current = sys.openat(AT_FDCWD, task->root_path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);

	if (current < 0)
		return fail(view, errno, task->root_path);
	int r = check_directory(task, place, 0, current, view);
	for (const char *slash = strchr(at, '/'); r == 0 && slash; slash = strchr(at, '/')) {
		char component[NAME_MAX + 1];
		size_t size = (size_t)(slash - at);

		if (size > NAME_MAX)
			return fail(view, ENAMETOOLONG, "path");
		memcpy(component, at, size);
		component[size] = '\0';
		at = slash + strspn(slash, "/");
		if (size == 0 || strcmp(component, ".") == 0)
			continue;
		if (strcmp(component, "..") == 0)
			return key_view_refuse(view, CODE_SYMLINK, "%.100s", place->path);
		r = descend(task, place, &current, component, (size_t)(slash - place->path), create, view);
	}
	if (r < 0)
		return r;
	int directory = sys.openat(current, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (directory < 0)
		return fail(view, errno, place->path);
	*ret_directory = directory;
	*ret_name = at;
	return 0;
}
