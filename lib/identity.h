/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An instance's identity: the signed text {"v":1,"instance","generation","sign","box","host_keys","agent"}, made with
 * its own `sign` key in the namespace latchkey-identity@1. Who keeps one (endpoint, operator) decides whether to trust
 * it.
 */
#pragma once

#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/code.h"
#include "lib/json.h"
#include "lib/sealed.h"
#include "lib/sshkey.h"

#define IDENTITY_TEXT_MAX 65536u /* 16 host keys of the largest kind, and room */
#define IDENTITY_HOST_KEYS_MAX 16u

struct identity {
	cJSON *root; /* owned; the texts below point into it */
	const char *instance, *agent;
	int64_t generation;
	struct sshkey sign; /* Ed25519 */
	char fingerprint[SSHKEY_FINGERPRINT_SIZE];
	const char *box_text;
	unsigned char box[SEALED_KEY_SIZE];
	const cJSON *host_keys; /* array of public key lines */
};

/* OK when the text is whole, exactly of this shape and signed by its own key; a document code otherwise. */
enum code identity_read(const char *text, size_t size, struct identity *ret_identity);
void identity_free(struct identity *identity);
#define cleanup_identity CLEANUP(identity_free)
