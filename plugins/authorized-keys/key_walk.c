/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/key_walk.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "lib/attributes.h"
#include "lib/file.h"
#include "lib/sys.h"

#define LINKS_MAX 8u /* one or two are what systems have */

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

/* Where it stands. */
struct walk {
	const struct key_task *task;
	const struct key_place *place;
	struct key_view *view;
	enum key_walk_purpose purpose;
	int current;
	unsigned links; /* followed so far */
};

/* What may be wrong with a directory on the way, by whose it is and how far down. `depth` is the length walked. */
static int check_directory(const struct walk *walk, size_t depth, int descriptor)
{
	const struct key_place *place = walk->place;
	uid_t uid = walk->task->identity.uid;
	struct key_view *view = walk->view;
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
	if (walk->purpose == KEY_WALK_LOOK && status.st_uid == uid)
		return 0;
	/* Below the home sshd refuses what others can write to; it is the user's own to narrow. */
	cleanup_close int directory = sys.openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (directory < 0 || sys.fchmod(directory, status.st_mode & 07755) < 0)
		return key_view_refuse(view, CODE_OWNER, "%.*s is writable by others", (int)depth, place->path);
	view->tightened = true;
	return 0;
}

/*
 * sshd may read ~/.ssh only where its label says that it is that (ssh_home_t in every policy that has sshd's domain). A
 * new one would get its home's; what is made in it gets its own.
 */
static int make_labelled(int parent, const char *name, mode_t mode)
{
	cleanup_close int home = sys.openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	struct label label, wanted;
	int r;

	if (home < 0)
		return -errno;
	label_read(home, &label);
	label_with_type(&label, "ssh_home_t", &wanted);
	if (wanted.size == 0)
		return -ENOENT;
	label_new_files(&wanted);
	r = sys.mkdirat(parent, name, mode) < 0 ? -errno : 0;
	label_new_files(NULL);
	return r;
}

