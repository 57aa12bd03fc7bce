/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/http.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "lib/buffer.h"

#define CONNECT_TIMEOUT_MS 5000L
#define ERROR_MAX CURL_ERROR_SIZE

struct exchange {
	struct http *http;
	CURL *easy; /* NULL: the slot is free */
	struct curl_slist *headers;
	struct buffer upload, body;
	size_t header_bytes;
	unsigned header_lines;
	bool has_length, has_coding; /* Content-Length, Transfer-Encoding */
	bool refused;                /* over a cap, or where the body ends is said twice */
	struct http_answer answer;
	char error[CURL_ERROR_SIZE];
	http_function function;
	void *context;
};

struct http {
	sd_event *event;
	sd_event_source *timer;
	CURLM *multi;
	char *base, *unix_path, *ca_file, *proxy;
	struct exchange slots[HTTP_SLOTS];
};

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
	struct exchange *exchange = context;
	size_t total = size * count;

	if (total > HTTP_BODY_MAX - exchange->body.size) {
		exchange->refused = true;
		return 0;
	}
	buffer_append(&exchange->body, bytes, total);
	return exchange->body.failed ? 0 : total;
}

/* The value of a header line when it has that name, without blanks around it; NULL otherwise. */
static const char *header_value(const char *line, size_t size, const char *name, size_t *ret_size)
{
	size_t length = strlen(name);

	if (size <= length || strncasecmp(line, name, length) != 0 || line[length] != ':')
		return NULL;
	const char *start = line + length + 1, *end = line + size;
	while (start < end && (*start == ' ' || *start == '\t'))
		start++;
	while (end > start && strchr(" \t\r\n", end[-1]))
		end--;
	*ret_size = (size_t)(end - start);
	return start;
}

/* An opaque ETag as the endpoint sent it, with its quotes: printable ASCII, at most HTTP_ETAG_MAX bytes. */
static void take_etag(struct exchange *exchange, const char *value, size_t size)
{
	if (size > HTTP_ETAG_MAX)
		return;
	for (size_t i = 0; i < size; i++) {
		if (value[i] < 0x21 || value[i] > 0x7e)
			return;
	}
	memcpy(exchange->answer.etag, value, size);
	exchange->answer.etag[size] = '\0';
}

static void take_retry_after(struct exchange *exchange, const char *value, size_t size)
{
	int64_t seconds = 0;

	/* A date is allowed too (RFC 9110, 10.2.3); our own back-off serves then. */
	for (size_t i = 0; i < size; i++) {
		if (value[i] < '0' || value[i] > '9' || seconds > 1000000)
			return;
		seconds = seconds * 10 + (value[i] - '0');
	}
	if (size > 0)
		exchange->answer.retry_after = seconds;
}

static size_t take_header(char *line, size_t size, size_t count, void *context)
{
	struct exchange *exchange = context;
	size_t total = size * count, value_size;
	const char *value;

	exchange->header_bytes += total;
	exchange->header_lines++;
	/* Two answers to where a body ends are how one message is read as another (RFC 9112, 6.3). */
	bool length = header_value(line, total, "Content-Length", &value_size) != NULL;
	value = header_value(line, total, "Transfer-Encoding", &value_size);
	bool coding = value != NULL;
	bool unclear = ((length || coding) && (exchange->has_length || exchange->has_coding)) ||
		       (coding && (value_size != 7 || strncasecmp(value, "chunked", 7) != 0));
	exchange->has_length |= length;
	exchange->has_coding |= coding;
	if (exchange->header_bytes > HTTP_HEADER_BYTES_MAX || exchange->header_lines > HTTP_HEADER_LINES_MAX ||
		unclear || memchr(line, '\0', total)) {
		exchange->refused = true;
		return 0;
	}
	if ((value = header_value(line, total, "ETag", &value_size)) != NULL)
		take_etag(exchange, value, value_size);
	else if ((value = header_value(line, total, "Retry-After", &value_size)) != NULL)
		take_retry_after(exchange, value, value_size);
	else if ((value = header_value(line, total, "Preference-Applied", &value_size)) != NULL)
		exchange->answer.held = value_size >= 4 && strncasecmp(value, "wait", 4) == 0;
	return total;
}

static void release(struct exchange *exchange)
{
	if (!exchange->easy)
		return;
	(void)curl_multi_remove_handle(exchange->http->multi, exchange->easy);
	curl_easy_cleanup(exchange->easy);
	exchange->easy = NULL;
	curl_slist_free_all(exchange->headers);
	exchange->headers = NULL;
	buffer_free(&exchange->upload);
	buffer_free(&exchange->body);
}

