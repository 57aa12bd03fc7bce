/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/user_spawner.h"

#define LIMIT (4u << 20)
#define SECRET "anary-of-the-program"
#define MARK "hild-marker"
#define MAPPING_MAX ((uintptr_t)64 << 20) /* a sanitizer's shadow is larger than all memory */

static const gid_t groups[] = {4321, 4322};
static const struct user_identity identity = {.uid = 4321, .gid = 4321, .groups = groups, .group_count = 2};
static struct user_spawner spawner;
static char *secret; /* in the program's memory only, made after the fork */

/* How often `c` and then the rest stand in this process' memory; the two never stand together in what is searched with.
 */
static unsigned count_in_memory(const char *rest)
{
	char line[256], bytes[4096 + 64];
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned found = 0;

	while (maps && fgets(line, sizeof(line), maps)) {
		char *end;
		uintptr_t from = strtoull(line, &end, 16), to = strtoull(end + 1, &end, 16);
		if (strncmp(end, " rw", 3) != 0 || to - from > MAPPING_MAX)
			continue;
		for (; from < to; from += 4096) {
			size_t most = to - from < sizeof(bytes) ? to - from : sizeof(bytes);
			struct iovec here = {bytes, most}, there = {(void *)from, most};
			ssize_t size = process_vm_readv(getpid(), &here, 1, &there, 1, 0);
			for (char *at = bytes; size > 0; at++) {
				at = memmem(at, (size_t)(bytes + size - at), rest, strlen(rest));
				if (!at)
					break;
				found += at > bytes && at[-1] == 'c';
			}
		}
	}
	explicit_bzero(bytes, sizeof(bytes));
	if (maps)
		(void)fclose(maps);
	return found;
}

static int child(char *task, size_t size, int root, struct buffer *output)
{
	struct stat status;
	gid_t ids[8];

	switch (task[0]) {
	case 'i':
		buffer_append_format(output, "%u %u %d", getuid(), getgid(), getgroups(8, ids));
		buffer_append_format(output, " %d %zu", setresuid(0, 0, 0), size);
		return -E2BIG;
	case 'e': {
		char *bytes = malloc(size);
		memcpy(bytes, task, size);
		buffer_append(output, bytes, size);
		free(bytes);
		return 0;
	}
	case 'c':
		buffer_append_format(output, "%u %d", count_in_memory(SECRET), count_in_memory(MARK) > 0);
		return 0;
	case 'r':
		buffer_append_format(output, "%d", root >= 0 && fstat(root, &status) == 0 && S_ISDIR(status.st_mode));
		return 0;
	case 's':
		(void)raise(SIGSTOP); /* as the user could do to it */
		return 0;
	case 'x':
		_exit(0); /* says nothing */
	default:
		return 0;
	}
}

static int start(const char *bytes, size_t size, unsigned timeout_ms, int root, struct user_spawned *ret_child)
{
	const struct buffer buffer = {.bytes = (char *)(uintptr_t)bytes, .size = size};
	const struct user_task task = {"unit:child", identity, timeout_ms, &buffer, root};

	return user_spawner_start(&spawner, &task, ret_child);
}

static int ask(const char *text, unsigned timeout_ms, int root, struct buffer *ret_output)
{
	struct user_spawned spawned;

	assert_int_equal(start(text, strlen(text), timeout_ms, root, &spawned), 0);
	return user_spawned_finish(&spawned, LIMIT, ret_output);
}

static void P41_P42_the_child_is_the_user_and_stays_so(void **state)
{
	cleanup_buffer struct buffer output = {0};

	(void)state;
	if (geteuid() != 0)
		fail_msg("run as root: this test would prove nothing otherwise");
	assert_int_equal(ask("identity", 60000, -1, &output), -E2BIG);
	assert_string_equal(output.bytes, "4321 4321 2 -1 8");
}

static void the_child_holds_nothing_of_the_program(void **state)
{
	cleanup_buffer struct buffer output = {0};

	(void)state;
	assert_true(count_in_memory(SECRET) >= 1); /* the search finds it where it is */
	assert_non_null(secret);
	assert_int_equal(ask("c" MARK, 60000, -1, &output), 0);
	assert_string_equal(output.bytes, "0 1"); /* nothing of the program's, but what it was sent */
}

static void the_root_is_handed_over_or_not(void **state)
{
	cleanup_buffer struct buffer output = {0}, none = {0};
	cleanup_close int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	assert_int_equal(ask("root", 60000, root, &output), 0);
	assert_string_equal(output.bytes, "1");
	assert_int_equal(ask("root", 60000, -1, &none), 0);
	assert_string_equal(none.bytes, "0");
}

static void large_tasks_and_answers_pass_whole_and_several_at_once(void **state)
{
	const size_t size = 3u << 20;
	char *bytes = malloc(size);
	struct user_spawned children[3];

	(void)state;
	assert_non_null(bytes);
	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)(i % 251);
	bytes[0] = 'e';
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(start(bytes, size - i, 60000, -1, &children[i]), 0);
	for (unsigned i = 0; i < 3; i++) {
		cleanup_buffer struct buffer output = {0};
		assert_int_equal(user_spawned_finish(&children[i], LIMIT, &output), 0);
		assert_int_equal(output.size, size - i);
		assert_memory_equal(output.bytes, bytes, size - i);
	}
	assert_int_equal(start(bytes, size, 60000, -1, &children[0]), 0);
	cleanup_buffer struct buffer output = {0};
	assert_int_equal(user_spawned_finish(&children[0], size - 1, &output), -EFBIG);
	free(bytes);
}

static void P47_a_stopped_child_is_ended_by_its_own_timer(void **state)
{
	cleanup_buffer struct buffer output = {0}, after = {0};

	(void)state;
	assert_int_equal(ask("stop", 100, -1, &output), -ETIMEDOUT);
	assert_int_equal(ask("root", 60000, -1, &after), 0);
}

static void a_child_that_dies_is_told_from_one_that_hangs(void **state)
{
	cleanup_buffer struct buffer output = {0};

	(void)state;
	assert_int_equal(ask("x", 600000, -1, &output), -ECHILD);
}

static int open_spawner(void **state)
{
	(void)state;
	if (user_spawner_open(child, &spawner) < 0)
		return -1;
	secret = malloc(64);
	if (!secret)
		return -1;
	(void)snprintf(secret, 64, "%c" SECRET, 'c');
	return 0;
}

static int close_spawner(void **state)
{
	(void)state;
	free(secret);
	user_spawner_close(&spawner);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P41_P42_the_child_is_the_user_and_stays_so),
		cmocka_unit_test(the_child_holds_nothing_of_the_program),
		cmocka_unit_test(the_root_is_handed_over_or_not),
		cmocka_unit_test(large_tasks_and_answers_pass_whole_and_several_at_once),
		cmocka_unit_test(P47_a_stopped_child_is_ended_by_its_own_timer),
		cmocka_unit_test(a_child_that_dies_is_told_from_one_that_hangs),
	};
	return cmocka_run_group_tests(tests, open_spawner, close_spawner);
}
