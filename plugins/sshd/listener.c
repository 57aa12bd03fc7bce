/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/sshd/listener.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "lib/file.h"

#define PROCESS_FILE_MAX 65536u
#define PROCESSES_MAX 65536u
#define PROBE_TIMEOUT_MS 2000

static int read_process_file(pid_t pid, const char *name, char **ret_text, size_t *ret_size)
{
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	cleanup_close int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0)
		return -errno;
	return file_read_descriptor(descriptor, PROCESS_FILE_MAX, ret_text, ret_size);
}

bool listener_is_command_line(const char *text)
{
	static const char *const programs[] = {"/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"};

	if (strncmp(text, "sshd: ", 6) == 0)
		return strstr(text, "[listener]") != NULL;
	/* Before 8.2 the listener has no title: its command line is what started it. This plugin is called sshd too. */
	for (unsigned i = 0; i < ELEMENTS(programs); i++) {
		if (strcmp(text, programs[i]) == 0)
			return true;
	}
	return false;
}

static bool is_root(const char *status)
{
	const char *line = strstr(status, "\nUid:\t");
	return line && strncmp(line, "\nUid:\t0\t0\t0\t0\n", strlen("\nUid:\t0\t0\t0\t0\n")) == 0;
}

static bool is_sshd(pid_t pid)
{
	cleanup_free char *name = NULL, *status = NULL, *command = NULL;
	size_t size;

	/* The owner of /proc/PID is no proof, the uids in status are; exe cannot be read without more capabilities. */
	return read_process_file(pid, "comm", &name, &size) == 0 && strcmp(name, "sshd\n") == 0 &&
		read_process_file(pid, "status", &status, &size) == 0 && is_root(status) &&
		read_process_file(pid, "cmdline", &command, &size) == 0 && listener_is_command_line(command);
}

static int open_process(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

int listener_open(pid_t pid, struct listener *ret_listener)
{
	if (pid <= 1)
		return -ESRCH;
	cleanup_close int process = open_process(pid);
	if (process < 0 && errno == ESRCH)
		return -ESRCH;
	if (!is_sshd(pid)) /* looked at after it is held, so it cannot be another by now */
		return -ESRCH;
	*ret_listener = (struct listener){pid, steal_descriptor(&process)};
	return 0;
}

void listener_close(struct listener *listener)
{
	if (listener->process > 0)
		(void)close(listener->process);
	*listener = (struct listener){0, -1};
}

static pid_t parse_pid(const char *text)
{
	long pid = 0;

	if (!isdigit((unsigned char)*text))
		return -1;
	for (; isdigit((unsigned char)*text); text++) {
		pid = pid * 10 + (*text - '0');
		if (pid > 1 << 30)
			return -1;
	}
	return *text == '\0' || *text == '\n' ? (pid_t)pid : -1;
}

static int find_by_file(const char *path, struct listener *ret_listener)
{
	cleanup_free char *text = NULL;
	size_t size;
	cleanup_close int descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (descriptor < 0)
		return -ESRCH;
	int r = file_read_descriptor(descriptor, 64, &text, &size);
	return r < 0 ? -ESRCH : listener_open(parse_pid(text), ret_listener);
}

/* No pid file: the one process that says it listens. Two of them (a second sshd on another port) cannot be told apart. */
static int find_by_name(struct listener *ret_listener)
{
	cleanup_names char **names = NULL;
	pid_t found = -1;
	size_t count;

	int r = file_list(-1, "/proc", PROCESSES_MAX, &names, &count);
	if (r < 0)
		return -ESRCH;
	for (size_t i = 0; i < count; i++) {
		pid_t pid = parse_pid(names[i]);
		if (pid <= 1 || !is_sshd(pid))
			continue;
		if (found > 0)
			return -ESRCH;
		found = pid;
	}
	return listener_open(found, ret_listener);
}

int listener_find(const struct sshd_effective *effective, struct listener *ret_listener)
{
	const char *path = sshd_value(effective, "pidfile");

	if (path && *path == '/' && find_by_file(path, ret_listener) == 0)
		return 0;
	return find_by_name(ret_listener);
}

int listener_hang_up(const struct listener *listener)
{
	long r = listener->process >= 0 ? syscall(SYS_pidfd_send_signal, listener->process, SIGHUP, NULL, 0)
					: kill(listener->pid, SIGHUP);
	return r < 0 ? -errno : 0;
}

bool listener_is_alive(const struct listener *listener)
{
	struct pollfd polled = {listener->process, POLLIN, 0};

	if (listener->process < 0)
		return kill(listener->pid, 0) == 0 && is_sshd(listener->pid);
	return poll(&polled, 1, 0) == 0;
}

static int connect_to(const struct sshd_socket *listening, int *ret_descriptor)
{
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(listening->port)};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(listening->port)};
	struct pollfd polled = {-1, POLLOUT, 0};
	int error = 0;
	socklen_t size = sizeof(error);

	memcpy(&four.sin_addr, listening->address, 4);
	memcpy(&six.sin6_addr, listening->address, 16);
	if (four.sin_addr.s_addr == 0)
		four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (IN6_IS_ADDR_UNSPECIFIED(&six.sin6_addr))
		six.sin6_addr = in6addr_loopback;
	cleanup_close int descriptor =
		socket(listening->is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (descriptor < 0)
		return -errno;
	int r = listening->is_six ? connect(descriptor, (const struct sockaddr *)&six, sizeof(six))
				  : connect(descriptor, (const struct sockaddr *)&four, sizeof(four));
	if (r < 0 && errno != EINPROGRESS)
		return -errno;
	polled.fd = descriptor;
	r = poll(&polled, 1, PROBE_TIMEOUT_MS);
	if (r <= 0)
		return r < 0 ? -errno : -ETIMEDOUT;
	if (getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error)
		return error ? -error : -errno;
	*ret_descriptor = steal_descriptor(&descriptor);
	return 0;
}

void listener_probe(const struct sshd_sockets *sockets, char ret_detail[SSHD_DETAIL_MAX + 1])
{
	static const char line[] = "SSH-2.0-latchkey\r\n"; /* complete, or newer versions count it as an attack */
	cleanup_close int descriptor = -1;
	char banner[256] = "";

	*ret_detail = '\0';
	if (sockets->count == 0)
		return;
	int r = connect_to(&sockets->sockets[0], &descriptor);
	if (r == 0 && send(descriptor, line, sizeof(line) - 1, MSG_NOSIGNAL) < 0)
		r = -errno;
	if (r == 0) {
		struct pollfd polled = {descriptor, POLLIN, 0};
		ssize_t n = poll(&polled, 1, PROBE_TIMEOUT_MS) > 0 ? recv(descriptor, banner, sizeof(banner) - 1, 0) : -1;
		if (n < 0)
			r = polled.revents ? -errno : -ETIMEDOUT;
		else
			banner[n] = '\0';
	}
	if (r < 0)
		(void)snprintf(ret_detail, SSHD_DETAIL_MAX + 1, "unverified: port %u: %s",
			sockets->sockets[0].port, strerror(-r));
	else if (strncmp(banner, "SSH-", 4) != 0) {
		banner[strcspn(banner, "\r\n")] = '\0';
		(void)snprintf(ret_detail, SSHD_DETAIL_MAX + 1, "unverified: port %u said: %.100s",
			sockets->sockets[0].port, banner);
	}
}
