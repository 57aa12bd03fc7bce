/* SPDX-License-Identifier: Apache-2.0 */
/* latchctl policy check: what this machine's policy says to each command of a document, and which line says so. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/ctl/ctl.h"
#include "agent/ctl/input.h"
#include "agent/ctl/output.h"
#include "agent/ctl/verdict.h"
#include "lib/allowed_signers.h"
#include "lib/field.h"
#include "lib/file.h"
#include "lib/paths.h"
#include "lib/signed_text.h"
#include "lib/sshsig.h"
#include "policy/policy.h"

#define COMMANDS_MAX 4096 /* as of a document */

struct check {
	struct manifest_set manifests;
	struct policy policy;
	struct resolver resolver;
	struct allowed_signers signers;
	const char *signer; /* NULL: unsigned */
	bool json;
	struct json_writer *writer;
	unsigned denied;
};

static void check_free(struct check *check)
{
	manifest_set_free(&check->manifests);
	policy_free(&check->policy);
	resolver_free(&check->resolver);
	allowed_signers_free(&check->signers);
}

static int trouble(const char *what, int r)
{
	(void)fprintf(stderr, "latchctl: %s: %s\n", what, strerror(-r));
	return EXIT_TROUBLE;
}

/* The name that the machine's own list has for the key that signed. The trust document's signers are not looked at. */
static int find_signer(struct check *check, const struct signed_text *text, const char *instance)
{
	char reason[ALLOWED_SIGNERS_REASON_MAX], fingerprint[SSHKEY_FINGERPRINT_SIZE];
	cleanup_sshsig struct sshsig signature = {0};
	cleanup_close int directory = -1;
	cleanup_free char *list = NULL;
	const struct allowed_signer *signer;
	unsigned line;
	size_t size;

	if (sshsig_parse(text->signatures[0].text, text->signatures[0].size, &signature) != CODE_OK ||
		sshsig_verify(&signature, SSHSIG_DOCUMENT, text->payload.text, text->payload.size) != CODE_OK) {
		(void)fprintf(stderr, "latchctl: signature_invalid: the signature does not fit these bytes\n");
		return EXIT_BAD_INPUT;
	}
	if (file_open_directory(AT_FDCWD, "/" PATH_CONFIGURATION, &directory) < 0 ||
		file_read(directory, "allowed_signers", ALLOWED_SIGNERS_SIZE_MAX, &list, &size) < 0 ||
		allowed_signers_parse(list, size, &check->signers, &line, reason) < 0) {
		(void)fprintf(stderr,
			"latchctl: /" PATH_CONFIGURATION "/allowed_signers cannot be used; see latchctl status\n");
		return EXIT_UNHEALTHY;
	}
	enum code code = allowed_signers_check(&check->signers, instance, SSHSIG_DOCUMENT, signature.key.bytes,
		signature.key.size, time(NULL), &signer);
	if (code != CODE_OK) {
		sshkey_fingerprint(signature.key.bytes, signature.key.size, fingerprint);
		(void)fprintf(stderr,
			"latchctl: %s: the key %s may not sign for this instance (--signer NAME checks as if)\n",
			code_name(code), fingerprint);
		return EXIT_UNHEALTHY;
	}
	check->signer = signer->name;
	return EXIT_OK;
}

static void say(struct check *check, const cJSON *command, const char *do_name, const char *user, enum code code,
	const char *detail)
{
	char cell[OUTPUT_CELL_MAX];
	const char *id = "";

	(void)!json_get_string(command, "id", &id);
	check->denied += code != CODE_OK;
	if (check->json) {
		json_begin_object(check->writer, NULL);
		json_put_string(check->writer, "id", id);
		json_put_string(check->writer, "do", do_name);
		if (user)
			json_put_string(check->writer, "user", user);
		json_put_string(check->writer, "code", code_name(code));
		json_put_string(check->writer, "rule", detail);
		json_end_object(check->writer);
		return;
	}
	(void)printf("%-16s ", output_escape(do_name, cell));
	(void)printf("%-16s ", output_escape(user ? user : "-", cell));
	(void)printf("%-17s ", code_name(code));
	(void)printf("%s\n", output_escape(detail, cell));
}

/* Nothing stood against it; the lists that let it through. */
static void describe_allowed(const struct check *check, const char *user, char detail[DETAIL_MAX + 1])
{
	const struct config *config = &check->policy.config;
	const char *section = check->signer ? "policy" : "unsigned";
	const char *commands = config_text(config, section, "commands"), *users = config_text(config, "users", "allow");

	int size = snprintf(detail, DETAIL_MAX + 1, "[%s] commands = %.60s (%s)", section, commands ? commands : "",
		config_source(config, section, "commands"));
	if (user && size > 0 && (size_t)size < DETAIL_MAX)
		(void)snprintf(detail + size, DETAIL_MAX + 1 - (size_t)size, ", [users] allow = %.60s (%s)",
			users ? users : "", config_source(config, "users", "allow"));
}

