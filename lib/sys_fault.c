/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of system operations with faults (preset `fault`; never shipped). /run/latchkey-fault holds one line,
 * "PROGRAM NUMBER ACTION": in the first process of that name that gets so far, its call of that number fails with the
 * errno ACTION, or is cut short (`short`), or ends the process before it is made (`kill`). The file is gone or empty
 * when it strikes, so that what is run again runs well. Every call is appended to /run/latchkey-fault.log as "PROGRAM
 * NUMBER CALL". With the ACTION `alloc` NUMBER counts allocations, libraries' among them: that one fails; with `memory`
 * it and all that follow in that process. See tests/fault.
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

/* A child that has become a user cannot remove it, but empty it. False when somebody else has had it. */
static bool take_plan(void)
{
	struct stat status;

	if (unlink(PLAN) == 0)
		return true;
	int plan = open(PLAN, O_WRONLY | O_CLOEXEC);
	if (plan < 0)
		return false;
	bool taken = fstat(plan, &status) == 0 && status.st_size > 0 && ftruncate(plan, 0) == 0;
	(void)close(plan);
	return taken;
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
	if (parse_number(&at) != calls || *at == 'a' || *at == 'm')
		return ACTION_NONE;
	if (!take_plan())
		return ACTION_NONE;
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

/* --- memory: glibc's own allocator stands behind it ----------------------------------------------------------------
 */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *bytes, size_t size);

static struct {
	bool read; /* the plan, once in a program's life */
	bool logs; /* each allocation is appended to the log */
	bool all;  /* from that number on */
	bool struck;
	unsigned long at, count;
	char name[16];
} memory;

static void read_memory_plan(void)
{
	char text[128] = "";

	memory.read = true;
	int log = open(LOG, O_WRONLY | O_APPEND | O_CLOEXEC);
	memory.logs = log >= 0;
	if (log >= 0)
		(void)close(log);
	int plan = open(PLAN, O_RDONLY | O_CLOEXEC);
	if (plan < 0)
		return;
	ssize_t size = read(plan, text, sizeof(text) - 1);
	(void)close(plan);
	const char *at = size > 0 ? strchr(text, ' ') : NULL;
	if (!at || (size_t)(at - text) >= sizeof(memory.name))
		return;
	memcpy(memory.name, text, (size_t)(at - text));
	at++;
	unsigned long number = parse_number(&at);
	memory.all = strncmp(at, "memory", 6) == 0;
	if (memory.all || strncmp(at, "alloc", 5) == 0)
		memory.at = number;
}

static bool is_out_of_memory(void)
{
	char name[16] = "", line[64];

	if (!memory.read)
		read_memory_plan();
	memory.count++;
	if (memory.logs) {
		(void)prctl(PR_GET_NAME, name);
		int log = open(LOG, O_WRONLY | O_APPEND | O_CLOEXEC);
		if (log >= 0) {
			/* snprintf may allocate. */
			size_t size = strlen(name), digits = 1;
			memcpy(line, name, size);
			line[size++] = ' ';
			for (unsigned long rest = memory.count; rest >= 10; rest /= 10)
				digits++;
			unsigned long rest = memory.count;
			for (size_t i = digits; i > 0; i--, rest /= 10)
				line[size + i - 1] = (char)('0' + rest % 10);
			size += digits;
			memcpy(line + size, " alloc\n", 7);
			(void)!write(log, line, size + 7);
			(void)close(log);
		}
	}
	if (memory.at == 0 || memory.count < memory.at || (memory.struck && !memory.all))
		return false;
	if (!memory.struck) {
		(void)prctl(PR_GET_NAME, name);
		if (memory.count != memory.at || strcmp(name, memory.name) != 0)
			return false;
		/* Somebody else may have had it since this program read the plan. */
		if (!take_plan())
			return false;
		memory.struck = true;
	}
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return is_out_of_memory() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return is_out_of_memory() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *bytes, size_t size)
{
	return is_out_of_memory() ? NULL : __libc_realloc(bytes, size);
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
