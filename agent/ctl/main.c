/* SPDX-License-Identifier: Apache-2.0 */
/* latchctl(1): what is true on this machine, and why. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/ctl/ctl.h"
#include "lib/field.h"
#include "lib/paths.h"

#define OPTIONS_MAX 3u

static const struct verb {
	const char *name, *operand, *help;
	int (*run)(struct client *client, const struct options *options);
	bool asks;                        /* the agent must be there */
	bool takes_file;                  /* the operand is a file, and must be given */
	const char *options[OPTIONS_MAX]; /* besides --json */
} verbs[] = {
	{"status", NULL, "health, endpoint, newest document, problems (exit 1 when failing)", ask_status, true, false,
		{0}},
	{"commands", NULL, "what was done, newest first", ask_commands, true, false, {0}},
	{"users", NULL, "managed users and whether they can log in", ask_users, true, false, {0}},
	{"keys", "[USER]", "bound keys: who, when, by whom", ask_keys, true, false, {0}},
	{"monitor", NULL, "a line for each command that ends from now on", ask_monitor, true, false, {0}},
	{"metrics", NULL, "OpenMetrics text", ask_metrics, true, false, {0}},
	{"doctor", "[USER]", "whether the user can log in, what is in the way, what helps (exit 1 when he cannot)",
		doctor_run, false, false, {"--from", "--key"}},
	{"explain", "FILE", "a client's ssh -v output, seen from here; then as doctor for its user and keys",
		explain_run, false, true, {"--from"}},
};

static const struct {
	const char *name, *value, *help;
} option_help[] = {
	{"--from", "ADDR", "as seen from this IP address"},
	{"--key", "FILE", "judge this public key alone (a file, - or SHA256:...)"},
	{"--json", NULL, "print JSON"},
	{"--help", NULL, "this text"},
	{"--version", NULL, "the version"},
};

static int usage(FILE *out, int code)
{
	(void)fprintf(out, "Usage: latchctl [--json] COMMAND\n\nWhat the Latchkey agent knows of this machine.\n\n");
	for (unsigned i = 0; i < ELEMENTS(verbs); i++)
		(void)fprintf(out, "  %-9s %-7s %s\n", verbs[i].name, verbs[i].operand ? verbs[i].operand : "",
			verbs[i].help);
	(void)fprintf(out, "\n");
	for (unsigned i = 0; i < ELEMENTS(option_help); i++)
		(void)fprintf(out, "  %-9s %-7s %s\n", option_help[i].name,
			option_help[i].value ? option_help[i].value : "", option_help[i].help);
	(void)fprintf(out,
		"\nA user sees what concerns himself, root everything. Exit codes: 0 ok, 1 no (failing, cannot log "
		"in),\n64 usage, 65 bad input, 69 the agent does not run, 71 trouble of the system, 76 no sensible "
		"answer,\n77 not allowed.\n");
	return code;
}

static bool takes(const struct verb *verb, const char *option)
{
	for (unsigned i = 0; verb && i < OPTIONS_MAX; i++) {
		if (verb->options[i] && strcmp(verb->options[i], option) == 0)
			return true;
	}
	return false;
}

/* --name VALUE or --name=VALUE */
static const char *value_of(const char *name, char **argv, int *at)
{
	size_t size = strlen(name);

	if (strncmp(argv[*at], name, size) != 0)
		return NULL;
	if (argv[*at][size] == '=')
		return argv[*at] + size + 1;
	return argv[*at][size] == '\0' && argv[*at + 1] ? argv[++*at] : NULL;
}

static bool take_option(const struct verb *verb, char **argv, int *at, struct options *options)
{
	const struct {
		const char *name, **value;
	} valued[] = {{"--from", &options->from}, {"--key", &options->key}};

	for (unsigned i = 0; i < ELEMENTS(valued); i++) {
		const char *value = value_of(valued[i].name, argv, at);
		if (value && takes(verb, valued[i].name)) {
			*valued[i].value = value;
			return true;
		}
	}
	return false;
}

/* A - alone is a file: standard input. */
static bool is_option(const char *text)
{
	return text[0] == '-' && text[1] != '\0';
}

static const struct verb *find_verb(const char *name)
{
	for (unsigned i = 0; i < ELEMENTS(verbs); i++) {
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	}
	return NULL;
}

int main(int argc, char **argv)
{
	cleanup_client struct client client = {.descriptor = -1};
	const struct verb *verb = NULL;
	struct options options = {0};

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0)
			return usage(stdout, EXIT_OK);
		if (strcmp(argv[i], "--version") == 0) {
			(void)printf("latchctl %s\n", LATCHKEY_VERSION);
			return EXIT_OK;
		}
		if (strcmp(argv[i], "--json") == 0)
			options.json = true;
		else if (is_option(argv[i]) && take_option(verb, argv, &i, &options))
			continue;
		else if (is_option(argv[i]))
			return usage(stderr, EXIT_USAGE);
		else if (!verb) {
			verb = find_verb(argv[i]);
			if (!verb)
				return usage(stderr, EXIT_USAGE);
		} else if (verb->operand && !options.operand && (verb->takes_file || field_is_user(argv[i])))
			options.operand = argv[i];
		else
			return usage(stderr, EXIT_USAGE);
	}
	if (!verb || (verb->takes_file && !options.operand))
		return usage(stderr, EXIT_USAGE);
	if (!verb->asks)
		return verb->run(&client, &options);
	int r = client_open(PATH_STATUS_SOCKET, &client);
	if (r < 0) {
		(void)fprintf(stderr, "latchctl: the agent does not run (%s: %s); try: systemctl status latchkeyd\n",
			PATH_STATUS_SOCKET, strerror(-r));
		return EXIT_NO_AGENT;
	}
	return verb->run(&client, &options);
}
