/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/hash.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "plugins/account/password_policy.h"

#define A43 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A53 A43 "aaaaaaaaaa"
#define A86 A43 A43

static struct secret secret_of(const char *text)
{
	struct secret secret;
	assert_int_equal(secret_allocate(strlen(text), &secret), 0);
	memcpy(secret.bytes, text, strlen(text));
	return secret;
}

static void P33_grammar_by_method_with_cost_ceilings(void **state)
{
	static const struct {
		const char *hash;
		enum code code;
	} rows[] = {
		{"$y$j9T$abcdefgh$" A43, CODE_OK},
		{"$y$j75$abcdefgh$" A43, CODE_OK},
		{"$y$jBT$abcdefgh$" A43, CODE_OK},
		{"$y$jCT$abcdefgh$" A43, CODE_HASH_COST},
		{"$y$jFT$abcdefgh$" A43, CODE_HASH_COST},
		{"$gy$j9T$abcdefgh$" A43, CODE_OK},
		{"$y$j9T$abcdefgh$" A43 "a", CODE_HASH_INVALID},
		{"$y$j9T$$" A43, CODE_HASH_INVALID},
		{"$y$j9T$abcdefgh", CODE_HASH_INVALID},
		{"$6$abcdefgh$" A86, CODE_OK},
		{"$6$rounds=5000000$abcdefgh$" A86, CODE_OK},
		{"$6$rounds=5000001$abcdefgh$" A86, CODE_HASH_COST},
		{"$6$rounds=999999999$abcdefgh$" A86, CODE_HASH_COST},
		{"$6$rounds=99999999999999999999$abcdefgh$" A86, CODE_HASH_INVALID},
		{"$6$rounds=0$abcdefgh$" A86, CODE_HASH_INVALID},
		{"$6$rounds=999$abcdefgh$" A86, CODE_HASH_INVALID},
		{"$6$abcdefgh$" A43, CODE_HASH_INVALID},
		{"$6$x:y$" A86, CODE_HASH_INVALID},
		{"$6$salt$short", CODE_HASH_INVALID},
		{"$6$seventeencharsss7$" A86, CODE_HASH_INVALID},
		{"$5$abcdefgh$" A43, CODE_OK},
		{"$2b$10$" A53, CODE_OK},
		{"$2y$14$" A53, CODE_OK},
		{"$2b$15$" A53, CODE_HASH_COST},
		{"$2b$99$" A53, CODE_HASH_INVALID},
		{"$2b$10$short", CODE_HASH_INVALID},
		{"$2x$10$" A53, CODE_HASH_UNSUPPORTED},
		{"$1$ab$aaaaaaaaaaaaaaaaaaaaaa", CODE_HASH_UNSUPPORTED},
		{"$7$CU..../....abcd$" A43, CODE_HASH_UNSUPPORTED},
		{"$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", CODE_HASH_UNSUPPORTED},
		{"abcdefghijklm", CODE_HASH_UNSUPPORTED},
		{"", CODE_HASH_INVALID},
		{"*", CODE_HASH_INVALID},
		{"!", CODE_HASH_INVALID},
		{"!$6$abcdefgh$" A86, CODE_HASH_INVALID},
		{"x", CODE_HASH_INVALID},
		{":", CODE_HASH_INVALID},
		{"aaa\nroot:$6$abcdefgh$" A86, CODE_HASH_INVALID},
		{"$6$abcdefgh$" A86 "\n", CODE_HASH_INVALID},
		{"$6$abcdefgh$" A86 " ", CODE_HASH_INVALID},
		{"$6$abc\xc3\xa4$" A86, CODE_HASH_INVALID},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		enum code code = hash_check(rows[i].hash);
		if (code != rows[i].code)
			fail_msg("%s: %s instead of %s", rows[i].hash, code_name(code), code_name(rows[i].code));
	}
}

static void a_hash_of_384_bytes_is_too_long(void **state)
{
	char hash[HASH_SIZE_MAX + 1];

	(void)state;
	memset(hash, 'a', sizeof(hash) - 1);
	hash[sizeof(hash) - 1] = '\0';
	memcpy(hash, "$y$j9T$", 7);
	assert_int_equal(hash_check(hash), CODE_HASH_INVALID);
}

