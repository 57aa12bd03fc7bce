/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of the status socket: a client that floods, stalls or sends rubbish costs itself only. */
#include "agent/net/status_server.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "agent/net/status.h"
#include "agent/net/view_reader.h"
#include "lib/log.h"

#define ACCEPT_PAUSE_MS 1000u

static void connection_close(struct connection *connection)
{
	struct connection **at = &connection->server->connections;

	while (*at && *at != connection)
		at = &(*at)->next;
	if (*at)
		*at = connection->next;
	connection->server->count--;
	sd_event_source_disable_unref(connection->source);
	sd_event_source_disable_unref(connection->idle);
	(void)close(connection->descriptor);
	buffer_free(&connection->in);
	buffer_free(&connection->out);
	free(connection);
}

/* Sends what is queued; -1 when the connection is gone or to be closed. */
static int flush(struct connection *connection)
{
	struct buffer *out = &connection->out;

	while (connection->sent < out->size) {
		ssize_t n = send(connection->descriptor, out->bytes + connection->sent, out->size - connection->sent,
			MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0)
			return -1;
		connection->sent += (size_t)n;
	}
	bool waits = connection->sent < out->size || connection->backlog;
	if (connection->sent == out->size) {
		buffer_free(out);
		connection->sent = 0;
		if (connection->ends && !connection->backlog)
			return -1;
	}
	/* A client that does not read is not read from either; what it has sent already waits until it can be answered.
	 */
	uint32_t events = waits ? EPOLLOUT : connection->ends ? 0 : EPOLLIN;
	return sd_event_source_set_io_events(connection->source, events) < 0 ? -1 : 0;
}

static int queue(struct connection *connection, const struct buffer *reply)
{
	buffer_append(&connection->out, reply->bytes, reply->size);
	buffer_append(&connection->out, "", 1);
	if (buffer_status(&connection->out) < 0)
		return -1;
	/* One long answer may pass the limit; a second one behind it may not. */
	return connection->out.size - connection->sent > OUTPUT_MAX + reply->size ? -1 : 0;
}

static int answer(struct connection *connection, const char *text, size_t size)
{
	cleanup_varlink_call struct varlink_call call = {0};
	cleanup_buffer struct buffer reply = {0};

	if (varlink_parse(text, size, &call) < 0)
		return -1;
	/* No call changes anything, so one without a reply is nothing. */
	if (call.oneway)
		return 0;
	enum varlink_verdict verdict = status_call(connection->server->net, connection->uid, &call, &reply);
	if (verdict == VARLINK_CLOSE)
		return -1;
	if (verdict == VARLINK_STREAMS) {
		connection->monitors = true;
		return sd_event_source_set_enabled(connection->idle, SD_EVENT_OFF) < 0 ? -1 : 0;
	}
	return buffer_status(&reply) < 0 ? -1 : queue(connection, &reply);
}

/* The next whole messages in the buffer; what is left moves to its beginning. */
static int take_messages(struct connection *connection, size_t scanned)
{
	struct buffer *in = &connection->in;
	size_t start = 0;
	unsigned calls = 0;

	connection->backlog = false;
	while (in->size > start) {
		size_t from = start > scanned ? start : scanned;
		const char *end = memchr(in->bytes + from, '\0', in->size - from);
		if (!end)
			break;
		if (calls++ == CALLS_A_TURN) {
			connection->backlog = true;
			break;
		}
		size_t size = (size_t)(end - in->bytes) - start;
		if (size == 0 || answer(connection, in->bytes + start, size) < 0)
			return -1;
		start += size + 1;
	}
	if (start > 0) {
		memmove(in->bytes, in->bytes + start, in->size - start);
		in->size -= start;
	}
	return !connection->backlog && in->size > VARLINK_MESSAGE_MAX ? -1 : 0;
}

static int receive(struct connection *connection)
{
	char bytes[16384];
	ssize_t n = recv(connection->descriptor, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (n == 0) {
		connection->ends = true;
		return connection->out.size == 0 && !connection->backlog ? -1 : 0;
	}
	size_t scanned = connection->in.size;
	buffer_append(&connection->in, bytes, (size_t)n);
	if (buffer_status(&connection->in) < 0)
		return -1;
	if (!connection->monitors)
		(void)sd_event_source_set_time_relative(connection->idle, (uint64_t)IDLE_S * 1000000);
	return take_messages(connection, scanned);
}

static int on_connection(sd_event_source *source, int descriptor, uint32_t events, void *context)
{
	struct connection *connection = context;

	(void)source;
	(void)descriptor;
	if ((events & EPOLLIN) && receive(connection) < 0) {
		connection_close(connection);
		return 0;
	}
	if ((events & EPOLLOUT) && connection->backlog && connection->sent == connection->out.size &&
		take_messages(connection, 0) < 0) {
		connection_close(connection);
		return 0;
	}
	if (((events & (EPOLLERR | EPOLLHUP)) && !(events & EPOLLIN)) || flush(connection) < 0)
		connection_close(connection);
	return 0;
}

static int on_idle(sd_event_source *source, uint64_t usec, void *context)
{
	(void)source;
	(void)usec;
	connection_close(context);
	return 0;
}

static unsigned count_of(const struct status_server *server, uid_t uid)
{
	unsigned count = 0;

	for (const struct connection *at = server->connections; at; at = at->next)
		count += at->uid == uid;
	return count;
}

/* Of whoever holds most, the oldest, if he then still holds as many as the newcomer: a few cannot keep out all others.
 */
static bool make_room(const struct status_server *server, uid_t uid)
{
	struct connection *found = NULL;
	unsigned most = count_of(server, uid) + 2;

	for (struct connection *at = server->connections; at; at = at->next) {
		unsigned held = at->uid == 0 ? 0 : count_of(server, at->uid);
		if (held > most || (held == most && (!found || found->uid == at->uid))) {
			most = held;
			found = at;
		}
	}
	if (found)
		connection_close(found);
	return found != NULL;
}

static bool has_room(const struct status_server *server, uid_t uid)
{
	if (uid == 0)
		return server->count < CONNECTIONS_MAX + CONNECTIONS_ROOT;
	return count_of(server, uid) < CONNECTIONS_UID && (server->count < CONNECTIONS_MAX || make_room(server, uid));
}

static void add_connection(struct status_server *server, int descriptor, uid_t uid)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection) {
		(void)close(descriptor);
		return;
	}
	*connection = (struct connection){
		.server = server, .descriptor = descriptor, .uid = uid, .next = server->connections};
	server->connections = connection;
	server->count++;
	sd_event *event = server->net->event;
	if (sd_event_add_io(event, &connection->source, descriptor, EPOLLIN, on_connection, connection) < 0 ||
		sd_event_add_time_relative(event, &connection->idle, CLOCK_BOOTTIME, (uint64_t)IDLE_S * 1000000,
			1000000, on_idle, connection) < 0)
		connection_close(connection);
	else
		/* Polling comes before readers, and root before those who may flood. */
		(void)sd_event_source_set_priority(
			connection->source, uid == 0 ? SD_EVENT_PRIORITY_IDLE - 1 : SD_EVENT_PRIORITY_IDLE);
}

