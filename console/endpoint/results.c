/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "console/endpoint/latched.h"
#include "console/endpoint/routes.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/sshsig.h"

void handle_post_results(struct request *request, struct answer *answer)
{
	unsigned char hash[STORE_HASH_SIZE];
	bool is_new;

	if (latched_check(request, SSHSIG_RESULTS, answer) < 0)
		return;
	(void)crypto_hash_sha256(hash, (const unsigned char *)request->body.bytes, request->body.size);
	int r = store_add_results(request->server->store, request->instance, hash, request->body.bytes,
		request->body.size, time(NULL), &is_new);
	if (r < 0) {
		answer_failure(answer, r);
		return;
	}
	if (is_new) {
		log_info("results of %s taken", request->instance);
		hold_wake(request->server->holds, HOLD_RESULTS, request->instance);
	}
	answer->status = MHD_HTTP_NO_CONTENT;
}

static int put_text(void *context, const char *name, const char *text)
{
	(void)name;
	json_put_string(context, NULL, text);
	return 0;
}

void handle_get_results(struct request *request, struct answer *answer)
{
	const char *after_text = MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, "after");
	const char *known = request_header(request, "If-None-Match");
	cleanup_buffer struct buffer json = {0};
	struct json_writer writer = {&json, false};
	int64_t after = 0, count, next;

	if (after_text && request_parse_number(after_text, JSON_INTEGER_MAX, &after) < 0) {
		answer_error(answer, MHD_HTTP_BAD_REQUEST, "after must be a number");
		return;
	}
	int r = store_count_results(request->server->store, request->instance, &count);
	if (r == -ENOENT) {
		answer_error(answer, MHD_HTTP_NOT_FOUND, "there is no instance %s", request->instance);
		return;
	}
	if (r < 0) {
		answer_failure(answer, r);
		return;
	}
	(void)snprintf(answer->etag, sizeof(answer->etag), "\"%" PRIi64 "\"", count);
	if (known && request_etag_matches(known, answer->etag)) {
		answer->status = MHD_HTTP_NOT_MODIFIED;
		answer->may_hold = true;
		answer->topic = HOLD_RESULTS;
		return;
	}
	if (after > count)
		after = count; /* restored from a backup: `next` brings the reader back */
	json_begin_object(&writer, NULL);
	json_begin_array(&writer, "results");
	r = store_list_results(request->server->store, request->instance, after, put_text, &writer, &next);
	if (r < 0) {
		answer_failure(answer, r);
		return;
	}
	json_end_array(&writer);
	json_put_integer(&writer, "next", next);
	json_end_object(&writer);
	answer_json(answer, MHD_HTTP_OK, &json);
}
