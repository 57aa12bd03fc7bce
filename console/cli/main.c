/* SPDX-License-Identifier: Apache-2.0 */
#include <curl/curl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "console/cli/arguments.h"
#include "console/cli/change.h"
#include "console/cli/commands.h"
#include "console/cli/http.h"
#include "console/cli/output.h"
#include "console/cli/state.h"
#include "console/cli/targets.h"
#include "lib/program.h"

#define CHANGE (OPTION_CHANGE | OPTION_TARGETS)

const struct subcommand subcommands[] = {
	{"init", "--endpoint URL", 0, 0, NULL, NULL, {0}, {0}, OPTION_INIT,
		"Makes the state directory and a signing key, and prints the line that instances need.", command_init},
	{"quickstart", "[USER@]HOST[:PORT]", 1, 1, NULL, NULL, {0}, {0},
		OPTION_INIT | OPTION_IDENTITY | OPTION_QUICKSTART,
		"From nothing to a login: keys, an endpoint, user-data, the instance's identity, a user with a key.",
		command_quickstart},
	{"instance add", "INSTANCE", 1, 1, NULL, NULL, {0}, {0}, 0,
		"Lets an instance register, and prints its enrolment secret, once.", command_instance_add},
	{"instance list", "", 0, 0, NULL, NULL, {0}, {0}, 0, "Lists the endpoint's instances and their pinned keys.",
		command_instance_list},
	{"instance reset", "INSTANCE", 1, 1, NULL, NULL, {0}, {0}, 0,
		"Lets an instance that was set up anew register again, and prints a new secret.",
		command_instance_reset},
	{"instance forget", "INSTANCE", 1, 1, NULL, NULL, {0}, {0}, 0,
		"Forgets the pinned key of an instance, which is then met for the first time again.",
		command_instance_forget},
	{"keypair create", "LABEL", 1, 1, NULL, NULL, {0}, {0}, OPTION_KEYPAIR,
		"Makes a key pair. The private key is written once and not kept.", command_keypair_create},
	{"keypair import", "LABEL FILE", 2, 2, NULL, NULL, {0}, {0}, OPTION_KEYPAIR,
		"Takes a public key from a file, or from standard input (-).", command_keypair_import},
	{"keypair list", "", 0, 0, NULL, NULL, {0}, {0}, 0, "Lists the key pairs and where they are bound.",
		command_keypair_list},
	{"keypair delete", "LABEL", 1, 1, NULL, NULL, {0}, {0}, OPTION_FORCE, "Deletes a key pair that is not bound.",
		command_keypair_delete},
	{"bind", "INSTANCE USER LABEL", 3, 3, "keys.bind", NULL, {"user", "keypair"}, {"key"}, CHANGE,
		"Lets the holder of a key pair log in as a user.", command_bind},
	{"unbind", "INSTANCE USER LABEL", 3, 3, "keys.unbind", NULL, {"user", "keypair"}, {0}, CHANGE,
		"Takes that away.", command_unbind},
	{"rebind", "INSTANCE USER LABEL", 3, 3, "keys.replace", NULL, {"user", "keypair"}, {"key"}, CHANGE,
		"Puts the pair's present key (keypair import --replace) in place of its old one, in one write.",
		command_bind},
	{"revoke", "INSTANCE FINGERPRINT", 2, 2, "keys.revoke", NULL, {"fingerprint"}, {0}, CHANGE,
		"Refuses a key for every user, whoever holds copies of it.", change_run},
	{"reset-password", "INSTANCE USER", 2, 2, "password.set", "password.generate", {"user"},
		{"sealed", "hash", "to"}, OPTION_CHANGE | OPTION_PASSWORD,
		"Sets a password, typed without echo and sealed to the instance, or made by it (--generate).",
		command_reset_password},
	{"password remove", "INSTANCE USER", 2, 2, "password.remove", NULL, {"user"}, {0}, CHANGE,
		"Leaves a user without a password.", change_run},
	{"user add", "INSTANCE USER", 2, 2, "user.ensure", NULL, {"user"}, {0}, CHANGE,
		"Creates a user, or changes what is named of one.", change_run},
	{"user remove", "INSTANCE USER", 2, 2, "user.remove", NULL, {"user"}, {0}, CHANGE,
		"Removes a user that Latchkey created.", command_user_remove},
	{"user lock", "INSTANCE USER", 2, 2, "user.lock", NULL, {"user"}, {0}, CHANGE,
		"Lets neither key nor password log in.", change_run},
	{"user unlock", "INSTANCE USER", 2, 2, "user.unlock", NULL, {"user"}, {0}, CHANGE,
		"Restores what was before the lock.", change_run},
	{"sessions end", "INSTANCE USER", 2, 2, "sessions.end", NULL, {"user"}, {0}, CHANGE,
		"Ends a user's open sessions.", change_run},
	{"sshd set", "INSTANCE", 1, 1, "sshd.set", NULL, {0}, {0}, CHANGE,
		"Sets how one may log in. What restricts goes back after 600 s unless it is confirmed.",
		command_sshd_set},
	{"sshd confirm", "INSTANCE [ID]", 1, 2, "sshd.confirm", NULL, {"confirms"}, {0}, CHANGE,
		"Confirms such a change, so that it stays.", command_sshd_confirm},
	{"sshd reload", "INSTANCE", 1, 1, "sshd.reload", NULL, {0}, {0}, CHANGE, "Reloads sshd.", change_run},
	{"sshd restart", "INSTANCE", 1, 1, "sshd.restart", NULL, {0}, {0}, CHANGE, "Restarts sshd.", change_run},
	{"diagnose", "INSTANCE USER", 2, 2, "diagnose", NULL, {"user"}, {0}, CHANGE,
		"Asks whether a user can log in, and what blocks him.", change_run},
	{"restore-access", "INSTANCE USER", 2, 2, "access.restore", NULL, {"user"}, {0}, CHANGE,
		"Lifts what keeps a user out, as far as the policy allows, for an hour (--keep).", change_run},
	{"send", "INSTANCE DO", 2, 2, NULL, NULL, {0}, {0}, CHANGE,
		"Sends any command of the manifests (latchkey send i-1 keys.revoke --fingerprint SHA256:…).",
		change_run},
	{"results", "INSTANCE", 1, 1, NULL, NULL, {0}, {0}, OPTION_RESULTS | OPTION_IDENTITY | OPTION_TARGETS,
		"Shows what became of the commands, as the instance signed it.", command_results},
	{"status", "[INSTANCE]", 0, 1, NULL, NULL, {0}, {0}, OPTION_IDENTITY | OPTION_TARGETS,
		"Shows the endpoint's instances, or one of them and what it last reported.", command_status},
	{0},
};

