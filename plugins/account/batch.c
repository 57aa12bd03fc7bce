/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/batch.h"

#include <errno.h>
#include <string.h>

#include "lib/account_index.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/sudo_rules.h"
#include "plugins/account/account_state.h"
#include "plugins/account/commit.h"
#include "plugins/account/database_lock.h"
#include "plugins/account/identifiers.h"

#define INDEX_FROM 4u /* commands; for fewer reading the lines is as fast */

static const struct kind {
	const char *name;
	decide_function decide;
	bool lists; /* the groups and the ranges of ids too, not passwd and shadow alone */
	bool once;  /* deciding again would make another password: only what stands before is read again */
} kinds[] = {
	{"user.ensure", decide_ensure, true, false},
	{"user.lock", decide_lock, false, false},
	{"user.unlock", decide_unlock, false, false},
	{"user.remove", decide_remove, true, false},
	{"password.remove", decide_password_remove, false, false},
	{"password.set", decide_password_set, false, true},
	{"password.generate", decide_password_generate, false, true},
};

static const struct kind *find_kind(const struct plugin_command *command)
{
	for (unsigned i = 0; i < ELEMENTS(kinds); i++) {
		if (strcmp(kinds[i].name, command->do_name) == 0)
			return &kinds[i];
	}
	return NULL;
}

const struct ledger_entry *batch_entry(const struct batch *batch, const char *user)
{
	const struct ledger_entry *entry = ledger_find(&batch->ledger, user);
	struct account_line line;
	uint32_t uid;

	if (entry && account_find_line(&batch->database.files[DATABASE_PASSWD].table, user, &line) == 0 &&
		account_line_number(&line, 2, &uid) && uid != entry->uid)
		return NULL;
	return entry;
}

bool batch_is_locked(const struct batch *batch, const char *user)
{
	const struct ledger_entry *entry = batch_entry(batch, user);
	const struct table_edit *shadow = &batch->database.files[DATABASE_SHADOW];
	struct account_line hash, expire;

	return entry && entry->locked && table_edit_field(shadow, user, SHADOW_FIELDS, 1, &hash) == 0 &&
	       table_edit_field(shadow, user, SHADOW_FIELDS, 7, &expire) == 0 &&
	       ((hash.size > 0 && *hash.start == '!') || (expire.size == 1 && *expire.start == '1'));
}

int batch_find_user(struct batch *batch, unsigned index, struct plugin_result *result, struct account *ret_account)
{
	const char *user = plugin_text(&batch->request->commands[index], "user");

	int r = account_find(&batch->database.files[DATABASE_PASSWD].table, user, ret_account);
	if (r != -ENOENT)
		return r;
	if (batch->elsewhere.error < 0)
		(void)plugin_set(result, CODE_TIMEOUT, "name services do not answer whether they know %s", user);
	else if (batch->elsewhere.users[index])
		(void)plugin_set(result, CODE_NOT_LOCAL, "%s comes from a name service, not from /etc/passwd", user);
	else
		(void)plugin_set(result, CODE_NO_SUCH_USER, "there is no user %s", user);
	return r;
}

int batch_check_person(struct batch *batch, const struct account *account, struct plugin_result *result)
{
	/* Root is for the policy to allow; system accounts and the overflow ids are nobody's to log in with. */
	if (account->uid != 0 && (account->uid < batch->defaults.ranges.uid_min || account->uid == 65534 ||
					 account->uid == 65535 || account->uid == UINT32_MAX)) {
		(void)plugin_set(result, CODE_SYSTEM_ACCOUNT, "uid %u is a system account", (unsigned)account->uid);
		return -EPERM;
	}
	return 0;
}

/* Of 100,000 accounts each file has megabytes. */
static unsigned files_for(const struct batch *batch)
{
	/* Under the lock the groups tell whether the account is still the one that was decided on. */
	unsigned files = DATABASE_BIT(DATABASE_PASSWD) | DATABASE_BIT(DATABASE_SHADOW) |
			 (batch->applying ? DATABASE_BIT(DATABASE_GROUP) : 0);

	for (unsigned i = 0; i < batch->request->count; i++) {
		const struct kind *kind = find_kind(&batch->request->commands[i]);
		if (kind && kind->lists)
			return DATABASE_ALL;
	}
	return files;
}

