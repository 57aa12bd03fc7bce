/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/change.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "console/cli/fold.h"
#include "console/cli/http.h"
#include "console/cli/output.h"
#include "console/cli/state.h"

#define ATTEMPTS 5u /* others that put a document between our read and our write */

static enum cli_exit out_of_memory(void)
{
	complain("out of memory");
	return CLI_LOCAL;
}

static enum cli_exit take_not_before(const struct arguments *arguments, struct change *change)
{
	const char *text = arguments_option(arguments, "not-before");
	int64_t now = cli_now();

	if (!text)
		return CLI_OK;
	if (arguments_time(text, now, &change->not_before) < 0 || change->not_before >= now + DOCUMENT_VALID_MAX) {
		complain("--not-before is a time within the next 7 days");
		return CLI_USAGE;
	}
	return cJSON_AddNumberToObject(change->command, "not_before", (double)change->not_before) ? CLI_OK
												  : out_of_memory();
}

enum cli_exit change_begin(
	struct cli *cli, const struct arguments *arguments, const char *do_name, struct change *ret_change)
{
	const struct manifest_command *row = manifest_find(&cli->manifests, do_name);
	unsigned char random[16];
	char id[CHANGE_ID_SIZE];

	*ret_change = (struct change){0};
	if (!row || row->stage == 0) {
		complain("%s is no command (latchkey --help)", do_name);
		return CLI_USAGE;
	}
	randombytes_buf(random, sizeof(random));
	(void)sodium_bin2hex(id, sizeof(id), random, sizeof(random));
	ret_change->command = cJSON_CreateObject();
	ret_change->outcomes = cJSON_CreateObject();
	if (!ret_change->command || !ret_change->outcomes || !cJSON_AddStringToObject(ret_change->command, "id", id) ||
		!cJSON_AddStringToObject(ret_change->command, "do", do_name))
		return out_of_memory();
	(void)!json_get_string(ret_change->command, "id", &ret_change->id);
	enum cli_exit r = arguments_fields(arguments, row, cli_now(), ret_change->command);
	ret_change->dry_run = arguments_option(arguments, "dry-run") != NULL;
	if (r == CLI_OK)
		r = take_not_before(arguments, ret_change);
	if (r == CLI_OK)
		r = pin_load(cli, arguments->positional[0], &ret_change->pin);
	if (r == CLI_OK)
		r = pin_check(cli, arguments, &ret_change->pin);
	return r;
}

static enum cli_exit check_command(struct cli *cli, const struct change *change)
{
	const char *do_name = "";
	char detail[DETAIL_MAX + 1];

	(void)!json_get_string(change->command, "do", &do_name);
	const struct manifest_command *row = manifest_find(&cli->manifests, do_name);
	cleanup_json cJSON *checked = cJSON_Duplicate(change->command, true); /* the check adds defaults */
	if (!checked || !row)
		return out_of_memory();
	cJSON_DeleteItemFromObjectCaseSensitive(checked, "not_before"); /* no field of the row */
	enum code code = manifest_check(row, checked, detail);
	if (code == CODE_OK)
		return CLI_OK;
	complain("%s (%s)", detail, code_name(code));
	return CLI_USAGE;
}

struct folding {
	unsigned kept, superseded;
	bool dry_run;
};

static void tell_fold(void *context, const cJSON *command, enum fold_verdict verdict)
{
	struct folding *folding = context;
	cleanup_buffer struct buffer text = {0};

	if (verdict == FOLD_KEPT)
		folding->kept++;
	folding->superseded += verdict == FOLD_SUPERSEDED;
	if (verdict == FOLD_CLOSED || verdict == FOLD_EXPIRED || verdict == FOLD_DRY || folding->dry_run)
		return;
	output_command(&text, command);
	if (buffer_status(&text) == 0)
		note(verdict == FOLD_KEPT ? "signing again, still pending: %s" : "replaced by this change: %s",
			text.bytes);
}

static void merge(void *context, const cJSON *payload)
{
	struct change *change = context;
	if (!results_merge(change->outcomes, payload))
		complain("out of memory");
}

/* Ids with a final result. */
static enum cli_exit read_closed(struct cli *cli, struct change *change, cJSON **ret_closed)
{
	const cJSON *result;

