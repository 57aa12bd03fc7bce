/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sealed_password.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct sealed_password_binding binding = {"i-1", "c1", "alice"};

static struct secret secret_of(const char *text)
{
	struct secret secret;
	assert_int_equal(secret_allocate(strlen(text), &secret), 0);
	memcpy(secret.bytes, text, strlen(text));
	return secret;
}

static void round_trip(const char *text, bool is_hash)
{
	cleanup_secret struct secret key = {0}, value = secret_of(text), opened = {0};
	unsigned char public_key[SEALED_KEY_SIZE];
	cleanup_free char *sealed = NULL;
	bool was_hash = !is_hash;

	assert_int_equal(sealed_generate_key(&key, public_key), 0);
	assert_int_equal(sealed_password_seal(&binding, is_hash, &value, public_key, &sealed), 0);
	assert_int_equal(sealed_password_open(sealed, &key, &binding, &was_hash, &opened), 0);
	assert_int_equal(was_hash, is_hash);
	assert_string_equal((const char *)opened.bytes, text);
	assert_int_equal(opened.size, strlen(text));
}

static void T17_passwords_come_back_exactly(void **state)
{
	char longest[SEALED_PASSWORD_MAX + 1];

	(void)state;
	round_trip("x", false);
	round_trip("a:b'c\"d$e%f\\g/h", false);
	round_trip(" leading and trailing ", false);
	round_trip("p\xc3\xa4ssw\xc3\xb6rd \xf0\x9f\x94\x91", false);
	round_trip("$y$j9T$abc$def", true);
	memset(longest, '"', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	round_trip(longest, false);
}

static void what_cannot_be_a_password_is_not_sealed(void **state)
{
	static const char *const bad[] = {"", "a\nb", "a\rb", "a\x7f", "\x1b[0m"};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(bad); i++) {
		cleanup_secret struct secret value = secret_of(bad[i]), plain = {0};
		assert_int_equal(sealed_password_build(&binding, false, &value, &plain), -EINVAL);
	}
	char longer[SEALED_PASSWORD_MAX + 2];
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	cleanup_secret struct secret value = secret_of(longer), plain = {0};
	assert_int_equal(sealed_password_build(&binding, false, &value, &plain), -EINVAL);
}

static void another_instance_id_or_user_does_not_open(void **state)
{
	cleanup_secret struct secret key = {0}, wrong_key = {0}, value = secret_of("correct horse"), opened = {0};
	unsigned char public_key[SEALED_KEY_SIZE], wrong_public[SEALED_KEY_SIZE];
	cleanup_free char *sealed = NULL;
	bool is_hash;
	static const struct sealed_password_binding others[] = {
		{"i-2", "c1", "alice"}, {"i-1", "c2", "alice"}, {"i-1", "c1", "root"}, {"i-1", "c1", "alic"}};

	(void)state;
	assert_int_equal(sealed_generate_key(&key, public_key), 0);
	assert_int_equal(sealed_generate_key(&wrong_key, wrong_public), 0);
	assert_int_equal(sealed_password_seal(&binding, false, &value, public_key, &sealed), 0);
	for (size_t i = 0; i < ELEMENTS(others); i++)
		assert_int_equal(sealed_password_open(sealed, &key, &others[i], &is_hash, &opened), -EBADMSG);
	assert_int_equal(sealed_password_open(sealed, &wrong_key, &binding, &is_hash, &opened), -EBADMSG);
	/* cut, lengthened, one bit changed, nothing at all */
	size_t size = strlen(sealed);
	for (size_t i = 0; i < size; i++) {
		char kept = sealed[i];
		sealed[i] = kept == 'A' ? 'B' : 'A';
		assert_int_equal(sealed_password_open(sealed, &key, &binding, &is_hash, &opened), -EBADMSG);
		sealed[i] = kept;
	}
	sealed[size - 4] = '\0';
	assert_int_equal(sealed_password_open(sealed, &key, &binding, &is_hash, &opened), -EBADMSG);
	assert_int_equal(sealed_password_open("", &key, &binding, &is_hash, &opened), -EBADMSG);
	assert_null(opened.bytes);
}

static int read_text(const char *text, const char **ret_value, struct secret *opened)
{
	cleanup_secret struct secret plain = secret_of(text);
	bool is_hash;
	int r = sealed_password_read(&plain, &binding, &is_hash, opened);
	*ret_value = r == 0 ? (const char *)opened->bytes : NULL;
	return r;
}

