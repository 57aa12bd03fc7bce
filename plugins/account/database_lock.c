/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/database_lock.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "lib/file.h"
#include "lib/log.h"
#include "lib/sys.h"
#include "plugins/account/lock_holder.h"

#define POLL_MS 20u         /* a chpasswd holds the lock for about 10 ms */
#define AFTER_KILL_MS 2000u /* for those that take the lock after who was killed */
#define AFTER_KILL_POLL_MS 1u

static pid_t find_holder(int descriptor)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(descriptor, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK || lock.l_pid <= 0)
		return 0;
	return lock.l_pid;
}

int database_lock(
	int etc, unsigned timeout_ms, bool end_holder, int *ret_descriptor, char ret_holder[DATABASE_LOCK_HOLDER_MAX])
{
	struct lock_holder first = {0}, last = {0};
	unsigned poll_ms = POLL_MS, ended = 0;
	cleanup_close int descriptor =
		sys.openat(etc, ".pwd.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);

	if (descriptor < 0)
		return -errno;
	for (unsigned waited = 0, until = timeout_ms;; waited += poll_ms) {
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

		if (fcntl(descriptor, F_SETLK, &lock) == 0)
			break;
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return -errno;
		if (waited == 0)
			lock_holder_look(find_holder(descriptor), &first);
		if (waited >= timeout_ms) {
			lock_holder_look(find_holder(descriptor), &last);
			if (end_holder && waited < timeout_ms + AFTER_KILL_MS && lock_holder_is_users_tool(&first) &&
				lock_holder_is_users_tool(&last) && lock_holder_end(&last) && ended++ == 0) {
				log_warning("%d %s held the account files after %u s and was ended", (int)last.pid,
					last.name, timeout_ms / 1000);
				until = timeout_ms + AFTER_KILL_MS;
				poll_ms = AFTER_KILL_POLL_MS;
			}
		}
		if (waited >= until) {
			if (last.pid > 0)
				(void)snprintf(ret_holder, DATABASE_LOCK_HOLDER_MAX, "%d %s", (int)last.pid, last.name);
			else
				(void)snprintf(ret_holder, DATABASE_LOCK_HOLDER_MAX, "unknown");
			return -EBUSY;
		}
		(void)nanosleep(&(struct timespec){0, poll_ms * 1000000L}, NULL);
	}
	*ret_descriptor = steal_descriptor(&descriptor);
	return 0;
}
