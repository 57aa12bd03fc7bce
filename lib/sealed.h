/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets in transit: crypto_box_seal (X25519, XSalsa20-Poly1305) of the secret padded by sodium_pad to a multiple of
 * 256, in base64. Plaintext stays inside lib/secret.h on both sides.
 */
#pragma once

#include "lib/cleanup.h"
#include "lib/secret.h"

#define SEALED_KEY_SIZE 32u
#define SEALED_BLOCK 256u     /* hides the length of a password */
#define SEALED_TEXT_MAX 4096u /* base64; the manifests' field has the same limit */

/* A fresh X25519 pair: the secret holds SEALED_KEY_SIZE bytes. */
int sealed_generate_key(struct secret *ret_key, unsigned char ret_public[SEALED_KEY_SIZE]) MUST_CHECK;
/* The public half of a secret key. -EBADMSG when the secret has another size. */
int sealed_public_key(const struct secret *key, unsigned char ret_public[SEALED_KEY_SIZE]) MUST_CHECK;
/* 44 characters of base64 to a public key; -EBADMSG. */
int sealed_parse_public_key(const char *text, unsigned char ret_public[SEALED_KEY_SIZE]) MUST_CHECK;
/* 0 and base64 (free). -EFBIG when the text would be longer than SEALED_TEXT_MAX, -EINVAL for a weak public key. */
int sealed_seal(
	const struct secret *plain, const unsigned char public_key[SEALED_KEY_SIZE], char **ret_text) MUST_CHECK;
/* 0 and the plaintext without its padding; -EBADMSG for whatever was not sealed to this key, whole and padded. */
int sealed_open(const char *text, const struct secret *key, struct secret *ret_plain) MUST_CHECK;
