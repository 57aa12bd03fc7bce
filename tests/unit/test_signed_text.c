/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/signed_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define B SIGNED_TEXT_BEGIN
#define E SIGNED_TEXT_END

static enum code split(const char *text, struct signed_text *ret)
{
	return signed_text_split(text, strlen(text), ret);
}

static void P14_missing_empty_and_two_signatures(void **state)
{
	struct signed_text text;

	(void)state;
	assert_int_equal(split("", &text), CODE_SIGNATURE_MISSING);
	assert_int_equal(split("{}\n", &text), CODE_SIGNATURE_MISSING);
	assert_int_equal(split("{}\n-----BEGIN SSH SIGNATURE-----", &text), CODE_SIGNATURE_MISSING);
	assert_int_equal(split("{} " B "x\n" E, &text), CODE_SIGNATURE_MISSING);
	assert_int_equal(split(B "x\n" E, &text), CODE_MALFORMED);
	assert_int_equal(split("{}\n" B "x\n", &text), CODE_SIGNATURE_INVALID);
	assert_int_equal(split("{}\n" B E, &text), CODE_OK); /* empty: for the signature's own parser to refuse */
	assert_int_equal(text.count, 1);
	assert_int_equal(split("{}\n" B "x\n" E B "y\n" E, &text), CODE_OK);
	assert_int_equal(text.count, 2);
	assert_int_equal(text.payload.size, 3);
	assert_memory_equal(text.signatures[1].text, B "y\n" E, strlen(B "y\n" E));
	assert_int_equal(text.signatures[1].size, strlen(B "y\n" E));
}

static void nothing_stands_between_or_behind(void **state)
{
	struct signed_text text;

	(void)state;
	assert_int_equal(split("{}\n" B "x\n" E "\n", &text), CODE_SIGNATURE_INVALID);
	assert_int_equal(split("{}\n" B "x\n" E "{}\n", &text), CODE_SIGNATURE_INVALID);
	assert_int_equal(split("{}\n" B "x\n" E " " B "y\n" E, &text), CODE_SIGNATURE_INVALID);
	assert_int_equal(split("{}\n" B "x\n-----END SSH SIGNATURE-----", &text), CODE_SIGNATURE_INVALID);
}

static void the_first_marker_line_splits(void **state)
{
	struct signed_text text;

	(void)state;
	assert_int_equal(split("{\"a\":\"-----BEGIN SSH SIGNATURE-----\"}\n" B "x\n" E, &text), CODE_OK);
	assert_int_equal(text.payload.size, strlen("{\"a\":\"-----BEGIN SSH SIGNATURE-----\"}\n"));
}

static void limits_hold(void **state)
{
	struct signed_text text;
	size_t one = strlen(B "x\n" E);
	char *many = malloc(3 + 17 * one + 1);

	(void)state;
	assert_non_null(many);
	memcpy(many, "{}\n", 3);
	for (size_t i = 0; i < 17; i++)
		memcpy(many + 3 + i * one, B "x\n" E, one);
	assert_int_equal(signed_text_split(many, 3 + 16 * one, &text), CODE_OK);
	assert_int_equal(text.count, 16);
	assert_int_equal(signed_text_split(many, 3 + 17 * one, &text), CODE_SIGNATURE_INVALID);
	free(many);
	assert_int_equal(signed_text_split("", SIGNED_TEXT_MAX + 1, &text), CODE_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P14_missing_empty_and_two_signatures),
		cmocka_unit_test(nothing_stands_between_or_behind),
		cmocka_unit_test(the_first_marker_line_splits),
		cmocka_unit_test(limits_hold),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
