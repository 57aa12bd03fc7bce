/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
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

static bool has_attribute(int directory, const char *name, const char *attribute)
{
	char path[64], value[256];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", directory, name);
	return getxattr(path, attribute, value, sizeof(value)) >= 0;
}

/* One entry for user 12345 beside the owner's, the group's, the mask's and the others'; acl(5), little endian. */
static const unsigned char acl[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 57, 48, 0, 0, 4, 0, 4, 0,
	255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255};

static void P23_which_attributes_are_kept(void **state)
{
	static const struct {
		const char *name;
		bool kept;
	} rows[] = {
		{"user.note", true},
		{"system.posix_acl_access", true},
		{"security.selinux", true},
		{"security.ima", false},
		{"security.evm", false},
	};
	int directory = *(int *)*state;

	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		bool is_acl = strncmp(rows[i].name, "system.", 7) == 0;
		const void *value = is_acl ? (const void *)acl : "some_u:some_r:some_t:s0";
		cleanup_close int old = -1;

		assert_int_equal(file_replace_simple(directory, "f", "old", 3, 0600), 0);
		assert_int_equal(file_open(directory, "f", &old, NULL), 0);
		/* Not every file system has every kind, nor every user the right. */
		if (fsetxattr(old, rows[i].name, value, is_acl ? sizeof(acl) : strlen(value), 0) < 0) {
			print_message("%s: %s\n", rows[i].name, strerror(errno));
			continue;
		}
		const struct file_attributes attributes = {.uid = (uid_t)-1, .gid = (gid_t)-1, .like = old};
		assert_int_equal(file_replace(directory, "f", "new", 3, &attributes), 0);
		if (has_attribute(directory, "f", rows[i].name) != rows[i].kept)
			fail_msg("%s", rows[i].name);
	}
	empty(directory);
}

/* Else the 0640 of shadow would be the mask of an entry that shadow never had. */
static void P23_a_default_acl_gives_nothing_to_what_is_replaced(void **state)
{
	int directory = *(int *)*state;
	cleanup_close int old = -1;
	struct stat status;

	assert_int_equal(file_replace_simple(directory, "f", "old", 3, 0600), 0);
	assert_int_equal(file_open(directory, "f", &old, NULL), 0);
	assert_int_equal(fchmod(old, 0640), 0);
	if (fsetxattr(directory, "system.posix_acl_default", acl, sizeof(acl), 0) < 0) {
		print_message("default ACL: %s\n", strerror(errno));
		empty(directory);
		return;
	}
	const struct file_attributes attributes = {.uid = (uid_t)-1, .gid = (gid_t)-1, .like = old};
	assert_int_equal(file_replace(directory, "f", "new", 3, &attributes), 0);
	assert_false(has_attribute(directory, "f", "system.posix_acl_access"));
	assert_int_equal(fstatat(directory, "f", &status, 0), 0);
	assert_int_equal(status.st_mode & 07777, 0640);
	assert_int_equal(fremovexattr(directory, "system.posix_acl_default"), 0);
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

static void expect_file(int directory, const char *content)
{
	cleanup_names char **names = NULL;
	cleanup_free char *text = NULL;
	size_t count, size;

	assert_int_equal(file_read(directory, "f", 100, &text, &size), 0);
	assert_string_equal(text, content);
	assert_int_equal(file_list(directory, ".", 100, &names, &count), 0);
	assert_int_equal(count, 1); /* no temporary file stays */
}

static void write_to(int directory, int flags, const char *text)
{
	cleanup_close int descriptor = openat(directory, "f", O_WRONLY | O_CLOEXEC | flags);
	assert_int_equal(write(descriptor, text, strlen(text)), strlen(text));
}

static void what_others_write_meanwhile_is_kept(void **state)
{
	int directory = *(int *)*state;
	const struct file_reading was = {"old\n", 4};
	struct file_attributes attributes = {.mode = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1, .like = -1};
	cleanup_close int old = -1;

	assert_int_equal(file_replace_simple(directory, "f", "old\n", 4, 0600), 0);
	assert_int_equal(file_replace_shared(directory, "f", "new\n", 4, &attributes, &was), -EAGAIN);
	expect_file(directory, "old\n"); /* it was not there when it was read */
	assert_int_equal(file_open(directory, "f", &old, NULL), 0);
	attributes.like = old;

	write_to(directory, O_APPEND, "more\n");
	assert_int_equal(file_remove_shared(directory, "f", old, &was), -EAGAIN);
	expect_file(directory, "old\nmore\n");
	write_to(directory, 0, "odd");
	assert_int_equal(file_replace_shared(directory, "f", "new\n", 4, &attributes, &was), -EAGAIN);
	expect_file(directory, "odd\nmore\n");
	write_to(directory, 0, "old");
	assert_int_equal(file_replace_shared(directory, "f", "new\n", 4, &attributes, &was), 0);
	expect_file(directory, "new\nmore\n");

	const struct file_reading now = {"new\nmore\n", 9};
	(void)close(old);
	assert_int_equal(file_open(directory, "f", &old, NULL), 0);
	attributes.like = old;
	assert_int_equal(file_replace_simple(directory, "f", "new\nmore\n", 9, 0600), 0);
	assert_int_equal(file_replace_shared(directory, "f", "x", 1, &attributes, &now), -EAGAIN);
	assert_int_equal(file_remove_shared(directory, "f", old, &now), -EAGAIN);
	expect_file(directory, "new\nmore\n"); /* another file of the same bytes is not the one that was read */

	(void)close(old);
	assert_int_equal(file_open(directory, "f", &old, NULL), 0);
	cleanup_close int writer = openat(directory, "f", O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(file_remove_shared(directory, "f", old, &now), -EBUSY);
	expect_file(directory, "new\nmore\n");
	(void)close(writer);
	writer = -1;
	assert_int_equal(file_remove_shared(directory, "f", old, &now), 0);
	assert_int_equal(file_read(directory, "f", 100, (char *[]){NULL}, (size_t[]){0}), -ENOENT);
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
		cmocka_unit_test(P23_which_attributes_are_kept),
		cmocka_unit_test(P23_a_default_acl_gives_nothing_to_what_is_replaced),
		cmocka_unit_test(links_and_other_files_are_refused),
		cmocka_unit_test(T05_create_does_not_replace),
		cmocka_unit_test(what_others_write_meanwhile_is_kept),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
