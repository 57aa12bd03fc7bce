/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/net/net.h"
#include "lib/log.h"
#include "lib/log_event.h"

#define REQUEST_TIMEOUT_S 30u /* of a request that is not held */
#define HELD_SLACK_S 15u      /* longer than the endpoint holds it */
#define PATH_SIZE 512u
#define TRUST_EVERY_S 3600u /* revocations must come without a document that asks for them */

static void make_path(const struct net *net, const char *leaf, char path[PATH_SIZE])
{
	(void)snprintf(path, PATH_SIZE, "/latchkey/v1/instances/%s/%s", net->instance, leaf);
}

static bool has_endpoint(const struct net *net)
{
	return net->http || net->files;
}

static int start(struct net *net, enum http_slot slot, const struct http_request *request)
{
	if (net->http)
		return http_start(net->http, slot, request);
	files_get(net->files, request);
	return 0;
}

static void fatal_link(struct net *net, int r)
{
	log_error("latchkeyd cannot be reached: %s", strerror(-r));
	(void)sd_event_exit(net->event, 1);
}

/* Tells latchkeyd how the endpoint is, when that changed. */
static void report_endpoint(struct net *net, long code, const char *error)
{
	struct link_message message = {.type = LINK_ENDPOINT, .code = (uint32_t)code};
	uint32_t class = code == 200 || code == 304 || code == 404 ? 200 : (uint32_t)code;
	uint32_t old = net->endpoint_code == 304 || net->endpoint_code == 404 ? 200 : net->endpoint_code;

	if (net->endpoint_reported && class == old && (code != 0 || http_is_same_error(net->endpoint_error, error)))
		return;
	if (code == 0)
		log_event(LOG_EVENT_ENDPOINT_LOST, LOG_WARNING, NULL, "the endpoint does not answer: %s", error);
	else if (class != 200)
		log_event(LOG_EVENT_ENDPOINT_LOST, LOG_WARNING, NULL, "the endpoint answers %ld", code);
	else
		log_event(LOG_EVENT_ENDPOINT_BACK, LOG_INFO, NULL, "the endpoint answers");
	if (class == 200 && net->trust_missed)
		net->ask_trust = true;
	net->endpoint_reported = true;
	net->endpoint_code = (uint32_t)code;
	net->endpoint_since = net_now_ms();
	(void)snprintf(net->endpoint_error, sizeof(net->endpoint_error), "%s", error);
	/* Beside an answer, what kind it is: with files, results have nowhere to go. */
	(void)snprintf(message.text, sizeof(message.text), "%s", code != 0 && net->files ? LINK_TEXT_FILES : error);
	int r = link_client_send(net, &message, NULL, 0);
	if (r < 0)
		fatal_link(net, r);
}

static void ask_in(struct net *net, int64_t delay_ms)
{
	if (sd_event_source_set_time_relative(net->ask_timer, (uint64_t)delay_ms * 1000) < 0 ||
		sd_event_source_set_enabled(net->ask_timer, SD_EVENT_ONESHOT) < 0)
		(void)sd_event_exit(net->event, 1);
}

static void schedule_ask(struct net *net, enum schedule_event event, int64_t retry_after)
{
	ask_in(net, schedule_next(&net->schedule, event, retry_after, net_now_ms(), net_random()));
}

static void take_document(struct net *net, const struct http_answer *answer)
{
	struct link_message message = {.type = LINK_DOCUMENT};

	(void)snprintf(message.etag, sizeof(message.etag), "%s", answer->etag);
	(void)snprintf(net->sent_etag, sizeof(net->sent_etag), "%s", answer->etag);
	net->waits_for_have = true; /* the next request follows latchkeyd's answer */
	int r = link_client_send(net, &message, answer->body, answer->size);
	if (r < 0)
		fatal_link(net, r);
}

static bool is_asking(const struct net *net)
{
	return net->http && http_is_busy(net->http, HTTP_DOCUMENT);
}

