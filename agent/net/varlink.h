/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Varlink wire (varlink.org, Method-Call and Service): one JSON object and a NUL per message. Parsing of calls and
 * writing of replies; no sockets here, so that it can be fuzzed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/buffer.h"
#include "lib/json.h"

#define VARLINK_MESSAGE_MAX 65536u
#define VARLINK_NAME_MAX 255u

struct varlink_call {
	cJSON *root;
	char interface[VARLINK_NAME_MAX + 1]; /* before the last dot */
	const char *method;                   /* the full name */
	const char *member;                   /* after the last dot */
	const cJSON *parameters;              /* an object, or NULL: none */
	bool more, oneway;
};

/* What becomes of a connection after a call. */
enum varlink_verdict {
	VARLINK_REPLIED,
	VARLINK_STREAMS, /* the reply continues; the caller sends more later */
	VARLINK_CLOSE,
};

/* -EBADMSG for a protocol error: the connection is closed and nothing is sent. */
int varlink_parse(const char *text, size_t size, struct varlink_call *ret_call) MUST_CHECK;
void varlink_call_free(struct varlink_call *call);
#define cleanup_varlink_call CLEANUP(varlink_call_free)

/* {"error":NAME,"parameters":{KEY:VALUE}}; key NULL: no parameter. */
void varlink_put_error(struct buffer *out, const char *error, const char *key, const char *value);
/* The beginning and end of {"parameters":{…}}; the members are written between them. */
void varlink_begin_reply(struct json_writer *writer);
void varlink_end_reply(struct json_writer *writer, bool continues);
