/* SPDX-License-Identifier: Apache-2.0 */
/* First step: who signed these bytes? Only then: what do they say, and is it for this instance, now and new? */
#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "agent/apply/apply.h"
#include "agent/apply/trust.h"
#include "lib/field.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/sshsig.h"

#define VALIDITY_MAX 604800                 /* a week: what a restored snapshot could replay */
#define SEQ_STEP_MAX 65536                  /* so that one bad document cannot use up the numbers */
#define FUTURE_MAX 300                      /* seconds that clocks may differ */
#define FLOOR_STEP_MAX (10LL * 365 * 86400) /* nor one bad document the time, where no clock says that it is bad */
#define ACTOR_MAX 128u

static void set_detail(char *detail, const char *text)
{
	(void)snprintf(detail, DETAIL_MAX + 1, "%s", text);
}

static void compute_digest(const struct signed_text_part *payload, char digest[DIGEST_SIZE])
{
	unsigned char hash[crypto_hash_sha256_BYTES];

	(void)crypto_hash_sha256(hash, (const unsigned char *)payload->text, payload->size);
	(void)sodium_bin2hex(digest, DIGEST_SIZE, hash, sizeof(hash));
}

static enum code verify_signature(
	const struct apply *apply, const struct signed_text *text, char **ret_signer, char *detail)
{
	cleanup_sshsig struct sshsig signature = {0};
	cleanup_trust struct trust trust = {0};
	const struct allowed_signer *signer;

	if (text->count != 1) {
		set_detail(detail, "a document carries exactly one signature");
		return CODE_SIGNATURE_INVALID;
	}
	enum code code = sshsig_parse(text->signatures[0].text, text->signatures[0].size, &signature);
	if (code == CODE_OK)
		code = sshsig_verify(&signature, SSHSIG_DOCUMENT, text->payload.text, text->payload.size);
	if (code != CODE_OK) {
		set_detail(detail, "the signature does not fit these bytes");
		return code;
	}
	if (trust_load(apply, &trust) < 0)
		return CODE_INTERNAL;
	code = trust_check(
		&trust, apply->instance, signature.key.bytes, signature.key.size, apply->now, &signer, detail);
	if (code != CODE_OK)
		return code;
	*ret_signer = strdup(signer->name);
	return *ret_signer ? CODE_OK : CODE_INTERNAL;
}

static int read_command(const struct apply *apply, const struct document *document, cJSON *node, unsigned position,
	struct command *command)
{
	*command = (struct command){
		.node = node, .position = position, .actor = document->actor, .until = document->expires};
	if (!cJSON_IsObject(node) || json_get_string(node, "id", &command->id) < 0 || !field_is_id(command->id) ||
		json_get_string(node, "do", &command->do_name) < 0 || !field_is_text(command->do_name, 64))
		return -EBADMSG;
	int r = json_get_integer(node, "until", &command->until);
	if (r == -EBADMSG || command->until < 0 || command->until > document->expires)
		return -EBADMSG;
	r = json_get_integer(node, "not_before", &command->not_before);
	command->times_invalid =
		r == -EBADMSG || command->not_before < 0 || (r == 0 && command->not_before >= command->until);
	r = json_get_string(node, "actor", &command->actor);
	if (r == -EBADMSG || !field_is_text(command->actor, ACTOR_MAX))
		return -EBADMSG;
	const char *user = NULL;
	if (json_get_string(node, "user", &user) == 0 && field_is_user(user))
		command->user = user;
	command->row = manifest_find(&apply->manifests, command->do_name);
	if (command->row && command->row->stage == 0)
		command->row = NULL; /* internal: never accepted in a document */
	command->stage = command->row ? command->row->stage : 1;
	return 0;
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_unique_ids(const struct document *document)
{
	cleanup_free const char **ids = calloc(document->count + 1, sizeof(*ids));

	if (!ids)
		return -ENOMEM;
	for (size_t i = 0; i < document->count; i++)
		ids[i] = document->commands[i].id;
	qsort(ids, document->count, sizeof(*ids), compare_ids);
	for (size_t i = 1; i < document->count; i++) {
		if (strcmp(ids[i - 1], ids[i]) == 0)
			return -EBADMSG;
	}
	return 0;
}

static int read_payload(const struct apply *apply, const struct signed_text_part *payload, struct document *document,
	enum code *ret_code)
{
	static const char *const members[] = {
		"v", "instance", "seq", "issued", "expires", "actor", "commands", "dry_run", NULL};
	const cJSON *member, *commands;
	int64_t version;
	cJSON *node;

