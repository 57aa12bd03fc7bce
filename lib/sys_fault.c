/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of system operations with faults (preset `fault`; never shipped). /run/latchkey-fault holds one line,
 * "PROGRAM NUMBER ACTION": in the first process of that name that gets so far, its call of that number fails with the
 * errno ACTION, or is cut short (`short`), or ends the process before it is made (`kill`). The file is removed when it
 * strikes, so that what is run again runs well. Every call is appended to /run/latchkey-fault.log as "PROGRAM NUMBER
 * CALL". See tests/fault.
 */
#include "lib/sys.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PLAN "/run/latchkey-fault"
#define LOG "/run/latchkey-fault.log"

enum action {
	ACTION_NONE,
	ACTION_ERROR,
	ACTION_SHORT,
};

static unsigned calls; /* of this process and, after a fork, of its child going on from there */

static unsigned long parse_number(const char **at)
{
	unsigned long number = 0;
	while (**at >= '0' && **at <= '9')
		number = number * 10 + (unsigned long)(*(*at)++ - '0');
	while (**at == ' ')
		(*at)++;
	return number;
}

/* What the plan says of this call; logs it. Uses plain system calls, for it stands under the table. */
static enum action next_action(const char *call)
{
	char name[16] = "", text[128] = "", line[128];

	(void)prctl(PR_GET_NAME, name);
	calls++;
	int log = open(LOG, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (log >= 0) {
		int size = snprintf(line, sizeof(line), "%s %u %s\n", name, calls, call);
		(void)!write(log, line, (size_t)size);
		(void)close(log);
	}
	int plan = open(PLAN, O_RDONLY | O_CLOEXEC);
	if (plan < 0)
		return ACTION_NONE;
	ssize_t size = read(plan, text, sizeof(text) - 1);
	(void)close(plan);
	if (size <= 0)
		return ACTION_NONE;
	text[strcspn(text, "\n")] = '\0';
	const char *at = strchr(text, ' ');
	if (!at || strncmp(text, name, (size_t)(at - text)) != 0 || name[at - text] != '\0')
		return ACTION_NONE;
	at++;
	if (parse_number(&at) != calls)
		return ACTION_NONE;
	/* Children that have become a user cannot remove it; it strikes only at this number anyway. */
	(void)unlink(PLAN);
	if (strcmp(at, "kill") == 0) {
		(void)raise(SIGKILL);
		for (;;)
			(void)pause();
	}
	if (strcmp(at, "short") == 0)
		return ACTION_SHORT;
	errno = (int)parse_number(&at);
	return ACTION_ERROR;
}

static bool fails(const char *call)
{
	return next_action(call) == ACTION_ERROR;
}

static int call_openat(int directory, const char *name, int flags, mode_t mode)
{
	return fails("openat") ? -1 : openat(directory, name, flags, mode);
}

static ssize_t call_read(int descriptor, void *bytes, size_t size)
{
	enum action action = next_action("read");
	if (action == ACTION_ERROR)
		return -1;
	return read(descriptor, bytes, action == ACTION_SHORT && size > 1 ? 1 : size);
}

static ssize_t call_write(int descriptor, const void *bytes, size_t size)
{
	enum action action = next_action("write");
	if (action == ACTION_ERROR)
		return -1;
	return write(descriptor, bytes, action == ACTION_SHORT && size > 1 ? size / 2 : size);
}

static int call_fstat(int descriptor, struct stat *status)
{
	return fails("fstat") ? -1 : fstat(descriptor, status);
}

static int call_fstatat(int directory, const char *name, struct stat *status, int flags)
{
	return fails("fstatat") ? -1 : fstatat(directory, name, status, flags);
}

static int call_fsync(int descriptor)
{
	return fails("fsync") ? -1 : fsync(descriptor);
}

static int call_fdatasync(int descriptor)
{
	return fails("fdatasync") ? -1 : fdatasync(descriptor);
}

static int call_syncfs(int descriptor)
{
	return fails("syncfs") ? -1 : syncfs(descriptor);
}

static int call_fchown(int descriptor, uid_t uid, gid_t gid)
{
	return fails("fchown") ? -1 : fchown(descriptor, uid, gid);
}

static int call_fchmod(int descriptor, mode_t mode)
{
	return fails("fchmod") ? -1 : fchmod(descriptor, mode);
}

static int call_ftruncate(int descriptor, off_t size)
{
	return fails("ftruncate") ? -1 : ftruncate(descriptor, size);
}

static int call_fallocate(int descriptor, int mode, off_t offset, off_t size)
{
	return fails("fallocate") ? -1 : fallocate(descriptor, mode, offset, size);
}

static int call_mkdirat(int directory, const char *name, mode_t mode)
{
	return fails("mkdirat") ? -1 : mkdirat(directory, name, mode);
}

static int call_renameat2(
	int old_directory, const char *old_name, int new_directory, const char *new_name, unsigned flags)
{
	return fails("renameat2") ? -1 : renameat2(old_directory, old_name, new_directory, new_name, flags);
}

static int call_unlinkat(int directory, const char *name, int flags)
{
	return fails("unlinkat") ? -1 : unlinkat(directory, name, flags);
}

static int call_linkat(int old_directory, const char *old_name, int new_directory, const char *new_name, int flags)
{
	return fails("linkat") ? -1 : linkat(old_directory, old_name, new_directory, new_name, flags);
}

static int call_symlinkat(const char *target, int directory, const char *name)
{
	return fails("symlinkat") ? -1 : symlinkat(target, directory, name);
}

static int call_fsetxattr(int descriptor, const char *name, const void *value, size_t size, int flags)
{
	return fails("fsetxattr") ? -1 : fsetxattr(descriptor, name, value, size, flags);
}

static int call_fremovexattr(int descriptor, const char *name)
{
	return fails("fremovexattr") ? -1 : fremovexattr(descriptor, name);
}

const struct system_operations sys = {
	.openat = call_openat,
	.read = call_read,
	.write = call_write,
	.fstat = call_fstat,
	.fstatat = call_fstatat,
	.fsync = call_fsync,
	.fdatasync = call_fdatasync,
	.syncfs = call_syncfs,
	.fchown = call_fchown,
	.fchmod = call_fchmod,
	.ftruncate = call_ftruncate,
	.fallocate = call_fallocate,
	.mkdirat = call_mkdirat,
	.renameat2 = call_renameat2,
	.unlinkat = call_unlinkat,
	.linkat = call_linkat,
	.symlinkat = call_symlinkat,
	.fsetxattr = call_fsetxattr,
	.fremovexattr = call_fremovexattr,
};
