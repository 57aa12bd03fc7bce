/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <sys/inotify.h>

#include "agent/daemon/daemon.h"
#include "lib/log.h"
#include "lib/paths.h"

/* A link that the keys plugin keeps in its state while it carries a list along. */
#define CARRIED "/" PATH_STATE "/plugin/authorized-keys/carried"
#define WHAT (IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

int lists_open(struct daemon *daemon)
{
	daemon->lists = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	return daemon->lists < 0 ? -errno : 0;
}

void lists_watch(struct daemon *daemon)
{
	int watched = inotify_add_watch(daemon->lists, CARRIED, WHAT);

	/* None is the usual case. */
	if (watched < 0) {
		if (errno != ENOENT && errno != ENOTDIR)
			log_warning("the operator's list of revoked keys cannot be watched; the next sweep reads it");
	} else if (watched != daemon->list_watched) {
		/* Another file: what happened to it after it was read and before this is not told. */
		daemon->list_watched = watched;
		daemon->waiting.redo = true;
	}
}

void lists_changed(struct daemon *daemon)
{
	char events[4096];

	while (read(daemon->lists, events, sizeof(events)) > 0)
		;
	daemon->waiting.redo = true;
}
