/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes out of a text what could be a key, a password, a token or a hash: armoured blocks, long runs of base64 or hex
 * (fingerprints excepted), crypt(5) hashes, what follows password= and its like, user information and query of a URL.
 * Rather too much than too little. Bytes that are not printable become \xNN.
 */
#pragma once

#include <stddef.h>

#include "lib/buffer.h"

#define REDACT_MARK "[redacted]"
#define REDACT_RUN 24u /* characters; 18 bytes of base64. Words and UUIDs have shorter runs */

/* `secrets` (NULL-terminated, may be NULL) are known ones, taken out wherever they stand. */
void redact(const char *text, size_t size, const char *const *secrets, struct buffer *out);
