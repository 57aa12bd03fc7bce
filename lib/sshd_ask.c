/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sshd_ask.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/paths.h"
#include "lib/sys.h"

#define ASK_TIMEOUT_MS 10000u     /* 5 to 8 ms is usual; a busy machine at boot is not */
#define ASK_OUTPUT_MAX (1u << 20) /* sshd -T prints 4 KiB, and a line per AllowUsers name */
#define KEYGEN "/usr/bin/ssh-keygen"
#define THROW_AWAY_KEY "hostkey.throwaway" /* never listened with */

const char *sshd_ask_program(void)
{
	static const char *const places[] = {PATH_SSHD, "/usr/bin/sshd"};
	struct stat status;

	for (unsigned i = 0; i < ELEMENTS(places); i++) {
		if (stat(places[i], &status) == 0)
			return places[i];
	}
	return NULL;
}

void sshd_ask_words(const struct process_result *result, char ret_detail[SSHD_DETAIL_MAX + 1])
{
	const char *text = result->error.size ? result->error.bytes : result->output.size ? result->output.bytes : "";
	size_t size = strcspn(text, "\r\n");

	if (size == 0)
		text = "sshd gave no reason", size = strlen(text);
	if (size > SSHD_DETAIL_MAX)
		size = SSHD_DETAIL_MAX;
	for (size_t i = 0; i < size; i++)
		ret_detail[i] = (char)(text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?');
	ret_detail[size] = '\0';
}

/* Only the two places where it is lost at every boot; anywhere else a missing directory is the package's matter. */
static bool make_separation_directory(const struct process_result *result)
{
	cleanup_close int run = -1;

	if (!result->error.size || (!strstr(result->error.bytes, "directory: /run/sshd") &&
					   !strstr(result->error.bytes, "directory: /var/run/sshd")))
		return false;
	if (file_open_directory(-1, "/run", &run) < 0)
		return false;
	return sys.mkdirat(run, "sshd", 0755) == 0;
}

static int make_throw_away_key(int state)
{
	static const char *const arguments[] = {
		"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", THROW_AWAY_KEY, NULL};
	cleanup_process_result struct process_result result = {0};
	struct stat status;

	if (state < 0)
		return -EROFS;
	if (sys.fstatat(state, THROW_AWAY_KEY, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
		status.st_size > 0)
		return 0;
	(void)sys.unlinkat(state, THROW_AWAY_KEY, 0); /* what a crash left; ssh-keygen would ask before overwriting */
	const struct process process = {.path = KEYGEN,
		.argv = arguments,
		.working_directory = state,
		.output_limit = 4096,
		.timeout_ms = ASK_TIMEOUT_MS,
		.capabilities = PROCESS_CAPABILITIES_KEEP};
	int r = process_run(&process, &result);
	if (r < 0)
		return r;
	return process_exited(&result, 0) ? 0 : -EIO;
}

int sshd_ask_run(int state, const char *const *arguments, struct process_result *ret_result)
{
	const char *argv[SSHD_ASK_ARGUMENTS_MAX + 4] = {"sshd"};
	const char *program = sshd_ask_program();
	bool tried_directory = false, tried_key = false;
	unsigned count = 1;

	if (!program)
		return -ENOENT;
	for (; *arguments; arguments++) {
		if (count > SSHD_ASK_ARGUMENTS_MAX)
			return -E2BIG;
		argv[count++] = *arguments;
	}
	for (;;) {
		cleanup_process_result struct process_result result = {0};
		const struct process process = {.path = program,
			.argv = argv,
			.working_directory = state,
			.output_limit = ASK_OUTPUT_MAX,
			.timeout_ms = ASK_TIMEOUT_MS,
			.capabilities = PROCESS_CAPABILITIES_KEEP};
		int r = process_run(&process, &result);
		if (r < 0)
			return r;
		if (!process_exited(&result, 0) && !tried_directory && make_separation_directory(&result)) {
			tried_directory = true;
			continue;
		}
		if (process_exited(&result, 1) && !tried_key && result.error.size &&
			strstr(result.error.bytes, "no hostkeys available") && make_throw_away_key(state) == 0) {
			tried_key = true;
			argv[count] = "-h";
			argv[count + 1] = THROW_AWAY_KEY;
			continue;
		}
		*ret_result = result;
		result = (struct process_result){0};
		return 0;
	}
}

enum sshd_validity sshd_ask_validity(int state, char *const *options, char ret_detail[SSHD_DETAIL_MAX + 1])
{
	const char *arguments[SSHD_ASK_ARGUMENTS_MAX + 1] = {"-t"};
	cleanup_process_result struct process_result result = {0};

	for (unsigned i = 0; options && options[i] && i + 2 < SSHD_ASK_ARGUMENTS_MAX; i++)
		arguments[i + 1] = options[i];
	int r = sshd_ask_run(state, arguments, &result);
	if (r < 0) {
		(void)snprintf(
			ret_detail, SSHD_DETAIL_MAX + 1, "%s", r == -ENOENT ? "no sshd is installed" : strerror(-r));
		return SSHD_CANNOT_VALIDATE;
	}
	if (process_exited(&result, 0)) {
		*ret_detail = '\0';
		return SSHD_VALID;
	}
	sshd_ask_words(&result, ret_detail);
	/* 255 is a bad configuration, and also a bad privilege separation directory, which is none. */
	if (process_exited(&result, 255) &&
		!(result.error.size &&
			(strstr(result.error.bytes, "privilege separation") ||
				/* "/run/sshd must be owned by root and not group or world-writable." */
				strstr(result.error.bytes, "must be owned by root and not group or world-writable"))))
		return SSHD_INVALID;
	return SSHD_CANNOT_VALIDATE;
}

int sshd_ask_parse_version(const char *text, unsigned *ret_major, unsigned *ret_minor)
{
	unsigned numbers[2] = {0, 0};
	const char *at = strstr(text, "OpenSSH_");

	if (!at)
		return -EAGAIN;
	at += strlen("OpenSSH_");
	for (unsigned i = 0; i < 2; i++) {
		if (!isdigit((unsigned char)*at))
			return -EAGAIN;
		for (; isdigit((unsigned char)*at); at++) {
			if (numbers[i] > 9999)
				return -EAGAIN;
			numbers[i] = numbers[i] * 10 + (unsigned)(*at - '0');
		}
		if (i == 0 && *at++ != '.')
			return -EAGAIN;
	}
	*ret_major = numbers[0];
	*ret_minor = numbers[1];
	return 0;
}
