/* SPDX-License-Identifier: Apache-2.0 */
#include "console/endpoint/server.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>

#include "console/endpoint/routes.h"
#include "lib/log.h"

#define CONNECTIONS_MAX (HOLD_MAX + 1024u) /* every held one, and room to answer */
#define CONNECTION_MEMORY 16384u           /* line and headers; more is refused by libmicrohttpd */
#define OTHER_DESCRIPTORS 64u              /* the database, the loop, the log */
#define IDLE_SECONDS 60u
#define EVENTS 64

static int64_t now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void refuse_size(struct request *request)
{
	answer_error(&request->refusal, MHD_HTTP_CONTENT_TOO_LARGE, "more than %u bytes", REQUEST_BODY_MAX);
}

/*
 * The line and the headers are there, the body is not yet. A connection that is closed with unread bytes is reset, and
 * the client may never see why; so a refusal waits until a body of bearable size is through, unless the client asked
 * first (Expect).
 */
static enum MHD_Result begin(struct request *request, const char *path, const char *method)
{
	const char *length = request_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
	int64_t size = 0;

	if (route_begin(request, method, path, &request->refusal) < 0)
		request->wait = 0;
	else if (length && request_parse_number(length, REQUEST_BODY_MAX, &size) < 0)
		refuse_size(request);
	if (request->refusal.status == 0)
		return MHD_YES;
	bool bearable = !length || request_parse_number(length, REQUEST_DRAIN_MAX, &size) == 0;
	if (!bearable || request_header(request, MHD_HTTP_HEADER_EXPECT))
		return answer_send(request, &request->refusal);
	return MHD_YES;
}

/* The body is held no longer. */
static void drop_body(struct request *request)
{
	buffer_free(&request->body);
	request->server->uploads -= request->counted;
	request->counted = 0;
}

/* Nothing is known of an agent before its body is read; who has a token is not kept out by those who have none. */
static bool has_room(struct request *request, size_t size)
{
	struct server *server = request->server;

	if (request->token_name[0] != '\0')
		return true;
	if (size > REQUEST_UPLOADS_MAX - server->uploads)
		return false;
	server->uploads += size;
	request->counted += size;
	return true;
}

static enum MHD_Result take_upload(struct request *request, const char *upload, size_t size)
{
	if (request->refusal.status == 0 && request->body.size + size > REQUEST_BODY_MAX)
		refuse_size(request);
	if (request->refusal.status == 0 && !has_room(request, size))
		answer_error(&request->refusal, MHD_HTTP_SERVICE_UNAVAILABLE, "too many uploads at once: try again");
	if (request->refusal.status != 0) {
		drop_body(request);
		request->dropped += size;
		return request->dropped <= REQUEST_DRAIN_MAX ? MHD_YES : MHD_NO;
	}
	buffer_append(&request->body, upload, size);
	return request->body.failed ? MHD_NO : MHD_YES;
}

static enum MHD_Result answer_request(struct request *request)
{
	cleanup_answer struct answer answer = {0};
	struct hold *hold = &request->hold;

	request->route->handle(request, &answer);
	if (answer.may_hold && request->wait > 0 && !hold->over) {
		if (hold->deadline_ms == 0)
			hold->deadline_ms = now_ms() + (int64_t)request->wait * 1000;
		hold->connection = request->connection;
		hold->topic = answer.topic;
		hold->instance = strcmp(request->route->path, "/latchkey/v1/trust") == 0 ? "" : request->instance;
		if (hold_begin(request->server->holds, hold) == 0)
			return MHD_YES;
		request->wait = 0; /* not applied, so that the client does not ask again at once */
	}
	if (hold->client_gone)
		request->wait = 0;
	return answer_send(request, &answer);
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *path, const char *method,
	const char *version, const char *upload, size_t *upload_size, void **state)
{
	struct request *request = *state;

	(void)version;
	if (!request) {
		request = calloc(1, sizeof(*request));
		if (!request)
			return MHD_NO;
		request->server = context;
		request->connection = connection;
		*state = request;
		return begin(request, path, method);
	}
	if (*upload_size > 0) {
		size_t size = *upload_size;
		*upload_size = 0;
		return take_upload(request, upload, size);
	}
	if (request->refusal.status != 0)
		return answer_send(request, &request->refusal);
	if (buffer_status(&request->body) < 0)
		return MHD_NO;
	return answer_request(request);
}

