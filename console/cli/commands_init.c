/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <readpassphrase.h>
#include <stdio.h>
#include <string.h>

#include "console/cli/commands.h"
#include "console/cli/init.h"
#include "console/cli/output.h"
#include "console/cli/private_key.h"
#include "console/cli/state.h"
#include "lib/file.h"
#include "lib/sshkey.h"

#define SIGNING_KEY "signing_key"

enum cli_exit init_endpoint(struct cli *cli, const char *url)
{

	if (!url || (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) ||
		strpbrk(url, " \t\r\n@?#")) {
		complain("--endpoint URL is needed, as http://HOST[:PORT] or https://HOST[:PORT]");
		return CLI_USAGE;
	}
	size_t size = strlen(url);
	while (url[size - 1] == '/')
		size--;
	free(cli->settings.endpoint);
	cli->settings.endpoint = strndup(url, size);
	return cli->settings.endpoint ? CLI_OK : CLI_LOCAL;
}

enum cli_exit init_token(struct cli *cli, const struct arguments *arguments)
{
	const char *descriptor = arguments_option(arguments, "token-fd");
	char token[STATE_TOKEN_MAX] = "";
	enum cli_exit r = CLI_OK;

	if (descriptor) {
		int64_t number;
		cleanup_free char *text = NULL;
		size_t size;
		if (arguments_duration(descriptor, 1023, &number) < 0 ||
			file_read_descriptor((int)number, sizeof(token) - 1, &text, &size) < 0) {
			complain("--token-fd %s cannot be read", descriptor);
			return CLI_USAGE;
		}
		memcpy(token, text, size);
		explicit_bzero(text, size);
	} else if (!readpassphrase("Token of the endpoint (latchkey-endpoint token add): ", token, sizeof(token),
			   RPP_ECHO_OFF | RPP_REQUIRE_TTY)) {
		complain("no terminal to ask for the token: give --token-fd N");
		return CLI_USAGE;
	}
	token[strcspn(token, "\r\n")] = '\0';
	size_t good = strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~+/=");
	if (token[0] == '\0' || token[good] != '\0') {
		complain("that is no token");
		r = CLI_USAGE;
	}
	if (r == CLI_OK)
		r = state_save_token(cli, token);
	explicit_bzero(token, sizeof(token));
	return r;
}

static enum cli_exit failed(const char *what, int error)
{
	complain("%s: %s", what, strerror(-error));
	return CLI_LOCAL;
}

/* Makes signing_key and signing_key.pub, unless they are there from before. */
static enum cli_exit make_key(struct cli *cli, const char *name)
{
	cleanup_secret struct secret text = {0};
	cleanup_buffer struct buffer line = {0}, path = {0};

	buffer_append_format(&path, "%s/" SIGNING_KEY, cli->home_path);
	if (buffer_status(&path) < 0)
		return failed(SIGNING_KEY, -ENOMEM);
	int r = private_key_make(name, &text, &line);
	if (r == 0)
		r = private_key_write(path.bytes, &text);
	if (r < 0 && r != -EEXIST)
		return failed(path.bytes, r);
	cli->settings.signing_key = buffer_steal(&path);
	if (r == -EEXIST) {
		note("the signing key from before is kept");
		return CLI_OK;
	}
	return state_write(cli, SIGNING_KEY ".pub", line.bytes, line.size, false);
}

/* The public half beside the key; the key itself is ssh-keygen's and the agent's to read. */
static enum cli_exit read_public(const struct cli *cli, struct sshkey *ret_key)
{
	cleanup_buffer struct buffer path = {0};
	cleanup_free char *text = NULL;
	const char *file = cli->settings.signing_key;
	char detail[DETAIL_MAX + 1];
	size_t size, length = strlen(file);
	bool is_public = length > 4 && strcmp(file + length - 4, ".pub") == 0;

	buffer_append_format(&path, "%s%s", file, is_public ? "" : ".pub");
	int r = buffer_status(&path);
	if (r == 0)
		r = file_read(AT_FDCWD, path.bytes, SSHKEY_LINE_MAX, &text, &size);
	if (r < 0)
		return failed(path.bytes ? path.bytes : file, r);
	if (sshkey_parse(text, size, ret_key, detail) != CODE_OK) {
		complain("%s: %s", path.bytes, detail);
		return CLI_USAGE;
	}
	if (strcmp(ret_key->type, "ssh-ed25519") != 0 && strcmp(ret_key->type, "sk-ssh-ed25519@openssh.com") != 0) {
		complain("%s: documents are signed with ssh-ed25519 or sk-ssh-ed25519@openssh.com, not %s", path.bytes,
			ret_key->type);
		return CLI_USAGE;
	}
	return CLI_OK;
}

