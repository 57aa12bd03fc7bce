/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "lib/json.h"

static int parse(const char *text, size_t size)
{
	cleanup_json cJSON *root = NULL;
	return json_parse(text, size, &root);
}

/* RFC 8259's grammar, and what is narrower here. */
static void P6_what_breaks_a_rule_is_refused(void **state)
{
	static const char *const bad[] = {"", " ", "{", "[", "}", "{]", "[1,]", "{\"a\":1,}", "{\"a\"}", "{\"a\":}",
		"{a:1}", "{'a':1}", "[1 2]", "nul", "null", "{\"a\":null}", "tru", "True", "01", "-", "-0", "+1", "1.0",
		"1.", ".5", "1e5", "1E5", "0x10", "NaN", "Infinity", "9007199254740992", "-9007199254740992",
		"18446744073709551616", "\"a", "\"\\x\"", "\"\\u12\"", "\"\\u0000\"", "\"\\ud800\"",
		"\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\t\"", "\"\n\"", "\"\xff\"", "\"\xc0\x80\"", "\"\xc1\xbf\"",
		"\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xe2\x82\"", "\xef\xbb\xbf{}", "{} {}", "[] x", "1 1",
		"{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "{\"x\":{\"b\":1,\"c\":2,\"b\":3}}",
		"[[[[[[[[[1]]]]]]]]]", "// c\n{}", "/* c */{}", "[1]\f"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse(bad[i], strlen(bad[i])) != -EBADMSG)
			fail_msg("taken: %s", bad[i]);
	}
	assert_int_equal(parse("{}\0", 3), -EBADMSG);
	assert_int_equal(parse("\"a\0b\"", 5), -EBADMSG);
}

static void P6_what_keeps_the_rules_is_taken(void **state)
{
	static const char *const good[] = {"{}", "[]", " { } \n", "0", "-1", "9007199254740991", "-9007199254740991",
		"\"\"", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"",
		"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "[[[[[[[[1]]]]]]]]", "{\"a\":{\"a\":{\"a\":1}}}", "true",
		"[false,true]", "{\"a\":1,\"A\":2}"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (parse(good[i], strlen(good[i])) != 0)
			fail_msg("refused: %s", good[i]);
	}
}

static void P6_a_hundred_thousand_brackets_are_refused_without_recursion(void **state)
{
	char *text = malloc(100000);

	(void)state;
	assert_non_null(text);
	memset(text, '[', 100000);
	assert_int_equal(parse(text, 100000), -EBADMSG);
	free(text);
}

static void T30_types_are_not_converted(void **state)
{
	static const char text[] = "{\"flag\":\"false\",\"number\":\"1\",\"text\":1,\"list\":{}}";
	cleanup_json cJSON *root = NULL;
	const cJSON *list;
	const char *string;
	int64_t integer;
	bool flag;

	(void)state;
	assert_int_equal(json_parse_object(text, strlen(text), &root), 0);
	assert_int_equal(json_get_bool(root, "flag", &flag), -EBADMSG);
	assert_int_equal(json_get_integer(root, "number", &integer), -EBADMSG);
	assert_int_equal(json_get_string(root, "text", &string), -EBADMSG);
	assert_int_equal(json_get_array(root, "list", &list), -EBADMSG);
	assert_int_equal(json_get_string(root, "TEXT", &string), -ENOENT);
}

static void integers_are_written_exactly(void **state)
{
	cleanup_buffer struct buffer out = {0};
	struct json_writer writer = {&out, false};

	(void)state;
	json_begin_array(&writer, NULL);
	json_put_integer(&writer, NULL, 1763625616000000);
	json_put_integer(&writer, NULL, -JSON_INTEGER_MAX);
	json_put_string(&writer, NULL, "a\"\\\n\x01\x7f\xc3\xa9\xc2\x9b\xc2\xa0");
	json_end_array(&writer);
	assert_int_equal(buffer_status(&out), 0);
	assert_string_equal(out.bytes,
		"[1763625616000000,-9007199254740991,\"a\\\"\\\\\\n\\u0001\\u007f\xc3\xa9\\u009b\xc2\xa0\"]");
}

static void null_is_a_value_only_where_it_is_asked_for(void **state)
{
	static const char text[] = "{\"parameters\":null}";
	cleanup_json cJSON *root = NULL;

	(void)state;
	assert_int_equal(json_parse_object(text, strlen(text), &root), -EBADMSG);
	assert_int_equal(json_parse_object_with_null(text, strlen(text), &root), 0);
}

static void what_is_utf8_can_be_written(void **state)
{
	static const struct {
		const char *text;
		bool is;
	} rows[] = {
		{"", true},
		{"plain\x01\x7f", true},
		{"J\xc3\xb6rg \xe2\x82\xac \xf0\x9f\x98\x80", true},
		{"J\xf6rg", false},
		{"\xc3", false},
		{"\xc0\x80", false},
		{"\xed\xa0\x80", false},
		{"\xf4\x90\x80\x80", false},
		{"\x85", false},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		cleanup_buffer struct buffer out = {0};
		struct json_writer writer = {&out, false};
		cleanup_json cJSON *object = NULL;

		if (json_is_utf8(rows[i].text) != rows[i].is)
			fail_msg("row %zu", i);
		json_begin_object(&writer, NULL);
		json_put_string(&writer, "text", rows[i].text);
		json_end_object(&writer);
		assert_int_equal(buffer_status(&out), 0);
		assert_int_equal(json_parse_object(out.bytes, out.size, &object) == 0, rows[i].is);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P6_what_breaks_a_rule_is_refused),
		cmocka_unit_test(P6_what_keeps_the_rules_is_taken),
		cmocka_unit_test(P6_a_hundred_thousand_brackets_are_refused_without_recursion),
		cmocka_unit_test(T30_types_are_not_converted),
		cmocka_unit_test(integers_are_written_exactly),
		cmocka_unit_test(null_is_a_value_only_where_it_is_asked_for),
		cmocka_unit_test(what_is_utf8_can_be_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