static void complete(struct exchange *exchange, CURLcode result)
{
	struct http_answer answer = exchange->answer;
	char error[ERROR_MAX] = "";

	if (result == CURLE_OK && !exchange->refused && buffer_status(&exchange->body) == 0)
		(void)curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &answer.code);
	else
		(void)snprintf(error, sizeof(error), "%s",
			exchange->refused    ? "the answer is larger than it may be, or its length is not clear"
			: exchange->error[0] ? exchange->error
					     : curl_easy_strerror(result));
	/* The slot is free when the function is called, so that it can start the next request. */
	struct buffer body = exchange->body;
	exchange->body = (struct buffer){0};
	http_function function = exchange->function;
	void *context = exchange->context;
	release(exchange);
	answer.error = error;
	answer.body = answer.code ? body.bytes : "";
	answer.size = answer.code ? body.size : 0;
	function(context, &answer);
	buffer_free(&body);
}

static void read_messages(struct http *http)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(http->multi, &left)) != NULL) {
		if (message->msg != CURLMSG_DONE)
			continue;
		CURL *easy = message->easy_handle;
		CURLcode result = message->data.result;
		unsigned slot = 0;
		while (slot < HTTP_SLOTS && http->slots[slot].easy != easy)
			slot++;
		/* Looked up before: a request that the function starts may get the freed handle's address. */
		if (slot < HTTP_SLOTS)
			complete(&http->slots[slot], result);
	}
}

static int on_socket(sd_event_source *source, int descriptor, uint32_t events, void *context)
{
	struct http *http = context;
	int action = 0, running;

	(void)source;
	if (events & EPOLLIN)
		action |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		action |= CURL_CSELECT_OUT;
	if (events & (EPOLLERR | EPOLLHUP))
		action |= CURL_CSELECT_ERR;
	(void)curl_multi_socket_action(http->multi, descriptor, action, &running);
	read_messages(http);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *context)
{
	struct http *http = context;
	int running;

	(void)source;
	(void)usec;
	(void)curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	read_messages(http);
	return 0;
}

/* libcurl says which events it wants of a socket; the event source is kept as the socket's private pointer. */
static int set_socket(CURL *easy, curl_socket_t descriptor, int what, void *context, void *socket_context)
{
	struct http *http = context;
	sd_event_source *source = socket_context;
	uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		sd_event_source_disable_unref(source);
		return 0;
	}
	if (source)
		return sd_event_source_set_io_events(source, events) < 0 ? -1 : 0;
	if (sd_event_add_io(http->event, &source, descriptor, events, on_socket, http) < 0)
		return -1;
	(void)curl_multi_assign(http->multi, descriptor, source);
	return 0;
}

static int set_timer(CURLM *multi, long timeout_ms, void *context)
{
	struct http *http = context;

	(void)multi;
	if (timeout_ms < 0)
		return sd_event_source_set_enabled(http->timer, SD_EVENT_OFF) < 0 ? -1 : 0;
	if (sd_event_source_set_time_relative(http->timer, (uint64_t)timeout_ms * 1000) < 0)
		return -1;
	return sd_event_source_set_enabled(http->timer, SD_EVENT_ONESHOT) < 0 ? -1 : 0;
}

static int read_url(struct http *http, const char *url)
{
	if (strncmp(url, "unix:", 5) == 0) {
		http->unix_path = strdup(url + 5);
		http->base = strdup("http://localhost");
	} else if (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0) {
		http->base = strdup(url);
		if (http->base && http->base[0] && http->base[strlen(http->base) - 1] == '/')
			http->base[strlen(http->base) - 1] = '\0';
	} else {
		return -EINVAL;
	}
	return http->base && (http->unix_path || strncmp(url, "unix:", 5) != 0) ? 0 : -ENOMEM;
}

