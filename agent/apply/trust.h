/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may sign for this instance: (allowed_signers ∪ the trust document's signers) − its revoked keys. A refused
 * allowed_signers file leaves the last good one in force. The trust document is signed by `trust_threshold` different
 * keys of trust_roots; its version never goes down.
 */
#pragma once

#include "agent/apply/apply.h"
#include "lib/allowed_signers.h"

#define TRUST_REVOKED_MAX 1024u

struct trust {
	struct allowed_signers signers;
	cJSON *document; /* of the trust document in force, or NULL */
	int64_t version;
	char problem[256]; /* why the file is refused, "" when it is good */
};

/* A trust document's signers and revocations, beside what is there; its signatures are the caller's. -EBADMSG, -ENOMEM.
 */
int trust_add_document(struct trust *trust, const char *text, size_t size) MUST_CHECK;
int trust_load(const struct apply *apply, struct trust *ret_trust) MUST_CHECK;
void trust_free(struct trust *trust);
#define cleanup_trust CLEANUP(trust_free)
/* OK and the signer; signer_revoked, signer_unknown, signer_expired, no_signers with a detail. */
enum code trust_check(const struct trust *trust, const char *instance, const unsigned char *key, size_t key_size,
	int64_t now, const struct allowed_signer **ret_signer, char *detail);
