/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "agent/net/net.h"
#include "agent/net/status.h"
#include "lib/log.h"
#include "lib/paths.h"

#define CONNECT_TRIES 2000u /* of 5 ms: latchkeyd is started together with us, and a boot waits */

int link_client_send(struct net *net, struct link_message *message, const void *body, size_t size)
{
	return body ? link_send_body(net->link, message, body, size) : link_send(net->link, message, -1);
}

static int take_body(const struct link_message *message, int descriptor, char **body, size_t *size)
{
	char *bytes = NULL;

	int r = link_read_body(message, descriptor, &bytes);
	if (r < 0)
		return r;
	free(*body);
	*body = bytes;
	*size = (size_t)message->size;
	return 0;
}

static int handle(struct net *net, const struct link_message *message, int *descriptor)
{
	int r = 0;

	if (!net->hello && message->type != LINK_HELLO)
		return -EBADMSG;
	switch (message->type) {
	case LINK_HELLO:
		if (net->hello || *descriptor < 0)
			return -EBADMSG;
		net->hello = true;
		memcpy(net->instance, message->text, sizeof(net->instance));
		r = status_listen(net, steal_descriptor(descriptor));
		return r < 0 ? r : poll_start(net);
	case LINK_IDENTITY:
		r = take_body(message, *descriptor, &net->identity, &net->identity_size);
		break;
	case LINK_RESULTS:
		net->results_seq = message->seq;
		r = take_body(message, *descriptor, &net->results, &net->results_size);
		break;
	case LINK_REPORT:
		r = take_body(message, *descriptor, &net->report, &net->report_size);
		break;
	case LINK_HAVE:
		poll_have(net, message->etag);
		return 0;
	case LINK_ASK:
		if (message->code == 0) {
			poll_ask_now(net);
			return 0;
		}
		net->ask_trust = true;
		break;
	case LINK_VIEW:
		if (*descriptor < 0)
			return -EBADMSG;
		status_set_view(net, steal_descriptor(descriptor));
		return 0;
	default:
		return -EBADMSG;
	}
	if (r == 0)
		poll_other_work(net);
	return r;
}

static int on_link(sd_event_source *source, int link, uint32_t events, void *context)
{
	struct net *net = context;

	(void)source;
	(void)events;
	for (;;) {
		struct link_message message;
		cleanup_close int descriptor = -1;
		int r = link_receive(link, &message, &descriptor);
		if (r == -EAGAIN || r == -EINTR)
			return 0;
		if (r == 0)
			r = handle(net, &message, &descriptor);
		if (r < 0) {
			/* The service manager starts us again; a restarted latchkeyd says everything anew. */
			log_notice("the link to latchkeyd is closed: %s", strerror(-r));
			return sd_event_exit(net->event, r == -ECONNRESET ? 0 : 1);
		}
	}
}

int link_client_open(struct net *net)
{
	const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = PATH_LINK};
	struct link_message ready = {.type = LINK_READY, .code = 1};
	const struct timespec pause = {0, 5000000};

	net->link = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (net->link < 0)
		return -errno;
	for (unsigned i = 0; connect(net->link, (const struct sockaddr *)&address, sizeof(address)) < 0; i++) {
		if (i == CONNECT_TRIES || (errno != ENOENT && errno != ECONNREFUSED && errno != EAGAIN))
			return -errno;
		(void)nanosleep(&pause, NULL);
	}
	int r = link_client_send(net, &ready, NULL, 0);
	if (r < 0)
		return r;
	return sd_event_add_io(net->event, &net->link_source, net->link, EPOLLIN, on_link, net);
}
