/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "agent/daemon/daemon.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/paths.h"
#include "lib/sys.h"

#define IDENTITY_MAX 65536u
#define RECEIVE_MAX 32u /* messages a wake-up: whoever floods the link does not keep us from everything else */

/* A socket at that path of /run/latchkey; whoever may connect is decided by mode and owner before it listens. */
static int make_socket(
	const struct daemon *daemon, const char *path, int type, mode_t mode, bool owned_by_agent, int *ret_socket)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *name = strrchr(path, '/') + 1;
	cleanup_close int descriptor = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (descriptor < 0)
		return -errno;
	memcpy(address.sun_path, path, strlen(path));
	if (sys.unlinkat(daemon->run, name, 0) < 0 && errno != ENOENT)
		return -errno;
	mode_t old = umask(0777 & ~mode);
	int r = bind(descriptor, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	(void)umask(old);
	if (r < 0)
		return r;
	if (owned_by_agent) {
		cleanup_close int inode = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (inode < 0 || fchownat(inode, "", daemon->agent_uid, daemon->agent_gid, AT_EMPTY_PATH) < 0)
			return -errno;
	}
	if (listen(descriptor, SOMAXCONN) < 0)
		return -errno;
	*ret_socket = steal_descriptor(&descriptor);
	return 0;
}

int peer_listen(struct daemon *daemon)
{
	int r = make_socket(daemon, PATH_LINK, SOCK_SEQPACKET, 0600, true, &daemon->listener);
	return r < 0 ? r : make_socket(daemon, PATH_STATUS_SOCKET, SOCK_STREAM, 0666, false, &daemon->status_socket);
}

void peer_close(struct daemon *daemon, const char *why)
{
	if (daemon->link < 0)
		return;
	log_info("the link to latchkey-net is closed: %s", why);
	(void)close(steal_descriptor(&daemon->link));
	daemon->link_waits = daemon->link_ready = daemon->identified = daemon->result_in_flight =
		daemon->report_in_flight = false;
	daemon->identity_sent = daemon->view_sent = (struct sent_file){0};
	daemon->identity_at = daemon->identity_delay = 0;
}

void peer_accept(struct daemon *daemon)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	cleanup_close int descriptor = accept4(daemon->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (descriptor < 0)
		return;
	if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid != daemon->agent_uid) {
		log_warning("a process of uid %u tried the link", peer.uid);
		return;
	}
	/* A restarted latchkey-net takes the place of the one that is gone. */
	peer_close(daemon, "a new latchkey-net has come");
	struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
	if (epoll_ctl(daemon->epoll, EPOLL_CTL_ADD, descriptor, &event) < 0)
		return;
	daemon->link = steal_descriptor(&descriptor);
}

static void sent(struct daemon *daemon, int r)
{
	if (r < 0)
		peer_close(daemon, r == -EAGAIN ? "it does not read" : strerror(-r));
}

void peer_send_have(struct daemon *daemon)
{
	struct link_message message = {.type = LINK_HAVE};

	if (!daemon->link_ready)
		return;
	memcpy(message.etag, daemon->etag, sizeof(message.etag));
	sent(daemon, link_send(daemon->link, &message, -1));
}

void peer_send_ask(struct daemon *daemon, uint32_t what)
{
	const struct link_message message = {.type = LINK_ASK, .code = what};

	if (daemon->link_ready)
		sent(daemon, link_send(daemon->link, &message, -1));
}

void peer_ask_trust(struct daemon *daemon)
{
	int64_t now = daemon_now();

	if (daemon->trust_asked_at > 0 && now - daemon->trust_asked_at < TRUST_DISTANCE_MS)
		return;
	daemon->trust_asked_at = now;
	peer_send_ask(daemon, 1);
}

void peer_send_view(struct daemon *daemon)
{
	const struct link_message message = {.type = LINK_VIEW};
	cleanup_close int view = -1;
	struct stat status;

	if (!daemon->link_ready || file_open(daemon->run, "view", &view, &status) < 0)
		return;
	const struct sent_file file = {status.st_ino, status.st_ctim};
	if (sent_file_is_same(&file, &daemon->view_sent))
		return;
	daemon->view_sent = file;
	sent(daemon, link_send(daemon->link, &message, view));
}

void peer_send_identity(struct daemon *daemon)
{
	struct link_message message = {.type = LINK_IDENTITY};
	cleanup_close int directory = -1, descriptor = -1;
	cleanup_free char *text = NULL;
	struct stat status;
	size_t size;

	if (!daemon->link_ready || daemon->state < 0)
		return;
	int r = file_open_directory(daemon->state, "identity", &directory);
	if (r == 0)
		r = file_open(directory, "text", &descriptor, &status);
	if (r < 0)
		return;
	const struct sent_file file = {status.st_ino, status.st_ctim};
	if (sent_file_is_same(&file, &daemon->identity_sent))
		return;
	r = file_read_descriptor(descriptor, IDENTITY_MAX, &text, &size);
	if (r < 0)
		return;
	daemon->identity_sent = file;
	sent(daemon, link_send_body(daemon->link, &message, text, size));
}

void peer_offer_identity(struct daemon *daemon)
{
	daemon->identity_sent = (struct sent_file){0};
	peer_send_identity(daemon);
}

