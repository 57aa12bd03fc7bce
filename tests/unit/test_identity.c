/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/sshsig.h"

#define BOX "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

static enum code read_one(const struct secret *signer, const struct secret *key, const char *rest)
{
	cleanup_buffer struct buffer text = {0}, line = {0};
	cleanup_identity struct identity identity = {0};

	assert_int_equal(sshsig_public_line(key, &line), 0);
	buffer_append_format(&text, "{\"v\":1,\"instance\":\"i-1\",\"sign\":\"%s\"%s}\n", line.bytes, rest);
	assert_int_equal(buffer_status(&text), 0);
	assert_int_equal(sshsig_sign(signer, SSHSIG_IDENTITY, text.bytes, text.size, &text), 0);
	enum code code = identity_read(text.bytes, text.size, &identity);
	if (code == CODE_OK) {
		assert_string_equal(identity.instance, "i-1");
		assert_int_equal(identity.generation, 3);
		assert_int_equal(identity.box[31], 31);
		assert_int_equal(identity.fingerprint[0], 'S');
	}
	return code;
}

static void an_identity_is_whole_and_signed_by_itself(void **state)
{
	static const struct {
		const char *rest;
		enum code code;
	} rows[] = {
		{",\"generation\":3,\"box\":\"" BOX "\",\"host_keys\":[],\"agent\":\"1.0.0\"", CODE_OK},
		{",\"generation\":3,\"box\":\"" BOX "\",\"host_keys\":[],\"agent\":\"1.0.0\",\"more\":1",
			CODE_MALFORMED},
		{",\"generation\":-1,\"box\":\"" BOX "\",\"host_keys\":[],\"agent\":\"1.0.0\"", CODE_MALFORMED},
		{",\"generation\":3,\"box\":\"AAAA\",\"host_keys\":[],\"agent\":\"1.0.0\"", CODE_MALFORMED},
		{",\"generation\":3,\"box\":\"" BOX "\",\"host_keys\":[\"x\"],\"agent\":\"1.0.0\"", CODE_MALFORMED},
		{",\"generation\":3,\"box\":\"" BOX "\",\"host_keys\":{},\"agent\":\"1.0.0\"", CODE_MALFORMED},
		{",\"generation\":3,\"box\":\"" BOX "\",\"host_keys\":[],\"agent\":\"\\u001b\"", CODE_MALFORMED},
		{",\"generation\":3,\"box\":\"" BOX "\",\"host_keys\":[]", CODE_MALFORMED},
	};
	cleanup_secret struct secret key = {0}, other = {0};

	(void)state;
	assert_int_equal(sshsig_generate_key(&key), 0);
	assert_int_equal(sshsig_generate_key(&other), 0);
	for (size_t i = 0; i < ELEMENTS(rows); i++)
		assert_int_equal(read_one(&key, &key, rows[i].rest), rows[i].code);
	assert_int_equal(read_one(&other, &key, rows[0].rest), CODE_SIGNER_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(an_identity_is_whole_and_signed_by_itself)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
