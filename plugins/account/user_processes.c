/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/user_processes.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lib/file.h"

#define PROCESSES_MAX (4u << 20) /* pid_max's own limit */

static bool has_uid(const char *status, uid_t uid)
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
		if (number == uid)
			return true;
	}
	return false;
}

int user_processes_count(uid_t uid, unsigned *ret_count, pid_t *ret_first)
{
	cleanup_names char **names = NULL;
	cleanup_close int proc = -1;
	size_t names_count;
	unsigned count = 0;
	pid_t first = 0;

	int r = file_open_directory(AT_FDCWD, "/proc", &proc);
	if (r == 0)
		r = file_list(proc, ".", PROCESSES_MAX, &names, &names_count);
	if (r < 0)
		return r;
	for (size_t i = 0; i < names_count; i++) {
		cleanup_close int directory = -1;
		cleanup_free char *status = NULL;
		size_t size;

		if (strspn(names[i], "0123456789") != strlen(names[i]))
			continue;
		if (file_open_directory(proc, names[i], &directory) < 0 ||
			file_read(directory, "status", 65536, &status, &size) < 0 || !has_uid(status, uid))
			continue; /* it ended meanwhile, or is another's */
		/* A process that has ended and waits for its parent holds nothing. */
		const char *state = strstr(status, "\nState:\tZ");
		if (state)
			continue;
		if (count++ == 0) {
			for (const char *digit = names[i]; *digit; digit++)
				first = first * 10 + (*digit - '0');
		}
	}
	*ret_count = count;
	*ret_first = first;
	return 0;
}