static void say(const char *prefix, const char *format, va_list arguments) __attribute__((format(printf, 2, 0)));

static void say(const char *prefix, const char *format, va_list arguments)
{
	char line[1024];

	(void)vsnprintf(line, sizeof(line), format, arguments);
	for (char *at = line; *at; at++) {
		bool control =
			(unsigned char)*at < 0x20 || *at == 0x7f ||
			((unsigned char)*at == 0xc2 && (unsigned char)at[1] >= 0x80 && (unsigned char)at[1] < 0xa0);
		if (control)
			*at = '?';
	}
	(void)fflush(stdout);
	(void)fprintf(stderr, "%s%s\n", prefix, line);
}

void complain(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	say("latchkey: ", format, arguments);
	va_end(arguments);
}

void note(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	say("", format, arguments);
	va_end(arguments);
}

int64_t cli_now(void)
{
	return (int64_t)time(NULL);
}

static void print_usage(void)
{
	(void)puts("usage: latchkey COMMAND [ARGUMENT…] [OPTION…]\n\nCommands, each with its own --help:");
	for (const struct subcommand *subcommand = subcommands; subcommand->words; subcommand++) {
		int width = printf("  %s %s", subcommand->words, subcommand->positional);
		(void)printf("%*s%s\n", width < 34 ? 34 - width : 1, "", subcommand->summary);
	}
	(void)puts("\nOptions: --home DIR, --json, --help, --version\n\n"
		   "Exit status: 0 done (or sent, with --no-wait; or awaiting its confirmation); 1 the instance "
		   "refused or\n"
		   "failed; 2 wrong usage; 3 the endpoint cannot be reached or does not do as asked; 4 something could "
		   "not be\n"
		   "verified; 5 no result in time; 6 files, memory or programs of this machine. See latchkey(1).");
}

