/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of a plugin: NAME plan|apply [--root DIR], one JSON request on descriptor 0, one reply on descriptor 1, log
 * lines on descriptor 2. The frame reads and checks the request, calls plan or apply once for the whole batch and
 * writes exactly one result per command, in order. See docs/ARCHITECTURE.md, "Plugins".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/buffer.h"
#include "lib/code.h"
#include "lib/json.h"
#include "lib/manifest.h"
#include "lib/user_spawner.h"

#define PLUGIN_MESSAGE_MAX (2u << 20)
#define PLUGIN_PLAN_MAX 16384u
#define PLUGIN_USERS_MAX 4u /* of one command; the users whose login it touches */

struct plugin_command {
	const char *id, *do_name;
	const cJSON *fields;   /* the command object itself; checked against the manifest, defaults filled in */
	const cJSON *plan;     /* apply: what plan returned; NULL in plan */
	const cJSON *resolved; /* what latchkey-apply saw of the account: {"uid","privileged","stamp"}, {"stamp"}
				  without one; or NULL */
};

struct plugin_result {
	enum code code;
	bool changes;                  /* plan: would change; apply: changed */
	char detail[DETAIL_MAX + 1];   /* printable, never a secret */
	char *plan;                    /* plan: JSON text, owned by the frame once set (free) */
	char *sealed;                  /* apply: base64, owned by the frame once set (free) */
	char *extra;                   /* JSON members without braces that stand beside id and code, or NULL (free) */
	char *users[PLUGIN_USERS_MAX]; /* owned by the frame (free) */
	unsigned user_count;
};

struct plugin_request {
	bool apply, redo, undo;
	const char *root_path; /* "/" or the DIR of --root */
	int root;              /* its descriptor */
	bool is_host;          /* root_path is "/": name services and services may be used */
	int state; /* root/var/lib/latchkey/plugin/NAME, 0700, the plugin's only own state; -1 if it cannot be had */
	const char *instance, *signer, *actor;
	int64_t seq, time;     /* time: now, never below the floor */
	const cJSON *settings; /* as the manifest declares them, all present */
	struct plugin_command *commands;
	unsigned count;
	struct manifest_set manifests;
	cJSON *document;             /* the tree that everything above is borrowed from */
	struct user_spawner spawner; /* of plugin->as_user */
};

struct plugin {
	const char *name;
	/* Fill results[0…count). Negative errno only when nothing sensible can be said for any command: exits 1. */
	int (*plan)(struct plugin_request *request, struct plugin_result *results);
	int (*apply)(struct plugin_request *request, struct plugin_result *results);
	user_task_function as_user; /* what its children do that become a user; NULL: it has none */
};

/* The whole main of a plugin, with --help, --version and --describe (prints the manifest). Returns the exit code. */
int plugin_main(const struct plugin *plugin, int argc, char **argv);

/* Sets code and a formatted detail (cut at DETAIL_MAX); returns 0 so that `return plugin_fail(…)` reads well. */
int plugin_set(struct plugin_result *result, enum code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Sets the plan to a copy of that JSON text. 0 or -ENOMEM. */
int plugin_set_plan(struct plugin_result *result, const char *json) MUST_CHECK;
/* Records a user whose login the command touches; duplicates are ignored. */
int plugin_add_user(struct plugin_result *result, const char *user);
/* Field getters: the manifest was checked, so a present field has its type. Absent: NULL, or the fallback. */
const char *plugin_text(const struct plugin_command *command, const char *field);
int64_t plugin_integer(const struct plugin_command *command, const char *field, int64_t fallback);
bool plugin_flag(const struct plugin_command *command, const char *field, bool fallback);
/* A setting; the manifest says its type. */
const char *plugin_setting_text(const struct plugin_request *request, const char *name);
int64_t plugin_setting_integer(const struct plugin_request *request, const char *name);
