/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/document.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "console/cli/fold.h"
#include "console/cli/http.h"
#include "console/cli/state.h"
#include "lib/process.h"
#include "lib/sshsig.h"

#define SIGN_TIMEOUT_MS 120000u /* somebody may have to find and touch a security key */
#define ARMOUR_MAX 8192u

static enum code check_signature(struct cli *cli, const char *instance, const char *text, size_t size,
	struct signed_text *ret_parts, enum cli_exit *ret_exit)
{
	cleanup_allowed_signers struct allowed_signers signers = {0};
	cleanup_sshsig struct sshsig signature = {0};
	const struct allowed_signer *signer;

	*ret_exit = state_load_signers(cli, &signers);
	if (*ret_exit != CLI_OK)
		return CODE_INTERNAL;
	enum code code = signed_text_split(text, size, ret_parts);
	if (code == CODE_OK && ret_parts->count != 1)
		code = CODE_SIGNATURE_INVALID;
	if (code == CODE_OK)
		code = sshsig_parse(ret_parts->signatures[0].text, ret_parts->signatures[0].size, &signature);
	if (code == CODE_OK)
		code = allowed_signers_check(&signers, instance, SSHSIG_DOCUMENT, signature.key.bytes,
			signature.key.size, cli_now(), &signer);
	if (code == CODE_OK)
		code = sshsig_verify(&signature, SSHSIG_DOCUMENT, ret_parts->payload.text, ret_parts->payload.size);
	return code;
}

static void compute_digest(const char *payload, size_t size, char ret_digest[DOCUMENT_DIGEST_SIZE])
{
	unsigned char digest[crypto_hash_sha256_BYTES];

	(void)crypto_hash_sha256(digest, (const unsigned char *)payload, size);
	(void)sodium_bin2hex(ret_digest, DOCUMENT_DIGEST_SIZE, digest, sizeof(digest));
}

static bool is_document(const cJSON *payload, const char *instance, struct document *document)
{
	const cJSON *commands;
	const char *name;
	int64_t version, issued;

	document->dry_run = false;
	return json_get_integer(payload, "v", &version) == 0 && version == 1 &&
	       json_get_string(payload, "instance", &name) == 0 && strcmp(name, instance) == 0 &&
	       json_get_integer(payload, "seq", &document->seq) == 0 && document->seq >= 1 &&
	       json_get_integer(payload, "issued", &issued) == 0 &&
	       json_get_integer(payload, "expires", &document->expires) == 0 &&
	       json_get_bool(payload, "dry_run", &document->dry_run) != -EBADMSG &&
	       json_get_array(payload, "commands", &commands) == 0;
}

/*
 * The number that a document claims which is not trusted: only to get above it. Instances take a number at most 65,536
 * above their newest one, so whoever forges high numbers wins nothing.
 */
static int64_t guess_seq(const struct http_answer *answer, const struct pin *pin)
{
	cleanup_json cJSON *payload = NULL;
	struct signed_text parts;
	int64_t seq;

	if (signed_text_split(answer->body.bytes, answer->body.size, &parts) != CODE_OK ||
		json_parse_object(parts.payload.text, parts.payload.size, &payload) < 0 ||
		json_get_integer(payload, "seq", &seq) < 0 || seq < pin->seq || seq > pin->seq + DOCUMENT_SEQ_STEP)
		return 0;
	return seq;
}

/* From now on an older one is told from it. */
static enum cli_exit see_document(struct cli *cli, struct pin *pin, const struct document *document)
{
	if (document->seq == pin->seq)
		return CLI_OK;
	pin->seq = document->seq;
	pin->expires = document->expires;
	return pin_save(cli, pin);
}

enum cli_exit document_load(struct cli *cli, struct pin *pin, struct document *ret_document)
{
	cleanup_http_answer struct http_answer answer = {0};
	struct signed_text parts;
	enum cli_exit r;
	char path[192];

	*ret_document = (struct document){0};
	(void)snprintf(path, sizeof(path), "/instances/%s/document", pin->instance);
	r = http_exchange(cli, &(struct http_request){.method = "GET", .path = path}, false, &answer);
	if (r != CLI_OK)
		return r;
	if (answer.status == 404 && pin->expires > cli_now()) {
		complain("the endpoint has lost the document of %s: number %" PRIi64 " is known and has not expired",
			pin->instance, pin->seq);
		return CLI_TRUST;
	}
	if (answer.status == 404)
		return CLI_OK;
	if (answer.status != 200)
		return http_unexpected("document", &answer);
	(void)snprintf(ret_document->etag, sizeof(ret_document->etag), "%s", answer.etag);
	enum code code = check_signature(cli, pin->instance, answer.body.bytes, answer.body.size, &parts, &r);
	if (r != CLI_OK)
		return r;
	if (code != CODE_OK) {
		complain("the document of %s at the endpoint is not to be trusted: %s", pin->instance, code_name(code));
		ret_document->seq = guess_seq(&answer, pin);
		return CLI_TRUST;
	}
	if (json_parse_object(parts.payload.text, parts.payload.size, &ret_document->payload) < 0 ||
		!is_document(ret_document->payload, pin->instance, ret_document)) {
		complain("the document of %s at the endpoint is malformed, although rightly signed", pin->instance);
		document_free(ret_document);
		return CLI_TRUST;
	}
	compute_digest(parts.payload.text, parts.payload.size, ret_document->digest);
	if (ret_document->seq >= pin->seq)
		return see_document(cli, pin, ret_document);
	document_free(ret_document);
	if (pin->expires > cli_now()) {
		complain("the endpoint offers an old document of %s: number %" PRIi64 ", and %" PRIi64 " is known",
			pin->instance, ret_document->seq, pin->seq);
		return CLI_TRUST;
	}
	/* Whatever pended was carried on in the known one, and its time is over. */
	note("the endpoint offers an old document of %s: number %" PRIi64 ", and %" PRIi64
	     " is known: nothing of it is carried on",
		pin->instance, ret_document->seq, pin->seq);
	return CLI_OK;
}

