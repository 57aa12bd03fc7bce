/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "agent/net/http.h"

static void reasons(void **state)
{
	(void)state;
	assert_true(http_is_same_error("", ""));
	assert_true(http_is_same_error("Failed to connect to h port 80 after 0 ms: refused",
		"Failed to connect to h port 80 after 131 ms: refused"));
	assert_true(http_is_same_error(
		"Connection timed out after 30001 milliseconds", "Connection timed out after 30000 milliseconds"));
	assert_false(http_is_same_error("after 30 ms", "after 30 ms: refused"));
	assert_false(http_is_same_error("Could not resolve host: a1", "Could not resolve host: b1"));
	assert_false(http_is_same_error("1", "x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(reasons)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
