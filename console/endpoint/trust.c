/* SPDX-License-Identifier: Apache-2.0 */
#include "console/endpoint/documents.h"
#include "console/endpoint/routes.h"

#define TRUST "" /* the key of the trust document beside the instances' ids, which are never empty */

void handle_get_trust(struct request *request, struct answer *answer)
{
	document_answer(request, TRUST, answer);
}

void handle_put_trust(struct request *request, struct answer *answer)
{
	cleanup_json cJSON *payload = NULL;
	const cJSON *signers, *revoked;
	struct signed_text parts;
	int64_t format, version;

	if (document_read(request, &parts, &payload, answer) < 0)
		return;
	if (json_get_integer(payload, "v", &format) < 0 || format != 1 ||
		json_get_integer(payload, "version", &version) < 0 || version < 1 ||
		json_get_array(payload, "signers", &signers) < 0 || json_get_array(payload, "revoked", &revoked) < 0) {
		answer_error(
			answer, MHD_HTTP_UNPROCESSABLE_CONTENT, "the payload has no v 1, version, signers and revoked");
		return;
	}
	document_store(request, TRUST, version, answer);
}
