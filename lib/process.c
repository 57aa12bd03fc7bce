/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/file.h"

/* Root executes only what root owns and nobody else can write. */
static int check_program(const char *path)
{
	struct stat status;
	cleanup_close int descriptor = open(path, O_PATH | O_CLOEXEC);

	if (*path != '/')
		return -EINVAL;
	if (descriptor < 0)
		return -errno;
	if (fstat(descriptor, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode) || (geteuid() == 0 && (status.st_uid != 0 || (status.st_mode & 022) != 0)))
		return -EPERM;
	return 0;
}

static int set_capabilities(uint64_t capabilities)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct sets[2];

	for (unsigned i = 0; i < 2; i++) {
		uint32_t half = (uint32_t)(capabilities >> (32 * i));
		sets[i] = (struct __user_cap_data_struct){.effective = half, .permitted = half, .inheritable = 0};
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (syscall(SYS_capset, &header, sets) < 0)
		return -errno;
	return 0;
}

static void close_from(unsigned first)
{
	struct rlimit limit;

	if (syscall(SYS_close_range, first, UINT_MAX, 0) == 0)
		return;
	/* Linux before 5.9 */
	unsigned long end = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 65536 ? limit.rlim_cur : 65536;
	for (unsigned long i = first; i < end; i++)
		(void)close((int)i);
}

/* In the child; reports the errno through the close-on-exec pipe and never returns. */
static void execute(const struct process *process, int input, int output, int error, int report)
{
	static const char *const empty[] = {NULL};
	sigset_t none;
	int r = 0;

	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	/* Move everything that is passed on out of the way of its final place first. */
	int moved[16];
	unsigned count = process->inherit_count;
	if (count > ELEMENTS(moved))
		_exit(127);
	for (unsigned i = 0; i < count; i++)
		moved[i] = fcntl(process->inherit[i], F_DUPFD_CLOEXEC, 64);
	input = fcntl(input, F_DUPFD_CLOEXEC, 64);
	output = fcntl(output, F_DUPFD_CLOEXEC, 64);
	if (!process->inherit_error)
		error = fcntl(error, F_DUPFD_CLOEXEC, 64);
	report = fcntl(report, F_DUPFD_CLOEXEC, 64);
	int directory = process->working_directory;
	if (directory >= 0 ? fchdir(directory) < 0 : chdir("/") < 0)
		r = -errno;
	if (r == 0 && (dup2(input, 0) < 0 || dup2(output, 1) < 0 || (!process->inherit_error && dup2(error, 2) < 0)))
		r = -errno;
	for (unsigned i = 0; r == 0 && i < count; i++) {
		if (dup2(moved[i], (int)(3 + i)) < 0)
			r = -errno;
	}
	if (r == 0 && dup2(report, (int)(3 + count)) < 0)
		r = -errno;
	report = (int)(3 + count);
	(void)fcntl(report, F_SETFD, FD_CLOEXEC);
	close_from(4 + count);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	if (r == 0 && process->switch_user &&
		(setgroups(0, NULL) < 0 || setresgid(process->gid, process->gid, process->gid) < 0 ||
			setresuid(process->uid, process->uid, process->uid) < 0))
		r = -errno;
	if (r == 0 && process->capabilities != PROCESS_CAPABILITIES_KEEP)
		r = set_capabilities(process->capabilities);
	if (r == 0 && process->sandbox)
		r = sandbox_enter(process->sandbox);
	if (r == 0) {
		const char *const *environment = process->environment ? process->environment : empty;
		/* execve takes non-const arrays for historic reasons and does not write to them. */
		(void)execve(
			process->path, (char *const *)(uintptr_t)process->argv, (char *const *)(uintptr_t)environment);
		r = -errno;
	}
	(void)!write(report, &r, sizeof(r));
	_exit(127);
}

static int64_t now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* One read into the buffer: 1 more to come, 0 end, negative errno. What is over the limit is an error or dropped. */
static int drain(int descriptor, struct buffer *buffer, size_t limit, bool drop)
{
	char bytes[16384];
	ssize_t n = read(descriptor, bytes, sizeof(bytes));

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : -errno;
	if (n == 0)
		return 0;
	size_t take = (size_t)n;
	if (take > limit - buffer->size) {
		if (!drop)
			return -EFBIG;
		take = limit - buffer->size;
	}
	buffer_append(buffer, bytes, take);
	return 1;
}

