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

/* The generator of P50: configurations as people and tools spell them. */
static uint32_t draw(uint32_t *seed, uint32_t below)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % below;
}

static void spell(struct buffer *out, uint32_t *seed, const char *keyword, const char *value)
{
	static const char *const between[] = {" ", "\t", "=", " = ", "  \t"};
	static const char *const after[] = {"", " ", "\r", " # why", "\t\r"};
	static const char *const before[] = {"", " ", "\t"};
	unsigned quote = draw(seed, 3), upper = draw(seed, 3);

	buffer_append_text(out, before[draw(seed, ELEMENTS(before))]);
	for (const char *at = keyword; *at; at++) {
		char c = *at;
		if (upper == 0 && c >= 'a' && c <= 'z')
			c = (char)(c - 32);
		else if (upper == 1 && c >= 'A' && c <= 'Z')
			c = (char)(c + 32);
		buffer_append(out, &c, 1);
	}
	buffer_append_text(out, between[draw(seed, ELEMENTS(between))]);
	buffer_append_format(out, quote == 0 ? "\"%s\"" : quote == 1 ? "'%s'" : "%s", value);
	buffer_append_format(out, "%s\n", after[draw(seed, ELEMENTS(after))]);
}

static const struct {
	const char *keyword, *lower, *values[2], *fallback;
} generated[] = {
	{"PasswordAuthentication", "passwordauthentication", {"yes", "no"}, "yes"},
	{"PubkeyAuthentication", "pubkeyauthentication", {"yes", "no"}, "yes"},
	{"PermitRootLogin", "permitrootlogin", {"no", "without-password"}, "without-password"},
	{"KbdInteractiveAuthentication", "kbdinteractiveauthentication", {"yes", "no"}, "yes"},
	{"X11Forwarding", "x11forwarding", {"yes", "no"}, "no"},
	{"MaxAuthTries", "maxauthtries", {"3", "4"}, "6"},
	{"AuthorizedKeysFile", "authorizedkeysfile", {".ssh/a", "/etc/ssh/%u"},
		".ssh/authorized_keys .ssh/authorized_keys2"},
};

static void generate(struct buffer *out, uint32_t *seed, const char *directory, unsigned level)
{
	static const char *const matches[] = {"Match User nobody-at-all", "match\tuser=x,y",
		"Match Address 127.0.0.0/8", "Match LocalPort 2222", "Match Group no-such-group",
		"MATCH Host *.example.com User z"};
	unsigned lines = draw(seed, 9);

	for (unsigned i = 0; i < lines; i++) {
		switch (draw(seed, 12)) {
		case 0:
			buffer_append_format(out, "%s\n", matches[draw(seed, ELEMENTS(matches))]);
			break;
		case 1:
		case 3:
			if (level < 2)
				buffer_append_format(out, "Include %s/%u*.conf\n", directory, level + 1);
			break;
		case 2:
			buffer_append_text(out, "# PasswordAuthentication no\n \t\n");
			break;
		default: {
			unsigned which = draw(seed, ELEMENTS(generated));
			spell(out, seed, generated[which].keyword, generated[which].values[draw(seed, 2)]);
		}
		}
	}
}

static int run_sshd(const struct tree *tree, struct process_result *ret_result)
{
	cleanup_free char *main_path = NULL, *key = NULL;
	if (asprintf(&main_path, "%s/main", tree->path) < 0 || asprintf(&key, "%s/key", tree->path) < 0)
		return -12;
	const char *const arguments[] = {"sshd", "-T", "-f", main_path, "-h", key, "-C",
		"user=alice,host=client.invalid,addr=192.0.2.1,laddr=192.0.2.2,lport=22", NULL};
	const struct process process = {.path = "/usr/sbin/sshd",
		.argv = arguments,
		.working_directory = -1,
		.output_limit = 1u << 20,
		.timeout_ms = 60000,
		.capabilities = PROCESS_CAPABILITIES_KEEP};
	return process_run(&process, ret_result);
}

static void make_key(const struct tree *tree)
{
	cleanup_free char *key = NULL;
	struct process_result result = {0};
	assert_true(asprintf(&key, "%s/key", tree->path) > 0);
	const char *const arguments[] = {"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key, NULL};
	const struct process process = {.path = "/usr/bin/ssh-keygen",
		.argv = arguments,
		.working_directory = -1,
		.output_limit = 4096,
		.timeout_ms = 60000,
		.capabilities = PROCESS_CAPABILITIES_KEEP};
	assert_int_equal(process_run(&process, &result), 0);
	assert_true(process_exited(&result, 0));
	process_result_free(&result);
}

static void P50_P108_scan_and_sshd_agree(void **state)
{
	const struct tree *tree = *state;
	cleanup_close int host = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unsigned agreed = 0;

	make_key(tree);
	for (uint32_t round = 1; round <= 150; round++) {
		cleanup_process_result struct process_result result = {0};
		cleanup_buffer struct buffer include = {0};
		cleanup_sshd_scan struct sshd_scan scan = {0};
		char detail[SSHD_SCAN_DETAIL_MAX + 1] = "";
		uint32_t seed = round * 2654435761u;

		static const char *const names[] = {"/main", "/10.conf", "/11.conf", "/20.conf", "/21.conf"};
		for (unsigned i = 0; i < ELEMENTS(names); i++) {
			cleanup_buffer struct buffer text = {0};
			generate(&text, &seed, tree->path, i == 0 ? 0 : i < 3 ? 1 : 2);
			put_sized(tree, names[i], text.bytes ? text.bytes : "", text.size);
		}
		buffer_append_format(&include, "Include %s/main\n", tree->path);
		const struct sshd_overlay overlay = {SSHD_MAIN, include.bytes, include.size};
		assert_int_equal(sshd_scan_read(host, &overlay, &scan, detail), 0);
		assert_int_equal(run_sshd(tree, &result), 0);
		if (!process_exited(&result, 0))
			print_error("round %u: %s\n", round, result.error.bytes);
		assert_true(process_exited(&result, 0));
		for (unsigned i = 0; i < ELEMENTS(generated); i++) {
			cleanup_buffer struct buffer line = {0};
			const struct sshd_setting *setting = sshd_scan_global(&scan, generated[i].lower);
			buffer_append_format(&line, "\n%s %s\n", generated[i].lower,
				setting ? setting->arguments[0] : generated[i].fallback);
			if (!strstr(result.output.bytes, line.bytes))
				print_error("round %u: sshd does not say%s", round, line.bytes);
			assert_non_null(strstr(result.output.bytes, line.bytes));
			agreed += setting != NULL;
		}
	}
	if (agreed <= 200)
		print_error("only %u settings were compared\n", agreed);
	assert_true(agreed > 200); /* the generator really set things */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(P50_P108_scan_and_sshd_agree, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
