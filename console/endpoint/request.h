/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request and its answer, between libmicrohttpd and the handlers. */
#pragma once

#include <stdint.h>

#include <microhttpd.h>

#include "console/endpoint/hold.h"
#include "console/endpoint/store.h"
#include "lib/allowed_signers.h"
#include "lib/buffer.h"

#define REQUEST_BODY_MAX (1u << 20)     /* a document; everything else is smaller */
#define REQUEST_DRAIN_MAX (4u << 20)    /* of a refused body that is read and dropped, so that the refusal arrives */
#define REQUEST_UPLOADS_MAX (64u << 20) /* bodies of all who have no token, together: each may stall for a minute */
#define REQUEST_INSTANCE_SIZE 129u

/* libmicrohttpd before 0.9.74, as EL 9 has it, knows them by the names of an older RFC. */
#ifndef MHD_HTTP_CONTENT_TOO_LARGE
#define MHD_HTTP_CONTENT_TOO_LARGE 413
#define MHD_HTTP_UNPROCESSABLE_CONTENT 422
#endif

struct server {
	struct store *store;
	struct holds *holds;
	struct allowed_signers signers; /* empty without --allowed-signers */
	bool check_signers;
	struct MHD_Daemon *daemon;
	size_t uploads; /* bytes, of REQUEST_UPLOADS_MAX */
};

struct route;

struct answer {
	unsigned status;
	char *body; /* owned until it is sent; NULL: none */
	size_t size;
	const char *type; /* static */
	char etag[STORE_ETAG_SIZE];
	bool may_hold; /* nothing new: the request may be held instead of sending this */
	enum hold_topic topic;
};

struct request {
	struct server *server;
	struct MHD_Connection *connection;
	const struct route *route;
	char instance[REQUEST_INSTANCE_SIZE]; /* "" where the path names none */
	struct buffer body;
	struct answer refusal;            /* status 0: none; sent once the body is through */
	size_t dropped, counted;          /* in the server's uploads */
	char token_name[STORE_NAME_SIZE]; /* "" for an agent */
	bool from_agent;                  /* carries Latchkey: 1 */
	int wait;                         /* seconds of Prefer: wait, 0 without */
	struct hold hold;
};

/* A header's value or NULL. */
const char *request_header(const struct request *request, const char *name);
/* The digits of a decimal number up to `limit`; -EINVAL for anything else. */
int request_parse_number(const char *text, int64_t limit, int64_t *ret_number) MUST_CHECK;
/* Reads Prefer: wait=N, at most HOLD_WAIT_MAX; 0 when it is absent or not understood (RFC 7240, section 2). */
int request_wait(const struct request *request);
/* True when the If-None-Match or If-Match header names this etag (weak comparison) or is "*". */
bool request_etag_matches(const char *header, const char *etag);

/* An answer of JSON {"error":"…"}, for people to read. */
void answer_error(struct answer *answer, unsigned status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* 500 (or 503, 507) for an error of the store or of memory, without its details. */
void answer_failure(struct answer *answer, int error);
/* Takes the buffer's bytes. */
void answer_json(struct answer *answer, unsigned status, struct buffer *json);
void answer_text(struct answer *answer, unsigned status, char *text, size_t size);
enum MHD_Result answer_send(struct request *request, struct answer *answer);
void answer_free(struct answer *answer);
#define cleanup_answer CLEANUP(answer_free)
