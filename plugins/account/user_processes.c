/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/user_processes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/file.h"

#define PROCESSES_MAX (4u << 20) /* pid_max's own limit */

static bool read_uids(const char *status, uid_t uids[4])
{
	const char *at = strstr(status, "\nUid:");

	if (!at)
		return false;
	at += strlen("\nUid:");
	for (unsigned i = 0; i < 4; i++) {
		uint64_t number = 0;
		at += strspn(at, "\t ");
		for (; *at >= '0' && *at <= '9'; at++)
			number = number * 10 + (uint64_t)(*at - '0');
		uids[i] = (uid_t)number;
	}
	return true;
}

/* False when it ended meanwhile, or has ended and waits for its parent: it holds nothing then. */
static bool read_process(int proc, const char *name, struct user_process *process)
{
	cleanup_close int directory = -1;
	cleanup_free char *status = NULL;
	size_t size;

	if (strspn(name, "0123456789") != strlen(name) || file_open_directory(proc, name, &directory) < 0 ||
		file_read(directory, "status", 65536, &status, &size) < 0 || strstr(status, "\nState:\tZ") ||
		!read_uids(status, process->uids))
		return false;
	process->pid = 0;
	for (const char *digit = name; *digit; digit++)
		process->pid = process->pid * 10 + (*digit - '0');
	return true;
}

static int read_all(struct user_processes *processes)
{
	cleanup_names char **names = NULL;
	cleanup_close int proc = -1;
	size_t count;

	int r = file_open_directory(AT_FDCWD, "/proc", &proc);
	if (r == 0)
		r = file_list(proc, ".", PROCESSES_MAX, &names, &count);
	if (r < 0)
		return r;
	processes->items = calloc(count + 1, sizeof(*processes->items));
	if (!processes->items)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		processes->count += read_process(proc, names[i], &processes->items[processes->count]);
	processes->is_read = true;
	return 0;
}

void user_processes_free(struct user_processes *processes)
{
	free(processes->items);
	*processes = (struct user_processes){0};
}

int user_processes_count(struct user_processes *processes, uid_t uid, unsigned *ret_count, pid_t *ret_first)
{
	unsigned count = 0;
	pid_t first = 0;

	int r = processes->is_read ? 0 : read_all(processes);
	if (r < 0)
		return r;
	for (size_t i = 0; i < processes->count; i++) {
		const struct user_process *process = &processes->items[i];
		if (process->uids[0] != uid && process->uids[1] != uid && process->uids[2] != uid &&
			process->uids[3] != uid)
			continue;
		if (count++ == 0)
			first = process->pid;
	}
	*ret_count = count;
	*ret_first = first;
	return 0;
}