static int resume_accepting(sd_event_source *source, uint64_t usec, void *context)
{
	struct status_server *server = context;

	(void)usec;
	sd_event_source_unref(source);
	return sd_event_source_set_enabled(server->listener, SD_EVENT_ON);
}

static int on_listener(sd_event_source *source, int listener, uint32_t events, void *context)
{
	struct status_server *server = context;
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int descriptor = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (descriptor < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			sd_event_source *timer = NULL;
			(void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
			return sd_event_add_time_relative(server->net->event, &timer, CLOCK_BOOTTIME,
				ACCEPT_PAUSE_MS * 1000, 1000, resume_accepting, server);
		}
		return 0;
	}
	if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || !has_room(server, peer.uid))
		(void)close(descriptor);
	else
		add_connection(server, descriptor, peer.uid);
	return 0;
}

int status_listen(struct net *net, int descriptor)
{
	struct status_server *server = calloc(1, sizeof(*server));

	if (!server) {
		(void)close(descriptor);
		return -ENOMEM;
	}
	*server = (struct status_server){.net = net, .descriptor = descriptor, .view.descriptor = -1};
	net->status = server;
	int r = sd_event_add_io(net->event, &server->listener, descriptor, EPOLLIN, on_listener, server);
	if (r < 0)
		return r;
	return sd_event_source_set_priority(server->listener, SD_EVENT_PRIORITY_IDLE);
}

struct fresh {
	struct status_server *server;
	cJSON *lines; /* an array, newest first */
	char *newest;
};

/* A line's identity: what changes when a command ends anew. Its uid goes when the user does, also from old lines. */
static char *make_mark(const cJSON *line)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};
	const cJSON *member;

	json_begin_object(&writer, NULL);
	cJSON_ArrayForEach(member, line)
	{
		if (strcmp(member->string, "uid") != 0)
			json_put_value(&writer, member->string, member);
	}
	json_end_object(&writer);
	return buffer_steal(&text);
}

static int collect_fresh(const cJSON *line, void *context)
{
	struct fresh *fresh = context;
	cleanup_free char *mark = make_mark(line);

	if (!mark || (fresh->server->newest && strcmp(fresh->server->newest, mark) == 0))
		return 1;
	if (!fresh->newest)
		fresh->newest = steal_pointer(&mark);
	cJSON *copy = cJSON_Duplicate(line, true);
	if (!copy || !cJSON_AddItemToArray(fresh->lines, copy)) {
		cJSON_Delete(copy);
		return 1;
	}
	return 0;
}

static void tell_monitor(struct connection *connection, const cJSON *lines)
{
	for (int i = cJSON_GetArraySize(lines) - 1; i >= 0; i--) {
		cleanup_buffer struct buffer reply = {0};
		if (!status_put_monitor(connection->uid, cJSON_GetArrayItem(lines, i), &reply))
			continue;
		if (buffer_status(&reply) < 0 || queue(connection, &reply) < 0) {
			connection_close(connection);
			return;
		}
	}
	if (flush(connection) < 0)
		connection_close(connection);
}

void status_set_view(struct net *net, int descriptor)
{
	struct status_server *server = net->status;
	struct fresh fresh = {server, NULL, NULL};

	if (!server) {
		(void)close(descriptor);
		return;
	}
	int r = view_take(&server->view, descriptor);
	if (r < 0)
		log_warning("the view cannot be read: %s", strerror(-r));
	fresh.lines = cJSON_CreateArray();
	if (!fresh.lines)
		return;
	(void)!view_walk(&server->view, VIEW_COMMAND, 0, collect_fresh, &fresh);
	if (fresh.newest) {
		free(server->newest);
		server->newest = fresh.newest;
	}
	/* The first view is where monitors start from. */
	if (server->has_newest) {
		for (struct connection *at = server->connections, *next; at; at = next) {
			next = at->next;
			if (at->monitors)
				tell_monitor(at, fresh.lines);
		}
	}
	server->has_newest = true;
	cJSON_Delete(fresh.lines);
}

void status_free(struct status_server *server)
{
	if (!server)
		return;
	while (server->connections)
		connection_close(server->connections);
	sd_event_source_disable_unref(server->listener);
	(void)close(server->descriptor);
	view_free(&server->view);
	free(server->newest);
	free(server);
}