static void complete(
	void *context, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code)
{
	struct request *request = *state;

	(void)context;
	(void)connection;
	(void)code;
	if (!request)
		return;
	drop_body(request);
	answer_free(&request->refusal);
	free(request);
	*state = NULL;
}

static void log_library(void *context, const char *format, va_list arguments) __attribute__((format(printf, 2, 0)));

static void log_library(void *context, const char *format, va_list arguments)
{
	char line[256];
	(void)context;
	(void)vsnprintf(line, sizeof(line), format, arguments);
	line[strcspn(line, "\n")] = '\0';
	log_debug("libmicrohttpd: %s", line);
}

static int watch(int epoll, int descriptor, void *mark)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = mark};
	return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) < 0 ? -errno : 0;
}

/* Until the next thing that is due by time: a held request, or libmicrohttpd's own idle connections. */
static int sleep_ms(struct server *server)
{
	int64_t wait = hold_expire(server->holds, now_ms());
	MHD_UNSIGNED_LONG_LONG library;

	if (hold_take_released(server->holds))
		return 0;
	if (MHD_get_timeout(server->daemon, &library) == MHD_YES && (wait < 0 || library < (unsigned long long)wait))
		wait = library > INT_MAX ? INT_MAX : (int64_t)library;
	return wait > INT_MAX ? INT_MAX : (int)wait;
}

static int loop(struct server *server, int epoll, const int *signals)
{
	struct epoll_event events[EVENTS];

	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS, sleep_ms(server));
		if (count < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < count; i++) {
			if (events[i].data.ptr == signals)
				return 0;
			if (events[i].data.ptr != server)
				hold_client_event(server->holds, events[i].data.ptr, events[i].events);
		}
		/* A request that this turn lets go is answered in this turn. */
		do {
			if (MHD_run(server->daemon) != MHD_YES)
				return -EIO;
		} while (hold_take_released(server->holds));
	}
}

/*
 * As many connections as there can be descriptors: where accept fails for want of one, the listening socket stays
 * readable and the loop would spin.
 */
static unsigned connection_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 512;
	rlim_t wanted = CONNECTIONS_MAX + OTHER_DESCRIPTORS;
	if (limit.rlim_cur < wanted) {
		limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur >= wanted)
		return CONNECTIONS_MAX;
	return limit.rlim_cur > 2 * OTHER_DESCRIPTORS ? (unsigned)limit.rlim_cur - OTHER_DESCRIPTORS
						      : OTHER_DESCRIPTORS;
}

static int start(struct server *server, int *listening, int epoll, unsigned connections)
{
	server->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
		handle, server, MHD_OPTION_LISTEN_SOCKET, *listening, MHD_OPTION_NOTIFY_COMPLETED, complete, NULL,
		MHD_OPTION_EXTERNAL_LOGGER, log_library, NULL, MHD_OPTION_CONNECTION_LIMIT, connections,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT,
		IDLE_SECONDS, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
	if (!server->daemon)
		return -EIO;
	*listening = -1; /* libmicrohttpd closes it */
	const union MHD_DaemonInfo *library = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!library)
		return -EIO;
	return watch(epoll, library->epoll_fd, server);
}

static void stop(struct server *server)
{
	if (!server->daemon)
		return;
	hold_release_all(server->holds);
	(void)MHD_run(server->daemon);
	MHD_stop_daemon(server->daemon);
	server->daemon = NULL;
}

int server_run(struct server *server, int listening)
{
	cleanup_close int socket = listening;
	sigset_t ending;

	(void)sigemptyset(&ending);
	(void)sigaddset(&ending, SIGTERM);
	(void)sigaddset(&ending, SIGINT);
	if (sigprocmask(SIG_BLOCK, &ending, NULL) < 0)
		return -errno;
	cleanup_close int signals = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		return -errno;
	cleanup_close int epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0)
		return -errno;
	int r = watch(epoll, signals, &signals);
	if (r < 0)
		return r;
	unsigned connections = connection_limit();
	r = holds_open(epoll, connections / 5 * 4, &server->holds);
	if (r < 0)
		return r;
	r = start(server, &socket, epoll, connections);
	if (r == 0)
		r = loop(server, epoll, &signals);
	stop(server);
	holds_close(&server->holds);
	return r;
}
