/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 requests to one endpoint: libcurl's multi interface on sd-event. No redirect, no proxy but a configured one,
 * no netrc, no cookies, no compression. Header, body and time are capped; a body over the cap is a failed request.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <systemd/sd-event.h>

#include "lib/cleanup.h"

#define HTTP_BODY_MAX (1u << 20)
#define HTTP_HEADER_BYTES_MAX 8192u
#define HTTP_HEADER_LINES_MAX 64u
#define HTTP_ETAG_MAX 120u

struct http_answer {
	long code;         /* 0: none */
	const char *error; /* why there is none, "" otherwise */
	char etag[HTTP_ETAG_MAX + 8];
	bool held;           /* Preference-Applied: wait */
	int64_t retry_after; /* seconds, -1: not said */
	const char *body;    /* alive during the call */
	size_t size;
};

typedef void (*http_function)(void *context, const struct http_answer *answer);

struct http_request {
	const char *method;                         /* GET, PUT, POST */
	const char *path;                           /* after the endpoint's url */
	const char *if_none_match, *prefer, *enrol; /* header values, or NULL */
	const void *body;                           /* copied */
	size_t size;
	unsigned timeout_s;
	http_function function;
	void *context;
};

struct http;

/* url: http://, https:// or unix:/path; ca_file and proxy may be NULL. -EINVAL for another scheme. */
int http_new(
	sd_event *event, const char *url, const char *ca_file, const char *proxy, struct http **ret_http) MUST_CHECK;
void http_free(struct http *http);
/* One request per slot at a time: the held document request has its own. A busy slot is -EBUSY. */
enum http_slot {
	HTTP_DOCUMENT,
	HTTP_OTHER,
	HTTP_SLOTS,
};
int http_start(struct http *http, enum http_slot slot, const struct http_request *request) MUST_CHECK;
bool http_is_busy(const struct http *http, enum http_slot slot);
/* Ends the slot's request without an answer. */
void http_cancel(struct http *http, enum http_slot slot);
/* But for the numbers: curl tells how many milliseconds it took, which is no other state of the endpoint. */
bool http_is_same_error(const char *one, const char *other);