/* READY came: everything that latchkey-net needs to know, in this order. */
static void greet(struct daemon *daemon)
{
	struct link_message message = {.type = LINK_HELLO};
	cleanup_close int directory = -1;
	cleanup_free char *instance = NULL;
	size_t size = 0;

	if (daemon->state >= 0 && file_open_directory(daemon->state, "identity", &directory) == 0 &&
		file_read(directory, "instance", sizeof(message.text) - 1, &instance, &size) == 0)
		memcpy(message.text, instance, strcspn(instance, "\n"));
	daemon->link_ready = true;
	sent(daemon, link_send(daemon->link, &message, daemon->status_socket));
	peer_send_identity(daemon);
	peer_send_have(daemon);
	peer_send_view(daemon);
}

void peer_booted(struct daemon *daemon)
{
	if (daemon->booted)
		return;
	daemon->booted = true;
	if (daemon->link_waits)
		greet(daemon);
}

static void take_document(struct daemon *daemon, const struct link_message *message, char **body)
{
	struct waiting *waiting = &daemon->waiting;
	bool is_trust = message->type == LINK_TRUST;

	/* The newest is the whole truth: one that still waits is replaced. */
	free(is_trust ? waiting->trust : waiting->document);
	if (is_trust) {
		waiting->trust = steal_pointer(body);
		waiting->trust_size = (size_t)message->size;
		return;
	}
	waiting->document = steal_pointer(body);
	waiting->document_size = (size_t)message->size;
	memcpy(waiting->etag, message->etag, sizeof(waiting->etag));
}

void peer_note(struct daemon *daemon, const char *name, bool is_so)
{
	if (!is_so) {
		daemon->waiting.view = sys.unlinkat(daemon->run, name, 0) == 0 || daemon->waiting.view;
		return;
	}
	cleanup_close int file =
		sys.openat(daemon->run, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	daemon->waiting.view = file >= 0 || daemon->waiting.view;
}

/* No answer at all is the endpoint's trouble. */
static void note_identity(struct daemon *daemon, uint32_t code)
{
	const struct {
		const char *name;
		bool is_so;
	} notes[] = {{NAME_IDENTITY_UNKNOWN, code == 403}, {NAME_IDENTITY_OTHER, code == 409},
		{NAME_IDENTITY_REFUSED, code >= 400 && code < 500 && code != 403 && code != 409}};

	if (code == 0 || code >= 500)
		return;
	for (unsigned i = 0; i < ELEMENTS(notes); i++)
		peer_note(daemon, notes[i].name, notes[i].is_so);
}

static int handle(struct daemon *daemon, const struct link_message *message, int descriptor)
{
	cleanup_free char *body = NULL;
	bool has_body = message->type == LINK_DOCUMENT || message->type == LINK_TRUST;
	bool was_identified = daemon->identified;
	int r;

	if (has_body != (descriptor >= 0))
		return -EBADMSG;
	if (!daemon->link_ready) {
		if (daemon->link_waits || message->type != LINK_READY || message->code != 1)
			return -EBADMSG;
		daemon->link_waits = true;
		if (daemon->booted)
			greet(daemon);
		return 0;
	}
	switch (message->type) {
	case LINK_DOCUMENT:
	case LINK_TRUST:
		r = link_read_body(message, descriptor, &body);
		if (r < 0)
			return r;
		take_document(daemon, message, &body);
		return 0;
	case LINK_IDENTIFIED:
		daemon->identified = message->code == 200 || message->code == 201;
		daemon->identity_at = 0;
		note_identity(daemon, message->code);
		if (daemon->identified) {
			daemon->identity_delay = 0;
			/* Offered anew because of a 401, what was refused keeps its distance. */
			if (!was_identified) {
				daemon->results_at = daemon->results_delay = 0;
				daemon->report_at = daemon->report_delay = 0;
			}
			deliver_next(daemon);
			report_send(daemon);
		} else if (message->code == 409) {
			log_error("the endpoint knows another identity under this instance id (409): see OPERATIONS");
		} else if (message->code == 403) {
			log_error("the endpoint does not know this instance or its enrolment secret (403): "
				  "once the right one is in /etc/latchkey/enrol, systemctl restart latchkey-net");
		} else if (message->code >= 400 && message->code < 500) {
			log_error("the endpoint refuses this instance's identity (%u)", message->code);
		}
		/* It was down, or the operator has still to create the instance: without this no result ever arrives.
		 */
		if (!daemon->identified)
			daemon->identity_at = daemon_back_off(&daemon->identity_delay);
		return 0;
	case LINK_DELIVERED:
		deliver_done(daemon, message->seq, message->code);
		return 0;
	case LINK_REPORTED:
		report_done(daemon, message->code);
		return 0;
	case LINK_ENDPOINT:
		/* No answer may only be no network yet, which at boot is worth boot_wait; no text: none is configured.
		 */
		if (message->code != 0 || message->text[0] == '\0')
			daemon->endpoint_answered = true;
		/* At boot the identity was offered before there was a network. Once: who tells us decides nothing. */
		if (message->code != 0 && daemon->identity_at > 0 && daemon->identity_delay == RETRY_FIRST_MS)
			daemon->identity_at = 1;
		daemon->waiting.view = true;
		daemon->waiting.endpoint = *message;
		return 0;
	default:
		return -EBADMSG;
	}
}

void peer_receive(struct daemon *daemon)
{
	for (unsigned i = 0; i < RECEIVE_MAX && daemon->link >= 0; i++) {
		struct link_message message;
		cleanup_close int descriptor = -1;
		int r = link_receive(daemon->link, &message, &descriptor);
		if (r == -EAGAIN || r == -EINTR)
			return;
		if (r == 0)
			r = handle(daemon, &message, descriptor);
		if (r < 0)
			peer_close(daemon, r == -ECONNRESET ? "it has gone" : "it broke the protocol");
	}
}
