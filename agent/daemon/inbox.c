/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/inotify.h>

#include "agent/daemon/daemon.h"
#include "lib/file.h"
#include "lib/inbox.h"
#include "lib/log.h"
#include "lib/paths.h"

#define WHAT (IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW)

/* Again at each look: another directory may stand there now. The same one keeps its watch. */
static int watch(struct daemon *daemon)
{
	cleanup_close int directory = -1;

	int r = file_make_directory(daemon->state, INBOX, 0700, &directory);
	if (r < 0)
		return r;
	int watched = inotify_add_watch(daemon->inbox, "/" PATH_STATE "/" INBOX, WHAT);
	if (watched < 0)
		return -errno;
	if (daemon->inbox_watched > 0 && watched != daemon->inbox_watched)
		(void)inotify_rm_watch(daemon->inbox, daemon->inbox_watched);
	daemon->inbox_watched = watched;
	return 0;
}

int inbox_open(struct daemon *daemon)
{
	daemon->inbox = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (daemon->inbox < 0)
		return -errno;
	if (daemon->state >= 0 && watch(daemon) < 0)
		log_warning("the inbox cannot be watched: what is put there is taken at the next look");
	return 0;
}

void inbox_look(struct daemon *daemon)
{
	cleanup_names char **names = NULL;
	size_t count;

	if (daemon->state < 0 || daemon->inbox_at > daemon_now())
		return;
	/* Watched before it is looked at, so that nothing comes in between. */
	(void)!watch(daemon);
	if (file_list(daemon->state, INBOX, INBOX_NAMES_MAX, &names, &count) < 0)
		return;
	for (size_t i = 0; i < count && !daemon->waiting.inbox; i++)
		daemon->waiting.inbox = inbox_is_document(names[i]);
}

void inbox_changed(struct daemon *daemon)
{
	char events[4096];

	while (read(daemon->inbox, events, sizeof(events)) > 0)
		;
	daemon->inbox_at = 0; /* it may be what was missing, or being written, at the last try */
	inbox_look(daemon);
}