static int check_command(struct check *check, cJSON *command)
{
	struct resolved_account account = {0};
	const char *do_name = "", *user = NULL;
	char detail[DETAIL_MAX + 1] = "";

	if (!cJSON_IsObject(command) || json_get_string(command, "do", &do_name) < 0) {
		say(check, command, "?", NULL, CODE_MALFORMED, "a command is an object with a do");
		return EXIT_OK;
	}
	if (policy_mode(&check->policy) == POLICY_OFF) {
		(void)snprintf(detail, sizeof(detail), "[policy] mode = off (%s)",
			config_source(&check->policy.config, "policy", "mode"));
		say(check, command, do_name, NULL, CODE_MODE_OFF, detail);
		return EXIT_OK;
	}
	const struct manifest_command *row = manifest_find(&check->manifests, do_name);
	if (!row || row->stage == 0) {
		say(check, command, do_name, NULL, CODE_UNKNOWN_COMMAND, "there is no such command");
		return EXIT_OK;
	}
	enum code code = manifest_check(row, command, detail);
	if (json_get_string(command, "user", &user) == 0 && !field_is_user(user))
		user = NULL;
	if (code == CODE_OK && user) {
		int64_t uid = -1;
		(void)!json_get_integer(command, "uid", &uid);
		int r = resolve_account(&check->resolver, user, uid, &account);
		if (r < 0)
			return trouble(user, r);
	}
	if (code == CODE_OK)
		code = policy_decide(&check->policy, check->signer, row, command, user ? &account : NULL, detail);
	if (code == CODE_OK && user)
		code = policy_decide_groups(&check->policy, &check->resolver, command, detail);
	if (code == CODE_OK)
		describe_allowed(check, user, detail);
	say(check, command, do_name, user, code, detail);
	return EXIT_OK;
}

/* What has it refused whole, whatever the policy says to its commands. */
static void check_document(struct check *check, const cJSON *document, const char *instance)
{
	cleanup_free char *own = verdict_instance();
	char cell[OUTPUT_CELL_MAX], other[OUTPUT_CELL_MAX];
	int64_t expires;

	if (*instance && own && strcmp(instance, own) != 0) {
		(void)fprintf(stderr, "latchctl: %s: the document is for %s, and this machine is %s\n",
			code_name(CODE_WRONG_INSTANCE), output_escape(instance, cell), output_escape(own, other));
		check->denied++;
	}
	if (json_get_integer(document, "expires", &expires) == 0 && expires <= time(NULL)) {
		(void)fprintf(stderr, "latchctl: %s: the document is no longer valid\n", code_name(CODE_EXPIRED));
		check->denied++;
	}
}

/* A signed document, its payload alone, {"commands":[…]}, or one command. */
static int check_text(struct check *check, const char *bytes, size_t size, const char *signer)
{
	struct signed_text text = {.payload = {bytes, size}};
	const char *instance = "";
	char cell[OUTPUT_CELL_MAX];
	cleanup_json cJSON *tree = NULL;
	cJSON *command;
	const cJSON *commands = NULL;

	bool is_signed = signed_text_split(bytes, size, &text) == CODE_OK && text.count == 1;
	if (!is_signed)
		text.payload = (struct signed_text_part){bytes, size};
	if (json_parse_object(text.payload.text, text.payload.size, &tree) < 0) {
		(void)fprintf(stderr, "latchctl: malformed: this is no document, payload or command\n");
		return EXIT_BAD_INPUT;
	}
	(void)!json_get_string(tree, "instance", &instance);
	check->signer = signer;
	int code = !signer && is_signed ? find_signer(check, &text, instance) : EXIT_OK;
	if (code != EXIT_OK)
		return code;
	if (!check->json)
		(void)printf("policy mode %s%s, %s%s\n", policy_mode_name(policy_mode(&check->policy)),
			check->policy.broken ? " (the file is refused)" : "", check->signer ? "signed by " : "unsigned",
			check->signer ? output_escape(check->signer, cell) : "");
	if (check->policy.broken)
		(void)fprintf(stderr, "latchctl: %s\n", output_escape(check->policy.error, cell));
	if (json_get_array(tree, "commands", &commands) < 0)
		return check_command(check, tree);
	check_document(check, tree, instance);
	if (cJSON_GetArraySize(commands) > COMMANDS_MAX) {
		(void)fprintf(stderr, "latchctl: too_large: more than %d commands\n", COMMANDS_MAX);
		return EXIT_BAD_INPUT;
	}
	for (command = commands->child; command && code == EXIT_OK; command = command->next)
		code = check_command(check, command);
	return code;
}

int policy_check_run(struct client *client, const struct options *options)
{
	CLEANUP(check_free) struct check check = {.json = options->json};
	cleanup_buffer struct buffer out = {0};
	struct json_writer writer = {&out, false};
	cleanup_close int root = -1;
	cleanup_free char *bytes = NULL;
	size_t size;
	(void)client;

	if (geteuid() != 0) { /* the rules of sudo decide as well, and only root may read them */
		(void)fprintf(stderr, "latchctl: policy check is root's\n");
		return EXIT_DENIED;
	}
	if (options->signer && !field_is_text(options->signer, ALLOWED_SIGNER_NAME_MAX))
		return EXIT_USAGE;
	int code = input_read(options->operand, SIGNED_TEXT_MAX, &bytes, &size);
	if (code != EXIT_OK)
		return code;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = root < 0 ? -errno : manifest_set_load(&check.manifests);
	if (r == 0)
		r = policy_load(root, &check.policy);
	if (r < 0)
		return trouble("the policy", r);
	r = resolver_open(root, &check.resolver);
	if (r < 0)
		return trouble("the account files", r);
	check.writer = &writer;
	json_begin_array(&writer, NULL);
	code = check_text(&check, bytes, size, options->signer);
	json_end_array(&writer);
	if (code != EXIT_OK)
		return code;
	if (buffer_status(&out) < 0)
		return EXIT_TROUBLE;
	if (options->json)
		(void)printf(
			"{\"mode\":\"%s\",\"commands\":%s}\n", policy_mode_name(policy_mode(&check.policy)), out.bytes);
	return check.denied ? EXIT_UNHEALTHY : EXIT_OK;
}
