/* SPDX-License-Identifier: Apache-2.0 */
/* Looking without changing: results and status. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "console/cli/change.h"
#include "console/cli/commands.h"
#include "console/cli/http.h"
#include "console/cli/keypairs.h"
#include "console/cli/output.h"
#include "console/cli/report_status.h"
#include "console/cli/state.h"

struct looking {
	cJSON *outcomes;
	const char *digest; /* of the newest document */
	bool accepted;
	char refusal[32];      /* the code that refused it whole */
	int64_t seq, seq_time; /* of the newest document that a result speaks of, and when */
};

static void merge(void *context, const cJSON *payload)
{
	struct looking *looking = context;
	const char *document, *digest;
	int64_t seq, time;

	(void)results_merge(looking->outcomes, payload);
	if (json_get_integer(payload, "seq", &seq) == 0 && json_get_integer(payload, "time", &time) == 0 &&
		seq > looking->seq) {
		looking->seq = seq;
		looking->seq_time = time;
	}
	/* The refusal of another document is news of it no more, and one of this document is none once it was taken. */
	if (json_get_string(payload, "document", &document) < 0 || json_get_string(payload, "digest", &digest) < 0 ||
		strcmp(digest, looking->digest) != 0)
		return;
	looking->accepted = looking->accepted || strcmp(document, "ok") == 0;
	(void)snprintf(looking->refusal, sizeof(looking->refusal), "%s", looking->accepted ? "" : document);
}

/* How many commands of the document have no final result. */
static unsigned count_pending(const struct document *document, const cJSON *outcomes)
{
	const cJSON *commands, *command;
	unsigned pending = 0;
	const char *id;

	if (!document->payload || document->expires <= cli_now() ||
		json_get_array(document->payload, "commands", &commands) < 0)
		return 0;
	cJSON_ArrayForEach(command, commands)
	{
		if (json_get_string(command, "id", &id) < 0)
			continue;
		const cJSON *result = json_member(outcomes, id);
		pending += !result || !result_is_final(result);
	}
	return pending;
}

static enum cli_exit settle(struct cli *cli, const char *instance, const cJSON *outcomes)
{
	const cJSON *result;
	enum cli_exit r = CLI_OK;

	cJSON_ArrayForEach(result, outcomes)
	{
		if (r == CLI_OK && result_is_final(result))
			r = binding_settle(cli, instance, result->string, result_is_good(result));
	}
	return r;
}

static enum cli_exit wait_for_all(struct cli *cli, const struct arguments *arguments, const struct pin *pin,
	const struct document *document, struct results_cursor *cursor, struct looking *looking)
{
	int64_t seconds, begin = cli_now();

	enum cli_exit r = change_timeout(arguments, &seconds);
	while (r == CLI_OK && count_pending(document, looking->outcomes) > 0 && !*looking->refusal) {
		int64_t left = begin + seconds - cli_now();
		if (left <= 0)
			return CLI_TIMEOUT;
		state_unlock(cli);
		r = results_wait(cli, pin, cursor, left > 60 ? 60 : (int)left, merge, looking);
		enum cli_exit locked = state_lock(cli);
		r = r == CLI_OK ? locked : r;
	}
	return r;
}

/* Pin, verified document (if it can be trusted) and all results since they mattered. */
static enum cli_exit look(struct cli *cli, const struct arguments *arguments, struct pin *pin,
	struct document *document, struct results_cursor *cursor, struct looking *looking)
{
	enum cli_exit r = pin_load(cli, arguments->positional[0], pin);
	if (r == CLI_OK)
		r = pin_check(cli, arguments, pin);
	if (r == CLI_OK)
		r = document_load(cli, pin, document);
	if (r != CLI_OK)
		return r;
	looking->digest = document->digest;
	*cursor = (struct results_cursor){.after = arguments_option(arguments, "all") ? 0 : pin->results};
	r = results_read(cli, pin, cursor, merge, looking);
	if (r == CLI_OK && cursor->strange > 0 && pin->sign)
		note("%u results are not signed by the pinned key of %s and do not count", cursor->strange,
			pin->instance);
	return r;
}

/* All of them; whether it went well is asked of the newest document's commands alone. */
static enum cli_exit print_results(
	struct cli *cli, const struct pin *pin, const struct document *document, const cJSON *outcomes, bool *ret_good)
{
	cleanup_json cJSON *sent = NULL;
	const cJSON *result;