	change->cursor = (struct results_cursor){.after = change->pin.results};
	enum cli_exit r = results_read(cli, &change->pin, &change->cursor, merge, change);
	if (r != CLI_OK)
		return r;
	cleanup_json cJSON *closed = cJSON_CreateObject();
	cJSON_ArrayForEach(result, change->outcomes)
	{
		if (closed && result_is_final(result) && !cJSON_AddTrueToObject(closed, result->string))
			return out_of_memory();
	}
	*ret_closed = steal_pointer(&closed);
	return *ret_closed ? CLI_OK : out_of_memory();
}

/*
 * A dry run takes the place of the document that stands. What the instance has taken over goes on beside it; what it
 * has not seen yet would be lost.
 */
static enum cli_exit carry(
	const struct change *change, const struct folding *folding, const cJSON *commands, cJSON *carried)
{
	unsigned unseen = folding->superseded;
	const cJSON *command;

	cJSON_ArrayForEach(command, commands)
	{
		const char *id = "";
		(void)!json_get_string(command, "id", &id);
		unseen += json_member(change->outcomes, id) == NULL;
		cJSON *copy = cJSON_CreateString(id);
		if (!copy || !cJSON_AddItemToArray(carried, copy)) {
			cJSON_Delete(copy);
			return out_of_memory();
		}
	}
	if (unseen == 0)
		return CLI_OK;
	complain("%u command%s still pending on %s, and a dry run would take the place: wait for the results first",
		unseen, unseen == 1 ? " is" : "s are", change->pin.instance);
	return CLI_FAILED;
}

/* What goes into the next document: what pends and the new command. */
static enum cli_exit gather(struct cli *cli, struct change *change, const struct document *current, int64_t now,
	cJSON *commands, cJSON *carried, int64_t *ret_latest)
{
	cleanup_json cJSON *closed = NULL;
	struct folding folding = {.dry_run = change->dry_run};

	*ret_latest = 0;
	enum cli_exit r = read_closed(cli, change, &closed);
	if (r != CLI_OK)
		return r;
	int folded = current->payload ? fold_pending(current->payload, now, closed, change->command, commands,
						tell_fold, &folding, ret_latest)
				      : 0;
	if (folded < 0) {
		complain("the pending commands cannot be carried on: %s", strerror(-folded));
		return CLI_LOCAL;
	}
	r = change->dry_run ? carry(change, &folding, commands, carried) : CLI_OK;
	if (r != CLI_OK)
		return r;
	if (folding.kept == 0)
		change->pin.results = change->cursor.after;
	if (cJSON_GetArraySize(commands) >= DOCUMENT_COMMANDS_MAX) {
		complain("%d commands are pending already", DOCUMENT_COMMANDS_MAX);
		return CLI_FAILED;
	}
	cJSON *copy = cJSON_Duplicate(change->command, true);
	if (!copy || !cJSON_AddItemToArray(commands, copy)) {
		cJSON_Delete(copy);
		return out_of_memory();
	}
	return CLI_OK;
}

static enum cli_exit put(struct cli *cli, struct change *change, const struct document *current,
	const struct buffer *text, bool *ret_again)
{
	cleanup_http_answer struct http_answer answer = {0};
	char path[192];

	(void)snprintf(path, sizeof(path), "/instances/%s/document", change->pin.instance);
	const struct http_request request = {
		.method = "PUT",
		.path = path,
		.body = text->bytes,
		.body_size = text->size,
		.if_match = current->etag[0] ? current->etag : NULL,
		.if_none_match = current->etag[0] ? NULL : "*",
	};
	enum cli_exit r = http_exchange(cli, &request, false, &answer);
	if (r != CLI_OK)
		return r;
	*ret_again = answer.status == 412;
	return answer.status == 204 || answer.status == 412 ? CLI_OK : http_unexpected("document", &answer);
}

static enum cli_exit remember(struct cli *cli, const struct change *change)
{
	cleanup_buffer struct buffer words = {0};

	output_command(&words, change->command);
	return buffer_status(&words) < 0 ? out_of_memory() : state_add_sent(cli, change->id, words.bytes);
}

static enum cli_exit attempt(
	struct cli *cli, const struct arguments *arguments, struct change *change, int64_t valid, bool *ret_again)
{
	cleanup_document struct document current = {0};
	cleanup_json cJSON *commands = cJSON_CreateArray(), *carried = cJSON_CreateArray();
	cleanup_buffer struct buffer text = {0};
	const char *actor = arguments_option(arguments, "actor");
	int64_t now = cli_now(), latest;

