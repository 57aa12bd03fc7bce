/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/process.h"
#include "lib/sshd_config.h"

struct tree {
	char path[64];
	int root;
};

static void put_sized(const struct tree *tree, const char *path, const char *bytes, size_t size)
{
	cleanup_free char *parent = strdup(path);
	cleanup_close int directory = -1;
	char *slash = strrchr(parent, '/');

	*slash = '\0';
	assert_int_equal(file_make_directory(tree->root, slash > parent ? parent + 1 : "", 0755, &directory), 0);
	assert_int_equal(file_replace_simple(directory, slash + 1, bytes, size, 0600), 0);
}

static void put(const struct tree *tree, const char *path, const char *text)
{
	put_sized(tree, path, text, strlen(text));
}

static int set_up(void **state)
{
	struct tree *tree = calloc(1, sizeof(*tree));
	(void)snprintf(tree->path, sizeof(tree->path), "/tmp/latchkey-scan.XXXXXX");
	if (!mkdtemp(tree->path))
		return -1;
	tree->root = open(tree->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = tree;
	return tree->root < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	struct tree *tree = *state;
	const char *const arguments[] = {"rm", "-rf", "--", tree->path, NULL};
	struct process_result result = {0};
	const struct process process = {.path = "/bin/rm",
		.argv = arguments,
		.working_directory = -1,
		.output_limit = 4096,
		.timeout_ms = 60000,
		.capabilities = PROCESS_CAPABILITIES_KEEP};
	int r = process_run(&process, &result);
	process_result_free(&result);
	(void)close(tree->root);
	free(tree);
	return r;
}

static void scan_ok(const struct tree *tree, const struct sshd_overlay *overlay, struct sshd_scan *ret_scan)
{
	char detail[SSHD_SCAN_DETAIL_MAX + 1] = "";
	int r = sshd_scan_read(tree->root, overlay, ret_scan, detail);
	if (r < 0)
		print_error("%s\n", detail);
	assert_int_equal(r, 0);
}

static void assert_global(const struct sshd_scan *scan, const char *keyword, const char *value, const char *place)
{
	const struct sshd_setting *setting = sshd_scan_global(scan, keyword);
	char found[256];

	if (!value) {
		assert_null(setting);
		return;
	}
	assert_non_null(setting);
	assert_string_equal(setting->arguments[0], value);
	(void)snprintf(found, sizeof(found), "%s:%u", scan->files[setting->file].path, setting->line);
	assert_string_equal(found, place);
}

static void lines_are_split_as_sshd_does(void **state)
{
	static const struct {
		const char *line, *words; /* joined by | ; NULL: an error */
	} cases[] = {
		{"", ""},
		{"  \t\r", ""},
		{"# Port 22", ""},
		{"Port 22", "port|22"},
		{"\tPORT\t22 \r", "port|22"},
		{"port=22", "port|22"},
		{"port = 22", "port|22"},
		{"port== 22", "port|= 22"},
		{"port \"22\" # why", "port|22"},
		{"\"port\" 22", "port|22"},
		{"AllowUsers a 'b c' \"d e\" f\\ g", "allowusers|a|b c|d e|f g"},
		{"Banner a\\\"b \"\\\\\"", "banner|a\"b|\\"},
		{"Banner \"\" x", "banner||x"},
		{"Port", NULL},
		{"Port \"22", NULL},
		{"Port=", NULL},
		{"Port #", "port"},
		{"Banner x#y", "banner|x#y"},
	};
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		cleanup_free char **words = NULL;
		cleanup_buffer struct buffer joined = {0};
		unsigned count = 0;
		int r = sshd_scan_line(cases[i].line, &words, &count);
		if (!cases[i].words) {
			assert_int_equal(r, -22);
			continue;
		}
		assert_int_equal(r, 0);
		for (unsigned j = 0; j < count; j++)
			buffer_append_format(&joined, "%s%s", j ? "|" : "", words[j]);
		if (strcmp(cases[i].line, "port== 22") == 0) /* one '=' only is skipped */
			assert_string_equal(joined.bytes, "port|=|22");
		else
			assert_string_equal(joined.size ? joined.bytes : "", cases[i].words);
	}
}

static void T07_first_value_wins(void **state)
{
	const struct tree *tree = *state;
	cleanup_sshd_scan struct sshd_scan scan = {0};

	put(tree, SSHD_MAIN, "# main\r\nInclude sshd_config.d/*.conf\r\nPasswordAuthentication yes\nPort 22\n");
	put(tree, SSHD_DROP_IN_DIRECTORY "/50-cloud-init.conf", "passwordauthentication=no\n");
	put(tree, SSHD_DROP_IN_DIRECTORY "/60-late.conf", "PasswordAuthentication yes\nUsePAM yes\n");
	put(tree, SSHD_DROP_IN_DIRECTORY "/.hidden.conf", "PasswordAuthentication hidden\n");
	put(tree, SSHD_DROP_IN_DIRECTORY "/other.txt", "PasswordAuthentication other\n");
	scan_ok(tree, NULL, &scan);
	assert_global(&scan, "passwordauthentication", "no", SSHD_DROP_IN_DIRECTORY "/50-cloud-init.conf:1");
	assert_global(&scan, "usepam", "yes", SSHD_DROP_IN_DIRECTORY "/60-late.conf:2");
	assert_global(&scan, "port", "22", SSHD_MAIN ":4");
	assert_false(scan.has_match);
	assert_true(sshd_scan_reads(&scan, SSHD_DROP_IN_DIRECTORY "/60-late.conf"));
	assert_false(sshd_scan_reads(&scan, SSHD_DROP_IN));
}

