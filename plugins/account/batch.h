/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the account files for all commands of a request: read once, every command decided and carried out in
 * memory in order (so that each sees what those before it did), written once. Planning is the same pass, not written.
 */
#pragma once

#include "lib/plugin.h"
#include "plugins/account/database.h"
#include "plugins/account/defaults.h"
#include "plugins/account/elsewhere.h"
#include "plugins/account/facet.h"
#include "plugins/account/home.h"
#include "plugins/account/ledger.h"
#include "plugins/account/new_homes.h"
#include "plugins/account/user_processes.h"

/*
 * Done after the account files stand: nothing here is needed for a login to be refused or allowed. Only a right of sudo
 * is taken away before, for an account that is gone must not leave it to the next of its name.
 */
struct deferred {
	unsigned command;
	char *sudo;  /* the word to write, or NULL */
	char *taken; /* bytes of the file that was taken away, in case it must come back */
	size_t taken_size;
	char *home; /* to delete, or NULL */
	uid_t uid;
	bool faillock;  /* to clear for the command's user */
	bool key_files; /* of that name, outside the home, to remove */
};

struct batch {
	const struct plugin_request *request;
	struct database database;
	struct ledger ledger;
	struct account_defaults defaults;
	bool applying;  /* files outside the database are written too */
	bool removing;  /* an account goes: passwd is written first */
	int broken;     /* why a command stopped half-way: then nothing of the batch is written */
	bool sync_once; /* many homes: to disk all at once, before an account file names one */
	struct home_sync homes;
	struct skeleton skeleton;
	struct new_homes new_homes;
	struct deferred *deferred;
	unsigned deferred_count;
	bool *moved; /* for each, whether its account is no longer the one that was decided on */
	struct elsewhere elsewhere;
	struct user_processes processes;
};

/*
 * Fills the facets that the command would change, and on a refusal the result's code and detail. `plan`, when not NULL,
 * is an open JSON object for further members of the plan. Negative errno: no decision, the caller reports it.
 */
typedef int (*decide_function)(struct batch *batch, unsigned index, struct plugin_result *result, struct facets *facets,
	struct json_writer *plan);

int decide_ensure(struct batch *batch, unsigned index, struct plugin_result *result, struct facets *facets,
	struct json_writer *plan) MUST_CHECK;
int decide_lock(struct batch *batch, unsigned index, struct plugin_result *result, struct facets *facets,
	struct json_writer *plan) MUST_CHECK;
int decide_unlock(struct batch *batch, unsigned index, struct plugin_result *result, struct facets *facets,
	struct json_writer *plan) MUST_CHECK;
int decide_remove(struct batch *batch, unsigned index, struct plugin_result *result, struct facets *facets,
	struct json_writer *plan) MUST_CHECK;
int decide_password_remove(struct batch *batch, unsigned index, struct plugin_result *result, struct facets *facets,
	struct json_writer *plan) MUST_CHECK;
int decide_password_set(struct batch *batch, unsigned index, struct plugin_result *result, struct facets *facets,
	struct json_writer *plan) MUST_CHECK;
int decide_password_generate(struct batch *batch, unsigned index, struct plugin_result *result, struct facets *facets,
	struct json_writer *plan) MUST_CHECK;

/* The command's user as the files have him. On failure the result says why, and -ENOENT, -ENOTUNIQ, … is returned. */
int batch_find_user(
	struct batch *batch, unsigned index, struct plugin_result *result, struct account *ret_account) MUST_CHECK;
/* ok, or system_account for whom this plugin never touches. */
int batch_check_person(struct batch *batch, const struct account *account, struct plugin_result *result);
/* The ledger's entry, if it is about the account that stands there now: the name may have been given anew since. */
const struct ledger_entry *batch_entry(const struct batch *batch, const char *user);
/* True when user.lock of ours is in force: an administrator may have opened both doors by hand. */
bool batch_is_locked(const struct batch *batch, const char *user);

int batch_plan(struct plugin_request *request, struct plugin_result *results);
int batch_apply(struct plugin_request *request, struct plugin_result *results);
