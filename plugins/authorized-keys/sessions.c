/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/sessions.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "lib/file.h"

#define PROCESSES_MAX (4u << 20) /* pid_max's own limit */
#define TITLE_MAX 4096u
#define POLL_MS 50u

/* True for root's process (all four uids) with that user's title. */
static bool is_session(int proc, const char *pid, const char *user)
{
	static const char *const programs[] = {"sshd", "sshd-session"}; /* the second from OpenSSH 9.8 on */
	cleanup_free char *status = NULL, *title = NULL;
	cleanup_close int directory = -1;
	char expected[128];
	size_t size;

	if (file_open_directory(proc, pid, &directory) < 0 ||
		file_read(directory, "status", 65536, &status, &size) < 0 ||
		file_read(directory, "cmdline", TITLE_MAX, &title, &size) < 0)
		return false;
	const char *uids = strstr(status, "\nUid:\t0\t0\t0\t0\n");
	for (unsigned i = 0; uids && i < ELEMENTS(programs); i++) {
		(void)snprintf(expected, sizeof(expected), "%s: %s [priv]", programs[i], user);
		if (strcmp(title, expected) == 0)
			return true;
	}
	return false;
}

static int find(const char *user, char ***ret_pids, unsigned *ret_count)
{
	cleanup_names char **names = NULL;
	cleanup_close int proc = -1;
	size_t count;
	unsigned kept = 0;

	int r = file_open_directory(AT_FDCWD, "/proc", &proc);
	if (r == 0)
		r = file_list(proc, ".", PROCESSES_MAX, &names, &count);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		if (strspn(names[i], "0123456789") == strlen(names[i]) && is_session(proc, names[i], user)) {
			char *pid = names[i];
			names[i] = names[kept];
			names[kept++] = pid;
		}
	}
	for (size_t i = kept; i < count; i++) {
		free(names[i]);
		names[i] = NULL;
	}
	*ret_pids = steal_pointer(&names);
	*ret_count = kept;
	return 0;
}

/* By descriptor, looked at again once it is held: a pid that was given to another meanwhile is left alone. */
static void end(const char *pid, const char *user, int signal_number)
{
	pid_t number = 0;

	for (const char *digit = pid; *digit; digit++)
		number = number * 10 + (*digit - '0');
	cleanup_close int process = (int)syscall(SYS_pidfd_open, number, 0);
	cleanup_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (process < 0 && errno != ENOSYS)
		return;
	if (proc < 0 || !is_session(proc, pid, user))
		return;
	if (process >= 0)
		(void)syscall(SYS_pidfd_send_signal, process, signal_number, NULL, 0);
	else
		(void)kill(number, signal_number); /* Linux before 5.3 */
}

static int check(
	const struct plugin_request *request, const struct plugin_command *command, struct plugin_result *result)
{
	int r = plugin_add_user(result, plugin_text(command, "user"));

	if (r < 0)
		return r;
	if (plugin_text(command, "fingerprint"))
		return plugin_set(
			result, CODE_UNSUPPORTED, "ending only one key's sessions is not part of this version");
	if (!request->is_host)
		return plugin_set(result, CODE_CANNOT_VALIDATE, "there are no sessions on another root's disk");
	return 0;
}

int sessions_plan(
	const struct plugin_request *request, const struct plugin_command *command, struct plugin_result *result)
{
	cleanup_names char **pids = NULL;
	unsigned count = 0;

	int r = check(request, command, result);
	if (r < 0 || result->code != CODE_OK)
		return r;
	r = find(plugin_text(command, "user"), &pids, &count);
	if (r < 0)
		return r;
	result->changes = count > 0;
	result->plan = strdup("{}");
	return result->plan ? 0 : -ENOMEM;
}

int sessions_apply(
	const struct plugin_request *request, const struct plugin_command *command, struct plugin_result *result)
{
	const struct timespec pause = {0, POLL_MS * 1000000L};
	const char *user = plugin_text(command, "user");
	unsigned count = 0, ended = 0;

	int r = check(request, command, result);
	if (r < 0 || result->code != CODE_OK)
		return r;
	for (unsigned waited = 0; waited <= 2 * SESSIONS_GRACE_MS; waited += POLL_MS) {
		cleanup_names char **pids = NULL;

		r = find(user, &pids, &count);
		if (r < 0)
			return r;
		if (count == 0)
			break;
		ended = count > ended ? count : ended;
		/* Each round also finds those that were opened meanwhile. */
		for (unsigned i = 0; i < count; i++)
			end(pids[i], user, waited < SESSIONS_GRACE_MS ? SIGTERM : SIGKILL);
		(void)nanosleep(&pause, NULL);
	}
	result->changes = ended > count;
	if (count > 0)
		return plugin_set(result, CODE_BUSY, "%u sessions are still open", count);
	return ended > 0 ? plugin_set(result, CODE_OK, "%u sessions ended", ended) : 0;
}