static void the_overlay_stands_where_the_file_would(void **state)
{
	const struct tree *tree = *state;
	static const char text[] = "PasswordAuthentication yes\n";
	const struct sshd_overlay overlay = {SSHD_DROP_IN, text, sizeof(text) - 1}, gone = {SSHD_DROP_IN, NULL, 0};

	put(tree, SSHD_MAIN, "Include /etc/ssh//sshd_config.d/*.conf\nPasswordAuthentication no\n");
	for (unsigned i = 0; i < 2; i++) { /* without and with the directory and a file in it */
		cleanup_sshd_scan struct sshd_scan scan = {0}, without = {0};
		scan_ok(tree, &overlay, &scan);
		assert_global(&scan, "passwordauthentication", "yes", SSHD_DROP_IN ":1");
		scan_ok(tree, &gone, &without);
		assert_global(&without, "passwordauthentication", "no",
			i ? SSHD_DROP_IN_DIRECTORY "/50-x.conf:1" : SSHD_MAIN ":2");
		put(tree, SSHD_DROP_IN_DIRECTORY "/50-x.conf", "PasswordAuthentication no\n");
		put(tree, SSHD_DROP_IN, "PasswordAuthentication old\n");
	}
}

static void T08_a_match_holds_to_the_end_of_its_file(void **state)
{
	const struct tree *tree = *state;
	cleanup_sshd_scan struct sshd_scan scan = {0};

	put(tree, SSHD_MAIN,
		"Include sshd_config.d/*.conf\nUsePAM yes\nmAtCh\tUser sftp\n\tForceCommand internal-sftp\n"
		"PasswordAuthentication=no\nInclude late.conf\nMatch all\nPubkeyAuthentication no\n");
	put(tree, SSHD_DROP_IN_DIRECTORY "/10-x.conf", "Match Group x\nPermitRootLogin no\n");
	put(tree, SSHD_DROP_IN_DIRECTORY "/20-y.conf", "PermitRootLogin yes\n");
	put(tree, SSHD_DIRECTORY "/late.conf", "X11Forwarding yes\nMatch User y\nBanner none\n");
	scan_ok(tree, NULL, &scan);
	assert_true(scan.has_match);
	assert_global(&scan, "permitrootlogin", "yes", SSHD_DROP_IN_DIRECTORY "/20-y.conf:1");
	assert_global(&scan, "usepam", "yes", SSHD_MAIN ":2");
	assert_global(&scan, "passwordauthentication", NULL, NULL);
	assert_global(&scan, "x11forwarding", NULL, NULL);
	assert_global(&scan, "pubkeyauthentication", NULL, NULL);
	const struct sshd_setting *setting = sshd_scan_in_match(&scan, "passwordauthentication", 0);
	assert_non_null(setting);
	assert_int_equal(setting->line, 5);
	assert_string_equal(scan.settings[setting->match].arguments[1], "sftp");
	setting = sshd_scan_in_match(&scan, "pubkeyauthentication", 0);
	assert_non_null(setting);
	assert_string_equal(scan.settings[setting->match].arguments[0], "all");
	assert_false(sshd_scan_reads(&scan, SSHD_DIRECTORY "/late.conf"));
}

static void includes_nest_and_end(void **state)
{
	const struct tree *tree = *state;
	char detail[SSHD_SCAN_DETAIL_MAX + 1];
	struct sshd_scan scan = {0};

	put(tree, SSHD_MAIN, "Include a/*/x?.conf missing.conf ~/y none-*\n");
	put(tree, SSHD_DIRECTORY "/a/2/x1.conf", "Include /etc/ssh/b.conf\n");
	put(tree, SSHD_DIRECTORY "/a/1/x22.conf", "Port 1\n");
	put(tree, SSHD_DIRECTORY "/b.conf", "Port 2\n");
	scan_ok(tree, NULL, &scan);
	assert_global(&scan, "port", "2", SSHD_DIRECTORY "/b.conf:1");
	sshd_scan_free(&scan);

	put(tree, SSHD_DIRECTORY "/b.conf", "Include b.conf\n");
	assert_int_equal(sshd_scan_read(tree->root, NULL, &scan, detail), -22);
	assert_non_null(strstr(detail, "too deep"));
	put(tree, SSHD_DIRECTORY "/b.conf", "Include [b].conf *.conf b.*\nInclude b.conf b.conf b.conf\n");
	assert_true(sshd_scan_read(tree->root, NULL, &scan, detail) < 0);
}

