/* SPDX-License-Identifier: Apache-2.0 */
/* latchctl(1): what is true on this machine, and why. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/ctl/ctl.h"
#include "agent/ctl/output.h"
#include "lib/field.h"
#include "lib/paths.h"

#define OPTIONS_MAX 3u

enum operand { NO_OPERAND, MAY_NAME_USER, NEEDS_FILE };

static const struct verb {
	const char *name; /* of one word or two */
	enum operand operand;
	bool asks; /* the agent must be there */
	int (*run)(struct client *client, const struct options *options);
	const char *options[OPTIONS_MAX]; /* besides --json */
	const char *help;
} verbs[] = {
	{"status", NO_OPERAND, true, ask_status, {0},
		"health, endpoint, newest document, problems (exit 1 when failing)"},
	{"banner", NO_OPERAND, true, ask_banner, {0},
		"one line: instance, identity, endpoint; for the console at boot"},
	{"commands", NO_OPERAND, true, ask_commands, {0}, "what was done, newest first"},
	{"users", NO_OPERAND, true, ask_users, {0}, "managed users and whether they can log in"},
	{"keys", MAY_NAME_USER, true, ask_keys, {"--used"}, "bound keys: who, when, by whom; or when last used"},
	{"monitor", NO_OPERAND, true, ask_monitor, {0}, "a line for each command that ends from now on"},
	{"metrics", NO_OPERAND, true, ask_metrics, {0}, "OpenMetrics text"},
	{"doctor", MAY_NAME_USER, false, doctor_run, {"--from", "--key"},
		"whether the user can log in, what is in the way, what helps (exit 1 when he cannot)"},
	{"explain", NEEDS_FILE, false, explain_run, {"--from"},
		"a client's ssh -v output, seen from here; then as doctor for its user and keys"},
	{"policy check", NEEDS_FILE, false, policy_check_run, {"--signer"},
		"what the policy says to each command of a document, and which line (exit 1 when one is denied)"},
	{"bundle", NO_OPERAND, false, bundle_run, {"--output", "--yes"},
		"one text for somebody who helps, without keys, passwords and tokens"},
	{"seal", NO_OPERAND, false, seal_run, {"--list", "--yes"},
		"makes an image of this machine: identity, journal, history and the keys of the build go"},
};

static const struct {
	const char *name, *value, *help; /* value: its word, NULL for a flag */
} option_table[] = {
	{"--from", "ADDR", "as seen from this IP address"},
	{"--key", "FILE", "judge this public key alone (a file, - or SHA256:...)"},
	{"--signer", "NAME", "as if this signer had signed it"},
	{"--used", NULL, "when each key was last used, by the journal"},
	{"--output", "FILE", "where it goes (default ./latchkey-bundle-TIME.txt; - for standard output)"},
	{"--list", NULL, "only say what would go and what stays"},
	{"--yes", NULL, "do not ask"},
	{"--json", NULL, "print JSON"},
	{"--help", NULL, "this text"},
	{"--version", NULL, "the version"},
};

static int usage(FILE *out, int code)
{
	static const char *const words[] = {[NO_OPERAND] = "", [MAY_NAME_USER] = "[USER]", [NEEDS_FILE] = "FILE"};

	(void)fprintf(out, "Usage: latchctl [--json] COMMAND\n\nWhat the Latchkey agent knows of this machine.\n\n");
	for (unsigned i = 0; i < ELEMENTS(verbs); i++)
		(void)fprintf(out, "  %-12s %-7s %s\n", verbs[i].name, words[verbs[i].operand], verbs[i].help);
	(void)fprintf(out, "\n");
	for (unsigned i = 0; i < ELEMENTS(option_table); i++)
		(void)fprintf(out, "  %-12s %-7s %s\n", option_table[i].name,
			option_table[i].value ? option_table[i].value : "", option_table[i].help);
	(void)fprintf(out,
		"\nA user sees what concerns himself, root everything. Exit codes: 0 ok, 1 no (failing, cannot log "
		"in, denied),\n64 usage, 65 bad input, 69 the agent does not answer, 71 trouble of the system, 76 no "
		"sensible answer,\n77 not allowed.\n");
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
	} valued[] = {{"--from", &options->from}, {"--key", &options->key}, {"--signer", &options->signer},
		{"--output", &options->output}};
	const struct {
		const char *name;
		bool *flag;
	} flags[] = {{"--used", &options->used}, {"--yes", &options->yes}, {"--list", &options->list}};

	for (unsigned i = 0; i < ELEMENTS(valued); i++) {
		const char *value = takes(verb, valued[i].name) ? value_of(valued[i].name, argv, at) : NULL;
		if (value) {
			*valued[i].value = value;
			return true;
		}
	}
	for (unsigned i = 0; i < ELEMENTS(flags); i++) {
		if (takes(verb, flags[i].name) && strcmp(argv[*at], flags[i].name) == 0)
			return *flags[i].flag = true;
	}
	return false;
}

