/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/file.h"
#include "lib/process.h"
#include "lib/sshd_ask.h"
#include "lib/sshd_config.h"
#include "lib/sshd_open.h"

static int set_up(void **state)
{
	char path[] = "/tmp/latchkey-sshd.XXXXXX";
	if (!mkdtemp(path))
		return -1;
	*state = strdup(path);
	return *state ? 0 : -1;
}

static int tear_down(void **state)
{
	const char *const arguments[] = {"rm", "-rf", "--", *state, NULL};
	struct process_result result = {0};
	const struct process process = {.path = "/bin/rm",
		.argv = arguments,
		.working_directory = -1,
		.output_limit = 4096,
		.timeout_ms = 60000,
		.capabilities = PROCESS_CAPABILITIES_KEEP};
	int r = process_run(&process, &result);
	process_result_free(&result);
	free(*state);
	return r;
}

static int open_tree(const char *path, const char *main_text)
{
	cleanup_close int directory = -1;
	int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(root >= 0);
	assert_int_equal(file_make_directory(root, "etc/ssh", 0755, &directory), 0);
	assert_int_equal(file_replace_simple(directory, "sshd_config", main_text, strlen(main_text), 0600), 0);
	return root;
}

static void below_another_root_the_scan_answers(void **state)
{
	cleanup_close int root = open_tree(*state,
		"PasswordAuthentication no\nPasswordAuthentication yes\nAllowUsers a b\nAllowUsers c\n"
		"ChallengeResponseAuthentication no\nPermitRootLogin without-password\nMatch all\nPubkeyAuthentication "
		"no\n");
	char detail[SSHD_DETAIL_MAX + 1];
	const struct sshd_effective *effective = NULL;
	cleanup_sshd struct sshd *sshd = NULL;
	unsigned users = 0, major, minor;

	assert_int_equal(sshd_open(root, false, -1, &sshd, detail), 0);
	assert_int_equal(sshd_get_effective(sshd, "alice", &effective, detail), 0);
	assert_true(effective->scanned);
	assert_string_equal(sshd_value(effective, "passwordauthentication"), "no");
	assert_false(sshd_is_yes(effective, "passwordauthentication"));
	assert_false(sshd_is_yes(effective, "kbdinteractiveauthentication"));
	assert_true(sshd_is_yes(effective, "pubkeyauthentication"));
	assert_true(sshd_same_value(sshd_value(effective, "permitrootlogin"), "prohibit-password"));
	for (size_t i = 0; i < effective->count; i++)
		users += strcmp(effective->values[i].keyword, "allowusers") == 0;
	assert_int_equal(users, 3);
	assert_int_equal(sshd_test(sshd, detail), SSHD_CANNOT_VALIDATE);
	assert_int_equal(sshd_get_version(sshd, &major, &minor), -EAGAIN);
}

static void T19_tokens_and_quotes_of_AuthorizedKeysFile(void **state)
{
	static const struct {
		const char *configuration;
		const char *paths; /* joined by | */
	} cases[] = {
		{"", "/home/alice/.ssh/authorized_keys|/home/alice/.ssh/authorized_keys2"},
		{"AuthorizedKeysFile none\n", ""},
		{"AuthorizedKeysFile /etc/ssh/keys/%u\n", "/etc/ssh/keys/alice"},
		{"AuthorizedKeysFile %h/.ssh/%u .ssh/%U none /x%%y\n",
			"/home/alice/.ssh/alice|/home/alice/.ssh/1000|/x%y"},
		{"AuthorizedKeysFile \"/etc/my keys/%u\" .ssh/b\n", "/etc/my keys/alice|/home/alice/.ssh/b"},
	};
	struct account alice = {.name = "alice", .home = "/home/alice", .uid = 1000};

	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		cleanup_close int root = open_tree(*state, cases[i].configuration);
		char detail[SSHD_DETAIL_MAX + 1];
		cleanup_buffer struct buffer joined = {0};
		const struct sshd_effective *effective = NULL;
		cleanup_sshd struct sshd *sshd = NULL;
		cleanup_names char **paths = NULL;
		size_t count = 0;

		assert_int_equal(sshd_open(root, false, -1, &sshd, detail), 0);
		assert_int_equal(sshd_get_effective(sshd, "alice", &effective, detail), 0);
		assert_int_equal(sshd_keys_files(sshd, effective, &alice, &paths, &count), 0);
		for (size_t j = 0; j < count; j++)
			buffer_append_format(&joined, "%s%s", j ? "|" : "", paths[j]);
		assert_string_equal(joined.size ? joined.bytes : "", cases[i].paths);
	}
	char *path;
	assert_int_equal(sshd_expand("/x/%k", &alice, &path), -EINVAL);
	assert_int_equal(sshd_expand("/x/%", &alice, &path), -EINVAL);
}

static void a_change_is_noticed_and_nothing_else(void **state)
{
	cleanup_close int root = open_tree(*state, "Port 22\n");
	cleanup_close int directory = -1;
	cleanup_sshd_scan struct sshd_scan scan = {0};
	char detail[SSHD_DETAIL_MAX + 1];
	const char text[] = "Include sshd_config.d/*.conf missing.conf\n";

	assert_int_equal(file_make_directory(root, "etc/ssh/sshd_config.d", 0755, &directory), 0);
	close(directory);
	assert_int_equal(file_open_directory(root, "etc/ssh", &directory), 0);
	assert_int_equal(file_replace_simple(directory, "sshd_config", text, sizeof(text) - 1, 0600), 0);
	assert_int_equal(sshd_scan_read(root, NULL, &scan, detail), 0);
	assert_int_equal(scan.file_count, 3);
	for (size_t i = 0; i < scan.file_count; i++)
		assert_true(sshd_file_is_unchanged(root, &scan.files[i]));
	usleep(20000); /* longer than the tick of the clock that stamps files */
	assert_int_equal(symlinkat("x", directory, "sshd_config.d/y"), 0);
	assert_int_equal(symlinkat("sshd_config", directory, "missing.conf"), 0);
	assert_int_equal(file_replace_simple(directory, "sshd_config", text, sizeof(text) - 1, 0600), 0);
	for (size_t i = 0; i < scan.file_count; i++)
		assert_false(sshd_file_is_unchanged(root, &scan.files[i]));
}

static void versions(void **state)
{
	unsigned major = 0, minor = 0;
	(void)state;
	assert_int_equal(sshd_ask_parse_version("OpenSSH_9.2p1 Debian-2, OpenSSL", &major, &minor), 0);
	assert_int_equal(major * 100 + minor, 902);
	assert_int_equal(sshd_ask_parse_version("unknown option -- V\nOpenSSH_10.0, x", &major, &minor), 0);
	assert_int_equal(major * 100 + minor, 1000);
	assert_int_equal(sshd_ask_parse_version("Dropbear v2022.83", &major, &minor), -EAGAIN);
	assert_int_equal(sshd_ask_parse_version("OpenSSH_9", &major, &minor), -EAGAIN);
	assert_int_equal(sshd_ask_parse_version("OpenSSH_99999999.1", &major, &minor), -EAGAIN);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(below_another_root_the_scan_answers),
		TEST(T19_tokens_and_quotes_of_AuthorizedKeysFile),
		TEST(a_change_is_noticed_and_nothing_else),
		TEST(versions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
