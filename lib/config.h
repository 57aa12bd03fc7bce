/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration files: `[section]`, `key = value`, whole-line `#` comments. A veto file must mean what it says and no
 * more, so: at most 4,096 bytes a line, no leading blanks, no repeats, no unknown key, printable UTF-8 only; anything
 * else refuses the whole file with its line. A drop-in (FILE.d/NAME.conf, by name) replaces single keys of the file.
 * A key table is the one place of default, range and help text. libc only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/cleanup.h"

#define CONFIG_LINE_MAX 4096u
#define CONFIG_FILE_MAX 262144u
#define CONFIG_NAMED_MAX 64u /* [signer NAME] sections */
#define CONFIG_DROP_INS_MAX 64u
#define CONFIG_ERROR_MAX 256u

enum config_kind {
	CONFIG_TEXT, /* range: most bytes */
	CONFIG_YES_NO,
	CONFIG_INTEGER, /* range "LOW:HIGH" */
	CONFIG_CHOICE,  /* range "a|b|c" */
	CONFIG_LIST,    /* words between blanks */
};

struct config_key {
	const char *section, *key;
	enum config_kind kind;
	const char *range, *default_value; /* default NULL: unset */
	const char *help;
	bool named; /* the section takes a name: [signer NAME]; no default then */
};

struct config_table {
	const struct config_key *keys;
	size_t count;
};

struct config_named_value {
	char *name; /* of the section */
	size_t key; /* index into the table */
	char *value;
	char *source;  /* "policy.conf:12" */
	unsigned file; /* the number of the file that set it last */
};

struct config {
	const struct config_table *table;
	char **values;  /* one per key of the table; NULL where unset */
	char **sources; /* "policy.conf:12" of each value that a file set, else NULL */
	struct config_named_value *named;
	size_t named_count;
	unsigned files; /* read so far */
};

/*
 * Reads DIRECTORY/FILE and its drop-ins, relative to `root`. A missing file is all defaults. -EBADMSG with
 * "FILE:LINE: what" in ret_error; other negative errno when it cannot be read or is writable by others (-EPERM).
 */
int config_load(int root, const char *directory, const char *file, const struct config_table *table,
	struct config *ret_config, char ret_error[CONFIG_ERROR_MAX]) MUST_CHECK;
/* One text, for tests and fuzzing. `source` names it in errors. */
int config_parse(struct config *config, const char *source, const char *text, size_t size,
	char ret_error[CONFIG_ERROR_MAX]) MUST_CHECK;
int config_initialise(const struct config_table *table, struct config *ret_config) MUST_CHECK;
void config_free(struct config *config);
#define cleanup_config CLEANUP(config_free)

/* The value of a key of the table (asking for another is a mistake in the program and gives NULL or 0). */
const char *config_text(const struct config *config, const char *section, const char *key);
int64_t config_integer(const struct config *config, const char *section, const char *key);
bool config_yes(const struct config *config, const char *section, const char *key);
/* Where the value came from: "policy.conf:12", or "default". */
const char *config_source(const struct config *config, const char *section, const char *key);
/* The value in a named section, NULL where that section does not set it. */
const char *config_named_text(const struct config *config, const char *section, const char *name, const char *key);
/* Walks the words of a list value: start with *at = value. False at the end. */
bool config_next_word(const char **at, char *word, size_t size);
/* A list of patterns: the word or a prefix and `*`; `!` in front denies and wins. */
bool config_list_allows(const char *list, const char *word);
