/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/inbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "lib/file.h"
#include "lib/inbox.h"
#include "lib/log.h"
#include "lib/sys.h"

/* A lease for reading is refused while anybody has the file open for writing. Where there are none, nobody knows. */
static bool is_being_written(int descriptor)
{
	/* Who opens it for writing while we have the lease has the kernel send us this. */
	(void)signal(SIGIO, SIG_IGN);
	if (fcntl(descriptor, F_SETLEASE, F_RDLCK) < 0)
		return errno == EAGAIN;
	(void)fcntl(descriptor, F_SETLEASE, F_UNLCK);
	return false;
}

static int read_document(int directory, const char *name, char **ret_text, size_t *ret_size)
{
	cleanup_close int descriptor = -1;
	struct stat status;

	int r = file_open(directory, name, &descriptor, &status);
	if (r < 0)
		return r;
	/* In root's 0700 directory only root can have put it there; but a link to somebody's file is that file still.
	 */
	if (status.st_uid != 0 || (status.st_mode & 022) != 0 || status.st_nlink != 1)
		return -EPERM;
	if (is_being_written(descriptor))
		return -EAGAIN;
	return file_read_descriptor(descriptor, SIGNED_TEXT_MAX, ret_text, ret_size);
}

int inbox_next(const struct apply *apply, char **ret_name, char **ret_text, size_t *ret_size)
{
	cleanup_close int directory = -1;
	cleanup_names char **names = NULL;
	size_t count, first = 0;

	int r = apply_state_directory(apply, INBOX, &directory);
	if (r == 0)
		r = file_list(directory, ".", INBOX_NAMES_MAX, &names, &count);
	if (r < 0)
		return r;
	while (first < count && !inbox_is_document(names[first]))
		first++;
	if (first == count)
		return -ENOENT;
	r = read_document(directory, names[first], ret_text, ret_size);
	if (r == -EPERM || r == -EINVAL || r == -ELOOP || r == -EFBIG) {
		log_error("inbox/%s is no file of at most 1 MiB that only root can write: set aside", names[first]);
		r = inbox_set_aside(apply, names[first]);
		return r < 0 ? r : -EBADMSG;
	}
	if (r == -EAGAIN) {
		log_info("inbox/%s is being written", names[first]);
		return r;
	}
	if (r < 0) {
		log_error("inbox/%s cannot be read: %s", names[first], strerror(-r));
		return r == -ENOENT ? -EAGAIN : r;
	}
	*ret_name = steal_pointer(&names[first]);
	/* The list ends where the name is missing. */
	for (size_t i = first + 1; i < count; i++)
		free(names[i]);
	return 0;
}

int inbox_remove(const struct apply *apply, const char *name)
{
	cleanup_close int directory = -1;

	int r = apply_state_directory(apply, INBOX, &directory);
	if (r == 0)
		r = file_remove(directory, name);
	return r == -ENOENT ? 0 : r;
}

int inbox_set_aside(const struct apply *apply, const char *name)
{
	cleanup_close int directory = -1, quarantine = -1;
	char older[24], newer[24], hidden[INBOX_NAME_MAX + 2];
	struct stat status;

	int r = apply_state_directory(apply, INBOX, &directory);
	/* A directory could not make room in quarantine/ later: it stays, under a name that nobody looks at. */
	if (r == 0 && sys.fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode)) {
		(void)snprintf(hidden, sizeof(hidden), ".%s", name);
		return sys.renameat2(directory, name, directory, hidden, RENAME_NOREPLACE) < 0 ? -errno : 0;
	}
	if (r == 0)
		r = apply_state_directory(apply, "quarantine", &quarantine);
	if (r < 0)
		return r;
	for (unsigned i = INBOX_KEPT - 1; i > 0; i--) {
		(void)snprintf(older, sizeof(older), "inbox.%u", i);
		(void)snprintf(newer, sizeof(newer), "inbox.%u", i - 1);
		if (sys.renameat2(quarantine, newer, quarantine, older, 0) < 0 && errno != ENOENT)
			return -errno;
	}
	if (sys.renameat2(directory, name, quarantine, "inbox.0", 0) < 0)
		return -errno;
	return sys.fsync(quarantine) < 0 || sys.fsync(directory) < 0 ? -errno : 0;
}
