/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "console/cli/change.h"
#include "console/cli/commands.h"
#include "console/cli/keypairs.h"
#include "console/cli/output.h"
#include "console/cli/private_key.h"
#include "lib/file.h"

static void print_pair(const struct cli *cli, const char *label, const struct sshkey *key, const cJSON *bindings)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};
	char fingerprint[SSHKEY_FINGERPRINT_SIZE];
	const cJSON *binding;

	sshkey_fingerprint(key->blob, key->blob_size, fingerprint);
	if (cli->json) {
		json_begin_object(&writer, NULL);
		json_put_string(&writer, "keypair", label);
		json_put_string(&writer, "type", key->type);
		json_put_integer(&writer, "bits", key->bits);
		json_put_string(&writer, "fingerprint", fingerprint);
		if (bindings)
			json_put_value(&writer, "bindings", bindings);
		json_end_object(&writer);
	} else {
		buffer_append_format(&text, "%s\t%s %u %s", label, key->type, key->bits, fingerprint);
		cJSON_ArrayForEach(binding, bindings)
		{
			const char *instance = "", *user = "";
			(void)!json_get_string(binding, "instance", &instance);
			(void)!json_get_string(binding, "user", &user);
			buffer_append_format(&text, "\n\tbound to %s on %s%s", user, instance,
				json_member(binding, "unbind") ? " (unbinding)" : "");
		}
	}
	if (buffer_status(&text) == 0)
		(void)printf("%s\n", text.bytes);
}

static enum cli_exit write_private(const char *path, const struct secret *text)
{
	int r = private_key_write(path, text);
	if (r < 0)
		complain("%s: %s", path, strerror(-r));
	return r < 0 ? CLI_LOCAL : CLI_OK;
}

enum cli_exit command_keypair_create(struct cli *cli, const struct arguments *arguments)
{
	const char *label = arguments->positional[0], *output = arguments_option(arguments, "output");
	cleanup_secret struct secret private_key = {0};
	cleanup_buffer struct buffer line = {0};
	cleanup_sshkey struct sshkey key = {0};
	char detail[DETAIL_MAX + 1];

	if (!field_is_label(label)) {
		complain("%s: a key pair's name has 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit",
			label);
		return CLI_USAGE;
	}
	int r = private_key_make(label, &private_key, &line);
	if (r < 0 || sshkey_parse(line.bytes, line.size, &key, detail) != CODE_OK) {
		complain("no key could be made");
		return CLI_LOCAL;
	}
	bool replace = arguments_option(arguments, "replace") != NULL;
	if (!output)
		output = label;
	if (strcmp(output, "-") == 0) {
		/* What was shown cannot be taken back, so that the public half must be kept by then. */
		enum cli_exit kept = keypair_store(cli, label, &key, replace);
		return kept == CLI_OK ? write_private(output, &private_key) : kept;
	}
	enum cli_exit stored = write_private(output, &private_key);
	if (stored != CLI_OK)
		return stored;
	stored = keypair_store(cli, label, &key, replace);
	if (stored != CLI_OK) {
		(void)unlink(output);
		return stored;
	}
	if (!cli->json)
		note("the private key is in %s and nowhere else", output);
	print_pair(cli, label, &key, NULL);
	return CLI_OK;
}

enum cli_exit command_keypair_import(struct cli *cli, const struct arguments *arguments)
{
	const char *label = arguments->positional[0], *file = arguments->positional[1];
	cleanup_free char *text = NULL;
	cleanup_sshkey struct sshkey key = {0};
	char detail[DETAIL_MAX + 1];
	size_t size;

