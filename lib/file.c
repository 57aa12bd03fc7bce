/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/utsname.h>

#include "lib/attributes.h"
#include "lib/buffer.h"
#include "lib/file_shared.h"
#include "lib/sys.h"

#define HUGE_PAGE (2u << 20) /* on x86 and most others; where it is not, the advice is not taken */
#define COMPONENT_MAX 255u   /* NAME_MAX */

#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)

/* One component; one that is missing is made. */
static int step(int directory, const char *name, bool create, mode_t mode, int *ret_descriptor)
{
	int next = sys.openat(directory, name, DIRECTORY_FLAGS, 0);

	if (next < 0 && errno == ENOENT && create) {
		if (sys.mkdirat(directory, name, mode) == 0) {
			if (sys.fsync(directory) < 0)
				return -errno;
		} else if (errno != EEXIST) {
			return -errno;
		}
		next = sys.openat(directory, name, DIRECTORY_FLAGS, 0);
	}
	if (next < 0) {
		int error = errno;
		struct stat status;

		if (error == ENOTDIR && sys.fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
			S_ISLNK(status.st_mode))
			error = ELOOP;
		return -error;
	}
	*ret_descriptor = next;
	return 0;
}

static int walk(int directory, const char *path, bool create, mode_t mode, int *ret_descriptor)
{
	cleanup_close int current = -1;

	if (*path == '/') {
		current = sys.openat(AT_FDCWD, "/", DIRECTORY_FLAGS, 0);
		if (current < 0)
			return -errno;
	}
	while (*path) {
		char component[COMPONENT_MAX + 1];
		size_t size = strcspn(path, "/");
		int next = -1;

		if (size > COMPONENT_MAX)
			return -ENAMETOOLONG;
		memcpy(component, path, size);
		component[size] = '\0';
		path += size;
		path += strspn(path, "/");
		if (size == 0 || strcmp(component, ".") == 0)
			continue;
		if (strcmp(component, "..") == 0)
			return -EINVAL;
		int r = step(current >= 0 ? current : directory, component, create, mode, &next);
		if (r < 0)
			return r;
		if (current >= 0)
			(void)close(current);
		current = next;
	}
	if (current < 0) {
		current = sys.openat(directory, ".", DIRECTORY_FLAGS, 0);
		if (current < 0)
			return -errno;
	}
	*ret_descriptor = steal_descriptor(&current);
	return 0;
}

int file_open_directory(int directory, const char *path, int *ret_descriptor)
{
	return walk(directory, path, false, 0, ret_descriptor);
}

int file_make_directory(int directory, const char *path, mode_t mode, int *ret_descriptor)
{
	return walk(directory, path, true, mode, ret_descriptor);
}

