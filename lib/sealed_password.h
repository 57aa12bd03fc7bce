/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is sealed for password.set and comes back from password.generate: {"instance","id","user","password"|"hash"}.
 * Built and read on the secret's own bytes, so that no part of it ever lies in the heap of a JSON library. The names
 * bind a ciphertext to one command of one instance: one that was moved elsewhere does not open.
 */
#pragma once

#include <stdbool.h>

#include "lib/sealed.h"
#include "lib/secret.h"

#define SEALED_PASSWORD_MAX 512u /* bytes of a password or hash; the policy's own limits are lower */

struct sealed_password_binding {
	const char *instance, *id, *user;
};

/*
 * Seals the value (a password, or with is_hash a hash; UTF-8 without NUL) to the public key: 0 and base64 (free);
 * -EINVAL for a value that is empty, too long or holds control characters.
 */
int sealed_password_seal(const struct sealed_password_binding *binding, bool is_hash, const struct secret *value,
	const unsigned char public_key[SEALED_KEY_SIZE], char **ret_text) MUST_CHECK;
/*
 * 0 and the value with a NUL behind it that does not count; -EBADMSG when it was not sealed to the key, is not exactly
 * that object, or names another instance, id or user (all reported as unseal_failed).
 */
int sealed_password_open(const char *text, const struct secret *key, const struct sealed_password_binding *binding,
	bool *ret_is_hash, struct secret *ret_value) MUST_CHECK;

/* The two halves without the seal, for tests. */
int sealed_password_build(const struct sealed_password_binding *binding, bool is_hash, const struct secret *value,
	struct secret *ret_plain) MUST_CHECK;
int sealed_password_read(const struct secret *plain, const struct sealed_password_binding *binding, bool *ret_is_hash,
	struct secret *ret_value) MUST_CHECK;
