/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: words of a subcommand, positional arguments, and options. A subcommand that sends a command takes
 * every field of its row in the manifest as an option (--must-change for must_change), so that there is no second
 * table.
 */
#pragma once

#include "console/cli/cli.h"

#define ARGUMENTS_POSITIONAL_MAX 6u
#define ARGUMENTS_OPTIONS_MAX 32u

/* Groups of options beside the manifests'. */
enum option_group {
	OPTION_ALWAYS = 1,
	OPTION_CHANGE = 2, /* sends a document */
	OPTION_INIT = 4,
	OPTION_KEYPAIR = 8,
	OPTION_PASSWORD = 16,
	OPTION_RESULTS = 32,
	OPTION_IDENTITY = 64, /* may meet an instance for the first time */
	OPTION_FORCE = 128,
	OPTION_TARGETS = 256, /* may be for many instances */
	OPTION_QUICKSTART = 512,
};

struct arguments;

struct subcommand {
	const char *words;      /* "user add" */
	const char *positional; /* for the help: "INSTANCE USER" */
	unsigned least, most;   /* positional arguments */
	const char *do_name;    /* the manifest's command, or NULL */
	const char *other_do;   /* what it becomes with --generate, or NULL */
	const char *fields[3];  /* fields that the positional arguments after INSTANCE fill */
	const char *hidden[3];  /* fields that are not the operator's to type */
	unsigned groups;
	const char *summary;
	enum cli_exit (*run)(struct cli *cli, const struct arguments *arguments);
};

struct argument_option {
	const char *name; /* as typed, without the dashes */
	size_t name_size;
	const char *value; /* NULL for a flag */
	bool is_field;     /* of the command, not of the program: wins where both have the name, after the words */
};

struct arguments {
	const struct subcommand *subcommand;              /* NULL: none was given */
	const char *positional[ARGUMENTS_POSITIONAL_MAX]; /* with --targets the first is NULL, for targets_run to set */
	unsigned count;
	struct argument_option options[ARGUMENTS_OPTIONS_MAX];
	unsigned option_count;
	bool help, version;
};

/* The table of all subcommands (main.c), ended by an entry without words. */
extern const struct subcommand subcommands[];

enum cli_exit arguments_parse(
	const struct manifest_set *manifests, int argc, char **argv, struct arguments *ret_arguments);
/* The program's own option: its value ("" for a flag), or NULL when it was not given. */
const char *arguments_option(const struct arguments *arguments, const char *name);
/* A number of seconds: 90, 90s, 15m, 2h, 7d. -EINVAL. */
int arguments_duration(const char *text, int64_t limit, int64_t *ret_seconds) MUST_CHECK;
/* Unix seconds, +DURATION, or YYYY-MM-DD[THH:MM[:SS]]Z. -EINVAL. */
int arguments_time(const char *text, int64_t now, int64_t *ret_time) MUST_CHECK;
/*
 * Fills a command object with the fields that were given, typed as the manifest says: numbers, lists by commas, times
 * as Unix seconds, +DURATION or YYYY-MM-DD[THH:MM[:SS]]Z.
 */
enum cli_exit arguments_fields(
	const struct arguments *arguments, const struct manifest_command *row, int64_t now, cJSON *command);
void arguments_help(const struct manifest_set *manifests, const struct subcommand *subcommand);
