/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP exchange with the endpoint by libcurl: no redirect, no proxy, no .netrc, a cap on what is read. */
#pragma once

#include "console/cli/cli.h"
#include "lib/buffer.h"

#define HTTP_BODY_MAX (16u << 20) /* a page of results is at most 4 MiB of texts, escaped */
#define HTTP_ETAG_MAX 120u
#define HTTP_CONNECT_SECONDS 10
#define HTTP_SECONDS 60 /* beyond what is asked to be waited */

struct http_request {
	const char *method; /* GET, PUT, POST */
	const char *path;   /* below /latchkey/v1 */
	const void *body;
	size_t body_size;
	const char *if_match, *if_none_match; /* NULL: none */
	int wait;                             /* seconds of Prefer: wait, 0: none */
};

struct http_answer {
	long status;
	struct buffer body; /* NUL-terminated */
	char etag[HTTP_ETAG_MAX + 1];
};

/* CLI_OK with an answer of any status; CLI_ENDPOINT when there was none (with `quiet` without saying so). */
enum cli_exit http_exchange(
	struct cli *cli, const struct http_request *request, bool quiet, struct http_answer *ret_answer);
/* Closes the connection to the endpoint. */
void http_close(struct cli *cli);
void http_answer_free(struct http_answer *answer);
#define cleanup_http_answer CLEANUP(http_answer_free)
/* Says what the endpoint answered instead of what was wanted; returns CLI_ENDPOINT. */
enum cli_exit http_unexpected(const char *what, const struct http_answer *answer);