/* What must survive the clearing of the environment. */
struct environment {
	char *home, *latchkey_home, *xdg_config_home;
};

static char *keep(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? strdup(value) : NULL;
}

static char *keep_path(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? realpath(value, NULL) : NULL;
}

static enum cli_exit run(struct cli *cli, const struct arguments *arguments, const struct environment *environment)
{
	const char *given = arguments_option(arguments, "home");
	cleanup_buffer struct buffer path = {0};
	bool init = (arguments->subcommand->groups & OPTION_INIT) != 0;

	if (given || environment->latchkey_home)
		buffer_append_text(&path, given ? given : environment->latchkey_home);
	else if (environment->xdg_config_home)
		buffer_append_format(&path, "%s/latchkey", environment->xdg_config_home);
	else if (environment->home)
		buffer_append_format(&path, "%s/.config/latchkey", environment->home);
	if (buffer_status(&path) < 0 || path.size == 0) {
		complain("no state directory: give --home DIR");
		return CLI_USAGE;
	}
	cli->json = arguments_option(arguments, "json") != NULL;
	/* The operator's own links are his; what init makes new has none. */
	cleanup_free char *resolved = realpath(path.bytes, NULL);
	if (!resolved && path.bytes[0] != '/') {
		complain("%s: give an absolute path", path.bytes);
		return CLI_USAGE;
	}
	enum cli_exit r = state_open(cli, resolved ? resolved : path.bytes, init);
	if (r == CLI_OK && !init)
		r = state_load_settings(cli);
	if (r != CLI_OK)
		return r;
	return arguments_option(arguments, "targets") ? targets_run(cli, arguments)
						      : arguments->subcommand->run(cli, arguments);
}

int main(int argc, char **argv)
{
	struct environment environment = {keep_path("HOME"), keep("LATCHKEY_HOME"), keep("XDG_CONFIG_HOME")};
	struct cli cli = {.home = -1,
		.lock = -1,
		.ssh_auth_sock = keep("SSH_AUTH_SOCK"),
		.ssh_askpass = keep("SSH_ASKPASS"),
		.display = keep("DISPLAY")};
	struct arguments arguments;

	if (program_begin() < 0 || sodium_init() < 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
		manifest_set_load(&cli.manifests) < 0) {
		complain("the program could not start");
		return CLI_LOCAL;
	}
	enum cli_exit r = arguments_parse(&cli.manifests, argc, argv, &arguments);
	if (r == CLI_OK && arguments.version)
		(void)puts("latchkey " LATCHKEY_VERSION);
	else if (r == CLI_OK && arguments.help && arguments.subcommand)
		arguments_help(&cli.manifests, arguments.subcommand);
	else if (r == CLI_OK && arguments.help)
		print_usage();
	else if (r == CLI_OK)
		r = run(&cli, &arguments, &environment);
	r = output_finish(r);
	http_close(&cli);
	state_close(&cli);
	manifest_set_free(&cli.manifests);
	curl_global_cleanup();
	free(environment.home);
	free(environment.latchkey_home);
	free(environment.xdg_config_home);
	free(cli.ssh_auth_sock);
	free(cli.ssh_askpass);
	free(cli.display);
	return (int)r;
}
