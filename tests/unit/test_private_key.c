/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/private_key.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/ssh_keygen.h"

/* Comments of every length modulo the padding: ssh-keygen reads each, finds the same public key, and signs with it. */
static void ssh_keygen_reads_what_we_write(void **state)
{
	const struct workshop *workshop = *state;
	char comment[32] = "";

	for (size_t length = 0; length < 12; length++) {
		cleanup_secret struct secret text = {0};
		cleanup_buffer struct buffer line = {0}, theirs = {0}, armour = {0};
		memset(comment, 'c', length);
		assert_int_equal(private_key_make(comment, &text, &line), 0);
		workshop_write(workshop, "key", text.bytes, text.size);
		assert_true(workshop_run(workshop, (const char *const[]){"-y", "-f", "key", NULL}, "", 0, &theirs));
		assert_int_equal(buffer_status(&theirs), 0);
		assert_memory_equal(line.bytes, theirs.bytes, strcspn(theirs.bytes, "\n"));
		assert_true(workshop_run(workshop,
			(const char *const[]){"-q", "-Y", "sign", "-n", "x", "-f", "key", NULL}, "x", 1, &armour));
	}
}

static void a_private_key_is_written_once_and_closed_to_others(void **state)
{
	const struct workshop *workshop = *state;
	cleanup_secret struct secret text = {0};
	cleanup_buffer struct buffer line = {0};
	struct stat status;
	char path[96];

	(void)snprintf(path, sizeof(path), "%s/once", workshop->path);
	assert_int_equal(private_key_make("", &text, &line), 0);
	assert_int_equal(private_key_write(path, &text), 0);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	assert_int_equal(private_key_write(path, &text), -EEXIST);
}

static void a_comment_that_is_too_long(void **state)
{
	cleanup_secret struct secret text = {0};
	cleanup_buffer struct buffer line = {0};
	char comment[300];

	(void)state;
	memset(comment, 'c', sizeof(comment));
	comment[256] = '\0';
	assert_int_equal(private_key_make(comment, &text, &line), 0);
	comment[256] = 'c';
	comment[257] = '\0';
	cleanup_secret struct secret other = {0};
	assert_int_equal(private_key_make(comment, &other, &line), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ssh_keygen_reads_what_we_write),
		cmocka_unit_test(a_private_key_is_written_once_and_closed_to_others),
		cmocka_unit_test(a_comment_that_is_too_long),
	};
	return cmocka_run_group_tests(tests, workshop_open, workshop_close);
}
