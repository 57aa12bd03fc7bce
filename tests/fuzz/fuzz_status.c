/* SPDX-License-Identifier: Apache-2.0 */
/* The real socket: however the bytes are cut, the replies are the same, and the connection goes when the client does.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/net/status.h"
#include "agent/net/status_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct net net;
static struct sockaddr_un address;
static socklen_t address_size = sizeof(address);

static void begin(void)
{
	static const char view[] =
		"{\"v\":1,\"agent\":\"1\",\"health\":\"ok\",\"seq\":1,\"pending\":0,\"problems\":[]}\n"
		"{\"t\":\"command\",\"id\":\"c1\",\"uid\":0}\n"
		"{\"t\":\"user\",\"user\":\"root\",\"uid\":0}\n{\"t\":\"key\",\"user\":\"root\",\"uid\":0}\n";
	const struct sockaddr_un unnamed = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int descriptor = memfd_create("view", MFD_CLOEXEC);

	if (listener < 0 || bind(listener, (const struct sockaddr *)&unnamed, sizeof(sa_family_t)) < 0 ||
		listen(listener, 16) < 0 || getsockname(listener, (struct sockaddr *)&address, &address_size) < 0 ||
		descriptor < 0 || write(descriptor, view, sizeof(view) - 1) < 0 || sd_event_new(&net.event) < 0 ||
		status_listen(&net, listener) < 0)
		abort();
	status_set_view(&net, descriptor);
}

static void work(void)
{
	while (sd_event_run(net.event, 0) > 0)
		;
}

/* False when the other side has closed. */
static bool receive(int client, struct buffer *replies)
{
	char bytes[65536];
	ssize_t n;

	while ((n = recv(client, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		buffer_append(replies, bytes, (size_t)n);
	return n < 0 && errno == EAGAIN;
}

/* `cut`: the first pieces' sizes; the rest goes as one. */
static void exchange(const uint8_t *text, size_t size, const uint8_t *cut, size_t cuts, struct buffer *replies)
{
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool open = true;

	if (client < 0 || connect(client, (struct sockaddr *)&address, address_size) < 0)
		abort();
	for (size_t sent = 0, i = 0; open && sent < size; i++) {
		size_t part = i < cuts && cut[i] + 1u < size - sent ? cut[i] + 1u : size - sent;
		ssize_t n = send(client, text + sent, part, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN)
			break;
		sent += n > 0 ? (size_t)n : 0;
		work();
		open = receive(client, replies);
	}
	(void)shutdown(client, SHUT_WR);
	while (open) {
		work();
		open = receive(client, replies);
	}
	(void)close(client);
	work();
	if (net.status->count != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	cleanup_buffer struct buffer whole = {0}, pieces = {0};

	if (!net.event)
		begin();
	size_t cuts = size > 0 ? bytes[0] % 16u : 0;
	if (size < 1 + cuts)
		return 0;
	exchange(bytes + 1 + cuts, size - 1 - cuts, NULL, 0, &whole);
	exchange(bytes + 1 + cuts, size - 1 - cuts, bytes + 1, cuts, &pieces);
	/* What is wrong ends a connection, and then what was answered before it may not have been sent yet. */
	size_t same = whole.size < pieces.size ? whole.size : pieces.size;
	if (same > 0 && memcmp(whole.bytes, pieces.bytes, same) != 0)
		abort();
	return 0;
}
