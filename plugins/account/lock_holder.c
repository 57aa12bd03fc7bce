/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/lock_holder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define STAT_MAX 4096u /* one page is what the kernel gives at once */

/* Older kernel headers name neither; the numbers are the same on every architecture. */
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

static bool read_proc(pid_t pid, const char *name, char text[STAT_MAX])
{
	char path[48];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	cleanup_close int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = descriptor < 0 ? -1 : read(descriptor, text, STAT_MAX - 1);
	text[size > 0 ? size : 0] = '\0';
	return size > 0;
}

static uint64_t take_number(const char **at)
{
	uint64_t number = 0;

	*at += strspn(*at, " \t");
	for (; **at >= '0' && **at <= '9'; ++*at)
		number = number * 10 + (uint64_t)(**at - '0');
	return number;
}

static bool read_uids(pid_t pid, uid_t *ret_real, uid_t *ret_effective)
{
	char text[STAT_MAX];

	if (!read_proc(pid, "status", text))
		return false;
	const char *at = strstr(text, "\nUid:");
	if (!at)
		return false;
	at += strlen("\nUid:");
	*ret_real = (uid_t)take_number(&at);
	*ret_effective = (uid_t)take_number(&at);
	return true;
}

void lock_holder_look(pid_t pid, struct lock_holder *ret_holder)
{
	struct lock_holder holder = {.pid = pid, .name = "?"};
	char text[STAT_MAX];
	uid_t effective;

	*ret_holder = (struct lock_holder){0};
	if (pid <= 0 || !read_proc(pid, "stat", text) || !read_uids(pid, &holder.real, &holder.effective))
		return;
	/* PID (NAME) STATE PARENT …; the name may hold blanks and parentheses */
	const char *open_bracket = strchr(text, '('), *close_bracket = strrchr(text, ')');
	if (!open_bracket || !close_bracket || close_bracket < open_bracket)
		return;
	(void)snprintf(
		holder.name, sizeof(holder.name), "%.*s", (int)(close_bracket - open_bracket - 1), open_bracket + 1);
	const char *at = close_bracket + 1;
	at += strspn(at, " ");
	at += *at ? 1 : 0;
	holder.parent = (pid_t)take_number(&at);
	for (unsigned field = 5; field < 22; field++) { /* starttime is the 22nd */
		at += strspn(at, " ");
		at += strcspn(at, " ");
	}
	holder.start = take_number(&at);
	if (holder.parent > 0 && !read_uids(holder.parent, &holder.parent_real, &effective))
		holder.parent_real = 0;
	*ret_holder = holder;
}

bool lock_holder_is_users_tool(const struct lock_holder *holder)
{
	static const char *const tools[] = {"chage", "chfn", "chsh", "expiry", "gpasswd", "passwd"};
	bool tool = false;

	if (holder->pid <= 0 || holder->effective != 0)
		return false;
	/* His uid is gone as soon as the program has its own: it makes itself root before it takes the lock. */
	if (holder->real != 0)
		return true;
	for (unsigned i = 0; i < ELEMENTS(tools); i++)
		tool = tool || strcmp(tools[i], holder->name) == 0;
	/* His shell is the parent, or he has left it to init. An administrator's has sudo or root's shell above it. */
	return tool && (holder->parent_real != 0 || holder->parent == 1);
}

bool lock_holder_end(const struct lock_holder *holder)
{
	cleanup_close int descriptor = (int)syscall(SYS_pidfd_open, holder->pid, 0);
	struct lock_holder now;

	/* The descriptor is the process that had the pid then: compared after it was opened, no other can be hit. */
	lock_holder_look(holder->pid, &now);
	if (now.start != holder->start || now.pid != holder->pid)
		return false;
	if (descriptor >= 0)
		return syscall(SYS_pidfd_send_signal, descriptor, SIGKILL, NULL, 0) == 0;
	return errno == ENOSYS && kill(holder->pid, SIGKILL) == 0; /* Linux before 5.3 */
}
