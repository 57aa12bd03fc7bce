/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/file_shared.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "lib/sys.h"

#define GROWTH_MAX (1u << 20) /* of a file between its reading and its replacing */
#define LOOKS_MAX 15u         /* at the old file while somebody has it open: who only keeps it open is not waited for */
#define LOOKS_PAUSE_MS 20u
#define READ_LOOKS_MAX 100u /* and then it is read as it is: what comes of it is looked at again */
#define READ_LOOKS_PAUSE_MS 2u

/*
 * A lease for reading is not given (-EAGAIN) while somebody has the file open for writing, and who would open it waits
 * until it is given back. NFS may say so without anybody; where there are no leases nobody can tell.
 */
static int take_lease(int descriptor)
{
	/* Who opens it while the lease is held must not end us: SIGIO, the default, would. */
	return fcntl(descriptor, F_SETSIG, SIGWINCH) < 0 || fcntl(descriptor, F_SETLEASE, F_RDLCK) < 0 ? -errno : 0;
}

static bool has_writer(int descriptor)
{
	int r = take_lease(descriptor);

	if (r == 0)
		(void)fcntl(descriptor, F_SETLEASE, F_UNLCK);
	return r == -EAGAIN;
}

static void pause_for(unsigned milliseconds)
{
	const struct timespec pause = {0, milliseconds * 1000000L};

	(void)nanosleep(&pause, NULL);
}

int file_shared_read(int descriptor, size_t limit, char **ret_bytes, size_t *ret_size)
{
	int held = take_lease(descriptor);

	for (unsigned looks = 1; held == -EAGAIN && looks < READ_LOOKS_MAX; looks++) {
		pause_for(READ_LOOKS_PAUSE_MS);
		held = take_lease(descriptor);
	}
	int r = file_read_descriptor(descriptor, limit, ret_bytes, ret_size);
	if (held == 0)
		(void)fcntl(descriptor, F_SETLEASE, F_UNLCK);
	return r;
}

/* False, too, when it cannot be told. */
static bool is_same(int one, int other)
{
	struct stat first, second;

	return sys.fstat(one, &first) == 0 && sys.fstat(other, &second) == 0 && first.st_ino == second.st_ino &&
	       first.st_dev == second.st_dev;
}

static bool cannot_do_flags(int error)
{
	return error == EINVAL || error == ENOSYS;
}

/* To the end of the file of that name, if it still is the one that is open as `descriptor`. */
static int append(int directory, const char *name, int descriptor, const char *bytes, size_t size)
{
	cleanup_close int end =
		sys.openat(directory, name, O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0);

	if (end < 0)
		return errno == ENOENT || errno == ELOOP ? 0 : -errno;
	if (!is_same(end, descriptor))
		return 0; /* who put another file there meant it to replace this one, with whatever it was given */
	int r = file_write_all(end, bytes, size);
	if (r == 0 && sys.fsync(end) < 0)
		r = -errno;
	return r;
}

/* What a file has become since it was read. */
struct later {
	char *bytes; /* owned */
	size_t size;
	bool has_writer;
	bool begins; /* with what it was */
};

static void later_free(struct later *later)
{
	free(later->bytes);
	*later = (struct later){0};
}

/*
 * It is opened anew: on an overlay a descriptor that was opened before the first write to the file goes on showing what
 * stood before it. -EAGAIN when another file has the name, or this one has grown out of all bounds.
 */
static int look(
	int directory, const char *name, int descriptor, const struct file_reading *was, struct later *ret_later)
{
	struct later later = {0};
	cleanup_close int again = -1;

	int r = file_open(directory, name, &again, NULL);
	if (r < 0)
		return r == -ENOENT || r == -ELOOP || r == -EINVAL ? -EAGAIN : r;
	if (!is_same(again, descriptor))
		return -EAGAIN;
	later.has_writer = has_writer(again);
	r = file_read_descriptor(again, was->size + GROWTH_MAX, &later.bytes, &later.size);
	if (r < 0)
		return r == -EFBIG ? -EAGAIN : r;
	later.begins = later.size >= was->size && memcmp(later.bytes, was->bytes, was->size) == 0;
	*ret_later = later;
	return 0;
}

/* The same once nobody has it open for writing, or will not close it. */
static int look_when_closed(
	int directory, const char *name, int descriptor, const struct file_reading *was, struct later *ret_later)
{
	CLEANUP(later_free) struct later later = {0};

	for (unsigned looks = 1;; looks++) {
		int r = look(directory, name, descriptor, was, &later);
		if (r < 0)
			return r;
		if (!later.has_writer || looks == LOOKS_MAX)
			break;
		later_free(&later);
		pause_for(LOOKS_PAUSE_MS);
	}
	*ret_later = later;
	later.bytes = NULL;
	return 0;
}

/* What goes in the place of what. */
struct swap {
	int directory;
	const char *temporary, *name;
	int descriptor, old;
	const struct file_reading *is, *was;
	size_t carried; /* bytes that the old one was given, and the new one too */
	bool kept;      /* the temporary name is the only one of somebody's file */
};

static int exchange(const struct swap *swap)
{
	return sys.renameat2(swap->directory, swap->temporary, swap->directory, swap->name, RENAME_EXCHANGE) < 0
		       ? -errno
		       : 0;
}