	enum cli_exit r = state_load_json(cli, STATE_SENT, &sent);
	if (r != CLI_OK)
		return r;
	*ret_good = true;
	cJSON_ArrayForEach(result, outcomes)
	{
		const cJSON *command = document_find(document, result->string);
		cleanup_buffer struct buffer words = {0};
		const char *known = NULL;
		if (command) {
			output_command(&words, command);
			*ret_good = *ret_good && (!result_is_final(result) || result_is_good(result));
			if (buffer_status(&words) < 0)
				return CLI_LOCAL;
			known = words.bytes;
		} else {
			(void)!json_get_string(sent, result->string, &known);
		}
		output_result(cli, pin->instance, known, result);
	}
	return CLI_OK;
}

enum cli_exit command_results(struct cli *cli, const struct arguments *arguments)
{
	cleanup_pin struct pin pin = {0};
	cleanup_document struct document document = {0};
	cleanup_json cJSON *outcomes = cJSON_CreateObject();
	struct looking looking = {.outcomes = outcomes};
	struct results_cursor cursor;
	enum cli_exit settled;
	bool good = true;

	if (!outcomes)
		return CLI_LOCAL;
	enum cli_exit r = look(cli, arguments, &pin, &document, &cursor, &looking);
	if (r == CLI_OK && !pin.sign) {
		complain("%s has not registered yet", pin.instance);
		return CLI_FAILED;
	}
	if (r == CLI_OK && arguments_option(arguments, "wait"))
		r = wait_for_all(cli, arguments, &pin, &document, &cursor, &looking);
	if (r != CLI_OK && r != CLI_TIMEOUT)
		return r;
	settled = print_results(cli, &pin, &document, outcomes, &good);
	if (settled != CLI_OK)
		return settled;
	if (*looking.refusal)
		complain("%s refused its newest document: %s", pin.instance, looking.refusal);
	unsigned pending = count_pending(&document, outcomes);
	if (pending > 0)
		note("%u command%s of document %" PRIi64 " pending", pending, pending == 1 ? "" : "s", document.seq);
	settled = settle(cli, pin.instance, outcomes);
	if (settled != CLI_OK)
		return settled;
	if (r == CLI_TIMEOUT)
		return r;
	return good && !*looking.refusal ? CLI_OK : CLI_FAILED;
}

static enum cli_exit status_of_one(struct cli *cli, const struct arguments *arguments)
{
	cleanup_pin struct pin pin = {0};
	cleanup_document struct document document = {0};
	cleanup_json cJSON *outcomes = cJSON_CreateObject();
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};
	struct looking looking = {.outcomes = outcomes};
	struct results_cursor cursor;
	cleanup_report_status struct report_status report = {0};
	char fingerprint[SSHKEY_FINGERPRINT_SIZE] = "";

	if (!outcomes)
		return CLI_LOCAL;
	enum cli_exit r = look(cli, arguments, &pin, &document, &cursor, &looking);
	if (r == CLI_OK)
		r = report_status_load(cli, &pin, looking.seq, looking.seq_time, &report);
	if (r != CLI_OK)
		return r;
	if (pin.sign)
		sshkey_fingerprint(pin.sign_blob, pin.sign_blob_size, fingerprint);
	unsigned pending = count_pending(&document, outcomes);
	if (cli->json) {
		json_begin_object(&writer, NULL);
		json_put_string(&writer, "instance", pin.instance);
		json_put_bool(&writer, "registered", pin.sign != NULL);
		json_put_string(&writer, "fingerprint", fingerprint);
		json_put_integer(&writer, "generation", pin.generation);
		json_put_integer(&writer, "seq", document.seq);
		json_put_integer(&writer, "expires", document.expires);
		json_put_integer(&writer, "pending", pending);
		json_put_integer(&writer, "results", cursor.after);
		json_put_string(&writer, "refused", looking.refusal);
		report_status_put_json(&report, &writer);
		json_end_object(&writer);
	} else {
		buffer_append_format(&text, "%s: %s%s\n", pin.instance,
			pin.sign ? "registered, " : "not registered yet", fingerprint);
		if (document.payload)
			buffer_append_format(&text, "  document %" PRIi64 ", %u pending%s", document.seq, pending,
				document.expires <= cli_now() ? ", expired" : "");
		else
			buffer_append_text(&text, "  no document");
		if (*looking.refusal)
			buffer_append_format(&text, "\n  the newest document was refused: %s", looking.refusal);
		report_status_put_text(&report, &pin, &text);
	}
	output_text(&text);
	r = settle(cli, pin.instance, outcomes);
	return r == CLI_OK ? report_status_verdict(&report, &pin) : r;
}

enum cli_exit command_status(struct cli *cli, const struct arguments *arguments)
{
	if (arguments->count == 1)
		return status_of_one(cli, arguments);
	if (!cli->json)
		(void)printf("endpoint %s\n", cli->settings.endpoint);
	return command_instance_list(cli, arguments);
}