	int r = strcmp(file, "-") == 0 ? file_read_descriptor(STDIN_FILENO, SSHKEY_LINE_MAX, &text, &size)
				       : file_read(AT_FDCWD, file, SSHKEY_LINE_MAX, &text, &size);
	if (r < 0) {
		complain("%s: %s", file, r == -EFBIG ? "larger than a public key" : strerror(-r));
		return CLI_USAGE;
	}
	enum code code = sshkey_parse(text, size, &key, detail);
	explicit_bzero(text, size); /* it may have been a private key */
	if (code != CODE_OK) {
		complain("%s: %s (%s)", file, detail, code_name(code));
		return CLI_USAGE;
	}
	enum cli_exit stored = keypair_store(cli, label, &key, arguments_option(arguments, "replace") != NULL);
	if (stored == CLI_OK)
		print_pair(cli, label, &key, NULL);
	return stored;
}

enum cli_exit command_keypair_list(struct cli *cli, const struct arguments *arguments)
{
	cleanup_names char **labels = NULL;
	size_t count;

	(void)arguments;
	enum cli_exit r = keypair_labels(cli, &labels, &count);
	for (size_t i = 0; r == CLI_OK && i < count; i++) {
		cleanup_sshkey struct sshkey key = {0};
		cleanup_json cJSON *bindings = NULL;
		r = keypair_load(cli, labels[i], &key);
		if (r == CLI_OK)
			r = binding_list(cli, labels[i], &bindings);
		if (r == CLI_OK)
			print_pair(cli, labels[i], &key, bindings);
	}
	return r;
}

enum cli_exit command_keypair_delete(struct cli *cli, const struct arguments *arguments)
{
	const char *label = arguments->positional[0];
	cleanup_json cJSON *bindings = NULL;
	const cJSON *binding;
	bool bound = false;

	enum cli_exit r = binding_list(cli, label, &bindings);
	if (r != CLI_OK)
		return r;
	cJSON_ArrayForEach(binding, bindings)
	{
		const char *instance = "", *user = "";
		(void)!json_get_string(binding, "instance", &instance);
		(void)!json_get_string(binding, "user", &user);
		complain("%s is bound to %s on %s", label, user, instance);
		bound = true;
	}
	if (bound && !arguments_option(arguments, "force")) {
		complain("unbind it first, or give --force, which leaves the key where it is");
		return CLI_FAILED;
	}
	return keypair_delete(cli, label);
}

enum cli_exit command_bind(struct cli *cli, const struct arguments *arguments)
{
	cleanup_change struct change change = {0};
	cleanup_sshkey struct sshkey key = {0};
	cleanup_buffer struct buffer line = {0};

	enum cli_exit r = keypair_load(cli, arguments->positional[2], &key);
	if (r != CLI_OK)
		return r;
	sshkey_append(&key, &line);
	if (*key.comment)
		buffer_append_format(&line, " %s", key.comment);
	if (buffer_status(&line) < 0)
		return CLI_LOCAL;
	r = change_begin(cli, arguments, arguments->subcommand->do_name, &change);
	if (r != CLI_OK)
		return r;
	if (!cJSON_AddStringToObject(change.command, "key", line.bytes))
		return CLI_LOCAL;
	r = change_send(cli, arguments, &change);
	if (r == CLI_OK && !change.dry_run)
		r = binding_add(cli, arguments->positional[2], arguments->positional[0], arguments->positional[1],
			change.id, change.outcomes);
	return r == CLI_OK ? change_finish(cli, arguments, &change) : r;
}

static enum cli_exit run_ending(struct cli *cli, const struct arguments *arguments, const char *label)
{
	cleanup_change struct change change = {0};

	enum cli_exit r = change_begin(cli, arguments, arguments->subcommand->do_name, &change);
	if (r == CLI_OK)
		r = change_send(cli, arguments, &change);
	if (r == CLI_OK && !change.dry_run)
		r = binding_end(cli, label, arguments->positional[0], arguments->positional[1], change.id);
	return r == CLI_OK ? change_finish(cli, arguments, &change) : r;
}

enum cli_exit command_unbind(struct cli *cli, const struct arguments *arguments)
{
	return run_ending(cli, arguments, arguments->positional[2]);
}

enum cli_exit command_user_remove(struct cli *cli, const struct arguments *arguments)
{
	return run_ending(cli, arguments, NULL);
}
