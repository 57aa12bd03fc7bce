/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

#include "console/endpoint/routes.h"
#include "console/endpoint/token.h"
#include "lib/field.h"
#include "lib/identity.h"
#include "lib/json.h"
#include "lib/log.h"

void handle_get_identity(struct request *request, struct answer *answer)
{
	cleanup_store_instance struct store_instance instance = {0};

	int r = store_get_instance(request->server->store, request->instance, &instance);
	if (r < 0 && r != -ENOENT) {
		answer_failure(answer, r);
		return;
	}
	if (r == -ENOENT || !instance.identity) {
		answer_error(answer, MHD_HTTP_NOT_FOUND,
			r == -ENOENT ? "there is no such instance" : "the instance has not registered yet");
		return;
	}
	size_t size = instance.identity_size;
	answer_text(answer, MHD_HTTP_OK, steal_pointer(&instance.identity), size);
}

/* The first identity, with the secret that the operator was shown. */
static bool may_enrol(const struct request *request, const struct store_instance *instance)
{
	const char *secret = request_header(request, "Latchkey-Enrol");
	unsigned char hash[STORE_HASH_SIZE];

	if (!secret)
		return false;
	token_hash(secret, hash);
	return sodium_memcmp(hash, instance->enrol_hash, sizeof(hash)) == 0;
}

static void latch(struct request *request, unsigned status, const struct identity *identity, struct answer *answer)
{
	int r = store_put_identity(request->server->store, request->instance, request->body.bytes, request->body.size);
	if (r < 0) {
		answer_failure(answer, r);
		return;
	}
	log_notice("identity of %s: generation %" PRIi64 ", %s, %s", request->instance, identity->generation,
		identity->fingerprint, status == MHD_HTTP_CREATED ? "latched" : "renewed");
	answer->status = status;
}

/* Another text than the latched one: taken from the same key when it does not go back. */
static void renew(struct request *request, const struct store_instance *instance, const struct identity *offered,
	struct answer *answer)
{
	cleanup_identity struct identity latched = {0};

	if (identity_read(instance->identity, instance->identity_size, &latched) != CODE_OK) {
		answer_failure(answer, -EIO);
		return;
	}
	bool same_key = latched.sign.blob_size == offered->sign.blob_size &&
			memcmp(latched.sign.blob, offered->sign.blob, latched.sign.blob_size) == 0;
	bool same_box = memcmp(latched.box, offered->box, sizeof(latched.box)) == 0;
	/* Within a generation the box must stay; host keys and the agent's version may change. */
	if (same_key &&
		(offered->generation > latched.generation || (offered->generation == latched.generation && same_box))) {
		latch(request, MHD_HTTP_OK, offered, answer);
		return;
	}
	log_warning("identity of %s refused: %s (generation %" PRIi64 ", latched %" PRIi64 ")", request->instance,
		same_key ? "an older or different one of the latched key" : "another key is latched",
		offered->generation, latched.generation);
	answer_error(answer, MHD_HTTP_CONFLICT, "%s",
		same_key ? "this key's identity of a later generation is latched"
			 : "another identity is latched; the operator can reset the instance");
}

