/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/inotify.h>

#include "agent/daemon/daemon.h"
#include "lib/log.h"
#include "lib/paths.h"

int by_hand_open(struct daemon *daemon)
{
	daemon->views = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (daemon->views < 0)
		return -errno;
	if (inotify_add_watch(daemon->views, PATH_RUN, IN_MOVED_TO) < 0)
		log_warning("%s cannot be watched: what latchkey-apply does by hand is seen late", PATH_RUN);
	return 0;
}

void by_hand_changed(struct daemon *daemon)
{
	char events[4096];

	while (read(daemon->views, events, sizeof(events)) > 0)
		;
	/* Else it is our own, whose end is waited for. The loop looks at the deadlines whatever woke it. */
	if (daemon->running == JOB_NONE)
		jobs_follow(daemon);
}
