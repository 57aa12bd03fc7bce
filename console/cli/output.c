/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "console/cli/keypairs.h"
#include "console/cli/state.h"

#define TRUST_SECONDS 15

static const char *text_of(const cJSON *object, const char *name)
{
	const char *text = "";
	(void)!json_get_string(object, name, &text);
	return text;
}

void output_command(struct buffer *text, const cJSON *command)
{
	static const char *const fields[] = {"user", "keypair", "fingerprint", "confirms", "permit_root_login"};
	static const char *const switches[] = {"pubkey_auth", "password_auth"};
	bool value;

	buffer_append_text(text, text_of(command, "do"));
	for (size_t i = 0; i < ELEMENTS(fields); i++) {
		if (*text_of(command, fields[i]))
			buffer_append_format(text, " %s", text_of(command, fields[i]));
	}
	for (size_t i = 0; i < ELEMENTS(switches); i++) {
		if (json_get_bool(command, switches[i], &value) == 0)
			buffer_append_format(text, " %s=%s", switches[i], value ? "true" : "false");
	}
	buffer_append_format(text, " (%.8s)", text_of(command, "id"));
}

void output_json(const cJSON *root)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};

	json_put_value(&writer, NULL, root);
	if (buffer_status(&text) == 0)
		(void)printf("%s\n", text.bytes);
}

void output_sent(const struct cli *cli, const struct change *change)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};

	if (cli->json) {
		json_begin_object(&writer, NULL);
		json_put_string(&writer, "instance", change->pin.instance);
		json_put_integer(&writer, "seq", change->seq);
		json_put_string(&writer, "id", change->id);
		json_put_string(&writer, "status", "sent");
		json_end_object(&writer);
	} else {
		buffer_append_text(&text, "sent: ");
		output_command(&text, change->command);
		buffer_append_format(&text, " to %s, document %" PRIi64, change->pin.instance, change->seq);
	}
	if (buffer_status(&text) == 0)
		(void)printf("%s\n", text.bytes);
}

static void put_way(struct buffer *text, const char *word, const cJSON *way)
{
	const cJSON *blockers, *blocker;
	bool can = false, first = true;

	if (!way)
		return;
	(void)!json_get_bool(way, "can", &can);
	buffer_append_format(text, "%s %s", word, can ? "works" : "does not work");
	if (json_get_array(way, "blockers", &blockers) < 0)
		return;
	cJSON_ArrayForEach(blocker, blockers)
	{
		if (cJSON_IsString(blocker)) {
			buffer_append_format(text, "%s%s", first ? " (" : ", ", blocker->valuestring);
			first = false;
		}
	}
	if (!first)
		buffer_append_text(text, ")");
}

static void put_login(struct buffer *text, const cJSON *login)
{
	const cJSON *user;

	cJSON_ArrayForEach(user, login)
	{
		buffer_append_format(text, "\n  %s: ", user->string);
		put_way(text, "login by key", json_member(user, "key"));
		buffer_append_text(text, "; ");
		put_way(text, "login by password", json_member(user, "password"));
	}
}

void output_text(struct buffer *text)
{
	if (buffer_status(text) < 0)
		return;
	for (char *at = text->bytes; *at; at++) {
		if (((unsigned char)*at < 0x20 && *at != '\n') || *at == 0x7f ||
			((unsigned char)*at == 0xc2 && (unsigned char)at[1] >= 0x80 && (unsigned char)at[1] < 0xa0))
			*at = '?';
	}
	(void)printf("%s\n", text->bytes);
	(void)fflush(stdout);
}

enum cli_exit output_finish(enum cli_exit r)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return r;
	complain("standard output cannot be written: not all of it was printed");
	return r == CLI_OK ? CLI_LOCAL : r;
}

