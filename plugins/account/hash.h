/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Password hashes: what may be written to shadow, and making one. Accepted are yescrypt and gost-yescrypt, SHA-512 and
 * SHA-256, and bcrypt (2a, 2b, 2y), in crypt(5)'s own grammar, when the local libcrypt has the method and the cost is
 * within bounds: a hash that takes minutes to check is a lock-out.
 */
#pragma once

#include <stdbool.h>

#include "lib/code.h"
#include "lib/secret.h"

#define HASH_SIZE_MAX 384u      /* CRYPT_OUTPUT_SIZE; the manifest's field has the same limit */
#define HASH_SHA_ROUNDS 100000u /* 19 ms, about as long as yescrypt's default */
#define HASH_SHA_ROUNDS_MAX 5000000u
#define HASH_BCRYPT_COST_MAX 14u
#define HASH_PASSWORD_MAX 511u /* bytes; crypt(3) takes no more */

/* OK, HASH_INVALID (grammar, also empty and `*`), HASH_UNSUPPORTED (weak or unknown here), HASH_COST. */
enum code hash_check(const char *hash);
/*
 * The hash of a password (a NUL stands behind its bytes), checked against the password before it is returned. yescrypt
 * where libcrypt has it, else SHA-512. The caller wipes. -E2BIG for a password that crypt(3) would not take whole.
 */
int hash_make(const struct secret *password, char ret_hash[HASH_SIZE_MAX + 1]) MUST_CHECK;
