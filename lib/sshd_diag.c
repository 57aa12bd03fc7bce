/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sshd_diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define REPLY_MAX 32768u  /* what the kernel puts into one message of a dump */
#define REPLIES_MAX 4096u /* 100,000 listeners */
#define TIMEOUT_S 2       /* the kernel answers at once; nothing else may hold a plugin */

static int ask(int descriptor, bool is_six)
{
	const struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 request;
	} message = {
		.header = {.nlmsg_len = sizeof(message),
			.nlmsg_type = SOCK_DIAG_BY_FAMILY,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.request = {.sdiag_family = is_six ? AF_INET6 : AF_INET,
			.sdiag_protocol = IPPROTO_TCP,
			.idiag_states = 1u << TCP_LISTEN},
	};

	return send(descriptor, &message, sizeof(message), 0) == (ssize_t)sizeof(message) ? 0 : -errno;
}

static void add(const struct inet_diag_msg *found, bool is_six, const uint16_t *ports, unsigned port_count,
	struct sshd_sockets *sockets)
{
	struct sshd_socket socket = {
		.inode = found->idiag_inode, .port = ntohs(found->id.idiag_sport), .is_six = is_six};

	memcpy(socket.address, found->id.idiag_src, is_six ? 16 : 4);
	for (unsigned i = 0; i < port_count && sockets->count < SSHD_SOCKETS_MAX; i++) {
		if (ports[i] == socket.port && socket.inode != 0) {
			sockets->sockets[sockets->count++] = socket;
			return;
		}
	}
}

/* One message of the dump: 1 when it was the last. */
static int read_reply(
	int descriptor, bool is_six, const uint16_t *ports, unsigned port_count, struct sshd_sockets *sockets)
{
	_Alignas(struct nlmsghdr) char bytes[REPLY_MAX];

	ssize_t n = recv(descriptor, bytes, sizeof(bytes), 0);
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	for (size_t at = 0; at + sizeof(struct nlmsghdr) <= (size_t)n;) {
		struct nlmsghdr header;
		memcpy(&header, bytes + at, sizeof(header));
		if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > (size_t)n - at)
			return -EBADMSG;
		size_t size = header.nlmsg_len - sizeof(header);
		if (header.nlmsg_type == NLMSG_DONE)
			return 1;
		if (header.nlmsg_type == NLMSG_ERROR) {
			struct nlmsgerr error;
			if (size < sizeof(error))
				return -EBADMSG;
			memcpy(&error, bytes + at + sizeof(header), sizeof(error));
			return error.error < 0 ? error.error : -EBADMSG;
		}
		if (size >= sizeof(struct inet_diag_msg)) {
			struct inet_diag_msg found;
			memcpy(&found, bytes + at + sizeof(header), sizeof(found));
			add(&found, is_six, ports, port_count, sockets);
		}
		at += NLMSG_ALIGN(header.nlmsg_len);
	}
	return 0;
}

int sshd_diag_read(bool is_six, const uint16_t *ports, unsigned port_count, struct sshd_sockets *sockets)
{
	const struct timeval timeout = {TIMEOUT_S, 0};
	cleanup_close int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	int r;

	if (descriptor < 0)
		return -errno;
	if (setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
		return -errno;
	r = ask(descriptor, is_six);
	for (unsigned i = 0; r == 0 && i < REPLIES_MAX; i++)
		r = read_reply(descriptor, is_six, ports, port_count, sockets);
	return r == 1 ? 0 : r == 0 ? -E2BIG : r;
}
