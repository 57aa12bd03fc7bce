/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plugins' manifests (plugins/NAME/NAME.json), the one command table, embedded at build time. The decoder, the
 * plugins' --describe, the man page, the CLI and the tests read it from here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/code.h"
#include "lib/field.h"
#include "lib/json.h"
#include "lib/sandbox.h"

#define MANIFEST_PLUGINS 4u
#define MANIFEST_FIELDS_MAX 16u
#define MANIFEST_COMMANDS_MAX 16u
#define DETAIL_MAX 200u /* bytes of a result's detail */

struct manifest_field {
	const char *name;
	struct field_type type;
};

struct manifest_command {
	const char *name; /* "keys.bind" */
	unsigned stage;   /* 1…6; 0: internal, never accepted in a document */
	unsigned plugin;  /* index into the set; also its order inside a stage */
	struct manifest_field fields[MANIFEST_FIELDS_MAX];
	unsigned field_count;
	bool needs_one; /* at least one optional field must be there ("needs_one":true) */
};

struct manifest {
	const char *name;
	uint64_t capabilities; /* bit mask, capabilities(7) */
	unsigned timeout_s;
	struct sandbox sandbox; /* "sockets" and, where "confined", "writes" without the "@" names */
	const cJSON *settings;  /* name → type declaration */
	struct manifest_command commands[MANIFEST_COMMANDS_MAX];
	unsigned command_count;
};

struct manifest_set {
	struct manifest plugins[MANIFEST_PLUGINS]; /* account, authorized-keys, sshd, login: the order of the batches */
	cJSON *roots[MANIFEST_PLUGINS];
};

/* Reads the embedded manifests; -EBADMSG would be a build mistake. Free with manifest_set_free. */
int manifest_set_load(struct manifest_set *ret_set) MUST_CHECK;
void manifest_set_free(struct manifest_set *set);
#define cleanup_manifest_set CLEANUP(manifest_set_free)
/* The embedded JSON text of a plugin, or NULL. */
const char *manifest_text(const char *plugin);
/* Also finds internal commands (stage 0); NULL when unknown. */
const struct manifest_command *manifest_find(const struct manifest_set *set, const char *do_name);
/*
 * Checks a command's own fields (all members but id, do, not_before, until and actor) against its row: OK,
 * unknown_field, field_missing, field_invalid or name_invalid, with a detail that names the field. Adds defaults to the
 * object.
 */
enum code manifest_check(const struct manifest_command *row, cJSON *command, char ret_detail[DETAIL_MAX + 1]);