static enum cli_exit take_key(struct cli *cli, const struct arguments *arguments, const char *name)
{
	const char *given = arguments_option(arguments, "signing-key");
	char resolved[PATH_MAX];

	if (!given)
		return cli->settings.signing_key ? CLI_OK : make_key(cli, name);
	if (!realpath(given, resolved)) {
		complain("%s: %s", given, strerror(errno));
		return CLI_USAGE;
	}
	free(cli->settings.signing_key);
	cli->settings.signing_key = strdup(resolved);
	return cli->settings.signing_key ? CLI_OK : CLI_LOCAL;
}

static bool is_missing(int directory, const char *name)
{
	struct stat status;
	return fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

/* The line for this operator's own list and for every instance. An existing list is the operator's to edit. */
static enum cli_exit write_signers(struct cli *cli, const struct sshkey *key, const char *name, struct buffer *ret_line)
{
	cleanup_buffer struct buffer line = {0}, listed = {0};
	cleanup_allowed_signers struct allowed_signers signers = {0};
	char reason[ALLOWED_SIGNERS_REASON_MAX], fingerprint[SSHKEY_FINGERPRINT_SIZE];
	bool known = false;

	buffer_append_text(&line, "* namespaces=\"latchkey-document@1\" ");
	sshkey_append(key, &line);
	buffer_append_format(&line, " %s\n", name);
	if (buffer_status(&line) < 0)
		return failed("allowed_signers", -ENOMEM);
	if (allowed_signers_append(&signers, line.bytes, line.size - 1, reason) < 0) {
		complain("--name %s: %s", name, reason);
		return CLI_USAGE;
	}
	allowed_signers_free(&signers);
	sshkey_fingerprint(key->blob, key->blob_size, fingerprint);
	enum cli_exit r = CLI_OK;
	if (is_missing(cli->home, "allowed_signers"))
		r = state_write(cli, "allowed_signers", "", 0, true);
	if (r == CLI_OK)
		r = state_load_signers(cli, &signers);
	if (r != CLI_OK)
		return r;
	for (size_t i = 0; i < signers.count; i++)
		known = known || strcmp(signers.entries[i].fingerprint, fingerprint) == 0;
	if (!known) {
		cleanup_free char *text = NULL;
		size_t size;
		int error = file_read(cli->home, "allowed_signers", ALLOWED_SIGNERS_SIZE_MAX, &text, &size);
		if (error < 0)
			return failed("allowed_signers", error);
		buffer_append(&listed, text, size);
		buffer_append(&listed, line.bytes, line.size);
		if (buffer_status(&listed) < 0)
			return failed("allowed_signers", -ENOMEM);
		r = state_write(cli, "allowed_signers", listed.bytes, listed.size, false);
		if (r != CLI_OK)
			return r;
	}
	*ret_line = line;
	line = (struct buffer){0};
	return CLI_OK;
}

enum cli_exit init_finish(struct cli *cli, const struct arguments *arguments, struct buffer *ret_line)
{
	const char *name = arguments_option(arguments, "name"), *ca_file = arguments_option(arguments, "ca-file");
	cleanup_sshkey struct sshkey key = {0};
	char resolved[PATH_MAX];

	if (!name)
		name = "operator";
	if (ca_file) {
		if (!realpath(ca_file, resolved))
			return failed(ca_file, -errno);
		free(cli->settings.ca_file);
		cli->settings.ca_file = strdup(resolved);
	}
	enum cli_exit r = take_key(cli, arguments, name);
	if (r == CLI_OK)
		r = read_public(cli, &key);
	if (r == CLI_OK) {
		free(cli->settings.actor);
		cli->settings.actor = strdup(name);
		r = state_save_settings(cli);
	}
	return r == CLI_OK ? write_signers(cli, &key, name, ret_line) : r;
}

enum cli_exit command_init(struct cli *cli, const struct arguments *arguments)
{
	cleanup_buffer struct buffer line = {0};

	enum cli_exit r = init_endpoint(cli, arguments_option(arguments, "endpoint"));
	if (r == CLI_OK)
		r = init_token(cli, arguments);
	if (r == CLI_OK)
		r = init_finish(cli, arguments, &line);
	if (r != CLI_OK)
		return r;
	if (cli->json) {
		cleanup_json cJSON *object = cJSON_CreateObject();
		if (!cJSON_AddStringToObject(object, "allowed_signers", line.bytes))
			return failed("init", -ENOMEM);
		output_json(object);
		return CLI_OK;
	}
	(void)fputs("Put this line into /etc/latchkey/allowed_signers of every instance that shall obey:\n", stderr);
	(void)fputs(line.bytes, stdout);
	return CLI_OK;
}
