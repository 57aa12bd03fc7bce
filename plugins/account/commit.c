/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/commit.h"

#include <errno.h>
#include <string.h>

#include "lib/file.h"
#include "plugins/account/caches.h"
#include "plugins/account/faillock.h"
#include "plugins/account/home.h"
#include "plugins/account/labels.h"
#include "plugins/account/sudoers.h"

#define HOMES_DELETE_MS 10000 /* all of a batch: the account files are locked meanwhile, and others wait for 15 s */

void commit_report(struct plugin_result *result, int error, const char *what)
{
	if (result->code != CODE_OK)
		return; /* said already, and better */
	if (error == -ENOTUNIQ)
		(void)plugin_set(result, CODE_DUPLICATE_ENTRY, "%s stands more than once in an account file", what);
	else if (error == -EOPNOTSUPP)
		(void)plugin_set(result, CODE_UNSUPPORTED_BACKEND, "/etc/%s is missing or no regular file", what);
	else if (error == -EMSGSIZE)
		(void)plugin_set(
			result, CODE_TOO_LARGE, "a field of %s is longer than %u bytes", what, FACET_VALUE_MAX);
	else if (error == -EBADMSG)
		(void)plugin_set(result, CODE_IO_ERROR, "the line of %s has not the right fields", what);
	else if (error == -ENOENT)
		(void)plugin_set(result, CODE_NO_SUCH_USER, "%s", what);
	else if (error == -EINVAL)
		(void)plugin_set(
			result, CODE_FIELD_INVALID, "a field of %s holds a colon or a control character", what);
	else
		(void)plugin_set(result, code_from_errno(-error), "%s: %s", what, strerror(-error));
}

void commit_deferred_free(struct deferred *deferred)
{
	free(deferred->home);
	free(deferred->sudo);
	free(deferred->taken);
	*deferred = (struct deferred){0};
}

int commit_defer(struct batch *batch, struct deferred deferred)
{
	struct deferred *more = reallocarray(batch->deferred, batch->deferred_count + 1, sizeof(*more));

	if (!more) {
		commit_deferred_free(&deferred);
		return -ENOMEM;
	}
	batch->deferred = more;
	more[batch->deferred_count++] = deferred;
	return 0;
}

int commit_check_sudo(
	const struct batch *batch, const char *user, const struct facets *facets, struct plugin_result *result)
{
	const struct facet *facet = facets_find(facets, "sudo");

	int r = facet && batch->request->is_host ? sudoers_check(user, facet->after) : 0;
	if (r == -EBADMSG)
		(void)plugin_set(result, CODE_CANNOT_VALIDATE, "visudo does not take the rule for %s", user);
	return r;
}

int commit_defer_sudo(struct batch *batch, unsigned index, const struct facet *facet)
{
	struct deferred deferred = {.command = index, .sudo = strdup(facet->after)};
	return deferred.sudo ? commit_defer(batch, deferred) : -ENOMEM;
}

int commit_defer_home(struct batch *batch, unsigned index, const struct facet *facet)
{
	const char *colon = strchr(facet->before, ':');
	uint64_t uid = 0;

	if (!colon)
		return -EBADMSG;
	for (const char *at = facet->before; at < colon; at++) {
		if (*at < '0' || *at > '9' || uid > UINT32_MAX)
			return -EBADMSG;
		uid = uid * 10 + (uint64_t)(*at - '0');
	}
	struct deferred deferred = {.command = index, .home = strdup(colon + 1), .uid = (uid_t)uid};
	return deferred.home ? commit_defer(batch, deferred) : -ENOMEM;
}