static int batch_open(struct batch *batch, struct plugin_request *request, const char **ret_what)
{
	batch->request = request;
	*ret_what = "memory";
	batch->moved = calloc((size_t)request->count + 1, sizeof(*batch->moved));
	if (!batch->moved)
		return -ENOMEM;
	int r = database_read(request->root, files_for(batch), batch->applying, &batch->database, ret_what);
	if (r < 0)
		return r;
	if (request->count >= INDEX_FROM) {
		batch->sync_once = file_syncfs_is_reliable();
		r = database_index(&batch->database);
		if (r < 0)
			return r;
	}
	*ret_what = "login.defs";
	r = account_defaults_read(request->root, &batch->defaults);
	if (r < 0)
		return r;
	batch->skeleton = skeleton_of(batch->defaults.skel);
	*ret_what = "ledger";
	r = ledger_read(request->state, &batch->ledger);
	return r < 0 ? r : elsewhere_ask(request, &batch->database, &batch->elsewhere);
}

static void batch_free(struct batch *batch)
{
	for (unsigned i = 0; i < batch->deferred_count; i++)
		commit_deferred_free(&batch->deferred[i]);
	free(batch->deferred);
	free(batch->moved);
	elsewhere_free(&batch->elsewhere);
	user_processes_free(&batch->processes);
	home_sync_free(&batch->homes);
	skeleton_free(&batch->skeleton);
	new_homes_free(&batch->new_homes);
	database_free(&batch->database);
	ledger_free(&batch->ledger);
}

/* Made by this very plan, in a run that crashed after it. */
static bool is_planned(const struct plugin_command *command, const struct account *account)
{
	cleanup_facets struct facets facets = {0};
	uid_t uid;
	gid_t gid;

	return facets_read(command->plan, false, &facets) == 0 &&
	       account_state_parse_ids(facets_after(&facets, "account", ""), &uid, &gid) == 0 && uid == account->uid &&
	       gid == account->gid;
}

/*
 * What latchkey-apply decided on must still be the account that stands there: the same uid under as many names, in the
 * same groups, under the same rules of sudo; or still none.
 */
static int resolved_moved(struct batch *batch, const struct plugin_command *command,
	const struct account_table *members, const struct account_numbers *uids, uint32_t rules, bool *ret_moved)
{
	const struct account_table *passwd = &batch->database.files[DATABASE_PASSWD].table;
	cleanup_account struct account account = {0};
	int64_t uid, stamp;
	uint32_t now;

	*ret_moved = false;
	if (!command->resolved || !plugin_text(command, "user"))
		return 0;
	int r = account_find(passwd, plugin_text(command, "user"), &account);
	bool was_there = json_get_integer(command->resolved, "uid", &uid) == 0;
	bool stamped = json_get_integer(command->resolved, "stamp", &stamp) == 0;
	if (r == -ENOENT && !was_there)
		*ret_moved = stamped && stamp != rules;
	if (r < 0)
		return r == -ENOMEM ? r : 0; /* gone, doubled or broken: the command itself says so */
	*ret_moved = was_there ? account.uid != (uid_t)uid : !is_planned(command, &account);
	/* To go back is decided already, whatever groups he is in by now. */
	if (!was_there || *ret_moved || !stamped || batch->request->undo)
		return 0;
	size_t names = account_count_alike(
		(struct account_alike){.table = passwd, .numbers = uids, .field = 2, .number = account.uid});
	r = account_stamp(members, &account, (unsigned)names, rules, &now);
	*ret_moved = r == 0 && now != stamp;
	return r;
}

/* Before the first command changes anything. */
static int find_moved(struct batch *batch)
{
	cleanup_account_table struct account_table members = {0};
	cleanup_account_numbers struct account_numbers uids = {0};
	cleanup_buffer struct buffer rules = {0};

	int r = account_members_read(&batch->database.files[DATABASE_GROUP].table, &members);
	if (r == 0 && batch->request->count >= INDEX_FROM)
		r = account_numbers_read(&batch->database.files[DATABASE_PASSWD].table, 2, &uids);
	if (r == 0)
		r = sudo_rules_read(batch->request->root, &rules);
	uint32_t stamp = sudo_rules_stamp(&rules);
	for (unsigned i = 0; r == 0 && i < batch->request->count; i++)
		r = resolved_moved(batch, &batch->request->commands[i], &members, &uids, stamp, &batch->moved[i]);
	return r;
}