/* A - alone is a file: standard input. */
static bool is_option(const char *text)
{
	return text[0] == '-' && text[1] != '\0';
}

static const struct verb *find_verb(char **argv, int *at)
{
	for (unsigned i = 0; i < ELEMENTS(verbs); i++) {
		size_t first = strcspn(verbs[i].name, " ");
		const char *second = verbs[i].name[first] ? verbs[i].name + first + 1 : NULL;
		if (strlen(argv[*at]) != first || strncmp(verbs[i].name, argv[*at], first) != 0)
			continue;
		if (second && (!argv[*at + 1] || strcmp(argv[*at + 1], second) != 0))
			continue;
		*at += second != NULL;
		return &verbs[i];
	}
	return NULL;
}

static bool takes_operand(const struct verb *verb, const char *text)
{
	return verb->operand == NEEDS_FILE || (verb->operand == MAY_NAME_USER && field_is_user(text));
}

/* On a console the whole help would push what was wrong out of sight. */
static int misused(const char *text, const char *why)
{
	char cell[OUTPUT_CELL_MAX];

	(void)fprintf(stderr, "latchctl: %s%s; see latchctl --help\n", output_escape(text, cell), why);
	return EXIT_USAGE;
}

/* What was asked for and could not be told is no answer: a scraper's file on a full disk is cut. */
static int finish(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	(void)fprintf(stderr, "latchctl: standard output cannot be written: not all of it was printed\n");
	return EXIT_TROUBLE;
}

int main(int argc, char **argv)
{
	cleanup_client struct client client = {.descriptor = -1};
	const struct verb *verb = NULL;
	struct options options = {0};

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0)
			return finish(usage(stdout, EXIT_OK));
		if (strcmp(argv[i], "--version") == 0) {
			(void)printf("latchctl %s\n", LATCHKEY_VERSION);
			return EXIT_OK;
		}
		if (strcmp(argv[i], "--json") == 0) {
			options.json = true;
		} else if (is_option(argv[i])) {
			const char *option = argv[i];
			if (!take_option(verb, argv, &i, &options))
				return misused(option,
					verb ? " is not taken here, or lacks its value" : " comes after the command");
		} else if (!verb) {
			verb = find_verb(argv, &i);
			if (!verb)
				return misused(argv[i], " is no command");
		} else if (!options.operand && takes_operand(verb, argv[i])) {
			options.operand = argv[i];
		} else {
			return misused(argv[i], verb->operand == MAY_NAME_USER && !options.operand
							? " is no user's name"
							: " is one word too many");
		}
	}
	if (!verb)
		return usage(stderr, EXIT_USAGE);
	if (verb->operand == NEEDS_FILE && !options.operand)
		return misused(verb->name, " needs a FILE (- is standard input)");
	if (!verb->asks)
		return finish(verb->run(&client, &options));
	int r = client_open(PATH_STATUS_SOCKET, &client);
	if (r < 0) {
		(void)fprintf(stderr, "latchctl: the agent does not run (%s: %s); try: systemctl status latchkeyd\n",
			PATH_STATUS_SOCKET, strerror(-r));
		return EXIT_NO_AGENT;
	}
	return finish(verb->run(&client, &options));
}
