/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <readpassphrase.h>
#include <stdio.h>
#include <string.h>

#include "console/cli/change.h"
#include "console/cli/commands.h"
#include "console/cli/output.h"
#include "lib/base64.h"
#include "lib/file.h"
#include "lib/sealed_password.h"

/* One line from a descriptor; a newline at its end does not count. */
static enum cli_exit read_descriptor(const char *text, struct secret *ret_value)
{
	cleanup_secret struct secret value = {0};
	int64_t descriptor;
	size_t size = 0;

	if (arguments_duration(text, 1023, &descriptor) < 0) {
		complain("--password-fd must be a descriptor's number");
		return CLI_USAGE;
	}
	if (secret_allocate(SEALED_PASSWORD_MAX + 2, &value) < 0)
		return CLI_LOCAL;
	for (;;) {
		ssize_t n = read((int)descriptor, value.bytes + size, value.size - size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			complain("descriptor %s: %s", text, strerror(errno));
			return CLI_USAGE;
		}
		size += (size_t)n;
		if (n == 0 || size == value.size)
			break;
	}
	if (size > 0 && value.bytes[size - 1] == '\n')
		size--;
	value.size = size;
	*ret_value = value;
	value = (struct secret){0};
	return CLI_OK;
}

static enum cli_exit read_terminal(const char *user, struct secret *ret_value)
{
	cleanup_secret struct secret first = {0}, second = {0};
	char prompt[80];

	if (secret_allocate(SEALED_PASSWORD_MAX + 2, &first) < 0 ||
		secret_allocate(SEALED_PASSWORD_MAX + 2, &second) < 0)
		return CLI_LOCAL;
	(void)snprintf(prompt, sizeof(prompt), "New password of %.32s: ", user);
	if (!readpassphrase(prompt, (char *)first.bytes, first.size, RPP_ECHO_OFF | RPP_REQUIRE_TTY) ||
		!readpassphrase("Again: ", (char *)second.bytes, second.size, RPP_ECHO_OFF | RPP_REQUIRE_TTY)) {
		complain("no terminal to ask for the password: give --password-fd N or --generate");
		return CLI_USAGE;
	}
	if (strcmp((const char *)first.bytes, (const char *)second.bytes) != 0) {
		complain("the two differ");
		return CLI_USAGE;
	}
	first.size = strlen((const char *)first.bytes);
	*ret_value = first;
	first = (struct secret){0};
	return CLI_OK;
}

/* Sealed to the pinned box and to nothing else. */
static enum cli_exit set(struct cli *cli, const struct arguments *arguments)
{
	const char *user = arguments->positional[1], *descriptor = arguments_option(arguments, "password-fd");
	bool is_hash = arguments_option(arguments, "hash") != NULL;
	cleanup_change struct change change = {0};
	cleanup_secret struct secret value = {0};
	cleanup_free char *sealed = NULL;
	unsigned char box[SEALED_KEY_SIZE];

	enum cli_exit r = change_begin(cli, arguments, "password.set", &change);
	if (r != CLI_OK)
		return r;
	if (!change.pin.box || sealed_parse_public_key(change.pin.box, box) < 0) {
		complain("%s has not registered yet, so that there is no key to seal a password to",
			change.pin.instance);
		return CLI_FAILED;
	}
	r = descriptor ? read_descriptor(descriptor, &value) : read_terminal(user, &value);
	if (r != CLI_OK)
		return r;
	const struct sealed_password_binding binding = {change.pin.instance, change.id, user};
	int error = sealed_password_seal(&binding, is_hash, &value, box, &sealed);
	secret_free(&value);
	if (error < 0) {
		complain(error == -EINVAL ? "the password must have 1 to %u bytes, without control characters"
					  : "the password could not be sealed (%u)",
			SEALED_PASSWORD_MAX);
		return CLI_USAGE;
	}
	if (!cJSON_AddStringToObject(change.command, "sealed", sealed))
		return CLI_LOCAL;
	r = change_send(cli, arguments, &change);
	return r == CLI_OK ? change_finish(cli, arguments, &change) : r;
}