void handle_put_identity(struct request *request, struct answer *answer)
{
	cleanup_store_instance struct store_instance instance = {0};
	cleanup_identity struct identity identity = {0};

	enum code code = identity_read(request->body.bytes, request->body.size, &identity);
	if (code != CODE_OK) {
		answer_error(answer, MHD_HTTP_UNPROCESSABLE_CONTENT, "not a good identity: %s", code_name(code));
		return;
	}
	if (strcmp(identity.instance, request->instance) != 0) {
		answer_error(answer, MHD_HTTP_UNPROCESSABLE_CONTENT, "the identity is of another instance");
		return;
	}
	int r = store_get_instance(request->server->store, request->instance, &instance);
	if (r < 0 && r != -ENOENT) {
		answer_failure(answer, r);
		return;
	}
	if (r == -ENOENT) {
		log_warning("identity of %s refused: nobody created that instance", request->instance);
		answer_error(answer, MHD_HTTP_FORBIDDEN, "no operator has created this instance");
	} else if (!instance.identity && !may_enrol(request, &instance)) {
		log_warning("identity of %s refused: the enrolment secret does not fit", request->instance);
		answer_error(answer, MHD_HTTP_FORBIDDEN, "the enrolment secret is missing or does not fit");
	} else if (!instance.identity) {
		latch(request, MHD_HTTP_CREATED, &identity, answer);
	} else if (instance.identity_size == request->body.size &&
		   memcmp(instance.identity, request->body.bytes, request->body.size) == 0) {
		answer->status = MHD_HTTP_OK;
	} else {
		renew(request, &instance, &identity, answer);
	}
}

static int put_name(void *context, const char *name, const char *text)
{
	(void)text;
	json_put_string(context, NULL, name);
	return 0;
}

void handle_get_instances(struct request *request, struct answer *answer)
{
	cleanup_buffer struct buffer json = {0};
	struct json_writer writer = {&json, false};

	json_begin_object(&writer, NULL);
	json_begin_array(&writer, "instances");
	int r = store_list_instances(request->server->store, put_name, &writer);
	if (r < 0) {
		answer_failure(answer, r);
		return;
	}
	json_end_array(&writer);
	json_end_object(&writer);
	answer_json(answer, MHD_HTTP_OK, &json);
}

static void answer_enrol(struct answer *answer, unsigned status, const char *instance, const char *secret)
{
	cleanup_buffer struct buffer json = {0};
	struct json_writer writer = {&json, false};

	json_begin_object(&writer, NULL);
	json_put_string(&writer, "instance", instance);
	json_put_string(&writer, "enrol", secret);
	json_end_object(&writer);
	answer_json(answer, status, &json);
}

void handle_post_instances(struct request *request, struct answer *answer)
{
	static const char *const members[] = {"instance", NULL};
	char secret[TOKEN_TEXT_SIZE];
	unsigned char hash[STORE_HASH_SIZE];
	cleanup_json cJSON *body = NULL;
	const char *name;

	int r = json_parse_object(request->body.bytes, request->body.size, &body);
	if (r == -ENOMEM) {
		answer_failure(answer, r);
		return;
	}
	if (r < 0 || json_only_members(body, members, NULL) < 0 || json_get_string(body, "instance", &name) < 0 ||
		!field_is_instance(name)) {
		answer_error(answer, MHD_HTTP_UNPROCESSABLE_CONTENT, "the body must be {\"instance\":\"ID\"}");
		return;
	}
	token_make(secret, hash);
	r = store_add_instance(request->server->store, name, hash, time(NULL));
	if (r == -EEXIST) {
		answer_error(answer, MHD_HTTP_CONFLICT, "the instance %s exists", name);
		return;
	}
	if (r < 0) {
		answer_failure(answer, r);
		return;
	}
	log_info("instance %s created by %s", name, request->token_name);
	answer_enrol(answer, MHD_HTTP_CREATED, name, secret);
	explicit_bzero(secret, sizeof(secret));
}

void handle_post_reset(struct request *request, struct answer *answer)
{
	char secret[TOKEN_TEXT_SIZE];
	unsigned char hash[STORE_HASH_SIZE];

	token_make(secret, hash);
	int r = store_reset_instance(request->server->store, request->instance, hash);
	if (r == -ENOENT) {
		answer_error(answer, MHD_HTTP_NOT_FOUND, "there is no instance %s", request->instance);
		return;
	}
	if (r < 0) {
		answer_failure(answer, r);
		return;
	}
	log_notice("identity of %s forgotten, by %s", request->instance, request->token_name);
	answer_enrol(answer, MHD_HTTP_OK, request->instance, secret);
	explicit_bzero(secret, sizeof(secret));
}