int file_open(int directory, const char *name, int *ret_descriptor, struct stat *ret_status)
{
	struct stat status;
	cleanup_close int descriptor =
		sys.openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0);
	if (descriptor < 0)
		return errno == ENXIO ? -EINVAL : -errno;
	if (sys.fstat(descriptor, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	if (ret_status)
		*ret_status = status;
	*ret_descriptor = steal_descriptor(&descriptor);
	return 0;
}

char *file_allocate(size_t size)
{
	size_t rounded = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;

	if (size < HUGE_PAGE || size > SIZE_MAX - HUGE_PAGE)
		return malloc(size);
	char *bytes = aligned_alloc(HUGE_PAGE, rounded);
	if (bytes)
		(void)madvise(bytes, rounded, MADV_HUGEPAGE);
	return bytes;
}

int file_read_descriptor(int descriptor, size_t limit, char **ret_bytes, size_t *ret_size)
{
	struct stat status;

	if (sys.fstat(descriptor, &status) < 0)
		return -errno;
	if (status.st_size > 0 && (unsigned long long)status.st_size > limit)
		return -EFBIG;
	size_t capacity = S_ISREG(status.st_mode) && status.st_size > 0 ? (size_t)status.st_size + 1 : 4096;
	size_t size = 0;
	cleanup_free char *bytes = file_allocate(capacity + 1);
	if (!bytes)
		return -ENOMEM;
	for (;;) {
		if (size == capacity) {
			char *more = realloc(bytes, capacity * 2 + 1);
			if (!more)
				return -ENOMEM;
			bytes = more;
			capacity *= 2;
		}
		ssize_t n = sys.read(descriptor, bytes + size, capacity - size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		size += (size_t)n;
		if (size > limit)
			return -EFBIG;
	}
	bytes[size] = '\0';
	*ret_bytes = steal_pointer(&bytes);
	*ret_size = size;
	return 0;
}

int file_read(int directory, const char *name, size_t limit, char **ret_bytes, size_t *ret_size)
{
	cleanup_close int descriptor = -1;
	int r = file_open(directory, name, &descriptor, NULL);
	if (r < 0)
		return r;
	return file_read_descriptor(descriptor, limit, ret_bytes, ret_size);
}

int file_write_all(int descriptor, const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size > 0) {
		ssize_t n = sys.write(descriptor, at, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

static int write_temporary(int descriptor, const void *bytes, size_t size, const struct file_attributes *attributes)
{
	struct file_attributes wanted = *attributes;
	struct stat status, old;
	mode_t kept = 07777;
	int r;

	if (sys.fstat(descriptor, &status) < 0)
		return -errno;
	if (wanted.like >= 0) {
		if (sys.fstat(wanted.like, &old) < 0)
			return -errno;
		wanted.uid = old.st_uid;
		wanted.gid = old.st_gid;
	}
	r = file_write_all(descriptor, bytes, size);
	if (r < 0)
		return r;
	if ((wanted.uid != (uid_t)-1 && wanted.uid != status.st_uid) ||
		(wanted.gid != (gid_t)-1 && wanted.gid != status.st_gid)) {
		if (sys.fchown(descriptor, wanted.uid, wanted.gid) < 0) {
			if (errno != EPERM || !wanted.own_group || wanted.uid != status.st_uid)
				return -errno;
			kept = 07707;
		}
	}
	if (wanted.like >= 0) {
		r = attributes_keep(wanted.like, descriptor);
		if (r < 0)
			return r;
		/* After the owner: chown clears the set-id bits. The mode can only widen here, from its 0600 start. */
		if (sys.fchmod(descriptor, old.st_mode & kept) < 0)
			return -errno;
	}
	r = wanted.label ? label_put(descriptor, wanted.label) : 0;
	if (r < 0)
		return r;
	if (!wanted.unsynced && sys.fsync(descriptor) < 0)
		return -errno;
	return 0;
}

/* `temporary` gets the name, and what stood there becomes `backup`; there is no moment without either. */
static int exchange(int directory, const char *temporary, const char *name, const char *backup)
{
	if (sys.renameat2(directory, temporary, directory, name, RENAME_EXCHANGE) < 0)
		return errno == EINVAL || errno == ENOSYS ? -EOPNOTSUPP : -errno;
	if (sys.renameat2(directory, temporary, directory, backup, 0) < 0) {
		int error = errno;
		(void)sys.renameat2(directory, temporary, directory, name, RENAME_EXCHANGE);
		return -error;
	}
	return 0;
}

int file_choose_temporary(char ret_name[FILE_TEMPORARY_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char random[8];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	memcpy(ret_name, FILE_TEMPORARY_PREFIX, sizeof(FILE_TEMPORARY_PREFIX));
	char *at = ret_name + strlen(FILE_TEMPORARY_PREFIX);
	for (size_t i = 0; i < sizeof(random); i++) {
		*at++ = digits[random[i] >> 4];
		*at++ = digits[random[i] & 15];
	}
	*at = '\0';
	return 0;
}

static int put(int directory, const char *name, const void *bytes, size_t size, const struct file_attributes *given,
	unsigned rename_flags, const char *backup, const struct file_reading *was)
{
	struct file_attributes attributes = *given;
	struct label label;
	char temporary[FILE_TEMPORARY_SIZE];
	const struct file_reading is = {bytes, size};
	bool kept = false;

	int r = file_choose_temporary(temporary);
	if (r < 0)
		return r;
	if (attributes.like >= 0) {
		label_read(attributes.like, &label);
		attributes.label = &label;
	}
	bool labelled = attributes.label && attributes.label->size > 0 && label_is_in_force();
	if (labelled)
		label_new_files(attributes.label);
	cleanup_close int descriptor = sys.openat(directory, temporary,
		O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, attributes.like >= 0 ? 0600 : attributes.mode);
	int error = errno;
	if (labelled)
		label_new_files(NULL);
	if (descriptor < 0)
		return -error;
	r = write_temporary(descriptor, bytes, size, &attributes);
	if (r == 0 && backup)
		r = exchange(directory, temporary, name, backup);
	else if (r == 0 && was)
		r = file_shared_swap(directory, temporary, descriptor, &is, name, attributes.like, was, &kept);
	else if (r == 0 && sys.renameat2(directory, temporary, directory, name, rename_flags) < 0)
		r = -errno;
	if (r < 0 && !kept)
		(void)sys.unlinkat(directory, temporary, 0);
	if (r < 0)
		return r;
	if (!attributes.unsynced && sys.fsync(directory) < 0)
		return -errno;
	/*
	 * Only now is it sure that this inode is the backup: after a power failure its new mode could stand, and the
	 * names as they were before. What fails here leaves a backup that those can read who could read the file.
	 */
	if (backup && sys.fchown(attributes.like, 0, 0) == 0)
		(void)!sys.fchmod(attributes.like, 0600);
	return 0;
}

int file_replace(
	int directory, const char *name, const void *bytes, size_t size, const struct file_attributes *attributes)
{
	return put(directory, name, bytes, size, attributes, 0, NULL, NULL);
}

int file_replace_shared(int directory, const char *name, const void *bytes, size_t size,
	const struct file_attributes *attributes, const struct file_reading *was)
{
	return put(directory, name, bytes, size, attributes, 0, NULL, was);
}

int file_replace_keeping(int directory, const char *name, const char *backup, const void *bytes, size_t size,
	const struct file_attributes *attributes)
{
	return put(directory, name, bytes, size, attributes, 0, backup, NULL);
}

int file_replace_simple(int directory, const char *name, const void *bytes, size_t size, mode_t mode)
{
	const struct file_attributes attributes = {.mode = mode, .uid = (uid_t)-1, .gid = (gid_t)-1, .like = -1};
	return put(directory, name, bytes, size, &attributes, 0, NULL, NULL);
}

int file_create(
	int directory, const char *name, const void *bytes, size_t size, const struct file_attributes *attributes)
{
	return put(directory, name, bytes, size, attributes, RENAME_NOREPLACE, NULL, NULL);
}

bool file_syncfs_is_reliable(void)
{
	struct utsname name;
	unsigned numbers[2] = {0, 0};

	if (uname(&name) < 0)
		return false;
	const char *at = name.release;
	for (unsigned i = 0; i < 2; i++) {
		for (; *at >= '0' && *at <= '9' && numbers[i] < 1000; at++)
			numbers[i] = numbers[i] * 10 + (unsigned)(*at - '0');
		at += *at == '.';
	}
	return numbers[0] > 5 || (numbers[0] == 5 && numbers[1] >= 8);
}

int file_remove(int directory, const char *name)
{
	if (sys.unlinkat(directory, name, 0) < 0)
		return -errno;
	if (sys.fsync(directory) < 0)
		return -errno;
	return 0;
}

void file_names_free(char ***names)
{
	if (!*names)
		return;
	for (char **name = *names; *name; name++)
		free(*name);
	free(*names);
	*names = NULL;
}

static void cleanup_closedir(DIR **directory)
{
	if (*directory)
		(void)closedir(*directory);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int file_list(int directory, const char *path, size_t limit, char ***ret_names, size_t *ret_count)
{
	CLEANUP(cleanup_closedir) DIR *stream = NULL;
	cleanup_names char **names = NULL;
	cleanup_close int descriptor = -1;
	size_t count = 0;

	int r = file_open_directory(directory, path, &descriptor);
	if (r < 0)
		return r;
	stream = fdopendir(descriptor);
	if (!stream)
		return -errno;
	descriptor = -1;
	names = calloc(1, sizeof(*names));
	if (!names)
		return -ENOMEM;
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(stream);
		if (!entry && errno)
			return -errno;
		if (!entry)
			break;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (count == limit)
			return -EFBIG;
		char **more = reallocarray(names, count + 2, sizeof(*names));
		if (!more)
			return -ENOMEM;
		names = more;
		names[count + 1] = NULL;
		names[count] = strdup(entry->d_name);
		if (!names[count])
			return -ENOMEM;
		count++;
	}
	qsort(names, count, sizeof(*names), compare_names);
	*ret_names = steal_pointer(&names);
	*ret_count = count;
	return 0;
}

void file_sweep_temporaries(int directory, long long now)
{
	cleanup_names char **names = NULL;
	size_t count;

	if (file_list(directory, ".", 4096, &names, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		struct stat status;
		if (strncmp(names[i], FILE_TEMPORARY_PREFIX, strlen(FILE_TEMPORARY_PREFIX)) != 0 ||
			strlen(names[i]) != strlen(FILE_TEMPORARY_PREFIX) + 16)
			continue;
		if (sys.fstatat(directory, names[i], &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
			status.st_mtime < now - 3600)
			(void)sys.unlinkat(directory, names[i], 0);
	}
}
