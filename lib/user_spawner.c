/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/user_spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/file.h"

#define DESCRIPTORS 2         /* where the output goes; the root */
#define GROUPS_MAX 65536u     /* NGROUPS_MAX of the kernel */
#define GRACE_MS 1000         /* for the timer's SIGKILL to do its work */
#define READ_STEP (64u << 10) /* what a pipe holds */

/* Followed by the groups and the task's bytes. */
struct header {
	char name[16];
	uid_t uid;
	gid_t gid;
	uint32_t timeout_ms, group_count, size;
};

static int64_t clock_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Before the output; a child that was killed has not written all of it. */
struct reply {
	int32_t code;
	uint32_t size;
};

static int read_all(int descriptor, void *bytes, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = read(descriptor, (char *)bytes + done, size - done);
		if (n == 0)
			return -EPIPE;
		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* The header's first byte carries the descriptors. */
static int receive(int socket, struct header *ret_header, int ret_descriptors[DESCRIPTORS])
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
	} control = {0};
	struct iovec part = {ret_header, sizeof(*ret_header)};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t n;

	ret_descriptors[0] = ret_descriptors[1] = -1;
	do {
		n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : -EPIPE;
	for (struct cmsghdr *item = CMSG_FIRSTHDR(&message); item; item = CMSG_NXTHDR(&message, item)) {
		if (item->cmsg_level == SOL_SOCKET && item->cmsg_type == SCM_RIGHTS)
			memcpy(ret_descriptors, CMSG_DATA(item), item->cmsg_len - CMSG_LEN(0));
	}
	return read_all(socket, (char *)ret_header + n, sizeof(*ret_header) - (size_t)n);
}

static void answer(int output, int code, const struct buffer *bytes)
{
	struct reply reply = {code, (uint32_t)bytes->size};

	if (file_write_all(output, &reply, sizeof(reply)) < 0 || file_write_all(output, bytes->bytes, bytes->size) < 0)
		_exit(1);
}

static void work(const struct header *header, const gid_t *groups, char *task, const int descriptors[DESCRIPTORS],
	user_task_function function)
{
	const struct user_identity identity = {header->uid, header->gid, groups, header->group_count};
	struct buffer output = {0};

	(void)prctl(PR_SET_NAME, header->name);
	int code = user_child_enter(&identity, header->timeout_ms);
	if (code == 0)
		code = function(task, header->size, descriptors[1], &output);
	if (buffer_status(&output) < 0) {
		code = -ENOMEM;
		output = (struct buffer){0};
	}
	answer(descriptors[0], code, &output);
	_exit(0);
}

/* One task. Negative when there will be no more. */
static int serve_one(int socket, user_task_function function)
{
	cleanup_free gid_t *groups = NULL;
	cleanup_free char *task = NULL;
	cleanup_close int output = -1, root = -1;
	const struct buffer nothing = {0};
	int descriptors[DESCRIPTORS];
	struct header header;

	int r = receive(socket, &header, descriptors);
	output = descriptors[0];
	root = descriptors[1];
	if (r < 0)
		return r;
	groups = calloc((size_t)header.group_count + 1, sizeof(*groups));
	task = malloc((size_t)header.size + 1);
	if (!groups || !task)
		return -ENOMEM;
	r = read_all(socket, groups, header.group_count * sizeof(*groups));
	if (r == 0)
		r = read_all(socket, task, header.size);
	if (r < 0)
		return r;
	task[header.size] = '\0';
	pid_t pid = fork();
	if (pid < 0)
		answer(output, -errno, &nothing);
	if (pid == 0) {
		(void)close(socket);
		work(&header, groups, task, descriptors, function);
	}
	return 0;
}

/* What they were worth is in their pipes; one that hangs is left to its timer. */
static void reap(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static int close_standard(void)
{
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++) {
		if (dup2(null, i) < 0)
			return -errno;
	}
	return 0;
}