static void what_stops_sshd_stops_the_scan(void **state)
{
	const struct tree *tree = *state;
	char detail[SSHD_SCAN_DETAIL_MAX + 1];
	struct sshd_scan scan = {0};

	put(tree, SSHD_MAIN, "Port 22\nInclude sshd_config.d/*.conf\n");
	put(tree, SSHD_DROP_IN_DIRECTORY "/a.conf", "\nPort \"22\n");
	assert_int_equal(sshd_scan_read(tree->root, NULL, &scan, detail), -22);
	assert_string_equal(detail, SSHD_DROP_IN_DIRECTORY "/a.conf:2: no argument or bad quotes");
	put(tree, SSHD_DROP_IN_DIRECTORY "/a.conf", "");
	assert_int_equal(symlinkat("nowhere", tree->root, "etc/ssh/sshd_config.d/x.conf"), 0);
	assert_int_equal(sshd_scan_read(tree->root, NULL, &scan, detail), -22);
	assert_non_null(strstr(detail, "a link to nothing"));
}

static void links_do_not_lead_out_of_the_root(void **state)
{
	const struct tree *tree = *state;
	cleanup_sshd_scan struct sshd_scan scan = {0};

	put(tree, "/real/conf", "Port 7\n");
	put(tree, SSHD_MAIN, "Include x.conf\nInclude sshd_config.d/*.conf\n");
	assert_int_equal(symlinkat("/real/conf", tree->root, "etc/ssh/x.conf"), 0);
	assert_int_equal(symlinkat("/real", tree->root, "etc/ssh/sshd_config.d"), 0);
	scan_ok(tree, NULL, &scan);
	assert_global(&scan, "port", "7", SSHD_DIRECTORY "/x.conf:1");
}

static void T11_the_vendor_file_counts_while_there_is_no_main(void **state)
{
	const struct tree *tree = *state;
	struct sshd_scan scan = {0};

	scan_ok(tree, NULL, &scan);
	assert_false(scan.has_main);
	sshd_scan_free(&scan);
	put(tree, SSHD_MAIN_VENDOR, "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n");
	scan_ok(tree, NULL, &scan);
	assert_string_equal(scan.main_path, SSHD_MAIN_VENDOR);
	assert_global(&scan, "usepam", "yes", SSHD_MAIN_VENDOR ":2");
	sshd_scan_free(&scan);
	put(tree, SSHD_MAIN, "UsePAM no\n");
	scan_ok(tree, NULL, &scan);
	assert_string_equal(scan.main_path, SSHD_MAIN);
	assert_global(&scan, "usepam", "no", SSHD_MAIN ":1");
	sshd_scan_free(&scan);
}

static void a_nul_glues_its_line_to_the_next(void **state)
{
	const struct tree *tree = *state;
	static const char text[] = "Port 22\nUse\0junk\nPAM yes\n\0\0\0\nBanner none\n";
	cleanup_sshd_scan struct sshd_scan scan = {0};

	put_sized(tree, SSHD_MAIN, text, sizeof(text) - 1);
	scan_ok(tree, NULL, &scan);
	assert_global(&scan, "usepam", "yes", SSHD_MAIN ":2");
	assert_global(&scan, "banner", "none", SSHD_MAIN ":3");
}

static void a_large_configuration_is_read_and_a_huge_one_refused(void **state)
{
	const struct tree *tree = *state;
	char detail[SSHD_SCAN_DETAIL_MAX + 1];
	cleanup_buffer struct buffer text = {0};
	struct sshd_scan scan = {0};

	while (text.size < (1u << 20))
		buffer_append_text(&text, "AcceptEnv LANG LC_*\n");
	buffer_append_text(&text, "UsePAM yes\n");
	put(tree, SSHD_MAIN, text.bytes);
	scan_ok(tree, NULL, &scan);
	assert_non_null(sshd_scan_global(&scan, "usepam"));
	sshd_scan_free(&scan);
	while (text.size <= SSHD_SCAN_BYTES_MAX)
		buffer_append_text(&text, "AcceptEnv LANG LC_*\n");
	put(tree, SSHD_MAIN, text.bytes);
	assert_int_equal(sshd_scan_read(tree->root, NULL, &scan, detail), -7);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(lines_are_split_as_sshd_does),
		TEST(T07_first_value_wins),
		TEST(the_overlay_stands_where_the_file_would),
		TEST(T08_a_match_holds_to_the_end_of_its_file),
		TEST(includes_nest_and_end),
		TEST(what_stops_sshd_stops_the_scan),
		TEST(links_do_not_lead_out_of_the_root),
		TEST(T11_the_vendor_file_counts_while_there_is_no_main),
		TEST(a_nul_glues_its_line_to_the_next),
		TEST(a_large_configuration_is_read_and_a_huge_one_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