static void P33_what_is_made_passes_the_own_check(void **state)
{
	cleanup_secret struct secret password = secret_of("p\xc3\xa4ss: word\\"),
				     again = secret_of("p\xc3\xa4ss: word\\");
	char first[HASH_SIZE_MAX + 1], second[HASH_SIZE_MAX + 1];

	(void)state;
	assert_int_equal(hash_make(&password, first), 0);
	assert_int_equal(hash_make(&again, second), 0);
	assert_int_equal(hash_check(first), CODE_OK);
	assert_string_not_equal(first, second);
}

static void a_password_that_crypt_would_cut_is_refused(void **state)
{
	cleanup_secret struct secret longest = {0}, inner = secret_of("abcd");
	char hash[HASH_SIZE_MAX + 1] = "untouched";

	(void)state;
	assert_int_equal(secret_allocate(HASH_PASSWORD_MAX + 1, &longest), 0);
	memset(longest.bytes, 'a', longest.size);
	assert_int_equal(hash_make(&longest, hash), -E2BIG);
	inner.bytes[2] = '\0';
	assert_int_equal(hash_make(&inner, hash), -E2BIG);
	assert_string_equal(hash, "untouched");
}

static void P64_password_policy(void **state)
{
	static const struct {
		const char *password;
		bool good;
	} rows[] = {
		{"Correct-7", true},
		{"Aa1-567", false},
		{"Aa1-5678", true},
		{"alllowercase", false},
		{"lower1234", false},
		{"lower-1234", true},
		{"p\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
		 "1",
			true},
		{"p\xc3\xa4\xc3\xa4\xc3\xa4"
		 "1A",
			false}, /* six characters in nine bytes */
		{"password1!A", false},
		{"P@ssw0rd!!", false},
		{"Qwerty-123", false},
		{"Ab-123456789", false},
		{"Alice-Bob-9", true},
		{"Tab\there-1", false},
		{"C1-\xc2\x9b"
		 "abcdefg1",
			false},
		{"Esc\x1b[0m-123", false},
	};
	const struct password_policy policy = {8, 128, 3}, open = {1, 128, 1};
	char longest[130];

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		cleanup_secret struct secret password = secret_of(rows[i].password);
		const char *why = password_policy_check(&policy, &password, "alice");
		if ((why == NULL) != rows[i].good)
			fail_msg("row %zu: %s", i, why ? why : "good");
	}
	static const char *const names[] = {"alice", "ecila", "ALICE", "Ecila"};
	for (size_t i = 0; i < ELEMENTS(names); i++) {
		cleanup_secret struct secret password = secret_of(names[i]);
		assert_non_null(password_policy_check(&open, &password, "alice"));
	}
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "Aa1-", 4);
	longest[129] = '\0';
	cleanup_secret struct secret over = secret_of(longest);
	assert_non_null(password_policy_check(&policy, &over, "alice"));
	longest[128] = '\0';
	cleanup_secret struct secret just = secret_of(longest);
	assert_null(password_policy_check(&policy, &just, "alice"));
}

static void P64_generated_passwords_have_all_classes(void **state)
{
	const struct password_policy strict = {12, 64, 4};
	unsigned seen[256] = {0};

	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		cleanup_secret struct secret password = {0};
		unsigned length = 12 + round % 53;
		assert_int_equal(password_generate(length, &password), 0);
		assert_int_equal(password.size, length);
		assert_null(password_policy_check(&strict, &password, "alice"));
		for (size_t i = 0; i < password.size; i++)
			seen[password.bytes[i]]++;
	}
	/* 2,000 × 38 characters over 67: none can be missing, none of the ambiguous ones is there */
	for (const char *at = "abcxyzABCXYZ23456789-_#"; *at; at++)
		assert_true(seen[(unsigned char)*at] > 500);
	for (const char *at = "0O1Il\"'`\\ "; *at; at++)
		assert_int_equal(seen[(unsigned char)*at], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P33_grammar_by_method_with_cost_ceilings),
		cmocka_unit_test(a_hash_of_384_bytes_is_too_long),
		cmocka_unit_test(P33_what_is_made_passes_the_own_check),
		cmocka_unit_test(a_password_that_crypt_would_cut_is_refused),
		cmocka_unit_test(P64_password_policy),
		cmocka_unit_test(P64_generated_passwords_have_all_classes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
