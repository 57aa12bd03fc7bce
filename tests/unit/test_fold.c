/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/fold.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1000

static cJSON *parse(const char *text)
{
	cJSON *root = NULL;
	assert_int_equal(json_parse(text, strlen(text), &root), 0);
	return root;
}

static void count(void *context, const cJSON *command, enum fold_verdict verdict)
{
	unsigned *counts = context;
	(void)command;
	counts[verdict]++;
}

struct folded {
	char *commands;
	unsigned counts[5];
	int64_t latest;
	int r;
};

static struct folded fold(const char *commands, const char *closed_text, const char *added_text)
{
	cleanup_buffer struct buffer text = {0}, out = {0};
	struct json_writer writer = {&out, false};
	struct folded folded = {0};

	buffer_append_format(&text, "{\"expires\":2000,\"actor\":\"anna\",\"commands\":%s}", commands);
	assert_int_equal(buffer_status(&text), 0);
	cleanup_json cJSON *payload = parse(text.bytes), *closed = parse(closed_text);
	cleanup_json cJSON *added = added_text ? parse(added_text) : NULL, *list = cJSON_CreateArray();
	folded.r = fold_pending(payload, NOW, closed, added, list, count, folded.counts, &folded.latest);
	json_put_value(&writer, NULL, list);
	assert_int_equal(buffer_status(&out), 0);
	folded.commands = buffer_steal(&out);
	return folded;
}

static void P101_end_and_actor_are_made_explicit(void **state)
{
	(void)state;
	struct folded folded =
		fold("[{\"id\":\"a\",\"do\":\"user.lock\",\"user\":\"u\"},"
		     "{\"id\":\"b\",\"do\":\"user.lock\",\"user\":\"v\",\"until\":1500,\"actor\":\"ben\"}]",
			"{}", NULL);
	assert_int_equal(folded.r, 0);
	assert_string_equal(folded.commands,
		"[{\"id\":\"a\",\"do\":\"user.lock\",\"user\":\"u\",\"until\":2000,\"actor\":\"anna\"},"
		"{\"id\":\"b\",\"do\":\"user.lock\",\"user\":\"v\",\"until\":1500,\"actor\":\"ben\"}]");
	assert_int_equal(folded.latest, 2000);
	assert_int_equal(folded.counts[FOLD_KEPT], 2);
	free(folded.commands);
}

static void P101_closed_and_expired_ones_go(void **state)
{
	(void)state;
	struct folded folded = fold("[{\"id\":\"a\",\"do\":\"user.lock\",\"user\":\"u\"},"
				    "{\"id\":\"b\",\"do\":\"user.lock\",\"user\":\"v\",\"until\":1000},"
				    "{\"id\":\"c\",\"do\":\"user.lock\",\"user\":\"w\",\"until\":1001}]",
		"{\"a\":true}", NULL);
	assert_int_equal(folded.r, 0);
	assert_string_equal(folded.commands,
		"[{\"id\":\"c\",\"do\":\"user.lock\",\"user\":\"w\",\"until\":1001,\"actor\":\"anna\"}]");
	assert_int_equal(folded.counts[FOLD_CLOSED], 1);
	assert_int_equal(folded.counts[FOLD_EXPIRED], 1);
	assert_int_equal(folded.latest, 1001);
	free(folded.commands);
}

static void one_that_sets_the_same_fact_is_superseded(void **state)
{
	(void)state;
	struct folded folded = fold("[{\"id\":\"a\",\"do\":\"password.generate\",\"user\":\"u\"},"
				    "{\"id\":\"b\",\"do\":\"password.set\",\"user\":\"v\"}]",
		"{}", "{\"id\":\"n\",\"do\":\"password.set\",\"user\":\"u\"}");
	assert_int_equal(folded.counts[FOLD_SUPERSEDED], 1);
	assert_int_equal(folded.counts[FOLD_KEPT], 1);
	free(folded.commands);
}

static void the_same_command_put_before_does_not_stand_twice(void **state)
{
	(void)state;
	struct folded folded = fold("[{\"id\":\"a\",\"do\":\"sshd.restart\"},{\"id\":\"b\",\"do\":\"sshd.restart\"}]",
		"{}", "{\"id\":\"b\",\"do\":\"sshd.restart\"}");
	assert_int_equal(folded.counts[FOLD_SUPERSEDED], 1);
	assert_int_equal(folded.counts[FOLD_KEPT], 1);
	free(folded.commands);
}

