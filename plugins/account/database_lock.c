/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/database_lock.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "lib/file.h"
#include "lib/sys.h"

#define POLL_MS 20u /* a chpasswd holds the lock for about 10 ms */

static void describe_holder(int descriptor, char holder[DATABASE_LOCK_HOLDER_MAX])
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[32], name[17] = "?";

	(void)snprintf(holder, DATABASE_LOCK_HOLDER_MAX, "unknown");
	if (fcntl(descriptor, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK || lock.l_pid <= 0)
		return;
	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)lock.l_pid);
	cleanup_close int comm = open(path, O_RDONLY | O_CLOEXEC);
	if (comm >= 0) {
		ssize_t size = read(comm, name, sizeof(name) - 1);
		name[size > 0 ? size : 0] = '\0';
		name[strcspn(name, "\n")] = '\0';
	}
	(void)snprintf(holder, DATABASE_LOCK_HOLDER_MAX, "%d %s", (int)lock.l_pid, name);
}

int database_lock(int etc, unsigned timeout_ms, int *ret_descriptor, char ret_holder[DATABASE_LOCK_HOLDER_MAX])
{
	const struct timespec pause = {0, POLL_MS * 1000000L};
	cleanup_close int descriptor =
		sys.openat(etc, ".pwd.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);

	if (descriptor < 0)
		return -errno;
	for (unsigned waited = 0;; waited += POLL_MS) {
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

		if (fcntl(descriptor, F_SETLK, &lock) == 0)
			break;
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return -errno;
		if (waited >= timeout_ms) {
			describe_holder(descriptor, ret_holder);
			return -EBUSY;
		}
		(void)nanosleep(&pause, NULL);
	}
	*ret_descriptor = steal_descriptor(&descriptor);
	return 0;
}