static void document_answered(void *context, const struct http_answer *answer)
{
	struct net *net = context;
	bool good = answer->code == 200 || answer->code == 304 || answer->code == 404;
	/* A server that knows no If-None-Match sends what we have again and again. */
	bool fresh = answer->code == 200 && (answer->etag[0] == '\0' || strcmp(answer->etag, net->have_etag) != 0);

	/* The document first: latchkeyd counts it before it hears that the endpoint has answered. */
	if (fresh)
		take_document(net, answer);
	report_endpoint(net, answer->code, answer->error);
	if (fresh) {
		net->doorbell = false;
		return;
	}
	if (net->doorbell)
		schedule_ask(net, SCHEDULE_STARTED, -1);
	else if (answer->code == 0 && !net->schedule.answered)
		schedule_ask(net, SCHEDULE_SILENT, -1);
	else if (!good)
		schedule_ask(net, net->was_held ? SCHEDULE_LOST : SCHEDULE_FAILED, answer->retry_after);
	else if (answer->held)
		schedule_ask(net, SCHEDULE_HELD, -1);
	else
		schedule_ask(net, net->may_hold ? SCHEDULE_UNHELD : SCHEDULE_ANSWERED, -1);
	poll_other_work(net);
}

static void ask_now(void *context)
{
	poll_ask_now(context);
}

static int ask_document(sd_event_source *source, uint64_t usec, void *context)
{
	struct net *net = context;
	char path[PATH_SIZE], prefer[32];

	(void)source;
	(void)usec;
	if (!has_endpoint(net) || !net->hello || net->waits_for_have || (is_asking(net) && !net->doorbell))
		return 0;
	if (is_asking(net))
		http_cancel(net->http, HTTP_DOCUMENT);
	make_path(net, "document", path);
	if (net->files)
		files_watch(net->files, path, ask_now, net);
	(void)snprintf(prefer, sizeof(prefer), "wait=%u", net->wait_s);
	/* The first request after a start is not held: whoever waits for the boot gets an answer at once. */
	net->may_hold = net->asked_once || net->wait_s == 0;
	net->was_held = net->asked_once && net->wait_s > 0;
	net->asked_once = true;
	net->doorbell = false;
	const struct http_request request = {
		.method = "GET",
		.path = path,
		.if_none_match = net->have_etag[0] ? net->have_etag : NULL,
		.prefer = net->was_held ? prefer : NULL,
		.timeout_s = net->was_held ? net->wait_s + HELD_SLACK_S : REQUEST_TIMEOUT_S,
		.function = document_answered,
		.context = net,
	};
	int r = start(net, HTTP_DOCUMENT, &request);
	if (r < 0) {
		log_error("the request for the document cannot be made: %s", strerror(-r));
		schedule_ask(net, SCHEDULE_FAILED, -1);
	}
	return 0;
}

void poll_ask_now(struct net *net)
{
	/* One request, however often the bell is rung before it is made. */
	if (!has_endpoint(net) || net->waits_for_have || net->doorbell)
		return;
	/* What is under way is given up only when the next one is made, or a bell that does not stop ringing would have
	 * none of them answered. */
	net->doorbell = true;
	schedule_ask(net, SCHEDULE_STARTED, -1);
}

void poll_have(struct net *net, const char *etag)
{
	bool answered = net->waits_for_have;
	/* A document without an ETag is taken over too: then there is nothing to name, and plain polling goes on. */
	bool taken = strcmp(etag, net->sent_etag) == 0;

	(void)snprintf(net->have_etag, sizeof(net->have_etag), "%s", etag);
	net->waits_for_have = false;
	if (!has_endpoint(net))
		return;
	if (answered)
		schedule_ask(net, !taken ? SCHEDULE_REFUSED : etag[0] ? SCHEDULE_TAKEN : SCHEDULE_UNHELD, -1);
	poll_other_work(net);
}

static void identity_answered(void *context, const struct http_answer *answer)
{
	struct net *net = context;
	struct link_message message = {.type = LINK_IDENTIFIED, .code = (uint32_t)answer->code};

	int r = link_client_send(net, &message, NULL, 0);
	if (r < 0)
		fatal_link(net, r);
	poll_other_work(net);
}

static void results_answered(void *context, const struct http_answer *answer)
{
	struct net *net = context;
	struct link_message message = {.type = LINK_DELIVERED, .code = (uint32_t)answer->code, .seq = net->results_seq};

	int r = link_client_send(net, &message, NULL, 0);
	if (r < 0)
		fatal_link(net, r);
	poll_other_work(net);
}

