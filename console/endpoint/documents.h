/* SPDX-License-Identifier: Apache-2.0 */
/* What documents and the trust document have in common: entity tags, preconditions and the stored text. */
#pragma once

#include "console/endpoint/request.h"
#include "lib/json.h"
#include "lib/signed_text.h"

/* GET of a stored text: 200 with its etag, 304, or 404; the last two may be held. */
void document_answer(struct request *request, const char *instance, struct answer *answer);
/*
 * Splits the body and reads its payload: 0, or an answer of 422 and -EBADMSG. The parts point into the body.
 */
int document_read(
	struct request *request, struct signed_text *ret_parts, cJSON **ret_payload, struct answer *answer) MUST_CHECK;
/* Checks If-Match or If-None-Match and that seq is above the stored one, stores, wakes who waits, answers. */
void document_store(struct request *request, const char *instance, int64_t seq, struct answer *answer);