	*ret_code = CODE_MALFORMED;
	int r = json_parse_object(payload->text, payload->size, &document->tree);
	if (r < 0)
		return r;
	const cJSON *root = document->tree;
	r = json_get_integer(root, "v", &version);
	if (r < 0)
		return -EBADMSG;
	if (version != 1) {
		*ret_code = CODE_VERSION;
		return -EBADMSG;
	}
	cJSON_ArrayForEach(member, root)
	{
		unsigned i;
		for (i = 0; members[i] && strcmp(members[i], member->string) != 0; i++)
			;
		if (!members[i] && strncmp(member->string, "x-", 2) != 0)
			return -EBADMSG;
	}
	document->actor = "";
	if (json_get_string(root, "instance", &document->instance) < 0 || !field_is_instance(document->instance) ||
		json_get_integer(root, "seq", &document->seq) < 0 || document->seq < 1 ||
		json_get_integer(root, "issued", &document->issued) < 0 || document->issued < 0 ||
		json_get_integer(root, "expires", &document->expires) < 0 || document->expires < document->issued ||
		json_get_string(root, "actor", &document->actor) == -EBADMSG ||
		json_get_bool(root, "dry_run", &document->dry_run) == -EBADMSG ||
		!field_is_text(document->actor, ACTOR_MAX) || json_get_array(root, "commands", &commands) < 0)
		return -EBADMSG;
	int count = cJSON_GetArraySize(commands);
	if (count > (int)DOCUMENT_COMMANDS_MAX)
		return -EBADMSG;
	document->commands = calloc((size_t)count + 1, sizeof(*document->commands));
	if (!document->commands)
		return -ENOMEM;
	cJSON_ArrayForEach(node, commands)
	{
		r = read_command(
			apply, document, node, (unsigned)document->count, &document->commands[document->count]);
		if (r < 0)
			return r;
		document->count++;
	}
	r = check_unique_ids(document);
	if (r < 0)
		return r;
	*ret_code = CODE_OK;
	return 0;
}

static enum code check_validity(const struct apply *apply, const struct document *document, char *detail)
{
	if (strcmp(document->instance, apply->instance) != 0) {
		(void)snprintf(detail, DETAIL_MAX + 1, "this is %.64s, the document is for %.64s", apply->instance,
			document->instance);
		return CODE_WRONG_INSTANCE;
	}
	/* Taken over before: there is nothing to do, and whether it would be good now is no question. */
	if (document->seq == apply->floors.seq && strcmp(document->digest, apply->floors.digest) == 0)
		return CODE_OK;
	if (document->seq <= apply->floors.seq) {
		(void)snprintf(detail, DETAIL_MAX + 1, "seq %lld is not above %lld, the newest taken over",
			(long long)document->seq, (long long)apply->floors.seq);
		return CODE_REPLAYED;
	}
	if (document->issued < apply->floors.damaged) {
		set_detail(detail, "the history was damaged since: whether this was done is not known");
		return CODE_REPLAYED;
	}
	if (document->seq > apply->floors.seq + SEQ_STEP_MAX) {
		(void)snprintf(detail, DETAIL_MAX + 1, "seq %lld is more than %d above %lld", (long long)document->seq,
			SEQ_STEP_MAX, (long long)apply->floors.seq);
		return CODE_SEQ_GAP;
	}
	if (document->expires > document->issued + VALIDITY_MAX) {
		set_detail(detail, "a document is valid for a week at most");
		return CODE_VALIDITY_TOO_LONG;
	}
	/* A clock below the floor is known wrong: the future cannot be judged by it, but the new floor must not be out
	 * of reach. */
	if (document->issued > apply->now + (apply->clock_wrong ? FLOOR_STEP_MAX : FUTURE_MAX)) {
		(void)snprintf(detail, DETAIL_MAX + 1, "issued %lld seconds ahead of this machine's %s",
			(long long)(document->issued - apply->now), apply->clock_wrong ? "newest document" : "clock");
		return CODE_NOT_YET_VALID;
	}
	if (document->expires <= apply->now) {
		set_detail(detail, "the document has expired");
		return CODE_EXPIRED;
	}
	return CODE_OK;
}

static enum code read_text(
	const struct apply *apply, const char *text, size_t size, struct signed_text *parts, struct document *document)
{
	document->text = malloc(size + 1);
	if (!document->text)
		return CODE_INTERNAL;
	memcpy(document->text, text, size);
	document->text[size] = '\0';
	document->text_size = size;
	enum code code = signed_text_split(document->text, size, parts);
	if (code == CODE_SIGNATURE_MISSING && strcmp(config_text(&apply->config, "agent", "trust"), "unsigned") == 0) {
		*parts = (struct signed_text){.payload = {document->text, size}};
		code = CODE_OK;
	}
	if (code == CODE_OK)
		compute_digest(&parts->payload, document->digest);
	else
		compute_digest(&(struct signed_text_part){document->text, size}, document->digest);
	return code;
}

enum code verify_document(const struct apply *apply, const char *text, size_t size, struct document *ret_document,
	char ret_detail[DETAIL_MAX + 1])
{
	struct signed_text parts;
	enum code code;

	*ret_document = (struct document){0};
	ret_detail[0] = '\0';
	code = read_text(apply, text, size, &parts, ret_document);
	if (policy_mode(&apply->policy) == POLICY_OFF && !apply->policy.broken) {
		set_detail(ret_detail, "[policy] mode = off");
		return CODE_MODE_OFF;
	}
	if (code != CODE_OK) {
		set_detail(ret_detail, code == CODE_SIGNATURE_MISSING ? "the document is not signed"
								      : "this is not a signed document");
		return code;
	}
	if (parts.count > 0) {
		code = verify_signature(apply, &parts, &ret_document->signer, ret_detail);
		if (code != CODE_OK)
			return code;
	}
	int r = read_payload(apply, &parts.payload, ret_document, &code);
	if (r == -ENOMEM)
		return CODE_INTERNAL;
	if (r < 0) {
		set_detail(ret_detail, code == CODE_VERSION ? "only version 1 is understood"
							    : "the document breaks the format's rules");
		return code;
	}
	return check_validity(apply, ret_document, ret_detail);
}

enum code verify_signer_again(const struct apply *apply, const struct document *document)
{
	cleanup_free char *signer = NULL;
	char detail[DETAIL_MAX + 1];
	struct signed_text parts;

