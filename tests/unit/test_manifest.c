/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "lib/manifest.h"

static enum code check_command(const char *text, char detail[DETAIL_MAX + 1])
{
	cleanup_manifest_set struct manifest_set set = {0};
	cleanup_json cJSON *command = NULL;
	const char *name;

	assert_int_equal(manifest_set_load(&set), 0);
	if (json_parse_object(text, strlen(text), &command) < 0)
		fail_msg("not JSON: %s", text);
	assert_int_equal(json_get_string(command, "do", &name), 0);
	const struct manifest_command *row = manifest_find(&set, name);
	return row ? manifest_check(row, command, detail) : CODE_UNKNOWN_COMMAND;
}

static void P7_every_field_is_checked_by_its_type(void **state)
{
	static const struct {
		enum code code;
		const char *text;
	} cases[] = {
		{CODE_OK, "{\"do\":\"user.ensure\",\"user\":\"alice\"}"},
		{CODE_OK, "{\"do\":\"keys.unbind\",\"user\":\"Alice.B\",\"keypair\":\"laptop-1\"}"},
		{CODE_OK, "{\"do\":\"sshd.set\",\"password_auth\":false}"},
		{CODE_UNKNOWN_COMMAND, "{\"do\":\"user.nothing\"}"},
		{CODE_UNKNOWN_FIELD, "{\"do\":\"user.ensure\",\"user\":\"a\",\"Gecos\":\"x\"}"},
		{CODE_FIELD_MISSING, "{\"do\":\"user.ensure\"}"},
		{CODE_FIELD_MISSING, "{\"do\":\"sshd.set\"}"},
		{CODE_FIELD_MISSING, "{\"do\":\"sshd.set\",\"confirm_within\":5}"},
		{CODE_FIELD_INVALID, "{\"do\":\"sshd.set\",\"password_auth\":\"false\"}"},
		{CODE_FIELD_INVALID, "{\"do\":\"sshd.set\",\"password_auth\":0}"},
		{CODE_FIELD_INVALID, "{\"do\":\"sshd.set\",\"permit_root_login\":\"without\"}"},
		{CODE_FIELD_INVALID, "{\"do\":\"user.ensure\",\"user\":\"a\",\"gecos\":\"x:0:0\"}"},
		{CODE_FIELD_INVALID, "{\"do\":\"user.ensure\",\"user\":\"a\",\"uid\":999}"},
		{CODE_FIELD_INVALID, "{\"do\":\"user.ensure\",\"user\":\"a\",\"uid\":60001}"},
		{CODE_FIELD_INVALID, "{\"do\":\"user.ensure\",\"user\":\"a\",\"groups\":\"dev\"}"},
		{CODE_FIELD_INVALID, "{\"do\":\"user.ensure\",\"user\":\"a\",\"groups\":[\"a b\"]}"},
		{CODE_FIELD_INVALID,
			"{\"do\":\"keys.bind\",\"user\":\"a\",\"keypair\":\"l\",\"key\":\"k\",\"from\":[\"*\"]}"},
		{CODE_OK, "{\"do\":\"keys.bind\",\"user\":\"a\",\"keypair\":\"l\",\"key\":\"k\",\"from\":[\"10.0.0.0/"
			  "8\",\"::1\"]}"},
		{CODE_NAME_INVALID, "{\"do\":\"keys.bind\",\"user\":\"a b\",\"keypair\":\"l\",\"key\":\"k\"}"},
		{CODE_NAME_INVALID, "{\"do\":\"keys.bind\",\"user\":\"a\",\"keypair\":\"l\\n\",\"key\":\"k\"}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char detail[DETAIL_MAX + 1] = "";
		enum code code = check_command(cases[i].text, detail);
		if (code != cases[i].code)
			fail_msg("%s: %s %s", cases[i].text, code_name(code), detail);
	}
}

/* T17, P29, P30: the names and texts that other tools let through. */
static void P30_names(void **state)
{
	static const char *const bad[] = {"", "-", "-x", "--help", ".", "..", "a/b", "a:b", "a,b", "a b", "a\nb", "a$",
		"+", "\xc3\x9c", "\xd0\xb0", "a\x7f", "abcdefghijabcdefghijabcdefghijabc", "$(id)", "a;b", "a\"b"};
	static const char *const only_existing[] = {"0", "1abc", "Alice", "a.b", "A"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (field_is_name(bad[i]) || (field_is_user(bad[i]) && strcmp(bad[i], ".") != 0))
			fail_msg("taken: %s", bad[i]);
	}
	for (size_t i = 0; i < sizeof(only_existing) / sizeof(only_existing[0]); i++) {
		assert_true(field_is_user(only_existing[i]));
		assert_false(field_is_name(only_existing[i]));
	}
	assert_true(field_is_name("_apt"));
	assert_true(field_is_name("abcdefghijabcdefghijabcdefghijab"));
}

static void P29_texts_and_paths(void **state)
{
	static const char *const bad_paths[] = {
		"", "home", "/home/../etc", "/home/./x", "/home//x", "/home/x/", "/a:b", "/a\nb", "/home/.."};

	(void)state;
	assert_true(field_is_text("Anna M\xc3\xbcller", 128));
	assert_false(field_is_text("a\nb", 128));
	assert_false(field_is_text("a\x1b[31m", 128));
	assert_false(field_is_text("a\xc2\x85z", 128));
	assert_false(field_is_text("four", 3));
	assert_true(field_is_path("/home/alice"));
	assert_true(field_is_path("/"));
	for (size_t i = 0; i < sizeof(bad_paths) / sizeof(bad_paths[0]); i++) {
		if (field_is_path(bad_paths[i]))
			fail_msg("taken: %s", bad_paths[i]);
	}
	assert_true(field_is_cidr("192.0.2.1"));
	assert_true(field_is_cidr("2001:db8::/32"));
	assert_false(field_is_cidr("192.0.2.1/33"));
	assert_false(field_is_cidr("192.0.2.1/-1"));
	/* sshd passes over a line of a key that says so */
	assert_false(field_is_cidr("192.0.2.1/24"));
	assert_false(field_is_cidr("2001:db8::1/64"));
	assert_true(field_is_cidr("192.0.2.128/25"));
	assert_true(field_is_cidr("192.0.2.1/32"));
	assert_true(field_is_cidr("0.0.0.0/0"));
	assert_false(field_is_cidr("*"));
	assert_false(field_is_cidr("!192.0.2.1"));
	assert_false(field_is_cidr("host.example"));
}

static void defaults_are_filled_in(void **state)
{
	static const char text[] = "{\"do\":\"sshd.set\",\"password_auth\":true}";
	cleanup_manifest_set struct manifest_set set = {0};
	cleanup_json cJSON *command = NULL;
	char detail[DETAIL_MAX + 1];
	int64_t within = -1;
	bool accept = true;

	(void)state;
	assert_int_equal(manifest_set_load(&set), 0);
	assert_int_equal(json_parse_object(text, strlen(text), &command), 0);
	assert_int_equal(manifest_check(manifest_find(&set, "sshd.set"), command, detail), CODE_OK);
	assert_int_equal(json_get_integer(command, "confirm_within", &within), 0);
	assert_int_equal(within, 0);
	assert_int_equal(json_get_bool(command, "accept_lockout", &accept), 0);
	assert_false(accept);
	assert_null(json_member(command, "pubkey_auth"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P7_every_field_is_checked_by_its_type),
		cmocka_unit_test(P30_names),
		cmocka_unit_test(P29_texts_and_paths),
		cmocka_unit_test(defaults_are_filled_in),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
