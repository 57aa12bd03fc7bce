/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "agent/net/varlink.h"

static int parse(const char *text)
{
	cleanup_varlink_call struct varlink_call call = {0};
	return varlink_parse(text, strlen(text), &call);
}

static void calls_that_are_taken(void **state)
{
	static const char text[] =
		"{\"method\":\"io.latchkey.Agent.GetStatus\",\"parameters\":null,\"com.acme.trace\":\"x\"}";
	cleanup_varlink_call struct varlink_call call = {0};

	(void)state;
	assert_int_equal(varlink_parse(text, strlen(text), &call), 0);
	assert_string_equal(call.interface, "io.latchkey.Agent");
	assert_string_equal(call.member, "GetStatus");
	assert_null(call.parameters);
	assert_int_equal(parse("{\"method\":\"a.B\",\"more\":true}"), 0);
	assert_int_equal(parse("{\"method\":\"a.B\",\"oneway\":true,\"parameters\":{}}"), 0);
}

static void P72_protocol_errors_close(void **state)
{
	static const char *const bad[] = {"[]", "{}", "{\"method\":1}", "{\"method\":\"nodot\"}", "{\"method\":\".x\"}",
		"{\"method\":\"x.\"}", "{\"method\":\"a.B\",\"method\":\"a.C\"}", "{\"method\":\"a.B\",\"naked\":1}",
		"{\"method\":\"a.B\",\"more\":1}", "{\"method\":\"a.B\",\"more\":true,\"oneway\":true}",
		"{\"method\":\"a.B\",\"upgrade\":true}", "{\"method\":\"a.B\",\"parameters\":[]}",
		"{\"method\":\"a.\\u0000B\"}", "{\"method\":\"a.B\"} x", "{\"method\":\"a.B\"}{}"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse(bad[i]) != -EBADMSG)
			fail_msg("taken: %s", bad[i]);
	}
}

static void replies_as_the_vectors_have_them(void **state)
{
	cleanup_buffer struct buffer error = {0}, reply = {0};
	struct json_writer writer = {&reply, false};

	(void)state;
	varlink_put_error(&error, "org.varlink.service.InvalidParameter", "parameter", "x");
	assert_string_equal(error.bytes,
		"{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":\"x\"}}");
	varlink_begin_reply(&writer);
	json_put_integer(&writer, "n", 1);
	varlink_end_reply(&writer, true);
	assert_string_equal(reply.bytes, "{\"parameters\":{\"n\":1},\"continues\":true}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_that_are_taken),
		cmocka_unit_test(P72_protocol_errors_close),
		cmocka_unit_test(replies_as_the_vectors_have_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
