/* SPDX-License-Identifier: Apache-2.0 */
#include "console/endpoint/documents.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "console/endpoint/routes.h"
#include "lib/log.h"
#include "lib/sshsig.h"

#define ETAG_BYTES 16u

void document_answer(struct request *request, const char *instance, struct answer *answer)
{
	const char *known = request_header(request, "If-None-Match");
	cleanup_store_document struct store_document document = {0};

	int r = store_get_document(request->server->store, instance, &document);
	if (r < 0 && r != -ENOENT) {
		answer_failure(answer, r);
		return;
	}
	answer->topic = HOLD_DOCUMENT;
	if (r == -ENOENT) {
		answer_error(answer, MHD_HTTP_NOT_FOUND, "there is no document");
		answer->may_hold = true;
		return;
	}
	memcpy(answer->etag, document.etag, sizeof(answer->etag));
	if (known && request_etag_matches(known, document.etag)) {
		answer->status = MHD_HTTP_NOT_MODIFIED;
		answer->may_hold = true;
		return;
	}
	answer_text(answer, MHD_HTTP_OK, steal_pointer(&document.text), document.size);
}

void handle_get_document(struct request *request, struct answer *answer)
{
	document_answer(request, request->instance, answer);
}

int document_read(struct request *request, struct signed_text *ret_parts, cJSON **ret_payload, struct answer *answer)
{
	enum code code = signed_text_split(request->body.bytes, request->body.size, ret_parts);
	if (code != CODE_OK) {
		answer_error(answer, MHD_HTTP_UNPROCESSABLE_CONTENT, "not a signed text: %s", code_name(code));
		return -EBADMSG;
	}
	int r = json_parse_object(ret_parts->payload.text, ret_parts->payload.size, ret_payload);
	if (r == -ENOMEM)
		answer_failure(answer, r);
	else if (r < 0)
		answer_error(answer, MHD_HTTP_UNPROCESSABLE_CONTENT, "the payload is not one strict JSON object");
	return r;
}

/* The etag that the stored document must have; -ESTALE and an answer when the request's precondition fails. */
static int check_precondition(struct request *request, const struct store_document *stored, struct answer *answer)
{
	const char *match = request_header(request, "If-Match");
	const char *none_match = request_header(request, "If-None-Match");

	if (match && stored->text && request_etag_matches(match, stored->etag))
		return 0;
	if (!match && none_match && strcmp(none_match, "*") == 0 && !stored->text)
		return 0;
	memcpy(answer->etag, stored->etag, sizeof(answer->etag));
	if (!match && !none_match)
		answer_error(answer, MHD_HTTP_PRECONDITION_FAILED, "If-Match or \"If-None-Match: *\" is needed");
	else
		answer_error(answer, MHD_HTTP_PRECONDITION_FAILED,
			stored->text ? "there is another document now: read it again" : "there is no document");
	return -ESTALE;
}

void document_store(struct request *request, const char *instance, int64_t seq, struct answer *answer)
{
	cleanup_store_document struct store_document stored = {0};
	unsigned char digest[crypto_hash_sha256_BYTES];
	char hex[2 * ETAG_BYTES + 1];
	struct store_document document = {.seq = seq, .text = request->body.bytes, .size = request->body.size};

	int r = store_get_document(request->server->store, instance, &stored);
	if (r < 0 && r != -ENOENT) {
		answer_failure(answer, r);
		return;
	}
	if (check_precondition(request, &stored, answer) < 0)
		return;
	if (stored.text && seq <= stored.seq) {
		answer_error(answer, MHD_HTTP_UNPROCESSABLE_CONTENT, "%" PRIi64 " is not above the stored %" PRIi64,
			seq, stored.seq);
		return;
	}
	(void)crypto_hash_sha256(digest, (const unsigned char *)document.text, document.size);
	(void)snprintf(
		document.etag, sizeof(document.etag), "\"%s\"", sodium_bin2hex(hex, sizeof(hex), digest, ETAG_BYTES));
	r = store_put_document(request->server->store, instance, stored.text ? stored.etag : NULL, &document);
	if (r == -ESTALE) {
		answer_error(answer, MHD_HTTP_PRECONDITION_FAILED, "there is another document now: read it again");
		return;
	}
	if (r < 0) {
		answer_failure(answer, r);
		return;
	}
	hold_wake(request->server->holds, HOLD_DOCUMENT, instance);
	answer->status = MHD_HTTP_NO_CONTENT;
	memcpy(answer->etag, document.etag, sizeof(answer->etag));
	log_info("%s %s: %" PRIi64 " stored for %s", *instance ? "document of" : "trust", instance, seq,
		request->token_name);
}

/* With --allowed-signers: one signature, by a listed key, for this instance, now. */
static int check_signer(struct request *request, const struct signed_text *parts, struct answer *answer)
{
	cleanup_sshsig struct sshsig signature = {0};
	const struct allowed_signer *signer;
	enum code code = CODE_SIGNATURE_INVALID;

	if (parts->count == 1)
		code = sshsig_parse(parts->signatures[0].text, parts->signatures[0].size, &signature);
	if (code == CODE_OK)
		code = allowed_signers_check(&request->server->signers, request->instance, SSHSIG_DOCUMENT,
			signature.key.bytes, signature.key.size, time(NULL), &signer);
	if (code == CODE_OK)
		code = sshsig_verify(&signature, SSHSIG_DOCUMENT, parts->payload.text, parts->payload.size);
	if (code == CODE_OK)
		return 0;
	answer_error(answer, MHD_HTTP_UNPROCESSABLE_CONTENT, "the signature is not accepted: %s", code_name(code));
	return -EBADMSG;
}

void handle_put_document(struct request *request, struct answer *answer)
{
	cleanup_store_instance struct store_instance instance = {0};
	cleanup_json cJSON *payload = NULL;
	struct signed_text parts;
	const char *name;
	int64_t version, seq;

	int r = store_get_instance(request->server->store, request->instance, &instance);
	if (r == -ENOENT) {
		answer_error(answer, MHD_HTTP_NOT_FOUND, "there is no instance %s: create it first", request->instance);
		return;
	}
	if (r < 0) {
		answer_failure(answer, r);
		return;
	}
	if (document_read(request, &parts, &payload, answer) < 0)
		return;
	if (json_get_integer(payload, "v", &version) < 0 || version != 1 ||
		json_get_string(payload, "instance", &name) < 0 || json_get_integer(payload, "seq", &seq) < 0 ||
		seq < 1) {
		answer_error(answer, MHD_HTTP_UNPROCESSABLE_CONTENT, "the payload has no v 1, instance and seq");
		return;
	}
	if (strcmp(name, request->instance) != 0) {
		answer_error(answer, MHD_HTTP_UNPROCESSABLE_CONTENT, "the document is for another instance");
		return;
	}
	if (request->server->check_signers && check_signer(request, &parts, answer) < 0)
		return;
	document_store(request, request->instance, seq, answer);
}
