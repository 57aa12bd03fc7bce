/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A signed text: the payload, which ends in a newline, and one or more armoured SSH signatures behind it. It is split
 * before anything is parsed: the payload is every byte before the first line "-----BEGIN SSH SIGNATURE-----".
 */
#pragma once

#include <stddef.h>

#include "lib/code.h"

#define SIGNED_TEXT_MAX (1u << 20)     /* of a document; results and identities are smaller */
#define SIGNED_TEXT_SIGNATURES_MAX 16u /* more trust roots than anyone keeps */
#define SIGNED_TEXT_BEGIN "-----BEGIN SSH SIGNATURE-----\n"
#define SIGNED_TEXT_END "-----END SSH SIGNATURE-----\n"

struct signed_text_part {
	const char *text;
	size_t size;
};

struct signed_text { /* everything borrowed from the text */
	struct signed_text_part payload;
	struct signed_text_part signatures[SIGNED_TEXT_SIGNATURES_MAX]; /* each from BEGIN to END, newline included */
	unsigned count;
};

/*
 * OK; SIGNATURE_MISSING without a BEGIN line; MALFORMED for an empty payload or a text over SIGNED_TEXT_MAX;
 * SIGNATURE_INVALID for an armour that does not end, too many, or anything between or behind them.
 */
enum code signed_text_split(const char *text, size_t size, struct signed_text *ret_text);
