/* SPDX-License-Identifier: Apache-2.0 */
#include "console/endpoint/latched.h"

#include <errno.h>
#include <string.h>

#include "console/endpoint/documents.h"
#include "lib/identity.h"
#include "lib/sshsig.h"

int latched_check(struct request *request, const char *name_space, struct answer *answer)
{
	cleanup_store_instance struct store_instance instance = {0};
	cleanup_identity struct identity identity = {0};
	cleanup_json cJSON *payload = NULL;
	struct signed_text parts;
	const char *name;

	int r = store_get_instance(request->server->store, request->instance, &instance);
	if (r < 0 && r != -ENOENT) {
		answer_failure(answer, r);
		return r;
	}
	if (r == -ENOENT || !instance.identity ||
		identity_read(instance.identity, instance.identity_size, &identity) != CODE_OK) {
		answer_error(answer, MHD_HTTP_UNAUTHORIZED, "no identity is latched for this instance");
		return -EACCES;
	}
	enum code code = sshsig_verify_text(request->body.bytes, request->body.size, name_space, identity.sign.blob,
		identity.sign.blob_size, &parts);
	if (code != CODE_OK) {
		answer_error(answer, MHD_HTTP_UNAUTHORIZED, "not signed by the latched key: %s", code_name(code));
		return -EACCES;
	}
	r = document_read(request, &parts, &payload, answer);
	if (r < 0)
		return r;
	if (json_get_string(payload, "instance", &name) < 0 || strcmp(name, request->instance) != 0) {
		answer_error(answer, MHD_HTTP_UNPROCESSABLE_CONTENT, "the text is of another instance");
		return -EBADMSG;
	}
	return 0;
}