/*
 * The old file, out of the way, may have been written to since it was last looked at. Whoever came just then is let
 * finish in the file that he opened; where somebody always has it open, it is in this one that they come to an end.
 */
static int take_over(struct swap *swap, bool always_open)
{
	CLEANUP(later_free) struct later later = {0};

	int r = (always_open ? look_when_closed : look)(swap->directory, swap->temporary, swap->old, swap->was, &later);
	if (r == 0 && (!later.begins || (later.has_writer && !always_open)))
		r = -EAGAIN;
	if (r == 0 && later.size > swap->was->size) {
		r = append(swap->directory, swap->name, swap->descriptor, later.bytes + swap->was->size,
			later.size - swap->was->size);
		swap->carried = r == 0 ? later.size - swap->was->size : GROWTH_MAX;
	}
	if (r == 0 && sys.unlinkat(swap->directory, swap->temporary, 0) < 0)
		r = -errno;
	return r;
}

/* The old file gets its name back, and what the new one was given meanwhile. */
static void put_back(struct swap *swap)
{
	CLEANUP(later_free) struct later later = {0};
	cleanup_close int theirs = -1;

	int r = exchange(swap);
	if (r == -ENOENT) {
		r = sys.renameat2(swap->directory, swap->temporary, swap->directory, swap->name, 0) < 0 ? -errno : 0;
		swap->kept = r < 0;
		return;
	}
	swap->kept = r < 0;
	if (r < 0)
		return;
	r = look_when_closed(swap->directory, swap->temporary, swap->descriptor, swap->is, &later);
	size_t known = swap->is->size + swap->carried;
	if (r == -EAGAIN || (r == 0 && !later.begins)) {
		(void)!exchange(swap); /* somebody has replaced the new one or written it anew: his is the youngest */
	} else if (r == 0 && later.size > known && swap->carried < GROWTH_MAX &&
		   file_open(swap->directory, swap->name, &theirs, NULL) == 0) {
		(void)!append(swap->directory, swap->name, theirs, later.bytes + known, later.size - known);
	}
}

static int replace_unexchanged(const struct swap *swap, const struct later *later)
{
	int r = later->begins ? file_write_all(
					swap->descriptor, later->bytes + swap->was->size, later->size - swap->was->size)
			      : -EAGAIN;
	if (r == 0 && later->size > swap->was->size && sys.fsync(swap->descriptor) < 0)
		r = -errno;
	if (r == 0 && sys.renameat2(swap->directory, swap->temporary, swap->directory, swap->name, 0) < 0)
		r = -errno;
	return r;
}

static int create(int directory, const char *temporary, const char *name)
{
	if (sys.renameat2(directory, temporary, directory, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (!cannot_do_flags(errno))
		return errno == EEXIST ? -EAGAIN : -errno;
	return sys.renameat2(directory, temporary, directory, name, 0) < 0 ? -errno : 0;
}

int file_shared_swap(int directory, const char *temporary, int descriptor, const struct file_reading *is,
	const char *name, int old, const struct file_reading *was, bool *ret_kept)
{
	struct swap swap = {directory, temporary, name, descriptor, old, is, was, 0, false};
	CLEANUP(later_free) struct later later = {0};

	if (old < 0)
		return create(directory, temporary, name);
	/* Seldom is there anything to put back after this. */
	int r = look_when_closed(directory, name, old, was, &later);
	if (r < 0)
		return r;
	r = later.begins ? exchange(&swap) : -EAGAIN;
	if (r < 0 && cannot_do_flags(-r))
		return replace_unexchanged(&swap, &later);
	if (r < 0)
		return r == -ENOENT ? -EAGAIN : r;
	r = take_over(&swap, later.has_writer);
	if (r < 0)
		put_back(&swap);
	*ret_kept = swap.kept;
	return r;
}

/* Out of the way first: what it holds then is what goes. */
int file_remove_shared(int directory, const char *name, int old, const struct file_reading *was)
{
	CLEANUP(later_free) struct later before = {0}, later = {0};
	char temporary[FILE_TEMPORARY_SIZE];
	const char *at = temporary;

	int r = file_choose_temporary(temporary);
	if (r == 0)
		r = look_when_closed(directory, name, old, was, &before);
	if (r == 0 && (before.size != was->size || !before.begins))
		r = -EAGAIN;
	if (r == 0 && before.has_writer)
		r = -EBUSY;
	if (r < 0)
		return r;
	if (sys.renameat2(directory, name, directory, temporary, RENAME_NOREPLACE) < 0) {
		if (!cannot_do_flags(errno))
			return errno == ENOENT ? -EAGAIN : -errno;
		at = name;
	}
	r = look(directory, at, old, was, &later);
	if (r == 0 && (later.size != was->size || !later.begins || later.has_writer))
		r = -EAGAIN;
	if (r == 0 && sys.unlinkat(directory, at, 0) < 0)
		r = -errno;
	if (r < 0 && at == temporary) /* what has the name by now is younger than this, and holds less */
		(void)sys.renameat2(directory, temporary, directory, name, 0);
	if (r < 0)
		return r;
	return sys.fsync(directory) < 0 ? -errno : 0;
}
