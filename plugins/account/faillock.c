/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/faillock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/process.h"
#include "lib/sys.h"

#define FAILLOCK_TIMEOUT_MS 5000u
#define CONFIG_MAX 65536u

static bool is_kept_elsewhere(int root)
{
	cleanup_close int directory = -1;
	cleanup_free char *text = NULL;
	size_t size;

	if (file_open_directory(root, "etc/security", &directory) < 0 ||
		file_read(directory, "faillock.conf", CONFIG_MAX, &text, &size) < 0)
		return false;
	for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
		line += strspn(line, " \t");
		if (strncmp(line, "dir", 3) == 0)
			return true;
	}
	return false;
}

bool faillock_may_hold(int root, const char *user)
{
	cleanup_close int directory = -1;
	struct stat status;

	if (is_kept_elsewhere(root))
		return true;
	if (file_open_directory(root, "run/faillock", &directory) < 0)
		return false;
	return fstatat(directory, user, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_size > 0;
}

static int clear_file(int root, const char *user)
{
	cleanup_close int directory = -1, tally = -1;

	int r = file_open_directory(root, "run/faillock", &directory);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	tally = sys.openat(directory, user, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
	if (tally < 0)
		return errno == ENOENT ? 0 : -errno;
	return sys.ftruncate(tally, 0) < 0 ? -errno : 0;
}

int faillock_clear(int root, bool is_host, const char *user)
{
	const char *const argv[] = {"faillock", "--user", user, "--reset", NULL};
	const struct process process = {.path = "/usr/sbin/faillock",
		.argv = argv,
		.working_directory = -1,
		.input = "",
		.output_limit = 65536,
		.timeout_ms = FAILLOCK_TIMEOUT_MS,
		.capabilities = PROCESS_CAPABILITIES_KEEP};
	cleanup_process_result struct process_result result = {0};

	/* The program knows a directory that faillock.conf names. Without the module's directory there is no tally. */
	int r = is_host ? process_run(&process, &result) : -ENOENT;
	if (r == 0 && process_exited(&result, 0))
		return 0;
	return clear_file(root, user);
}