static int collect(const struct process *process, int output, int error, int report, int64_t deadline,
	struct process_result *result)
{
	struct pollfd polled[3] = {{output, POLLIN, 0}, {error, POLLIN, 0}, {report, POLLIN, 0}};
	int r;

	while (polled[0].fd >= 0 || polled[1].fd >= 0 || polled[2].fd >= 0) {
		int64_t left = deadline - now_ms();
		if (left <= 0)
			return -ETIMEDOUT;
		int n = poll(polled, 3, left > INT_MAX ? INT_MAX : (int)left);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n <= 0)
			continue;
		if (polled[0].revents) {
			r = drain(output, &result->output, process->output_limit, false);
			if (r < 0)
				return r;
			if (r == 0)
				polled[0].fd = -1;
		}
		if (polled[1].revents) {
			r = drain(error, &result->error, PROCESS_ERROR_MAX, true);
			if (r < 0)
				return r;
			if (r == 0)
				polled[1].fd = -1;
		}
		if (polled[2].revents) {
			int failure;
			if (read(report, &failure, sizeof(failure)) == (ssize_t)sizeof(failure))
				return failure;
			polled[2].fd = -1;
		}
	}
	return 0;
}

/* A program that has closed its output may still be there; one at its end needs no second look. */
static int wait_until(pid_t pid, int64_t deadline, int *ret_status)
{
	struct timespec step = {0, 100000};

	for (;;) {
		pid_t ended = waitpid(pid, ret_status, WNOHANG);
		if (ended == pid)
			return 0;
		if (ended < 0 && errno != EINTR)
			return -errno;
		if (now_ms() >= deadline)
			return -ETIMEDOUT;
		(void)nanosleep(&step, NULL);
		if (step.tv_nsec < 10000000)
			step.tv_nsec *= 2;
	}
}

static int make_input(const struct process *process, int *ret_descriptor)
{
	cleanup_close int descriptor = memfd_create("input", MFD_CLOEXEC);
	if (descriptor < 0)
		return -errno;
	int r = file_write_all(descriptor, process->input, process->input_size);
	if (r < 0)
		return r;
	if (lseek(descriptor, 0, SEEK_SET) < 0)
		return -errno;
	*ret_descriptor = steal_descriptor(&descriptor);
	return 0;
}

int process_run(const struct process *process, struct process_result *ret_result)
{
	cleanup_process_result struct process_result result = {0};
	int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
	cleanup_close int input = -1;

	int r = check_program(process->path);
	if (r < 0)
		return r;
	r = make_input(process, &input);
	if (r < 0)
		return r;
	for (unsigned i = 0; r == 0 && i < 3; i++) {
		if (i == 1 && process->inherit_error)
			continue;
		if (pipe2(pipes[i], O_CLOEXEC) < 0)
			r = -errno;
	}
	pid_t pid = -1;
	if (r == 0) {
		pid = fork();
		if (pid < 0)
			r = -errno;
		if (pid == 0)
			execute(process, input, pipes[0][1], pipes[1][1], pipes[2][1]);
	}
	for (unsigned i = 0; i < 3; i++) {
		if (pipes[i][1] >= 0)
			(void)close(pipes[i][1]);
	}
	if (pid > 0) {
		(void)setpgid(pid, pid); /* both sides do it, so that kill(-pid) never misses */
		int64_t deadline = now_ms() + process->timeout_ms;
		r = collect(process, pipes[0][0], pipes[1][0], pipes[2][0], deadline, &result);
		if (r == 0)
			r = wait_until(pid, deadline, &result.status);
		if (r < 0) {
			(void)kill(-pid, SIGKILL);
			(void)kill(pid, SIGKILL);
			while (waitpid(pid, &result.status, 0) < 0 && errno == EINTR)
				;
		}
	}
	for (unsigned i = 0; i < 3; i++) {
		if (pipes[i][0] >= 0)
			(void)close(pipes[i][0]);
	}
	if (r == 0 && (result.output.failed || result.error.failed))
		r = -ENOMEM;
	if (r == 0 && (buffer_status(&result.output) < 0 || buffer_status(&result.error) < 0))
		r = -ENOMEM;
	if (r < 0)
		return r;
	*ret_result = result;
	result = (struct process_result){0};
	return 0;
}

bool process_exited(const struct process_result *result, int code)
{
	return WIFEXITED(result->status) && WEXITSTATUS(result->status) == code;
}

void process_result_free(struct process_result *result)
{
	buffer_free(&result->output);
	buffer_free(&result->error);
}
