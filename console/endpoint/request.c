/* SPDX-License-Identifier: Apache-2.0 */
#include "console/endpoint/request.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/json.h"

#define ERROR_MAX 512

const char *request_header(const struct request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

int request_parse_number(const char *text, int64_t limit, int64_t *ret_number)
{
	int64_t number = 0;

	if (*text == '\0' || strlen(text) > 16)
		return -EINVAL;
	for (const char *at = text; *at; at++) {
		if (*at < '0' || *at > '9')
			return -EINVAL;
		number = number * 10 + (*at - '0');
	}
	if (number > limit)
		return -EINVAL;
	*ret_number = number;
	return 0;
}

int request_wait(const struct request *request)
{
	const char *at = request_header(request, "Prefer");

	while (at && *at) {
		at += strspn(at, " \t,;");
		size_t size = strcspn(at, " \t,;");
		if (size > 5 && size < 5 + 8 && strncasecmp(at, "wait=", 5) == 0) {
			char digits[8] = "";
			int64_t wait;
			memcpy(digits, at + 5, size - 5);
			if (request_parse_number(digits, 9999999, &wait) < 0)
				return 0;
			return wait > HOLD_WAIT_MAX ? HOLD_WAIT_MAX : (int)wait;
		}
		at += size;
	}
	return 0;
}

bool request_etag_matches(const char *header, const char *etag)
{
	size_t etag_size = strlen(etag);

	for (const char *at = header; *at;) {
		at += strspn(at, " \t,");
		if (*at == '*')
			return true;
		if (strncmp(at, "W/", 2) == 0)
			at += 2;
		if (*at != '"')
			return false;
		const char *end = strchr(at + 1, '"');
		if (!end)
			return false;
		size_t size = (size_t)(end - at) + 1;
		if (size == etag_size && memcmp(at, etag, size) == 0)
			return true;
		at = end + 1;
	}
	return false;
}

void answer_text(struct answer *answer, unsigned status, char *text, size_t size)
{
	answer->status = status;
	answer->body = text;
	answer->size = size;
	answer->type = "text/plain; charset=utf-8";
}

void answer_json(struct answer *answer, unsigned status, struct buffer *json)
{
	buffer_append_text(json, "\n");
	if (buffer_status(json) < 0) {
		answer_failure(answer, -ENOMEM);
		return;
	}
	answer->size = json->size;
	answer->body = buffer_steal(json);
	answer->status = status;
	answer->type = "application/json";
}

void answer_error(struct answer *answer, unsigned status, const char *format, ...)
{
	cleanup_buffer struct buffer json = {0};
	struct json_writer writer = {&json, false};
	char sentence[ERROR_MAX];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(sentence, sizeof(sentence), format, arguments);
	va_end(arguments);
	json_begin_object(&writer, NULL);
	json_put_string(&writer, "error", sentence);
	json_end_object(&writer);
	if (buffer_status(&json) < 0) {
		answer->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
		return;
	}
	answer_json(answer, status, &json);
}

void answer_failure(struct answer *answer, int error)
{
	if (error == -ENOMEM)
		answer->status = MHD_HTTP_SERVICE_UNAVAILABLE;
	else if (error == -ENOSPC)
		answer_error(answer, MHD_HTTP_INSUFFICIENT_STORAGE, "the endpoint's disk is full");
	else
		answer_error(answer, MHD_HTTP_INTERNAL_SERVER_ERROR, "the endpoint's store failed; see its log");
}

enum MHD_Result answer_send(struct request *request, struct answer *answer)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(answer->size, answer->body, MHD_RESPMEM_MUST_FREE);

	if (!response)
		return MHD_NO;
	answer->body = NULL;
	bool good = true;
	if (answer->type)
		good = good && MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type) == MHD_YES;
	if (answer->etag[0])
		good = good && MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, answer->etag) == MHD_YES;
	good = good && MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") == MHD_YES;
	if (request->wait > 0)
		good = good && MHD_add_response_header(response, "Preference-Applied", "wait") == MHD_YES;
	if (answer->status == MHD_HTTP_UNAUTHORIZED)
		good = good && MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer") == MHD_YES;
	enum MHD_Result result = good ? MHD_queue_response(request->connection, answer->status, response) : MHD_NO;
	MHD_destroy_response(response);
	return result;
}

void answer_free(struct answer *answer)
{
	free(answer->body);
	answer->body = NULL;
}
