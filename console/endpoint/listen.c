/* SPDX-License-Identifier: Apache-2.0 */
#include "console/endpoint/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "console/endpoint/request.h"

#define BACKLOG 1024

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static int parse(const char *text, union address *address, socklen_t *ret_size)
{
	char host[LISTEN_TEXT_SIZE];
	const char *colon = strrchr(text, ':');
	int64_t port;

	if (!colon || (size_t)(colon - text) >= sizeof(host) || request_parse_number(colon + 1, 65535, &port) < 0)
		return -EINVAL;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	size_t size = strlen(host);
	if (size > 2 && host[0] == '[' && host[size - 1] == ']') {
		host[size - 1] = '\0';
		*address = (union address){.v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)}};
		*ret_size = sizeof(address->v6);
		return inet_pton(AF_INET6, host + 1, &address->v6.sin6_addr) == 1 ? 0 : -EINVAL;
	}
	*address = (union address){.v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)}};
	*ret_size = sizeof(address->v4);
	return inet_pton(AF_INET, host, &address->v4.sin_addr) == 1 ? 0 : -EINVAL;
}

int listen_open(const char *text, int *ret_socket, char ret_text[LISTEN_TEXT_SIZE], bool *ret_loopback)
{
	char host[INET6_ADDRSTRLEN] = "";
	union address address;
	socklen_t size;
	const int yes = 1;

	int r = parse(text, &address, &size);
	if (r < 0)
		return r;
	cleanup_close int descriptor = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (descriptor < 0)
		return -errno;
	if (setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0)
		return -errno;
	if (bind(descriptor, &address.any, size) < 0 || listen(descriptor, BACKLOG) < 0 ||
		getsockname(descriptor, &address.any, &size) < 0)
		return -errno;
	if (address.any.sa_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &address.v6.sin6_addr, host, sizeof(host));
		(void)snprintf(ret_text, LISTEN_TEXT_SIZE, "[%s]:%u", host, (unsigned)ntohs(address.v6.sin6_port));
		*ret_loopback = IN6_IS_ADDR_LOOPBACK(&address.v6.sin6_addr);
	} else {
		(void)inet_ntop(AF_INET, &address.v4.sin_addr, host, sizeof(host));
		(void)snprintf(ret_text, LISTEN_TEXT_SIZE, "%s:%u", host, (unsigned)ntohs(address.v4.sin_port));
		*ret_loopback = (ntohl(address.v4.sin_addr.s_addr) >> 24) == 127;
	}
	*ret_socket = steal_descriptor(&descriptor);
	return 0;
}
