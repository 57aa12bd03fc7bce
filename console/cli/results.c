/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/results.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "console/cli/http.h"
#include "lib/sshsig.h"

/* Of one reading, for an endpoint could have one more page for ever. */
#define READ_SECONDS_MAX 300
#define READ_TEXTS_MAX 20000u /* twice what latchkey-endpoint keeps of one instance */

/* 0 and the payload when the pinned key of that instance signed the text. */
static bool verify(const struct pin *pin, const char *text, cJSON **ret_payload)
{
	struct signed_text parts;
	const char *instance;
	int64_t version;

	if (!pin->sign_blob ||
		sshsig_verify_text(text, strlen(text), SSHSIG_RESULTS, pin->sign_blob, pin->sign_blob_size, &parts) !=
			CODE_OK ||
		json_parse_object(parts.payload.text, parts.payload.size, ret_payload) < 0)
		return false;
	return json_get_integer(*ret_payload, "v", &version) == 0 && version == 1 &&
	       json_get_string(*ret_payload, "instance", &instance) == 0 && strcmp(instance, pin->instance) == 0;
}

static enum cli_exit visit_page(const struct pin *pin, struct results_cursor *cursor, const struct http_answer *answer,
	bool *ret_more, results_visitor visitor, void *context)
{
	cleanup_json cJSON *root = NULL;
	const cJSON *list, *text;
	int64_t next;

	if (json_parse_object(answer->body.bytes, answer->body.size, &root) < 0 ||
		json_get_array(root, "results", &list) < 0 || json_get_integer(root, "next", &next) < 0 || next < 0) {
		complain("the endpoint's list of results is malformed");
		return CLI_ENDPOINT;
	}
	*ret_more = false;
	cJSON_ArrayForEach(text, list)
	{
		cleanup_json cJSON *payload = NULL;
		*ret_more = next > cursor->after;
		if (cJSON_IsString(text) && verify(pin, text->valuestring, &payload)) {
			visitor(context, payload);
			cursor->verified++;
		} else {
			cursor->strange++;
		}
	}
	cursor->after = next; /* lower than before when the endpoint was restored from a backup */
	return CLI_OK;
}

/* Everything after the cursor, for at most so many seconds; the first request may be held. */
static enum cli_exit read_pages(struct cli *cli, const struct pin *pin, struct results_cursor *cursor, int wait,
	bool quiet, int64_t most, results_visitor visitor, void *context)
{
	int64_t begin = cli_now();
	unsigned before = cursor->verified + cursor->strange;
	bool more = true;

	while (more) {
		cleanup_http_answer struct http_answer answer = {0};
		char path[224];
		(void)snprintf(
			path, sizeof(path), "/instances/%s/results?after=%" PRIi64, pin->instance, cursor->after);
		const struct http_request request = {
			.method = "GET",
			.path = path,
			.if_none_match = wait > 0 ? cursor->etag : NULL,
			.wait = wait,
		};
		enum cli_exit r = http_exchange(cli, &request, quiet, &answer);
		if (r != CLI_OK)
			return r;
		if (answer.status == 304)
			return CLI_OK;
		/* The token is gone, or the instance: no waiting helps, as it does with one that is overloaded. */
		cursor->refused =
			answer.status >= 400 && answer.status < 500 && answer.status != 408 && answer.status != 429;
		if (answer.status != 200)
			return quiet && !cursor->refused ? CLI_ENDPOINT : http_unexpected("results", &answer);
		(void)snprintf(cursor->etag, sizeof(cursor->etag), "%s", answer.etag);
		wait = 0;
		r = visit_page(pin, cursor, &answer, &more, visitor, context);
		if (r != CLI_OK)
			return r;
		/* Until all is read, nothing is waited for: the next page may fail. */
		if (more)
			cursor->etag[0] = '\0';
		unsigned texts = cursor->verified + cursor->strange - before;
		if (more && (texts > READ_TEXTS_MAX || cli_now() - begin > most)) {
			if (!quiet)
				complain("the results of %s at the endpoint have no end", pin->instance);
			return CLI_ENDPOINT;
		}
	}
	return CLI_OK;
}

enum cli_exit results_read(
	struct cli *cli, const struct pin *pin, struct results_cursor *cursor, results_visitor visitor, void *context)
{
	return read_pages(cli, pin, cursor, 0, false, READ_SECONDS_MAX, visitor, context);
}

enum cli_exit results_wait(struct cli *cli, const struct pin *pin, struct results_cursor *cursor, int wait,
	results_visitor visitor, void *context)
{
	int held = pin->sign && cursor->etag[0] ? wait : 0;
	unsigned verified = cursor->verified;
	int64_t begin = cli_now();

	enum cli_exit r = read_pages(cli, pin, cursor, held, true, wait, visitor, context);
	/* One that cannot hold a request, or is gone, must not be asked without a pause. */
	if (cursor->verified == verified && cli_now() - begin < 1)
		(void)sleep(1);
	return r == CLI_ENDPOINT && !cursor->refused ? CLI_OK : r;
}

static const char *status_of(const cJSON *result)
{
	const char *status = "";
	(void)!json_get_string(result, "status", &status);
	return status;
}

bool result_is_final(const cJSON *result)
{
	return strcmp(status_of(result), "pending") != 0;
}

bool result_is_good(const cJSON *result)
{
	const char *status = status_of(result);
	return strcmp(status, "ok") == 0 || strcmp(status, "observed") == 0;
}

bool results_are_dry(const cJSON *payload)
{
	bool dry = false;
	(void)!json_get_bool(payload, "dry_run", &dry);
	return dry;
}

bool results_merge(cJSON *outcomes, const cJSON *payload)
{
	return results_are_dry(payload) || results_merge_dry(outcomes, payload);
}

bool results_merge_dry(cJSON *outcomes, const cJSON *payload)
{
	const cJSON *list, *result;
	const char *id, *status;

	if (json_get_array(payload, "results", &list) < 0)
		return true;
	cJSON_ArrayForEach(result, list)
	{
		if (json_get_string(result, "id", &id) < 0 || json_get_string(result, "status", &status) < 0)
			continue;
		const cJSON *known = json_member(outcomes, id);
		if (known && result_is_final(known))
			continue;
		cJSON *copy = cJSON_Duplicate(result, true);
		if (!copy)
			return false;
		cJSON_DeleteItemFromObjectCaseSensitive(outcomes, id);
		if (!cJSON_AddItemToObject(outcomes, id, copy)) {
			cJSON_Delete(copy);
			return false;
		}
	}
	return true;
}
