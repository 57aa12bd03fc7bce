/* SPDX-License-Identifier: Apache-2.0 */
/* Fifth step: the results, signed by the instance, kept in results/SEQ until the endpoint has them. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "agent/apply/apply.h"
#include "agent/apply/history.h"
#include "agent/apply/identity.h"
#include "lib/file.h"
#include "lib/sshsig.h"

#define RESULTS_TEXT_MAX (16u << 20)

static void put_result(struct json_writer *writer, const struct command *command)
{
	const struct outcome *outcome = &command->outcome;

	json_begin_object(writer, NULL);
	json_put_string(writer, "id", command->id);
	json_put_string(writer, "status", code_status_name(outcome->status));
	json_put_string(writer, "code", code_name(outcome->code));
	json_put_bool(writer, "changed", outcome->changed);
	json_put_string(writer, "detail", outcome->detail);
	if (outcome->sealed)
		json_put_string(writer, "sealed", outcome->sealed);
	if (outcome->login)
		json_put_raw(writer, "login", outcome->login);
	json_end_object(writer);
}

static void put_head(const struct apply *apply, struct json_writer *writer, int64_t seq, const char *digest,
	const char *document_code)
{
	json_begin_object(writer, NULL);
	json_put_integer(writer, "v", 1);
	json_put_string(writer, "instance", apply->instance);
	if (seq > 0)
		json_put_integer(writer, "seq", seq);
	json_put_string(writer, "digest", digest);
	json_put_string(writer, "document", document_code);
	json_put_string(writer, "agent", LATCHKEY_VERSION);
	json_put_integer(writer, "time", apply->now);
}

static int finish(const struct apply *apply, int directory, const char *name, struct json_writer *writer)
{
	identity_put_host_keys(apply, writer);
	json_end_object(writer);
	buffer_append(writer->out, "\n", 1);
	int r = identity_sign(apply, SSHSIG_RESULTS, writer->out);
	if (r < 0)
		return r;
	return file_replace_simple(directory, name, writer->out->bytes, writer->out->size, 0600);
}

/* The results of the same document that still wait to be delivered; NULL when there are none. */
static cJSON *read_waiting(int directory, const char *name)
{
	cleanup_free char *text = NULL;
	struct signed_text parts;
	cJSON *payload = NULL;
	size_t size;

	if (file_read(directory, name, RESULTS_TEXT_MAX, &text, &size) < 0 ||
		signed_text_split(text, size, &parts) != CODE_OK ||
		json_parse_object(parts.payload.text, parts.payload.size, &payload) < 0)
		return NULL;
	return payload;
}

/* Waiting results that these commands do not replace. */
static void put_waiting(struct json_writer *writer, const cJSON *waiting, const struct command *commands, size_t count)
{
	const cJSON *results, *result;

	if (!waiting || json_get_array(waiting, "results", &results) < 0)
		return;
	cJSON_ArrayForEach(result, results)
	{
		const char *id = "";
		bool replaced = false;
		(void)!json_get_string(result, "id", &id);
		for (size_t i = 0; i < count && !replaced; i++)
			replaced = commands[i].outcome.known && strcmp(commands[i].id, id) == 0;
		if (!replaced)
			json_put_value(writer, NULL, result);
	}
}

static int write_results(
	const struct apply *apply, int64_t seq, const char *digest, const struct command *commands, size_t count)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};
	cleanup_close int directory = -1;
	cleanup_json cJSON *waiting = NULL;
	char name[24];

	int r = apply_state_directory(apply, "results", &directory);
	if (r < 0)
		return r;
	(void)snprintf(name, sizeof(name), "%" PRIi64, seq);
	waiting = read_waiting(directory, name);
	if (waiting && digest[0] == '\0')
		(void)!json_get_string(waiting, "digest", &digest);
	put_head(apply, &writer, seq, digest, "ok");
	json_begin_array(&writer, "results");
	put_waiting(&writer, waiting, commands, count);
	for (size_t i = 0; i < count; i++) {
		if (commands[i].outcome.known)
			put_result(&writer, &commands[i]);
	}
	json_end_array(&writer);
	return finish(apply, directory, name, &writer);
}

int report_document(const struct apply *apply, const struct document *document)
{
	int r = write_results(apply, document->seq, document->digest, document->commands, document->count);
	return r < 0 ? r : history_append(apply, document);
}

int report_late(const struct apply *apply, int64_t seq, const struct command *command)
{
	int r = write_results(apply, seq, "", command, 1);
	if (r < 0)
		return r;
	/* Who asked for it stands in the history's line of the pending result. */
	cleanup_history struct history history = {0};
	cleanup_json cJSON *line = NULL;
	struct command copy = *command;
	struct document document = {.seq = seq, .commands = &copy, .count = 1};
	const char *signer = NULL;
	r = history_load(apply, &history);
	if (r == 0 && history_find(&history, command->id, &line) == 0) {
		(void)!json_get_string(line, "signer", &signer);
		(void)!json_get_string(line, "actor", &copy.actor);
	}
	document.signer = signer ? strdup(signer) : NULL;
	if (r == 0)
		r = history_append(apply, &document);
	free(document.signer);
	return r;
}

int report_refusal(const struct apply *apply, const char *digest, enum code code, const char *detail)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};
	cleanup_close int directory = -1;
	cleanup_json cJSON *waiting = NULL;
	const char *old_digest = "", *old_code = "";

	int r = apply_state_directory(apply, "results", &directory);
	if (r < 0)
		return r;
	/* The same refusal again says nothing new; the endpoint may be offering it for ever. */
	waiting = read_waiting(directory, "0");
	if (waiting && json_get_string(waiting, "digest", &old_digest) == 0 &&
		json_get_string(waiting, "document", &old_code) == 0 && strcmp(old_digest, digest) == 0 &&
		strcmp(old_code, code_name(code)) == 0)
		return 0;
	put_head(apply, &writer, 0, digest, code_name(code));
	json_put_string(&writer, "detail", detail);
	json_begin_array(&writer, "results");
	json_end_array(&writer);
	return finish(apply, directory, "0", &writer);
}
