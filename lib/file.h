/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files by directory descriptor: no symbolic link is followed, the descriptor (never the name) is examined, and what
 * replaces a file is complete and on disk before it has the name. All return 0 or negative errno; -ELOOP for a
 * symbolic link, -EFBIG over the limit, -EINVAL for what is not a regular file, -EMLINK for more than one hard link.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "lib/cleanup.h"

struct label; /* lib/attributes.h */

#define FILE_TEMPORARY_PREFIX ".latchkey." /* and 16 random hex digits */
#define FILE_TEMPORARY_SIZE (sizeof(FILE_TEMPORARY_PREFIX) + 16)

struct file_attributes {
	mode_t mode; /* exact, whatever the umask: mains set it to 0 */
	uid_t uid;   /* (uid_t)-1: as created */
	gid_t gid;
	int like; /* a descriptor whose owner, mode, label and extended attributes are kept instead, or -1 */
	const struct label *label; /* the SELinux label, or NULL: like's, else as the policy has it for that place */
	bool own_group;            /* where like's group may not be given: the caller's own, which then has no access */
	bool unsynced; /* not brought to disk: the caller does it for many files at once, before anything names them */
};

/* What a file was read as, by whoever must not write over what others have put there since. */
struct file_reading {
	const char *bytes;
	size_t size;
};

/*
 * Opens the directory by walking every component from `directory` ("/" when the path is absolute) without following a
 * symbolic link. "" or "." is the directory itself.
 */
int file_open_directory(int directory, const char *path, int *ret_descriptor) MUST_CHECK;
/* As file_open_directory, creating what is missing with that mode; fsyncs the parent of each created directory. */
int file_make_directory(int directory, const char *path, mode_t mode, int *ret_descriptor) MUST_CHECK;
/* Opens a regular file for reading (O_NOFOLLOW, O_NONBLOCK, so a FIFO does not hang). ret_status may be NULL. */
int file_open(int directory, const char *name, int *ret_descriptor, struct stat *ret_status) MUST_CHECK;
/* The whole file, NUL-terminated, owned by the caller (free). */
int file_read(int directory, const char *name, size_t limit, char **ret_bytes, size_t *ret_size) MUST_CHECK;
int file_read_descriptor(int descriptor, size_t limit, char **ret_bytes, size_t *ret_size) MUST_CHECK;
/* Memory for that many bytes (free), in huge pages where it is much: else its page faults cost more than its reading.
 */
char *file_allocate(size_t size);
/* Writes everything or fails; EINTR and short writes are continued. */
int file_write_all(int descriptor, const void *bytes, size_t size) MUST_CHECK;
/*
 * temp (O_EXCL, final mode), write all, owner, attributes, fsync, rename, fsync of the directory. On failure the old
 * file stands and no temporary file stays.
 */
int file_replace(int directory, const char *name, const void *bytes, size_t size,
	const struct file_attributes *attributes) MUST_CHECK;
/*
 * The same where others may be writing at this moment, for what was read through attributes->like (-1: there was no
 * such file) as `was`: what they append goes into the new file as well. -EAGAIN when it is no longer what was read; it
 * stands.
 */
int file_replace_shared(int directory, const char *name, const void *bytes, size_t size,
	const struct file_attributes *attributes, const struct file_reading *was) MUST_CHECK;
/*
 * As file_replace for the file attributes->like, which becomes `backup` with mode 0600, root's: no copy is written, and
 * name and backup change in one step (RENAME_EXCHANGE). -EOPNOTSUPP, and nothing is done, where the file system has
 * none.
 */
int file_replace_keeping(int directory, const char *name, const char *backup, const void *bytes, size_t size,
	const struct file_attributes *attributes) MUST_CHECK;
/* As file_replace with the mode alone, owner as created. */
int file_replace_simple(int directory, const char *name, const void *bytes, size_t size, mode_t mode) MUST_CHECK;
/* As file_replace, but -EEXIST when the name is taken (RENAME_NOREPLACE). */
int file_create(int directory, const char *name, const void *bytes, size_t size,
	const struct file_attributes *attributes) MUST_CHECK;
/* True where syncfs(2) tells a write error: from Linux 5.8. */
bool file_syncfs_is_reliable(void);
/* unlink and fsync of the directory; a missing file is -ENOENT. */
int file_remove(int directory, const char *name) MUST_CHECK;
/* The same for what was read through that descriptor: -EAGAIN as file_replace_shared(), -EBUSY while it is kept open.
 */
int file_remove_shared(int directory, const char *name, int old, const struct file_reading *was) MUST_CHECK;
/* Sorted names of a directory without "." and "..", NULL-terminated; free with file_names_free. -EFBIG over limit. */
int file_list(int directory, const char *path, size_t limit, char ***ret_names, size_t *ret_count) MUST_CHECK;
void file_names_free(char ***names);
#define cleanup_names CLEANUP(file_names_free)
/* FILE_TEMPORARY_PREFIX and random digits. -EIO when there is no randomness. */
int file_choose_temporary(char ret_name[FILE_TEMPORARY_SIZE]) MUST_CHECK;
/* Removes temporary files of ours that a crash left in the directory and that are older than an hour; best effort. */
void file_sweep_temporaries(int directory, long long now);
