/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <time.h>

#include "console/endpoint/latched.h"
#include "console/endpoint/routes.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/sshsig.h"

void handle_post_report(struct request *request, struct answer *answer)
{
	unsigned char hash[STORE_HASH_SIZE];

	if (latched_check(request, SSHSIG_REPORT, answer) < 0)
		return;
	(void)crypto_hash_sha256(hash, (const unsigned char *)request->body.bytes, request->body.size);
	int r = store_add_report(
		request->server->store, request->instance, hash, request->body.bytes, request->body.size, time(NULL));
	if (r < 0) {
		answer_failure(answer, r);
		return;
	}
	log_debug("report of %s taken", request->instance);
	answer->status = MHD_HTTP_NO_CONTENT;
}

static int put_report(void *context, int64_t received, const char *text)
{
	struct json_writer *writer = context;

	json_begin_object(writer, NULL);
	json_put_integer(writer, "received", received);
	json_put_string(writer, "report", text);
	json_end_object(writer);
	return 0;
}

void handle_get_report(struct request *request, struct answer *answer)
{
	cleanup_store_instance struct store_instance instance = {0};
	cleanup_buffer struct buffer json = {0};
	struct json_writer writer = {&json, false};

	int r = store_get_instance(request->server->store, request->instance, &instance);
	if (r == -ENOENT) {
		answer_error(answer, MHD_HTTP_NOT_FOUND, "there is no instance %s", request->instance);
		return;
	}
	json_begin_object(&writer, NULL);
	json_begin_array(&writer, "reports");
	if (r == 0)
		r = store_list_reports(request->server->store, request->instance, put_report, &writer);
	if (r < 0) {
		answer_failure(answer, r);
		return;
	}
	json_end_array(&writer);
	json_end_object(&writer);
	answer_json(answer, MHD_HTTP_OK, &json);
}