/* What sshd reads for a name outside its home: the next account of that name must not inherit its keys. */
static int remove_key_files(const struct batch *batch, const char *user)
{
	static const char *const directories[] = {"etc/ssh/latchkey_keys", "run/latchkey/authorized_keys"};

	for (unsigned i = 0; i < ELEMENTS(directories); i++) {
		cleanup_close int directory = -1;
		int r = file_open_directory(batch->request->root, directories[i], &directory);
		if (r == 0)
			r = file_remove(directory, user);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

static void delete_home(
	struct batch *batch, const struct deferred *deferred, int64_t until, struct plugin_result *result)
{
	int r = home_delete(
		batch->request->root, deferred->home, deferred->uid, until, batch->sync_once ? &batch->homes : NULL);

	if (r == 0 || result->code != CODE_OK)
		return;
	if (r == -ETIME)
		(void)plugin_set(result, CODE_TIMEOUT,
			"the account is removed, its home %s not all: the next try goes on", deferred->home);
	else
		(void)plugin_set(result, r == -EPERM || r == -EXDEV ? CODE_HOME_UNSAFE : code_from_errno(-r),
			"the account is removed, its home %s only in part: %s", deferred->home, strerror(-r));
}

static void carry_out(struct batch *batch, const struct deferred *deferred, int64_t until, struct plugin_result *result)
{
	const struct plugin_request *request = batch->request;
	const char *user = plugin_text(&request->commands[deferred->command], "user");
	int r = 0;

	if (deferred->sudo && strcmp(deferred->sudo, "none") != 0 && result->code == CODE_OK) {
		r = sudoers_write(request->root, user, deferred->sudo);
		if (r < 0)
			(void)plugin_set(result, code_from_errno(-r), "the account stands, its right of sudo not: %s",
				strerror(-r));
	}
	if (deferred->faillock && result->code == CODE_OK) {
		r = faillock_clear(request->root, request->is_host, user);
		if (r < 0)
			(void)plugin_set(result, CODE_OK, "faillock: %s", strerror(-r));
	}
	if (deferred->key_files) {
		r = remove_key_files(batch, user);
		if (r < 0 && result->code == CODE_OK)
			(void)plugin_set(result, code_from_errno(-r), "the account is removed, its key files not: %s",
				strerror(-r));
	}
	if (deferred->home)
		delete_home(batch, deferred, until, result);
}

static void carry_out_deferred(struct batch *batch, struct plugin_result *results)
{
	int64_t until = home_clock() + HOMES_DELETE_MS;

	for (unsigned i = 0; i < batch->deferred_count; i++)
		carry_out(batch, &batch->deferred[i], until, &results[batch->deferred[i].command]);
	int r = home_sync_finish(&batch->homes);
	for (unsigned i = 0; r < 0 && i < batch->deferred_count; i++) {
		if (batch->deferred[i].home)
			commit_report(&results[batch->deferred[i].command], r, "the homes");
	}
}

static int take_sudo_away(struct batch *batch)
{
	for (unsigned i = 0; i < batch->deferred_count; i++) {
		struct deferred *deferred = &batch->deferred[i];
		const char *user = plugin_text(&batch->request->commands[deferred->command], "user");

		if (!deferred->sudo || strcmp(deferred->sudo, "none") != 0)
			continue;
		int r = sudoers_take(batch->request->root, user, &deferred->taken, &deferred->taken_size);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Nothing of this pass stands: neither does what was done ahead of it. */
static void take_back(const struct batch *batch)
{
	for (unsigned i = 0; i < batch->deferred_count; i++) {
		const struct deferred *deferred = &batch->deferred[i];
		const char *user = plugin_text(&batch->request->commands[deferred->command], "user");

		if (deferred->taken)
			sudoers_put_back(batch->request->root, user, deferred->taken, deferred->taken_size);
	}
	new_homes_take_back(&batch->new_homes, batch->request->root, NULL);
}

static void tell(const struct batch *batch, const struct plugin_result *results)
{
	bool any = false;

	for (unsigned i = 0; i < batch->request->count; i++) {
		const struct plugin_command *command = &batch->request->commands[i];

		if (!results[i].changes)
			continue;
		any = true;
		caches_audit(command->do_name, plugin_text(command, "user"));
	}
	if (any)
		caches_forget();
}

/* After the first step of a removal: locked, and waiting for his processes. */
static void tell_first_step(struct batch *batch, unsigned index, struct plugin_result *result)
{
	const struct plugin_command *command = &batch->request->commands[index];
	cleanup_account struct account account = {0};

	if (strcmp(command->do_name, "user.remove") != 0 || result->code != CODE_OK)
		return;
	if (account_find(&batch->database.files[DATABASE_PASSWD].table, plugin_text(command, "user"), &account) < 0)
		return;
	unsigned count = 0;
	pid_t first = 0;
	if (batch->request->is_host && user_processes_count(&batch->processes, account.uid, &count, &first) == 0 &&
		count > 0)
		(void)plugin_set(
			result, CODE_BUSY, "locked; %u processes still run, the first is %d", count, (int)first);
	else
		(void)plugin_set(result, CODE_BUSY, "locked; the account goes with the next try");
}

/* A disk that says yes and keeps other bytes is found out while somebody can still be told. */
static void read_back(const struct batch *batch, unsigned index, struct plugin_result *result)
{
	if (!result->changes || result->code != CODE_OK)
		return;
	int r = database_read_back(&batch->database, plugin_text(&batch->request->commands[index], "user"));
	if (r < 0)
		(void)plugin_set(result, r == -EIO ? CODE_IO_ERROR : code_from_errno(-r),
			"what was written to /etc/passwd and /etc/shadow is not what is read back");
}

void commit_batch(struct batch *batch, struct plugin_result *results)
{
	const struct plugin_request *request = batch->request;
	const char *what = "ledger";
	bool touched = false;

	/* The ledger first: what we gave is never without its note, and a note too many is put right by the redo. */
	int r = batch->broken;
	if (r == 0)
		r = ledger_write(request->state, &batch->ledger);
	if (r == 0) {
		what = "the homes";
		new_homes_label(&batch->new_homes, request->is_host);
		r = home_sync_finish(&batch->homes);
	}
	if (r == 0) {
		what = "sudoers.d";
		r = take_sudo_away(batch);
	}
	if (r == 0)
		r = database_write(&batch->database, batch->removing, &what, &touched);
	/* Once any account file is new, the note stands: what we made must not look like somebody else's. */
	if (r < 0 && !touched) {
		take_back(batch);
		ledger_restore(request->state, &batch->ledger);
	}
	for (unsigned i = 0; i < request->count; i++) {
		if (r < 0 && results[i].changes) {
			if (results[i].code == CODE_OK || results[i].code == CODE_SUPERSEDED) {
				results[i].code = CODE_OK;
				commit_report(&results[i], r, what);
			}
			results[i].changes = false;
		}
		if (r == 0)
			read_back(batch, i, &results[i]);
		tell_first_step(batch, i, &results[i]);
	}
	if (r == 0) {
		new_homes_take_back(&batch->new_homes, request->root, &batch->database.files[DATABASE_PASSWD].table);
		carry_out_deferred(batch, results);
	}
	if (request->is_host)
		tell(batch, results);
	else if (r == 0)
		labels_ask_for_relabelling(request->root, batch->database.etc);
}