int user_spawner_open(user_task_function function, struct user_spawner *ret_spawner)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
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
		/* It goes with its program, and what hangs must not keep the program's output open. */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || close_standard() < 0)
			_exit(1);
		while (serve_one(ends[1], function) == 0)
			reap();
		reap();
		_exit(0);
	}
	(void)close(ends[1]);
	*ret_spawner = (struct user_spawner){ends[0], pid};
	return 0;
}

void user_spawner_close(struct user_spawner *spawner)
{
	if (spawner->socket < 0)
		return;
	(void)close(spawner->socket);
	while (waitpid(spawner->pid, NULL, 0) < 0 && errno == EINTR)
		;
	spawner->socket = -1;
}

static int send_header(int socket, const struct header *header, int output, int root)
{
	const int descriptors[DESCRIPTORS] = {output, root};
	size_t size = (root >= 0 ? 2 : 1) * sizeof(int);
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
	} control = {0};
	struct header copy = *header;
	struct iovec part = {&copy, sizeof(copy)};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(size)};
	ssize_t n;

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(&control.header), descriptors, size);
	do {
		n = sendmsg(socket, &message, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == sizeof(copy) ? 0 : file_write_all(socket, (char *)&copy + n, sizeof(copy) - (size_t)n);
}

int user_spawner_start(const struct user_spawner *spawner, const struct user_task *task, struct user_spawned *ret_child)
{
	struct header header = {.uid = task->identity.uid,
		.gid = task->identity.gid,
		.timeout_ms = task->timeout_ms,
		.group_count = (uint32_t)task->identity.group_count,
		.size = (uint32_t)task->bytes->size};
	int ends[2];

	if (task->bytes->size > USER_TASK_MAX || task->identity.group_count > GROUPS_MAX)
		return -EFBIG;
	if (spawner->socket < 0)
		return -ENOTCONN;
	(void)snprintf(header.name, sizeof(header.name), "%s", task->name);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	int r = send_header(spawner->socket, &header, ends[1], task->root);
	(void)close(ends[1]);
	if (r == 0)
		r = file_write_all(spawner->socket, task->identity.groups, task->identity.group_count * sizeof(gid_t));
	if (r == 0)
		r = file_write_all(spawner->socket, task->bytes->bytes, task->bytes->size);
	if (r < 0) {
		(void)close(ends[0]);
		(void)shutdown(spawner->socket, SHUT_RDWR); /* half a task may stand in there */
		return r;
	}
	*ret_child = (struct user_spawned){ends[0], task->timeout_ms, clock_ms()};
	return 0;
}

/* Until the end of file, which is the child's end. */
static int read_output(int output, int64_t deadline, size_t limit, struct buffer *bytes)
{
	char part[READ_STEP];

	for (;;) {
		struct pollfd wait = {.fd = output, .events = POLLIN};
		int64_t left = deadline - clock_ms();
		int ready = poll(&wait, 1, left > 0 ? (int)left : 0);
		if (ready == 0)
			return -ETIMEDOUT;
		if (ready < 0 && errno == EINTR)
			continue;
		ssize_t n = ready < 0 ? -1 : read(output, part, sizeof(part));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		if ((size_t)n > limit - bytes->size)
			return -EFBIG;
		buffer_append(bytes, part, (size_t)n);
	}
}

int user_spawned_finish(struct user_spawned *child, size_t output_limit, struct buffer *ret_output)
{
	cleanup_buffer struct buffer bytes = {0};
	struct reply reply;

	int r = read_output(
		child->output, child->begun_ms + child->timeout_ms + GRACE_MS, output_limit + sizeof(reply), &bytes);
	/* A child that still writes gets EPIPE. */
	(void)close(child->output);
	child->output = -1;
	if (r == 0)
		r = buffer_status(&bytes);
	if (r < 0)
		return r;
	if (bytes.size >= sizeof(reply)) {
		memcpy(&reply, bytes.bytes, sizeof(reply));
		if (bytes.size == sizeof(reply) + reply.size) {
			buffer_append(ret_output, bytes.bytes + sizeof(reply), reply.size);
			r = buffer_status(ret_output);
			return r < 0 ? r : reply.code;
		}
	}
	return clock_ms() - child->begun_ms >= child->timeout_ms ? -ETIMEDOUT : -ECHILD;
}