const cJSON *document_find(const struct document *document, const char *id)
{
	const cJSON *commands, *command;
	const char *other;

	if (!document->payload || json_get_array(document->payload, "commands", &commands) < 0)
		return NULL;
	cJSON_ArrayForEach(command, commands)
	{
		if (json_get_string(command, "id", &other) == 0 && strcmp(other, id) == 0)
			return command;
	}
	return NULL;
}

void document_free(struct document *document)
{
	cJSON_Delete(document->payload);
	document->payload = NULL;
}

static void put_environment(
	char text[256], const char *name, const char *value, const char **environment, unsigned *count)
{
	if (!value)
		return;
	int size = snprintf(text, 256, "%s=%s", name, value);
	if (size > 0 && size < 256)
		environment[(*count)++] = text;
}

/* Appends the armour. The key may be in an agent, so that ssh-keygen signs and not we. */
static enum cli_exit run_ssh_keygen(struct cli *cli, struct buffer *text)
{
	cleanup_process_result struct process_result result = {0};
	const char *environment[6] = {NULL};
	char lines[4][256];
	unsigned count = 0;

	put_environment(lines[0], "SSH_AUTH_SOCK", cli->ssh_auth_sock, environment, &count);
	put_environment(lines[1], "DISPLAY", cli->display, environment, &count);
	/* It has no terminal: without an askpass program a passphrase must fail at once and not hang. */
	put_environment(
		lines[2], "SSH_ASKPASS", cli->ssh_askpass ? cli->ssh_askpass : "/bin/false", environment, &count);
	put_environment(lines[3], "SSH_ASKPASS_REQUIRE", "force", environment, &count);
	const struct process process = {
		.path = "/usr/bin/ssh-keygen",
		.argv = (const char *const[]){"ssh-keygen", "-q", "-Y", "sign", "-n", SSHSIG_DOCUMENT, "-f",
			cli->settings.signing_key, NULL},
		.environment = environment,
		.working_directory = -1,
		.input = text->bytes,
		.input_size = text->size,
		.output_limit = ARMOUR_MAX,
		.timeout_ms = SIGN_TIMEOUT_MS,
		.capabilities = PROCESS_CAPABILITIES_KEEP,
		.inherit_error = true,
	};
	int r = process_run(&process, &result);
	if (r < 0 || !process_exited(&result, 0)) {
		complain("ssh-keygen could not sign with %s%s%s", cli->settings.signing_key, r < 0 ? ": " : "",
			r < 0 ? strerror(-r) : " (a key with a passphrase must be in ssh-agent: ssh-add)");
		return CLI_LOCAL;
	}
	buffer_append(text, result.output.bytes, result.output.size);
	return CLI_OK;
}

enum cli_exit document_sign(
	struct cli *cli, const struct document_draft *draft, struct buffer *text, char ret_digest[DOCUMENT_DIGEST_SIZE])
{
	struct json_writer writer = {text, false};
	struct signed_text parts;

	json_begin_object(&writer, NULL);
	json_put_integer(&writer, "v", 1);
	json_put_string(&writer, "instance", draft->instance);
	json_put_integer(&writer, "seq", draft->seq);
	json_put_integer(&writer, "issued", draft->issued);
	json_put_integer(&writer, "expires", draft->expires);
	json_put_string(&writer, "actor", draft->actor);
	if (draft->carried) {
		json_put_bool(&writer, "dry_run", true);
		json_put_value(&writer, FOLD_CARRIED, draft->carried);
	}
	json_put_value(&writer, "commands", draft->commands);
	json_end_object(&writer);
	buffer_append_text(text, "\n");
	if (buffer_status(text) < 0) {
		complain("out of memory");
		return CLI_LOCAL;
	}
	compute_digest(text->bytes, text->size, ret_digest);
	enum cli_exit r = run_ssh_keygen(cli, text);
	if (r != CLI_OK)
		return r;
	if (buffer_status(text) < 0 || text->size > SIGNED_TEXT_MAX) {
		complain("the document is larger than 1 MiB");
		return CLI_LOCAL;
	}
	enum code code = check_signature(cli, draft->instance, text->bytes, text->size, &parts, &r);
	if (r != CLI_OK)
		return r;
	if (code != CODE_OK) {
		complain("your own signature would not be accepted (%s): %s/allowed_signers must list your Ed25519 key "
			 "for %s",
			code_name(code), cli->home_path, draft->instance);
		return CLI_TRUST;
	}
	return CLI_OK;
}