void output_result(const struct cli *cli, const char *instance, const char *words, const cJSON *result)
{
	cleanup_buffer struct buffer text = {0};
	bool changed = false;

	if (cli->json) {
		cleanup_json cJSON *line = cJSON_CreateObject();
		const cJSON *member;
		if (!line || !cJSON_AddStringToObject(line, "instance", instance) ||
			!cJSON_AddStringToObject(line, "command", words ? words : ""))
			return;
		cJSON_ArrayForEach(member, result)
		{
			cJSON *copy = cJSON_Duplicate(member, true);
			if (!copy || !cJSON_AddItemToObject(line, member->string, copy))
				cJSON_Delete(copy);
		}
		output_json(line);
		return;
	}
	(void)!json_get_bool(result, "changed", &changed);
	const char *status = text_of(result, "status"), *code = text_of(result, "code"),
		   *detail = text_of(result, "detail");
	buffer_append_text(&text, status);
	if (strcmp(code, status) != 0)
		buffer_append_format(&text, " %s", code);
	buffer_append_text(&text, ": ");
	buffer_append_text(&text, words ? words : text_of(result, "id"));
	buffer_append_format(&text, " on %s%s", instance,
		strcmp(code, "ok") == 0 ? (changed ? ", changed" : ", nothing to change") : "");
	if (*detail)
		buffer_append_format(&text, ": %s", detail);
	put_login(&text, json_member(result, "login"));
	output_text(&text);
}

struct waiting {
	struct change *change;
	const char *refusal; /* the code that refused our whole document */
	char code[32];
	int64_t refused_at;
	bool failed;
};

static void visit(void *context, const cJSON *payload)
{
	struct waiting *waiting = context;
	const char *digest = "", *document = "";

	(void)!json_get_string(payload, "digest", &digest);
	(void)!json_get_string(payload, "document", &document);
	if (strcmp(digest, waiting->change->digest) == 0 && *document && strcmp(document, "ok") != 0) {
		(void)snprintf(waiting->code, sizeof(waiting->code), "%s", document);
		waiting->refusal = waiting->code;
	}
	bool ours = strcmp(digest, waiting->change->digest) == 0 && waiting->change->dry_run;
	bool merged = ours ? results_merge_dry(waiting->change->outcomes, payload)
			   : results_merge(waiting->change->outcomes, payload);
	waiting->failed = !merged || waiting->failed;
}

/* The result of the change, once it needs no more waiting for; a pending one is shown when it is new. */
static const cJSON *look(const struct waiting *waiting, char shown[32])
{
	const cJSON *result = json_member(waiting->change->outcomes, waiting->change->id);
	const char *code;

	if (!result || result_is_final(result))
		return result;
	code = text_of(result, "code");
	if (strcmp(code, "awaiting_confirm") == 0 || strcmp(code, "not_yet") == 0)
		return result;
	if (strncmp(shown, code, 31) != 0)
		note("%s: pending, %s: %s", waiting->change->pin.instance, code, text_of(result, "detail"));
	(void)snprintf(shown, 32, "%s", code);
	return NULL;
}

/*
 * Who does not know the signer asks the endpoint for a trust document that names him, and when there is one takes the
 * same document over: that soon after the first word it is not the last.
 */
static bool is_refused(struct waiting *waiting, int64_t left)
{
	if (!waiting->refusal || strcmp(waiting->refusal, "signer_unknown") != 0)
		return waiting->refusal != NULL;
	if (waiting->refused_at == 0) {
		waiting->refused_at = cli_now();
		note("%s does not know the key that signed; perhaps a trust document names it …",
			waiting->change->pin.instance);
	}
	return left <= 0 || cli_now() - waiting->refused_at >= TRUST_SECONDS;
}

static enum cli_exit tell(struct cli *cli, struct change *change, const cJSON *result)
{
	cleanup_buffer struct buffer words = {0};

