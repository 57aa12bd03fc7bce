/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/process.h"
#include "lib/user_child.h"

static struct process make(const char *path, const char *const *argv)
{
	return (struct process){.path = path,
		.argv = argv,
		.working_directory = -1,
		.output_limit = 65536,
		.timeout_ms = 60000,
		.capabilities = PROCESS_CAPABILITIES_KEEP};
}

static void input_and_output_pass_whole(void **state)
{
	static const char *const argv[] = {"cat", NULL};
	cleanup_process_result struct process_result result = {0};
	char bytes[50000];

	(void)state;
	memset(bytes, 'x', sizeof(bytes));
	struct process process = make("/bin/cat", argv);
	process.input = bytes;
	process.input_size = sizeof(bytes);
	assert_int_equal(process_run(&process, &result), 0);
	assert_true(process_exited(&result, 0));
	assert_int_equal(result.output.size, sizeof(bytes));
	assert_memory_equal(result.output.bytes, bytes, sizeof(bytes));
}

static void the_environment_is_empty(void **state)
{
	static const char *const argv[] = {"env", NULL};
	cleanup_process_result struct process_result result = {0};
	struct process process = make("/usr/bin/env", argv);

	(void)state;
	assert_int_equal(setenv("LD_LIBRARY_PATH", "/nowhere", 1), 0);
	assert_int_equal(process_run(&process, &result), 0);
	assert_string_equal(result.output.bytes, "");
}

static void closing_its_output_does_not_outwit_the_deadline(void **state)
{
	static const char *const argv[] = {"sh", "-c", "exec >&- 2>&-; exec sleep 600", NULL};
	cleanup_process_result struct process_result result = {0};
	struct process process = make("/bin/sh", argv);

	(void)state;
	process.timeout_ms = 200;
	assert_int_equal(process_run(&process, &result), -ETIMEDOUT);
}

static void too_much_output_is_an_error(void **state)
{
	static const char *const argv[] = {"cat", "/dev/zero", NULL};
	cleanup_process_result struct process_result result = {0};
	struct process process = make("/bin/cat", argv);

	(void)state;
	assert_int_equal(process_run(&process, &result), -EFBIG);
}

static void P47_a_hung_program_is_killed_with_its_group(void **state)
{
	static const char *const argv[] = {"sleep", "1000", NULL};
	cleanup_process_result struct process_result result = {0};
	struct process process = make("/bin/sleep", argv);

	(void)state;
	process.timeout_ms = 50;
	assert_int_equal(process_run(&process, &result), -ETIMEDOUT);
}

static void P35_a_missing_or_foreign_program_is_not_run(void **state)
{
	static const char *const argv[] = {"x", NULL};
	cleanup_process_result struct process_result result = {0};
	struct process missing = make("/nonexistent/x", argv), relative = make("bin/cat", argv);
	char path[] = "/tmp/latchkey-decoy.XXXXXX";

	(void)state;
	assert_int_equal(process_run(&missing, &result), -ENOENT);
	assert_int_equal(process_run(&relative, &result), -EINVAL);
	int decoy = mkstemp(path);
	assert_true(decoy >= 0);
	assert_int_equal(fchmod(decoy, 0777), 0);
	(void)close(decoy);
	struct process writable = make(path, argv);
	if (geteuid() == 0)
		assert_int_equal(process_run(&writable, &result), -EPERM);
	assert_int_equal(unlink(path), 0);
}

static void capabilities_are_cut_exactly(void **state)
{
	static const char *const argv[] = {"cat", "/proc/self/status", NULL};
	cleanup_process_result struct process_result result = {0};
	struct process process = make("/bin/cat", argv);

	(void)state;
	if (geteuid() != 0)
		fail_msg("run as root: this test would prove nothing otherwise");
	process.capabilities = 1; /* CAP_CHOWN */
	assert_int_equal(process_run(&process, &result), 0);
	assert_non_null(strstr(result.output.bytes, "CapEff:\t0000000000000001"));
	assert_non_null(strstr(result.output.bytes, "CapPrm:\t0000000000000001"));
	assert_non_null(strstr(result.output.bytes, "NoNewPrivs:\t1"));
}

static int show_identity(void *context, struct buffer *output)
{
	gid_t groups[8];
	(void)context;
	int count = getgroups(8, groups);
	buffer_append_format(output, "%u %u %d", getuid(), getgid(), count);
	for (int i = 0; i < count; i++)
		buffer_append_format(output, " %u", groups[i]);
	/* There must be no way back to root. */
	buffer_append_format(output, " %d", setresuid(0, 0, 0));
	return -E2BIG;
}

static void P41_P42_the_child_is_the_user_and_stays_so(void **state)
{
	static const gid_t groups[] = {4321, 4322};
	const struct user_identity identity = {.uid = 4321, .gid = 4321, .groups = groups, .group_count = 2};
	cleanup_buffer struct buffer output = {0};

	(void)state;
	assert_int_equal(user_child_run(&identity, 10000, 1000, show_identity, NULL, &output), -E2BIG);
	assert_string_equal(output.bytes, "4321 4321 2 4321 4322 -1");
}

static int hang(void *context, struct buffer *output)
{
	(void)context;
	(void)output;
	(void)raise(SIGSTOP); /* as the user could do to it */
	for (;;)
		(void)pause();
	return 0;
}

static void P47_a_stopped_child_is_ended_by_its_own_timer(void **state)
{
	const struct user_identity identity = {.uid = 4321, .gid = 4321};
	cleanup_buffer struct buffer output = {0};

	(void)state;
	assert_int_equal(user_child_run(&identity, 100, 1000, hang, NULL, &output), -ETIMEDOUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(input_and_output_pass_whole),
		cmocka_unit_test(the_environment_is_empty),
		cmocka_unit_test(closing_its_output_does_not_outwit_the_deadline),
		cmocka_unit_test(too_much_output_is_an_error),
		cmocka_unit_test(P47_a_hung_program_is_killed_with_its_group),
		cmocka_unit_test(P35_a_missing_or_foreign_program_is_not_run),
		cmocka_unit_test(capabilities_are_cut_exactly),
		cmocka_unit_test(P41_P42_the_child_is_the_user_and_stays_so),
		cmocka_unit_test(P47_a_stopped_child_is_ended_by_its_own_timer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
