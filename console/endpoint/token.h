/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random secrets that are shown once and stored hashed: bearer tokens and enrolment secrets. They have 256 random bits,
 * so a plain SHA-256 is enough; what is compared is the hash, so no comparison's time says anything.
 */
#pragma once

#include "console/endpoint/store.h"

#define TOKEN_TEXT_SIZE 44u /* 43 characters of URL-safe base64 and NUL */

void token_make(char ret_text[TOKEN_TEXT_SIZE], unsigned char ret_hash[STORE_HASH_SIZE]);
void token_hash(const char *text, unsigned char ret_hash[STORE_HASH_SIZE]);
/* `latchkey-endpoint token add|list|delete …`, arguments after "token"; an exit code. */
int token_command(struct store *store, int argc, char **argv, int64_t now);