	output_command(&words, change->command);
	if (buffer_status(&words) < 0)
		return CLI_LOCAL;
	output_result(cli, change->pin.instance, words.bytes, result);
	if (strcmp(text_of(result, "code"), "awaiting_confirm") == 0) {
		if (!cli->json)
			(void)printf("It is in force, and goes back by itself unless you confirm it. Try a login, then "
				     "run:\n"
				     "  latchkey sshd confirm %s %s\n",
				change->pin.instance, change->id);
		return CLI_OK;
	}
	if (strcmp(text_of(result, "code"), "not_yet") == 0)
		return CLI_OK;
	return result_is_good(result) ? CLI_OK : CLI_FAILED;
}

/* One turn: meet an instance that has registered meanwhile, and read. */
static enum cli_exit turn(struct cli *cli, const struct arguments *arguments, struct waiting *waiting, int64_t left)
{
	struct change *change = waiting->change;

	if (!change->pin.sign) {
		enum cli_exit r = pin_check(cli, arguments, &change->pin);
		if (r != CLI_OK)
			return r;
		if (change->pin.sign)
			change->cursor = (struct results_cursor){0};
	}
	state_unlock(cli);
	enum cli_exit r = results_wait(cli, &change->pin, &change->cursor, left > 60 ? 60 : (int)left, visit, waiting);
	enum cli_exit locked = state_lock(cli);
	return r == CLI_OK ? locked : r;
}

/* Another operator's document carries on only what he lets stand; what it leaves out is done by nobody any more. */
static void tell_timeout(struct cli *cli, struct change *change, int64_t seconds)
{
	cleanup_document struct document current = {0};

	if (document_load(cli, &change->pin, &current) == CLI_OK && current.payload &&
		!document_find(&current, change->id)) {
		complain("no result from %s within %" PRIi64 " s, and the command stands no more: document %" PRIi64
			 " has taken its place (command %s)",
			change->pin.instance, seconds, current.seq, change->id);
		return;
	}
	complain("no result from %s within %" PRIi64 " s; the command stands, and latchkey results %s --wait "
		 "waits on (command %s)",
		change->pin.instance, seconds, change->pin.instance, change->id);
}

enum cli_exit output_wait(struct cli *cli, const struct arguments *arguments, struct change *change)
{
	struct waiting waiting = {.change = change};
	int64_t seconds, begin = cli_now();
	char shown[32] = "";
	bool told = false;

	enum cli_exit r = change_timeout(arguments, &seconds);
	while (r == CLI_OK) {
		const cJSON *result = look(&waiting, shown);
		if (result) {
			if (result_is_final(result))
				(void)!binding_settle(cli, change->pin.instance, change->id, result_is_good(result));
			return tell(cli, change, result);
		}
		int64_t left = begin + seconds - cli_now();
		if (is_refused(&waiting, left)) {
			complain("%s refused the whole document %" PRIi64 ": %s", change->pin.instance, change->seq,
				waiting.refusal);
			if (strcmp(waiting.refusal, "replayed") == 0)
				note("a document that came to it by another way has a higher number: latchkey status "
				     "%s learns it, then give the command again",
					change->pin.instance);
			if (strcmp(waiting.refusal, "not_yet_valid") == 0) {
				note("its clock is behind yours: it takes the document over when its time has come");
				return CLI_TIMEOUT;
			}
			if (change->dry_run && strcmp(waiting.refusal, "malformed") == 0)
				note("an agent that knows no dry run answers so; nothing was done");
			return CLI_FAILED;
		}
		if (left <= 0) {
			tell_timeout(cli, change, seconds);
			return CLI_TIMEOUT;
		}
		if (!told && cli_now() - begin >= 3) {
			note("waiting for %s …", change->pin.instance);
			told = true;
		}
		bool briefly = !told || waiting.refusal;
		r = turn(cli, arguments, &waiting, briefly && left > 3 ? 3 : left);
		if (waiting.failed) {
			complain("out of memory");
			return CLI_LOCAL;
		}
	}
	return r;
}