static int make_directory(const struct key_task *task, int parent, const char *name, mode_t mode, struct key_view *view)
{
	bool made = strcmp(name, ".ssh") == 0 && label_is_in_force() && make_labelled(parent, name, mode) == 0;
	if (!made && sys.mkdirat(parent, name, mode) < 0 && errno != EEXIST)
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

/* Links that root alone can change: root's own, in a directory that is root's and writable by nobody else. */
static bool is_roots_link(int parent, const struct stat *link)
{
	struct stat status;

	return link->st_uid == 0 && sys.fstat(parent, &status) == 0 && status.st_uid == 0 &&
	       (status.st_mode & 022) == 0;
}

/* -ELOOP for a symbolic link, -ENOENT; what else stands there refuses. */
static int enter(const struct walk *walk, const char *name, size_t depth, int *ret_descriptor, struct stat *ret_link)
{
	int next = sys.openat(walk->current, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (next >= 0) {
		*ret_descriptor = next;
		return 0;
	}
	int error = errno;
	if (error == ENOENT)
		return -ENOENT;
	if ((error == ENOTDIR || error == ELOOP) &&
		sys.fstatat(walk->current, name, ret_link, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISLNK(ret_link->st_mode))
			return -ELOOP;
		return key_view_refuse(walk->view,
			S_ISDIR(ret_link->st_mode) ? CODE_BUSY /* it is exchanged while we look */
						   : CODE_NOT_REGULAR,
			"%.*s", (int)depth, walk->place->path);
	}
	if (error == EACCES)
		return key_view_refuse(walk->view, depth <= walk->place->home_size ? CODE_HOME_UNSAFE : CODE_OWNER,
			"%.*s cannot be entered by the user", (int)depth, walk->place->path);
	return fail(walk->view, error, name);
}

static int go_to_root(struct walk *walk)
{
	int root = sys.openat(AT_FDCWD, walk->task->root_path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);

	if (root < 0)
		return fail(walk->view, errno, walk->task->root_path);
	if (walk->current >= 0)
		(void)close(walk->current);
	walk->current = root;
	return check_directory(walk, 0, root);
}

static int descend(struct walk *walk, const char *name, size_t depth);

/* Each component of a path; the last has `depth`, those before it are on the way there. */
static int descend_path(struct walk *walk, const char *path, size_t depth)
{
	int r = *path == '/' ? go_to_root(walk) : 0;

	path += strspn(path, "/");
	while (r == 0 && *path) {
		char component[NAME_MAX + 1];
		size_t size = strcspn(path, "/");
		const char *rest = path + size + strspn(path + size, "/");

		if (size > NAME_MAX)
			return fail(walk->view, ENAMETOOLONG, "path");
		memcpy(component, path, size);
		component[size] = '\0';
		path = rest;
		if (strcmp(component, ".") == 0)
			continue;
		/* Above another root it would lead out of it. */
		if (strcmp(component, "..") == 0 && strcmp(walk->task->root_path, "/") != 0)
			return key_view_refuse(walk->view, CODE_SYMLINK, "%.100s", walk->place->path);
		r = descend(walk, component, *rest ? 0 : depth);
	}
	return r;
}

/* /home is such a link on image-based systems. What a user could have made or changed is never followed. */
static int follow(struct walk *walk, const char *name, size_t depth, const struct stat *link)
{
	char target[PATH_MAX];

	if ((depth > walk->place->home_size && !walk->place->root_owned) || walk->links == LINKS_MAX ||
		!is_roots_link(walk->current, link))
		return key_view_refuse(walk->view, CODE_SYMLINK, "%.*s", (int)depth, walk->place->path);
	ssize_t size = readlinkat(walk->current, name, target, sizeof(target) - 1);
	if (size < 0)
		return fail(walk->view, errno, name);
	target[size] = '\0';
	walk->links++;
	return descend_path(walk, target, depth);
}

/* One step down; makes the directory when it is missing and may be made. */
static int descend(struct walk *walk, const char *name, size_t depth)
{
	const struct key_place *place = walk->place;
	struct stat link;
	int next = -1;

	int r = enter(walk, name, depth, &next, &link);
	if (r == -ELOOP)
		return follow(walk, name, depth, &link);
	if (r == -ENOENT) {
		if (depth <= place->home_size)
			return key_view_refuse(walk->view, CODE_HOME_UNSAFE, "%.*s does not exist",
				(int)place->home_size, place->path);
		if (walk->purpose != KEY_WALK_ADD)
			return -ENOENT;
		r = make_directory(walk->task, walk->current, name, place->home_size > 0 ? 0700 : 0755, walk->view);
		if (r == 0)
			r = enter(walk, name, depth, &next, &link);
		if (r == -ENOENT)
			return fail(walk->view, ENOENT, name);
		if (r == -ELOOP)
			return key_view_refuse(walk->view, CODE_SYMLINK, "%.*s", (int)depth, place->path);
	}
	if (r < 0)
		return r;
	(void)close(walk->current);
	walk->current = next;
	return check_directory(walk, depth, next);
}

static void walk_free(struct walk *walk)
{
	if (walk->current >= 0)
		(void)close(walk->current);
}

int key_walk(const struct key_task *task, const struct key_place *place, enum key_walk_purpose purpose,
	struct key_view *view, int *ret_directory, const char **ret_name)
{
	const char *at = place->path + strspn(place->path, "/");
	CLEANUP(walk_free) struct walk walk = {task, place, view, purpose, -1, 0};

	int r = go_to_root(&walk);
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
		r = descend(&walk, component, (size_t)(slash - place->path));
	}
	if (r < 0)
		return r;
	int directory = sys.openat(walk.current, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (directory < 0 && errno == EACCES)
		return key_view_refuse(
			view, CODE_OWNER, "the directory of %.120s cannot be read by its user", place->path);
	if (directory < 0)
		return fail(view, errno, place->path);
	*ret_directory = directory;
	*ret_name = at;
	return 0;
}