static int write_facet(struct batch *batch, unsigned index, const struct facets *facets, const struct facet *facet,
	struct plugin_result *result)
{
	const char *user = plugin_text(&batch->request->commands[index], "user");
	uid_t uid;
	gid_t gid;

	if (strcmp(facet->name, "home_directory") == 0)
		return commit_defer_home(batch, index, facet);
	if (strcmp(facet->name, "faillock") == 0)
		return 0; /* apply_command() defers it, for each command that asks for it */
	if (strcmp(facet->name, "sudo") == 0)
		return batch->applying ? commit_defer_sudo(batch, index, facet) : 0;
	if (strcmp(facet->name, "account") != 0)
		return account_state_write(batch, user, facet->name, facet->after);
	if (*facet->after != '\0')
		return account_state_create(batch, user, facets, result);
	int r = account_state_parse_ids(facet->before, &uid, &gid);
	if (r == 0)
		r = account_state_remove(batch, user, gid);
	return r < 0 ? r : commit_defer(batch, (struct deferred){.command = index, .key_files = true});
}

enum standing {
	STANDS_BEFORE,
	STANDS_AFTER,
	MOVED,
};

static int compare(struct batch *batch, const char *user, const struct facets *facets, const struct facet *facet,
	enum standing *ret_standing)
{
	const struct facet *account = facets_find(facets, "account");
	cleanup_wiped char *present = NULL, *ids = NULL;

	/* Deleting or clearing what is already gone is nothing. */
	if (strcmp(facet->name, "home_directory") == 0 || strcmp(facet->name, "faillock") == 0) {
		*ret_standing = STANDS_BEFORE;
		return 0;
	}
	int r = account_state_read(batch, user, facet->name, &present);
	if (r < 0)
		return r;
	if (account && *account->before == '\0') {
		/* While passwd has no line of his, what a crash left in the other files is not his yet. */
		r = account_state_read(batch, user, "account", &ids);
		if (r < 0)
			return r;
		if (*ids == '\0' && strncmp(facet->name, "group.", 6) != 0 && strcmp(facet->name, "sudo") != 0) {
			*ret_standing = STANDS_BEFORE;
			return 0;
		}
	}
	if (strcmp(present, ACCOUNT_STATE_PART) == 0) {
		*ret_standing = STANDS_BEFORE;
		return 0;
	}
	*ret_standing = strcmp(present, facet->after) == 0    ? STANDS_AFTER
			: strcmp(present, facet->before) == 0 ? STANDS_BEFORE
							      : MOVED;
	return 0;
}

static bool is_there(const struct batch *batch, const char *user)
{
	struct account_line line;
	return account_find_line(&batch->database.files[DATABASE_PASSWD].table, user, &line) != -ENOENT;
}

