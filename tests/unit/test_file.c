/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/file.h"

static int setup(void **state)
{
	static char path[64];
	static int directory;

	(void)snprintf(path, sizeof(path), "/tmp/latchkey-file.XXXXXX");
	if (!mkdtemp(path))
		return -1;
	directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = &directory;
	return directory < 0 ? -1 : 0;
}

static void empty(int directory)
{
	cleanup_names char **names = NULL;
	size_t count;

	assert_int_equal(file_list(directory, ".", 100, &names, &count), 0);
	for (size_t i = 0; i < count; i++) {
		if (unlinkat(directory, names[i], 0) < 0)
			assert_int_equal(unlinkat(directory, names[i], AT_REMOVEDIR), 0);
	}
}

static void P63_modes_are_exact_under_any_umask(void **state)
{
	int directory = *(int *)*state;

	/* programs set umask 0 (lib/program.h) */
	mode_t old = umask(0);
	static const mode_t modes[] = {0600, 0644, 0440, 0400};
	for (size_t i = 0; i < ELEMENTS(modes); i++) {
		struct stat status;
		assert_int_equal(file_replace_simple(directory, "f", "x", 1, modes[i]), 0);
		assert_int_equal(fstatat(directory, "f", &status, 0), 0);
		assert_int_equal(status.st_mode & 07777, modes[i]);
	}
	(void)umask(old);
	empty(directory);
}

static void a_replaced_file_keeps_what_it_had(void **state)
{
	int directory = *(int *)*state;
	cleanup_close int old = -1;
	struct stat status;

	assert_int_equal(file_replace_simple(directory, "f", "old", 3, 0600), 0);
	assert_int_equal(file_open(directory, "f", &old, NULL), 0);
	assert_int_equal(fchmod(old, 0640), 0);
	const struct file_attributes attributes = {.uid = (uid_t)-1, .gid = (gid_t)-1, .like = old};
	assert_int_equal(file_replace(directory, "f", "new", 3, &attributes), 0);
	assert_int_equal(fstatat(directory, "f", &status, 0), 0);
	assert_int_equal(status.st_mode & 07777, 0640);
	empty(directory);
}

static void links_and_other_files_are_refused(void **state)
{
	int directory = *(int *)*state;
	int descriptor;
	char *bytes;
	size_t size;

	assert_int_equal(symlinkat("/etc/passwd", directory, "link"), 0);
	assert_int_equal(file_open(directory, "link", &descriptor, NULL), -ELOOP);
	assert_int_equal(file_open_directory(directory, "link", &descriptor), -ELOOP);
	assert_int_equal(mkfifoat(directory, "fifo", 0600), 0);
	assert_int_equal(file_open(directory, "fifo", &descriptor, NULL), -EINVAL); /* and does not hang */
	assert_int_equal(mkdirat(directory, "d", 0700), 0);
	assert_int_equal(file_open(directory, "d", &descriptor, NULL), -EINVAL);
	assert_int_equal(file_open_directory(directory, "../etc", &descriptor), -EINVAL);
	assert_int_equal(file_replace_simple(directory, "f", "12345", 5, 0600), 0);
	assert_int_equal(file_read(directory, "f", 4, &bytes, &size), -EFBIG);
	empty(directory);
}

static void T05_create_does_not_replace(void **state)
{
	int directory = *(int *)*state;
	const struct file_attributes attributes = {.mode = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1, .like = -1};

	assert_int_equal(file_create(directory, "f", "a", 1, &attributes), 0);
	assert_int_equal(file_create(directory, "f", "b", 1, &attributes), -EEXIST);
	cleanup_names char **names = NULL;
	size_t count;
	assert_int_equal(file_list(directory, ".", 100, &names, &count), 0);
	assert_int_equal(count, 1); /* no temporary file stays */
	empty(directory);
}

static int teardown(void **state)
{
	char path[64], link[64];
	int directory = *(int *)*state;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", directory);
	ssize_t size = readlink(link, path, sizeof(path) - 1);
	if (size < 0)
		return -1;
	path[size] = '\0';
	(void)close(directory);
	return rmdir(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P63_modes_are_exact_under_any_umask),
		cmocka_unit_test(a_replaced_file_keeps_what_it_had),
		cmocka_unit_test(links_and_other_files_are_refused),
		cmocka_unit_test(T05_create_does_not_replace),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