	if (!document->signer || signed_text_split(document->text, document->text_size, &parts) != CODE_OK)
		return CODE_OK;
	enum code code = verify_signature(apply, &parts, &signer, detail);
	/* It was good when it was taken over: only who may sign can have changed, and time alone revokes nobody. */
	return code == CODE_SIGNER_REVOKED || code == CODE_SIGNER_UNKNOWN || code == CODE_NO_SIGNERS ? code : CODE_OK;
}

int document_read_journalled(const struct apply *apply, const char *text, size_t size, struct document *ret_document)
{
	cleanup_document struct document document = {0};
	struct signed_text parts;
	enum code code;

	if (size > SIGNED_TEXT_MAX)
		return -EBADMSG;
	document.text = malloc(size + 1);
	if (!document.text)
		return -ENOMEM;
	memcpy(document.text, text, size);
	document.text[size] = '\0';
	document.text_size = size;
	if (signed_text_split(document.text, size, &parts) != CODE_OK)
		parts = (struct signed_text){.payload = {document.text, size}};
	compute_digest(&parts.payload, document.digest);
	int r = read_payload(apply, &parts.payload, &document, &code);
	if (r < 0)
		return r;
	*ret_document = document;
	document = (struct document){0};
	return 0;
}

void document_free(struct document *document)
{
	for (size_t i = 0; i < document->count; i++) {
		free(document->commands[i].plan);
		cJSON_Delete(document->commands[i].lost);
		cJSON_Delete(document->commands[i].account);
		cJSON_Delete(document->commands[i].line);
		outcome_free(&document->commands[i].outcome);
	}
	free(document->commands);
	free(document->signer);
	free(document->text);
	cJSON_Delete(document->tree);
	*document = (struct document){0};
}