/* Sets what stands as before, notes what stands then; in a redo leaves alone what somebody else has set since. */
static int carry_out(struct batch *batch, unsigned index, const struct facets *facets, struct plugin_result *result)
{
	const char *user = plugin_text(&batch->request->commands[index], "user");
	enum standing standing[FACETS_MAX];
	int r;

	/* Without its line in passwd there is nobody to change: what stands in the other files is not to be made. */
	if (!facets_find(facets, "account") && !facets_find(facets, "home_directory") && !is_there(batch, user))
		return plugin_set(result, CODE_SUPERSEDED, "there is no such user any more");
	for (unsigned i = 0; i < facets->count; i++) {
		r = compare(batch, user, facets, &facets->items[i], &standing[i]);
		if (r < 0)
			return r;
		/* Another account of that name: nothing of this command is about it. */
		if (standing[i] == MOVED && strcmp(facets->items[i].name, "account") == 0)
			return plugin_set(result, CODE_SUPERSEDED, "the account was changed since by somebody else");
	}
	/* Whatever else than memory can refuse comes before the first edit. */
	r = batch->applying ? commit_check_sudo(batch, user, facets, result) : 0;
	if (r < 0)
		return r;
	for (unsigned i = 0; i < facets->count; i++) {
		const struct facet *facet = &facets->items[i];
		/* An account stands in several files, of which passwd goes first: a crash may have left the others. */
		bool removal = strcmp(facet->name, "account") == 0 && *facet->after == '\0';
		unsigned edits = database_edits(&batch->database);

		if (standing[i] == MOVED) {
			(void)plugin_set(result, CODE_SUPERSEDED, "%s was changed since by somebody else", facet->name);
			continue;
		}
		if (standing[i] == STANDS_BEFORE || removal) {
			r = write_facet(batch, index, facets, facet, result);
			if (r < 0)
				return r;
			result->changes = result->changes || standing[i] == STANDS_BEFORE ||
					  database_edits(&batch->database) > edits;
		}
		r = account_state_note(batch, user, facet);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The numbers that the plan chose for a new account have been given to somebody else since. */
static bool numbers_taken(struct batch *batch, const char *user, const struct facets *facets)
{
	cleanup_group struct group_entry group = {0};
	cleanup_wiped char *present = NULL;
	uid_t uid;
	gid_t gid;

	if (account_state_parse_ids(facets_after(facets, "account", ""), &uid, &gid) < 0 ||
		account_state_read(batch, user, "account", &present) < 0 || *present != '\0')
		return false;
	if (identifiers_uid_in_use(&batch->database, uid))
		return true;
	int r = group_find(&batch->database.files[DATABASE_GROUP].table, user, &group);
	if (r == 0)
		return group.gid != gid;
	return r == -ENOENT && batch->defaults.user_groups && identifiers_gid_in_use(&batch->database, gid);
}

static bool has_moved(struct batch *batch, unsigned index, const struct facets *facets)
{
	const char *user = plugin_text(&batch->request->commands[index], "user");

	if (numbers_taken(batch, user, facets))
		return true;
	for (unsigned i = 0; i < facets->count; i++) {
		enum standing standing;
		if (compare(batch, user, facets, &facets->items[i], &standing) < 0 || standing == MOVED)
			return true;
	}
	return false;
}

/* The guard judges an account that stands as it would be. */
static int tell_guard(const struct plugin_command *command, const struct facets *facets, struct plugin_result *result)
{
	cleanup_buffer struct buffer extra = {0};
	struct json_writer writer = {&extra, false};

	if (strcmp(command->do_name, "user.ensure") != 0 || facets_find(facets, "account") ||
		!facets_write_account(facets, &writer))
		return 0;
	result->extra = buffer_steal(&extra);
	return result->extra ? 0 : -ENOMEM;
}

static void plan_command(struct batch *batch, unsigned index, struct plugin_result *result)
{
	const struct plugin_command *command = &batch->request->commands[index];
	cleanup_facets struct facets facets = {0};
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};
	const struct kind *kind = find_kind(command);

	int r = plugin_add_user(result, plugin_text(command, "user"));
	json_begin_object(&writer, NULL);
	if (r == 0 && !kind)
		r = plugin_set(result, CODE_UNSUPPORTED, "%s", command->do_name);
	else if (r == 0)
		r = kind->decide(batch, index, result, &facets, &writer);
	facets_write(&facets, &writer);
	json_end_object(&writer);
	if (r == 0)
		r = buffer_status(&text);
	if (r == 0 && text.size > PLUGIN_PLAN_MAX)
		r = -EFBIG;
	if (r < 0) {
		commit_report(result, r, plugin_text(command, "user"));
		return;
	}
	bool busy = result->code == CODE_BUSY && facets.count > 0;
	if (busy)
		result->code = CODE_OK; /* there is a first step to take; apply says again that it is not the last */
	result->changes = false;
	if (result->code == CODE_OK && facets.count > 0) {
		struct plugin_result simulated = {0};
		result->changes = true;
		r = carry_out(batch, index, &facets, &simulated);
		if (r == 0)
			r = tell_guard(command, &facets, result);
		if (r < 0)
			commit_report(result, r, plugin_text(command, "user"));
	}
	result->plan = buffer_steal(&text);
}

static void fail_all(const struct plugin_request *request, struct plugin_result *results, int error, const char *what)
{
	for (unsigned i = 0; i < request->count; i++)
		commit_report(&results[i], error == -EINVAL ? -EIO : error, what);
}

int batch_plan(struct plugin_request *request, struct plugin_result *results)
{
	struct batch batch = {.database = {.etc = -1}};
	const char *what;

	int r = batch_open(&batch, request, &what);
	if (r < 0)
		fail_all(request, results, r, what);
	for (unsigned i = 0; r == 0 && i < request->count; i++)
		plan_command(&batch, i, &results[i]);
	batch_free(&batch);
	return 0;
}

/* The same afters on what stands now. */
static int rebase(struct batch *batch, unsigned index, struct plugin_result *result, struct facets *facets)
{
	cleanup_facets struct facets planned = *facets;
	cleanup_account struct account account = {0};

	*facets = (struct facets){0};
	int r = batch_find_user(batch, index, result, &account);
	for (unsigned i = 0; r == 0 && i < planned.count; i++) {
		cleanup_wiped char *present = NULL;
		r = account_state_read(batch, account.name, planned.items[i].name, &present);
		if (r == 0)
			r = facets_add(facets, planned.items[i].name, present, planned.items[i].after);
	}
	return r;
}

static void apply_command(struct batch *batch, unsigned index, struct plugin_result *result)
{
	const struct plugin_request *request = batch->request;
	const struct plugin_command *command = &request->commands[index];
	cleanup_facets struct facets facets = {0};
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};
	const struct kind *kind = find_kind(command);
	const char *sealed;

	int r = plugin_add_user(result, plugin_text(command, "user"));
	if (r == 0)
		r = facets_read(command->plan, request->undo, &facets);
	if (r == 0 && !kind)
		r = -EBADMSG;
	if (r == 0 && batch->moved[index]) {
		(void)(request->undo
				? plugin_set(result, CODE_SUPERSEDED, "the name belongs to another account by now")
				: plugin_set(result, CODE_BUSY, "the account changed while the command was decided"));
		return;
	}
	if (r == 0 && !request->redo && !request->undo && has_moved(batch, index, &facets)) {
		if (kind->once) {
			r = rebase(batch, index, result, &facets);
		} else {
			facets_free(&facets);
			r = kind->decide(batch, index, result, &facets, &writer);
		}
		if (result->code == CODE_BUSY && facets.count > 0)
			result->code = CODE_OK; /* the first of two steps */
		if (r == 0 && result->code != CODE_OK)
			return;
	}
	unsigned edits = database_edits(&batch->database);
	if (r == 0)
		r = carry_out(batch, index, &facets, result);
	if (r < 0 && database_edits(&batch->database) != edits)
		batch->broken = r;
	if (r == 0 && result->code == CODE_OK && plugin_flag(command, "clear_faillock", false))
		r = commit_defer(batch, (struct deferred){.command = index, .faillock = true});
	if (r == 0 && result->code == CODE_OK && json_get_string(command->plan, "sealed", &sealed) == 0) {
		result->sealed = strdup(sealed);
		r = result->sealed ? 0 : -ENOMEM;
	}
	if (r < 0)
		commit_report(result, r, plugin_text(command, "user"));
}