static void report_answered(void *context, const struct http_answer *answer)
{
	struct net *net = context;
	struct link_message message = {.type = LINK_REPORTED, .code = (uint32_t)answer->code};

	int r = link_client_send(net, &message, NULL, 0);
	if (r < 0)
		fatal_link(net, r);
	poll_other_work(net);
}

static void trust_answered(void *context, const struct http_answer *answer)
{
	struct net *net = context;
	struct link_message message = {.type = LINK_TRUST};

	net->trust_missed = answer->code != 200 && answer->code != 404;
	if (answer->code == 200) {
		int r = link_client_send(net, &message, answer->body, answer->size);
		if (r < 0)
			fatal_link(net, r);
	}
	poll_other_work(net);
}

void poll_other_work(struct net *net)
{
	struct http_request request = {.timeout_s = REQUEST_TIMEOUT_S, .context = net};
	char path[PATH_SIZE];

	if (!has_endpoint(net) || !net->hello || (net->http && http_is_busy(net->http, HTTP_OTHER)))
		return;
	/* Nobody takes them, and latchkeyd, which hears nothing of its identity, sends no results. */
	if (net->files) {
		free(steal_pointer(&net->identity));
		free(steal_pointer(&net->results));
		free(steal_pointer(&net->report));
	}
	if (net->identity) {
		make_path(net, "identity", path);
		request.method = "PUT";
		request.enrol = net->enrol;
		request.body = net->identity;
		request.size = net->identity_size;
		request.function = identity_answered;
	} else if (net->results) {
		make_path(net, "results", path);
		request.method = "POST";
		request.body = net->results;
		request.size = net->results_size;
		request.function = results_answered;
	} else if (net->ask_trust) {
		(void)snprintf(path, sizeof(path), "/latchkey/v1/trust");
		request.method = "GET";
		request.function = trust_answered;
		net->ask_trust = false; /* files answer before start() returns, and more work is looked for then */
	} else if (net->report) {
		make_path(net, "report", path);
		request.method = "POST";
		request.body = net->report;
		request.size = net->report_size;
		request.function = report_answered;
	} else {
		return;
	}
	request.path = path;
	int r = start(net, HTTP_OTHER, &request);
	if (r < 0) {
		log_error("a request cannot be made: %s", strerror(-r));
		net->ask_trust = net->ask_trust || request.function == trust_answered;
		return;
	}
	/* The request holds a copy; what came of it is told to latchkeyd, which sends it again if need be. */
	if (net->identity)
		free(steal_pointer(&net->identity));
	else if (net->results)
		free(steal_pointer(&net->results));
	else if (request.function == report_answered)
		free(steal_pointer(&net->report));
}

/* Nothing is configured: say so once, and be idle. */
static void report_idle(struct net *net)
{
	struct link_message message = {.type = LINK_ENDPOINT};

	int r = link_client_send(net, &message, NULL, 0);
	if (r < 0)
		fatal_link(net, r);
}

static int trust_is_due(sd_event_source *source, uint64_t usec, void *context)
{
	struct net *net = context;

	(void)usec;
	net->ask_trust = true;
	poll_other_work(net);
	if (sd_event_source_set_time_relative(source, (uint64_t)TRUST_EVERY_S * 1000000) < 0)
		return -EIO;
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int poll_start(struct net *net)
{
	if (has_endpoint(net) && net->instance[0] == '\0') {
		log_error("this machine has no instance id yet: see what latchkeyd says of it");
		http_free(net->http);
		files_free(net->files);
		net->http = NULL;
		net->files = NULL;
	}
	if (!has_endpoint(net)) {
		if (!net->url)
			log_notice("no endpoint is configured ([endpoint] url): idle");
		report_idle(net);
		return 0;
	}
	if (!net->ask_timer) {
		int r = sd_event_add_time_relative(
			net->event, &net->ask_timer, CLOCK_BOOTTIME, 0, 1000, ask_document, net);
		if (r < 0)
			return r;
	}
	if (!net->trust_timer) {
		int r = sd_event_add_time_relative(net->event, &net->trust_timer, CLOCK_BOOTTIME,
			(uint64_t)TRUST_EVERY_S * 1000000, 1000000, trust_is_due, net);
		if (r < 0)
			return r;
	}
	net->ask_trust = true;
	poll_other_work(net);
	schedule_ask(net, SCHEDULE_STARTED, -1);
	return 0;
}