static void a_malformed_command_is_not_carried_on(void **state)
{
	(void)state;
	struct folded folded = fold("[{\"do\":\"user.lock\"}]", "{}", NULL);
	assert_int_equal(folded.r, -EBADMSG);
	free(folded.commands);
	folded = fold("[{\"id\":\"a\",\"until\":\"x\"}]", "{}", NULL);
	assert_int_equal(folded.r, -EBADMSG);
	free(folded.commands);
}

static void which_facts_are_the_same(void **state)
{
	static const struct {
		const char *one, *other;
		bool same;
	} rows[] = {
		{"{\"do\":\"keys.bind\",\"user\":\"u\",\"keypair\":\"k\"}",
			"{\"do\":\"keys.unbind\",\"user\":\"u\",\"keypair\":\"k\"}", true},
		{"{\"do\":\"keys.bind\",\"user\":\"u\",\"keypair\":\"k\"}",
			"{\"do\":\"keys.bind\",\"user\":\"u\",\"keypair\":\"l\"}", false},
		{"{\"do\":\"keys.bind\",\"user\":\"u\",\"keypair\":\"k\"}",
			"{\"do\":\"keys.bind\",\"user\":\"v\",\"keypair\":\"k\"}", false},
		{"{\"do\":\"user.lock\",\"user\":\"u\"}", "{\"do\":\"user.unlock\",\"user\":\"u\"}", true},
		{"{\"do\":\"user.lock\",\"user\":\"u\"}", "{\"do\":\"user.ensure\",\"user\":\"u\"}", false},
		{"{\"do\":\"sshd.set\",\"password_auth\":true}", "{\"do\":\"sshd.set\",\"password_auth\":false}", true},
		{"{\"do\":\"sshd.set\",\"password_auth\":true}", "{\"do\":\"sshd.set\",\"pubkey_auth\":false}", false},
		{"{\"do\":\"sshd.restart\"}", "{\"do\":\"sshd.restart\"}", false},
	};
	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		cleanup_json cJSON *one = parse(rows[i].one), *other = parse(rows[i].other);
		assert_int_equal(fold_same_fact(one, other), rows[i].same);
		assert_int_equal(fold_same_fact(other, one), rows[i].same);
	}
}

static void a_dry_run_pends_for_nobody_and_carries_what_does(void **state)
{
	(void)state;
	static const char commands[] = "{\"id\":\"a\",\"do\":\"user.lock\",\"user\":\"u\"},"
				       "{\"id\":\"b\",\"do\":\"user.lock\",\"user\":\"v\"}]";
	cleanup_buffer struct buffer text = {0}, out = {0};
	struct json_writer writer = {&out, false};
	unsigned counts[5] = {0};
	int64_t latest;

	for (unsigned i = 0; i < 3; i++) {
		static const char *const members[] = {"\"dry_run\":true,", "\"dry_run\":true,\"x-carried\":[\"b\"],",
			"\"dry_run\":false,\"x-carried\":[\"b\"],"};
		static const unsigned dry[] = {2, 1, 0};
		buffer_append_format(
			&text, "{%s\"expires\":2000,\"actor\":\"anna\",\"commands\":[%s}", members[i], commands);
		assert_int_equal(buffer_status(&text), 0);
		cleanup_json cJSON *payload = parse(text.bytes), *closed = parse("{}"), *list = cJSON_CreateArray();
		memset(counts, 0, sizeof(counts));
		assert_int_equal(fold_pending(payload, NOW, closed, NULL, list, count, counts, &latest), 0);
		assert_int_equal(counts[FOLD_DRY], dry[i]);
		assert_int_equal(counts[FOLD_KEPT], 2 - dry[i]);
		if (i == 1)
			json_put_value(&writer, NULL, list);
		buffer_free(&text);
	}
	assert_int_equal(buffer_status(&out), 0);
	assert_non_null(strstr(out.bytes, "\"b\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P101_end_and_actor_are_made_explicit),
		cmocka_unit_test(P101_closed_and_expired_ones_go),
		cmocka_unit_test(one_that_sets_the_same_fact_is_superseded),
		cmocka_unit_test(the_same_command_put_before_does_not_stand_twice),
		cmocka_unit_test(a_malformed_command_is_not_carried_on),
		cmocka_unit_test(which_facts_are_the_same),
		cmocka_unit_test(a_dry_run_pends_for_nobody_and_carries_what_does),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