/* Under the lock every temporary file of ours is one that a crash left, however young. */
static void sweep(const struct plugin_request *request, int etc)
{
	cleanup_close int sudoers = -1;

	file_sweep_temporaries(etc, INT64_MAX);
	if (file_open_directory(etc, "sudoers.d", &sudoers) == 0)
		file_sweep_temporaries(sudoers, INT64_MAX);
	if (request->state >= 0)
		file_sweep_temporaries(request->state, INT64_MAX);
}

int batch_apply(struct plugin_request *request, struct plugin_result *results)
{
	struct batch batch = {.database = {.etc = -1}, .applying = true};
	char holder[DATABASE_LOCK_HOLDER_MAX];
	cleanup_close int etc = -1, lock = -1;
	const char *what = "etc";

	int r = file_open_directory(request->root, "etc", &etc);
	if (r == 0)
		r = database_lock(etc, DATABASE_LOCK_TIMEOUT_MS, request->is_host, &lock, holder);
	if (r == -EBUSY) {
		for (unsigned i = 0; i < request->count; i++)
			(void)plugin_set(&results[i], CODE_BUSY, "the account files are locked by %s", holder);
		return 0;
	}
	if (r == 0) {
		sweep(request, etc);
		r = batch_open(&batch, request, &what);
	}
	if (r < 0)
		fail_all(request, results, r, what);
	if (r == 0) {
		what = "group";
		r = find_moved(&batch);
		if (r < 0)
			fail_all(request, results, r, what);
	}
	for (unsigned i = 0; r == 0 && i < request->count; i++)
		apply_command(&batch, i, &results[i]);
	if (r == 0)
		commit_batch(&batch, results);
	batch_free(&batch);
	return 0;
}
