/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sshd_open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>

#include "lib/file.h"
#include "lib/sys.h"

static bool is_host_root(int root)
{
	struct stat host, given;

	return fstat(root, &given) == 0 && stat("/", &host) == 0 && given.st_dev == host.st_dev &&
	       given.st_ino == host.st_ino;
}

static int split_path(const char *path, char **ret_parent, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	if (*path != '/' || !slash)
		return -EINVAL;
	*ret_parent = strndup(path + 1, slash > path ? (size_t)(slash - path - 1) : 0);
	*ret_name = slash + 1;
	return *ret_parent ? 0 : -ENOMEM;
}

/* Linux before 5.6, or a seccomp filter that does not know the call. */
static int open_plain(int root, const char *path, int flags, int *ret_descriptor)
{
	cleanup_free char *parent = NULL;
	cleanup_close int directory = -1;
	const char *name;
	int r;

	if (is_host_root(root)) {
		int descriptor = sys.openat(root, path, flags, 0);
		if (descriptor < 0)
			return -errno;
		*ret_descriptor = descriptor;
		return 0;
	}
	r = split_path(path, &parent, &name);
	if (r == 0)
		r = file_open_directory(root, parent, &directory);
	if (r < 0)
		return r;
	int descriptor = sys.openat(directory, *name ? name : ".", flags | O_NOFOLLOW, 0);
	if (descriptor < 0)
		return -errno;
	*ret_descriptor = descriptor;
	return 0;
}

int sshd_open_below(int root, const char *path, int flags, int *ret_descriptor)
{
	const struct open_how how = {.flags = (unsigned long long)(flags | O_CLOEXEC), .resolve = RESOLVE_IN_ROOT};

	long descriptor = syscall(SYS_openat2, root, path, &how, sizeof(how));
	if (descriptor < 0 && (errno == ENOSYS || errno == EPERM))
		return open_plain(root, path, flags | O_CLOEXEC, ret_descriptor);
	if (descriptor < 0)
		return -errno;
	*ret_descriptor = (int)descriptor;
	return 0;
}

int sshd_read_below(int root, const char *path, size_t limit, char **ret_bytes, size_t *ret_size)
{
	cleanup_close int descriptor = -1;
	struct stat status;

	int r = sshd_open_below(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, &descriptor);
	if (r < 0)
		return r;
	if (fstat(descriptor, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	return file_read_descriptor(descriptor, limit, ret_bytes, ret_size);
}

bool sshd_is_dangling(int root, const char *path)
{
	cleanup_free char *parent = NULL, *below = NULL;
	cleanup_close int directory = -1;
	const char *name;
	struct stat status;

	if (split_path(path, &parent, &name) < 0 || asprintf(&below, "/%s", parent) < 0)
		return false;
	if (sshd_open_below(root, below, O_PATH | O_DIRECTORY, &directory) < 0)
		return false;
	return sys.fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode);
}

void sshd_file_identify(const struct stat *status, struct sshd_file *ret_file)
{
	*ret_file = (struct sshd_file){.missing = !status};
	if (!status)
		return;
	ret_file->is_directory = S_ISDIR(status->st_mode);
	ret_file->device = status->st_dev;
	ret_file->inode = status->st_ino;
	ret_file->size = (uint64_t)status->st_size;
	ret_file->modified_s = status->st_mtim.tv_sec;
	ret_file->modified_ns = (uint32_t)status->st_mtim.tv_nsec;
	ret_file->changed_s = status->st_ctim.tv_sec;
	ret_file->changed_ns = (uint32_t)status->st_ctim.tv_nsec;
}

bool sshd_file_is_unchanged(int root, const struct sshd_file *file)
{
	cleanup_close int descriptor = -1;
	struct sshd_file now = {.missing = true};
	struct stat status;

	if (file->is_overlay)
		return false;
	int r = sshd_open_below(root, file->path, O_PATH, &descriptor);
	if (r < 0)
		return file->missing && (r == -ENOENT || r == -ENOTDIR);
	if (file->missing || fstat(descriptor, &status) < 0)
		return false;
	sshd_file_identify(&status, &now);
	return now.is_directory == file->is_directory && now.device == file->device && now.inode == file->inode &&
	       now.size == file->size && now.modified_s == file->modified_s && now.modified_ns == file->modified_ns &&
	       now.changed_s == file->changed_s && now.changed_ns == file->changed_ns;
}
