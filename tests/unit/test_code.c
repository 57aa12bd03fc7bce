/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "lib/code.h"

static void every_code_has_one_name_and_finds_itself(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CODE_COUNT; i++) {
		enum code code;
		assert_int_equal(code_from_name(code_name((enum code)i), &code), 0);
		assert_int_equal(code, i); /* a repeated name would find the first */
		assert_non_null(code_status_name(code_status(code)));
	}
	enum code code;
	assert_int_equal(code_from_name("no_such_code", &code), -ENOENT);
}

static void only_pending_codes_are_tried_again(void **state)
{
	(void)state;
	assert_true(code_is_retried(CODE_BUSY));
	assert_true(code_is_retried(CODE_NO_SPACE));
	assert_true(code_is_retried(CODE_NOT_YET));
	assert_false(code_is_retried(CODE_AWAITING_CONFIRM));
	assert_false(code_is_retried(CODE_OK));
	assert_false(code_is_retried(CODE_IO_ERROR));
	assert_string_equal(code_status_name(code_status(CODE_AWAITING_CONFIRM)), "pending");
}

static void P27_an_errno_has_its_code(void **state)
{
	(void)state;
	assert_int_equal(code_from_errno(ENOSPC), CODE_NO_SPACE);
	assert_int_equal(code_from_errno(EDQUOT), CODE_QUOTA);
	assert_int_equal(code_from_errno(EROFS), CODE_READ_ONLY);
	assert_int_equal(code_from_errno(EPERM), CODE_IMMUTABLE);
	assert_int_equal(code_from_errno(EIO), CODE_IO_ERROR);
	assert_int_equal(code_from_errno(ELOOP), CODE_SYMLINK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_code_has_one_name_and_finds_itself),
		cmocka_unit_test(only_pending_codes_are_tried_again),
		cmocka_unit_test(P27_an_errno_has_its_code),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
