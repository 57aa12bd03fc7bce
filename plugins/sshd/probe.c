/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/sshd/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define PROBE_TIMEOUT_MS 2000

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

void probe_banner(const struct sshd_sockets *sockets, char ret_detail[SSHD_DETAIL_MAX + 1])
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
		ssize_t n =
			poll(&polled, 1, PROBE_TIMEOUT_MS) > 0 ? recv(descriptor, banner, sizeof(banner) - 1, 0) : -1;
		if (n < 0)
			r = polled.revents ? -errno : -ETIMEDOUT;
		else
			banner[n] = '\0';
	}
	/* The unit leaves the root half no internet sockets; that sshd lives and listens has been seen by then. */
	if (r == -EAFNOSUPPORT)
		return;
	if (r < 0)
		(void)snprintf(ret_detail, SSHD_DETAIL_MAX + 1, "unverified: port %u: %s", sockets->sockets[0].port,
			strerror(-r));
	else if (strncmp(banner, "SSH-", 4) != 0) {
		banner[strcspn(banner, "\r\n")] = '\0';
		(void)snprintf(ret_detail, SSHD_DETAIL_MAX + 1, "unverified: port %u said: %.100s",
			sockets->sockets[0].port, banner);
	}
}