static int put_bytes(struct secret *line, const void *bytes, size_t size)
{
	if (size > line->capacity - line->size)
		return -ENOSPC;
	memcpy(line->bytes + line->size, bytes, size);
	line->size += size;
	return 0;
}

/* Straight from the secret's bytes to the descriptor: stdio would keep a copy. */
static enum cli_exit print_password(const struct cli *cli, const struct secret *value)
{
	static const char before[] = "{\"password\":\"", after[] = "\"}\n";
	cleanup_secret struct secret line = {0};

	(void)fflush(stdout);
	if (secret_allocate(2 * value->size + sizeof(before) + sizeof(after), &line) < 0)
		return CLI_LOCAL;
	line.size = 0;
	int r = cli->json ? put_bytes(&line, before, sizeof(before) - 1) : 0;
	for (size_t i = 0; r == 0 && i < value->size; i++) {
		if (cli->json && (value->bytes[i] == '"' || value->bytes[i] == '\\'))
			r = put_bytes(&line, "\\", 1);
		if (r == 0)
			r = put_bytes(&line, value->bytes + i, 1);
	}
	if (r == 0)
		r = cli->json ? put_bytes(&line, after, sizeof(after) - 1) : put_bytes(&line, "\n", 1);
	if (r == 0)
		r = file_write_all(STDOUT_FILENO, line.bytes, line.size);
	if (r < 0)
		complain("the password could not be printed: %s", strerror(-r));
	return r < 0 ? CLI_LOCAL : CLI_OK;
}

/* A pair of keys for this one request; its secret half dies with this process. */
static enum cli_exit generate(struct cli *cli, const struct arguments *arguments)
{
	cleanup_change struct change change = {0};
	cleanup_secret struct secret key = {0}, value = {0};
	cleanup_buffer struct buffer to = {0};
	unsigned char public_key[SEALED_KEY_SIZE];
	const char *sealed, *status;
	bool is_hash;

	if (arguments_option(arguments, "no-wait") || arguments_option(arguments, "password-fd") ||
		arguments_option(arguments, "hash") || arguments_option(arguments, "not-before")) {
		complain("--generate waits for the password and reads none: leave --no-wait, --not-before, "
			 "--password-fd and --hash out");
		return CLI_USAGE;
	}
	enum cli_exit r = change_begin(cli, arguments, "password.generate", &change);
	if (r != CLI_OK)
		return r;
	if (sealed_generate_key(&key, public_key) < 0)
		return CLI_LOCAL;
	base64_append(&to, public_key, sizeof(public_key));
	if (buffer_status(&to) < 0 || !cJSON_AddStringToObject(change.command, "to", to.bytes))
		return CLI_LOCAL;
	r = change_send(cli, arguments, &change);
	if (r == CLI_OK)
		r = change_finish(cli, arguments, &change);
	if (r != CLI_OK || change.dry_run)
		return r;
	const struct sealed_password_binding binding = {change.pin.instance, change.id, arguments->positional[1]};
	const cJSON *result = json_member(change.outcomes, change.id);
	/* In mode observe it went well, and there is no password. */
	if (json_get_string(result, "status", &status) == 0 && strcmp(status, "observed") == 0)
		return CLI_OK;
	if (json_get_string(result, "sealed", &sealed) < 0 ||
		sealed_password_open(sealed, &key, &binding, &is_hash, &value) < 0 || is_hash) {
		complain("the instance says ok, but what it sent is not the password sealed to us");
		return CLI_TRUST;
	}
	return print_password(cli, &value);
}

enum cli_exit command_reset_password(struct cli *cli, const struct arguments *arguments)
{
	return arguments_option(arguments, "generate") ? generate(cli, arguments) : set(cli, arguments);
}