	if (!commands || !carried)
		return out_of_memory();
	enum cli_exit r = document_load(cli, &change->pin, &current);
	if (r == CLI_TRUST && arguments_option(arguments, "discard-pending"))
		note("nothing of it is carried on, as you asked");
	else if (r == CLI_TRUST)
		complain("nothing was changed; --discard-pending replaces it and drops what pends there");
	if (r != CLI_OK && !(r == CLI_TRUST && arguments_option(arguments, "discard-pending")))
		return r;
	r = gather(cli, change, &current, now, commands, carried, &latest);
	if (r != CLI_OK)
		return r;
	change->seq = (current.seq > change->pin.seq ? current.seq : change->pin.seq) + 1;
	/* What the instance itself has reported: a document may have come to it by hand. */
	int64_t taken = change->pin.report.values[REPORT_SEQ];
	if (taken >= change->seq && taken - change->seq < DOCUMENT_SEQ_STEP)
		change->seq = taken + 1;
	int64_t wanted = change->not_before > now ? change->not_before + valid : now + valid;
	if (wanted > now + DOCUMENT_VALID_MAX)
		wanted = now + DOCUMENT_VALID_MAX;
	int64_t expires = wanted > latest ? wanted : latest;
	if (!actor)
		actor = cli->settings.actor ? cli->settings.actor : "operator";
	const struct document_draft draft = {.instance = change->pin.instance,
		.actor = actor,
		.seq = change->seq,
		.issued = now,
		.expires = expires,
		.commands = commands,
		.carried = change->dry_run ? carried : NULL};
	r = document_sign(cli, &draft, &text, change->digest);
	if (r == CLI_OK)
		r = put(cli, change, &current, &text, ret_again);
	if (r != CLI_OK || *ret_again)
		return r;
	change->pin.seq = change->seq;
	change->pin.expires = expires;
	r = pin_save(cli, &change->pin);
	return r == CLI_OK ? remember(cli, change) : r;
}

enum cli_exit change_send(struct cli *cli, const struct arguments *arguments, struct change *change)
{
	const char *valid_text = arguments_option(arguments, "valid");
	int64_t valid = DOCUMENT_VALID_DEFAULT;
	bool again = true;

	if (valid_text && (arguments_duration(valid_text, DOCUMENT_VALID_MAX, &valid) < 0 || valid == 0)) {
		complain("--valid must be between 1s and 7d");
		return CLI_USAGE;
	}
	enum cli_exit r = check_command(cli, change);
	for (unsigned i = 0; r == CLI_OK && again && i < ATTEMPTS; i++) {
		again = false;
		r = attempt(cli, arguments, change, valid, &again);
	}
	if (r == CLI_OK && again) {
		complain("others keep changing %s at the same time: try again", change->pin.instance);
		return CLI_ENDPOINT;
	}
	return r;
}

enum cli_exit change_finish(struct cli *cli, const struct arguments *arguments, struct change *change)
{
	if (arguments_option(arguments, "no-wait")) {
		output_sent(cli, change);
		return CLI_OK;
	}
	return output_wait(cli, arguments, change);
}

enum cli_exit change_run(struct cli *cli, const struct arguments *arguments)
{
	cleanup_change struct change change = {0};
	const char *do_name = arguments->subcommand->do_name;

	enum cli_exit r = change_begin(cli, arguments, do_name ? do_name : arguments->positional[1], &change);
	if (r == CLI_OK)
		r = change_send(cli, arguments, &change);
	if (r == CLI_OK)
		r = change_finish(cli, arguments, &change);
	return r;
}

void change_free(struct change *change)
{
	pin_free(&change->pin);
	cJSON_Delete(change->command);
	cJSON_Delete(change->outcomes);
	*change = (struct change){0};
}

enum cli_exit change_timeout(const struct arguments *arguments, int64_t *ret_seconds)
{
	const char *text = arguments_option(arguments, "timeout");

	*ret_seconds = 120;
	if (text && arguments_duration(text, DOCUMENT_VALID_MAX, ret_seconds) < 0) {
		complain("--timeout must be a number of seconds, at most 7d");
		return CLI_USAGE;
	}
	return CLI_OK;
}
