/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/user_child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/file.h"

#define FILE_SIZE_MAX (64u << 20) /* no file that a child writes comes near it */

static int arm_timer(unsigned timeout_ms)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
	struct itimerspec when = {.it_value = {timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000L}};
	timer_t timer;

	if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0)
		return -errno;
	if (timer_settime(timer, 0, &when, NULL) < 0)
		return -errno;
	return 0;
}

static int become(const struct user_identity *identity)
{
	uid_t real, effective, saved;
	gid_t real_gid, effective_gid, saved_gid;

	if (setgroups(identity->group_count, identity->groups) < 0)
		return -errno;
	if (setresgid(identity->gid, identity->gid, identity->gid) < 0)
		return -errno;
	if (setresuid(identity->uid, identity->uid, identity->uid) < 0)
		return -errno;
	if (getresuid(&real, &effective, &saved) < 0 || getresgid(&real_gid, &effective_gid, &saved_gid) < 0)
		return -errno;
	if (real != identity->uid || effective != identity->uid || saved != identity->uid ||
		real_gid != identity->gid || effective_gid != identity->gid || saved_gid != identity->gid)
		return -EPERM;
	if (identity->uid != 0 && setresuid(0, 0, 0) == 0)
		return -EPERM; /* there must be no way back */
	return 0;
}

int user_child_enter(const struct user_identity *identity, unsigned timeout_ms)
{
	const struct rlimit file_size = {FILE_SIZE_MAX, FILE_SIZE_MAX};

	int r = arm_timer(timeout_ms);
	if (r == 0)
		r = become(identity);
	if (r == 0 && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ||
			      prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || setrlimit(RLIMIT_FSIZE, &file_size) < 0 ||
			      chdir("/") < 0))
		r = -errno;
	return r;
}

static void run_child(const struct user_identity *identity, unsigned timeout_ms, user_child_function function,
	void *context, int pipe_descriptor)
{
	struct buffer output = {0};

	int code = user_child_enter(identity, timeout_ms);
	if (code == 0)
		code = function(context, &output);
	if (buffer_status(&output) < 0 || file_write_all(pipe_descriptor, &code, sizeof(code)) < 0 ||
		file_write_all(pipe_descriptor, output.bytes, output.size) < 0)
		_exit(1);
	_exit(0);
}

int user_child_run(const struct user_identity *identity, unsigned timeout_ms, size_t output_limit,
	user_child_function function, void *context, struct buffer *ret_output)
{
	cleanup_free char *bytes = NULL;
	int ends[2], status = 0, code;
	size_t size = 0;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid < 0) {
		int error = errno;
		(void)close(ends[0]);
		(void)close(ends[1]);
		return -error;
	}
	if (pid == 0) {
		(void)close(ends[0]);
		run_child(identity, timeout_ms, function, context, ends[1]);
	}
	(void)close(ends[1]);
	int r = file_read_descriptor(ends[0], output_limit + sizeof(code), &bytes, &size);
	/* Closing our end first means a child that still writes gets EPIPE instead of waiting for its timer. */
	(void)close(ends[0]);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	if (r < 0)
		return r;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return -ETIMEDOUT;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || size < sizeof(code))
		return -ECHILD;
	memcpy(&code, bytes, sizeof(code));
	buffer_append(ret_output, bytes + sizeof(code), size - sizeof(code));
	r = buffer_status(ret_output);
	return r < 0 ? r : code;
}