static void the_reader_is_strict(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"{\"instance\":\"i-1\",\"id\":\"c1\",\"user\":\"alice\"}",
		"{\"instance\":\"i-1\",\"id\":\"c1\",\"user\":\"alice\",\"password\":\"\"}",
		"{\"instance\":\"i-1\",\"id\":\"c1\",\"user\":\"alice\",\"password\":7}",
		"{\"instance\":\"i-1\",\"id\":\"c1\",\"user\":\"alice\",\"password\":\"x\",\"hash\":\"y\"}",
		"{\"instance\":\"i-1\",\"id\":\"c1\",\"user\":\"alice\",\"password\":\"x\",\"password\":\"y\"}",
		"{\"instance\":\"i-1\",\"id\":\"c1\",\"user\":\"alice\",\"password\":\"x\",\"extra\":\"y\"}",
		"{\"instance\":\"i-1\",\"id\":\"c1\",\"user\":\"alice\",\"user\":\"alice\",\"password\":\"x\"}",
		"{\"instance\":\"i-1\",\"id\":\"c1\",\"user\":\"alice\",\"password\":\"x\"}x",
		"{\"instance\":\"i-1\",\"id\":\"c1\",\"user\":\"alice\",\"password\":\"x\",}",
		"{\"instance\":\"i-1\",\"id\":\"c1\",\"user\":\"alice\",\"password\":\"x\"",
		"{\"instance\":\"i-1\",\"id\":\"c1\",\"user\":\"alice\",\"password\":\"a\\u0000b\"}",
		"{\"instance\":\"i-1\",\"id\":\"c1\",\"user\":\"alice\",\"password\":\"\\ud800\"}",
		"{\"instance\":\"i-1\",\"id\":\"c1\",\"user\":\"alice\",\"password\":\"\\q\"}",
		"{\"instance\":\"i-1\",\"id\":\"c1\",\"user\":\"alice\",\"password\":\"\\u12",
		"{\"instance\":\"i-1\",\"id\":\"c1\",\"user\":\"alice\",\"password\":\"a\nb\"}",
	};
	const char *value;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(bad); i++) {
		cleanup_secret struct secret opened = {0};
		assert_int_equal(read_text(bad[i], &value, &opened), -EBADMSG);
	}
	cleanup_secret struct secret opened = {0};
	assert_int_equal(
		read_text(" { \"password\" : \"\\u00e4\\ud83d\\udd11\\\"\\\\\\/\" ,\"user\":\"alice\",\"id\":\"c1\","
			  "\"instance\":\"i-1\"} \n",
			&value, &opened),
		0);
	assert_string_equal(value, "\xc3\xa4\xf0\x9f\x94\x91\"\\/");
}

static void every_short_password_has_the_same_sealed_length(void **state)
{
	cleanup_secret struct secret key = {0}, one = secret_of("12345678"),
				     two = secret_of("123456789012345678901234567");
	unsigned char public_key[SEALED_KEY_SIZE];
	cleanup_free char *first = NULL, *second = NULL;

	(void)state;
	assert_int_equal(sealed_generate_key(&key, public_key), 0);
	assert_int_equal(sealed_password_seal(&binding, false, &one, public_key, &first), 0);
	assert_int_equal(sealed_password_seal(&binding, false, &two, public_key, &second), 0);
	assert_int_equal(strlen(first), strlen(second));
	assert_string_not_equal(first, second);
}

static void weak_and_malformed_public_keys(void **state)
{
	cleanup_secret struct secret value = secret_of("x");
	unsigned char zero[SEALED_KEY_SIZE] = {0}, parsed[SEALED_KEY_SIZE];
	cleanup_free char *sealed = NULL;

	(void)state;
	assert_int_equal(sealed_password_seal(&binding, false, &value, zero, &sealed), -EINVAL);
	assert_int_equal(sealed_parse_public_key("AAAA", parsed), -EBADMSG);
	assert_int_equal(sealed_parse_public_key("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", parsed), -EBADMSG);
	assert_int_equal(sealed_parse_public_key("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", parsed), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(T17_passwords_come_back_exactly),
		cmocka_unit_test(what_cannot_be_a_password_is_not_sealed),
		cmocka_unit_test(another_instance_id_or_user_does_not_open),
		cmocka_unit_test(the_reader_is_strict),
		cmocka_unit_test(every_short_password_has_the_same_sealed_length),
		cmocka_unit_test(weak_and_malformed_public_keys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