int http_new(sd_event *event, const char *url, const char *ca_file, const char *proxy, struct http **ret_http)
{
	struct http *http = calloc(1, sizeof(*http));

	if (!http)
		return -ENOMEM;
	http->event = sd_event_ref(event);
	int r = read_url(http, url);
	http->ca_file = ca_file ? strdup(ca_file) : NULL;
	http->proxy = strdup(proxy ? proxy : "");
	if (r == 0 && (!http->proxy || (ca_file && !http->ca_file)))
		r = -ENOMEM;
	/* TLS is set up only where it is used: it costs a megabyte. */
	bool secure = r == 0 && strncmp(http->base, "https:", 6) == 0;
	if (r == 0 && curl_global_init(secure ? CURL_GLOBAL_SSL : CURL_GLOBAL_NOTHING) != CURLE_OK)
		r = -EIO;
	if (r == 0)
		r = sd_event_add_time_relative(event, &http->timer, CLOCK_BOOTTIME, 0, 1000, on_timer, http);
	if (r >= 0)
		r = sd_event_source_set_enabled(http->timer, SD_EVENT_OFF);
	if (r >= 0) {
		http->multi = curl_multi_init();
		r = http->multi ? 0 : -ENOMEM;
	}
	if (r < 0) {
		http_free(http);
		return r;
	}
	(void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
	(void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	(void)curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	(void)curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	(void)curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, 2L);
	for (unsigned i = 0; i < HTTP_SLOTS; i++)
		http->slots[i].http = http;
	*ret_http = http;
	return 0;
}

void http_free(struct http *http)
{
	if (!http)
		return;
	for (unsigned i = 0; i < HTTP_SLOTS; i++)
		release(&http->slots[i]);
	if (http->multi)
		(void)curl_multi_cleanup(http->multi);
	sd_event_source_disable_unref(http->timer);
	sd_event_unref(http->event);
	free(http->base);
	free(http->unix_path);
	free(http->ca_file);
	free(http->proxy);
	free(http);
}

bool http_is_busy(const struct http *http, enum http_slot slot)
{
	return http->slots[slot].easy != NULL;
}

void http_cancel(struct http *http, enum http_slot slot)
{
	release(&http->slots[slot]);
}

static bool add_header(struct exchange *exchange, const char *name, const char *value)
{
	char line[512];

	if (!value)
		return true;
	if (snprintf(line, sizeof(line), "%s: %s", name, value) >= (int)sizeof(line))
		return false;
	struct curl_slist *more = curl_slist_append(exchange->headers, line);
	if (!more)
		return false;
	exchange->headers = more;
	return true;
}

static bool set_options(struct http *http, struct exchange *exchange, const struct http_request *request)
{
	CURL *easy = exchange->easy;
	char url[2048];
	bool good = snprintf(url, sizeof(url), "%s%s", http->base, request->path) < (int)sizeof(url);

#define SET(option, value) (good = good && curl_easy_setopt(easy, option, value) == CURLE_OK)
	SET(CURLOPT_URL, url);
#if LIBCURL_VERSION_NUM >= 0x075500 /* EL 9 has 7.76 */
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
	SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, http->proxy);
	SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_HTTP09_ALLOWED, 0L);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_NOPROGRESS, 1L);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	SET(CURLOPT_TIMEOUT_MS, (long)request->timeout_s * 1000L);
	SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)HTTP_BODY_MAX);
	SET(CURLOPT_BUFFERSIZE, 16384L);
	SET(CURLOPT_WRITEFUNCTION, take_body);
	SET(CURLOPT_WRITEDATA, exchange);
	SET(CURLOPT_HEADERFUNCTION, take_header);
	SET(CURLOPT_HEADERDATA, exchange);
	SET(CURLOPT_ERRORBUFFER, exchange->error);
	SET(CURLOPT_HTTPHEADER, exchange->headers);
	if (http->unix_path)
		SET(CURLOPT_UNIX_SOCKET_PATH, http->unix_path);
	if (http->ca_file)
		SET(CURLOPT_CAINFO, http->ca_file);
	if (strcmp(request->method, "GET") != 0) {
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)exchange->upload.size);
		SET(CURLOPT_POSTFIELDS, exchange->upload.bytes);
		SET(CURLOPT_CUSTOMREQUEST, request->method);
	}
#undef SET
	return good;
}

int http_start(struct http *http, enum http_slot slot, const struct http_request *request)
{
	struct exchange *exchange = &http->slots[slot];
	bool upload = strcmp(request->method, "GET") != 0;

	if (exchange->easy)
		return -EBUSY;
	*exchange = (struct exchange){.http = http,
		.function = request->function,
		.context = request->context,
		.answer = {.retry_after = -1}};
	exchange->easy = curl_easy_init();
	if (!exchange->easy)
		return -ENOMEM;
	if (request->size)
		buffer_append(&exchange->upload, request->body, request->size);
	bool good = buffer_status(&exchange->upload) == 0 && add_header(exchange, "Latchkey", "1") &&
		    add_header(exchange, "If-None-Match", request->if_none_match) &&
		    add_header(exchange, "Prefer", request->prefer) &&
		    add_header(exchange, "Latchkey-Enrol", request->enrol) &&
		    (!upload || (add_header(exchange, "Content-Type", "text/plain") &&
					add_header(exchange, "Expect", ""))) &&
		    set_options(http, exchange, request);
	if (!good || curl_multi_add_handle(http->multi, exchange->easy) != CURLM_OK) {
		curl_easy_cleanup(exchange->easy);
		exchange->easy = NULL;
		curl_slist_free_all(exchange->headers);
		exchange->headers = NULL;
		buffer_free(&exchange->upload);
		return -ENOMEM;
	}
	return 0;
}

bool http_is_same_error(const char *one, const char *other)
{
	for (;;) {
		one += strspn(one, "0123456789");
		other += strspn(other, "0123456789");
		if (*one != *other)
			return false;
		if (*one == '\0')
			return true;
		one++;
		other++;
	}
}
