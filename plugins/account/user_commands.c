/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "plugins/account/account_state.h"
#include "plugins/account/faillock.h"
#include "plugins/account/home.h"
#include "plugins/account/identifiers.h"

#define EXPIRED_DAY "1" /* 0 means "no date" to some readers */

int decide_lock(struct batch *batch, unsigned index, struct plugin_result *result, struct facets *facets,
	struct json_writer *plan)
{
	cleanup_account struct account account = {0};
	cleanup_wiped char *hash = NULL, *locked = NULL, *expire = NULL;
	(void)plan;

	int r = batch_find_user(batch, index, result, &account);
	if (r < 0)
		return r;
	const char *user = account.name;
	r = batch_check_person(batch, &account, result);
	if (r < 0)
		return r;
	r = account_state_read(batch, user, "hash", &hash);
	if (r == 0)
		r = asprintf(&locked, "!%s", hash) < 0 ? -ENOMEM : 0;
	if (r == 0 && *hash != '!')
		r = facets_add(facets, "hash", hash, locked);
	if (r == 0)
		r = account_state_read(batch, user, "expire", &expire);
	/* What stood there is kept once: a second lock must not take our own date for his. */
	if (r == 0 && !batch_is_locked(batch, user)) {
		r = facets_add(facets, "locked", "no", "yes");
		if (r == 0)
			r = account_state_change(batch, user, facets, "expire_before", expire);
	}
	return r < 0 ? r : facets_add(facets, "expire", expire, EXPIRED_DAY);
}

int decide_unlock(struct batch *batch, unsigned index, struct plugin_result *result, struct facets *facets,
	struct json_writer *plan)
{
	cleanup_account struct account account = {0};
	cleanup_wiped char *hash = NULL, *expire = NULL, *former = NULL;
	(void)plan;

	int r = batch_find_user(batch, index, result, &account);
	if (r < 0)
		return r;
	const char *user = account.name;
	r = batch_check_person(batch, &account, result);
	if (r < 0)
		return r;
	r = account_state_read(batch, user, "hash", &hash);
	if (r < 0)
		return r;
	/* Never empty: that would be a login without a password. */
	const char *open = hash + strspn(hash, "!");
	r = facets_add(facets, "hash", hash, *open ? open : "*");
	if (r == 0)
		r = account_state_read(batch, user, "expire", &expire);
	if (r == 0)
		r = account_state_read(batch, user, "expire_before", &former);
	if (r < 0)
		return r;
	const struct ledger_entry *entry = batch_entry(batch, user);
	bool locked = entry && entry->locked; /* by its note: there is something to clear */
	bool closed = strcmp(expire, EXPIRED_DAY) == 0 || strcmp(expire, "0") == 0;
	if (closed) {
		bool restore = locked && strcmp(former, EXPIRED_DAY) != 0 && strcmp(former, "0") != 0;
		r = facets_add(facets, "expire", expire, restore ? former : "");
	}
	if (r == 0 && locked) {
		r = facets_add(facets, "expire_before", former, "");
		if (r == 0)
			r = facets_add(facets, "locked", "yes", "no");
	}
	if (r == 0 && plugin_flag(&batch->request->commands[index], "clear_faillock", false) &&
		faillock_may_hold(batch->request->root, user))
		r = facets_add(facets, "faillock", "held", "");
	return r;
}

int decide_password_remove(struct batch *batch, unsigned index, struct plugin_result *result, struct facets *facets,
	struct json_writer *plan)
{
	cleanup_account struct account account = {0};
	cleanup_wiped char *hash = NULL;
	(void)plan;

	int r = batch_find_user(batch, index, result, &account);
	if (r < 0)
		return r;
	r = batch_check_person(batch, &account, result);
	if (r == 0)
		r = account_state_read(batch, account.name, "hash", &hash);
	if (r < 0)
		return r;
	/* `!` and `!!` hold no password; opening them is not what was asked. */
	const char *open = hash + strspn(hash, "!");
	if (*hash == '!' && *open == '\0')
		return 0;
	return facets_add(facets, "hash", hash, *hash == '!' ? "!*" : "*");
}

/* Whether the home can be deleted without taking anything that is not his. */
static int check_home(
	struct batch *batch, const struct account *account, struct plugin_result *result, enum home_state *ret_state)
{
	const struct account_table *passwd = &batch->database.files[DATABASE_PASSWD].table;
	struct account_line line;
	size_t offset = 0;

	int r = home_look(batch->request->root, account->home, account->uid, ret_state);
	if (r < 0)
		return r;
	if (*ret_state == HOME_FOREIGN || *ret_state == HOME_NOT_SAFE)
		return plugin_set(result, CODE_HOME_UNSAFE, "%s is not only this user's; not deleted", account->home);
	while (*ret_state == HOME_OWN && account_next_line(passwd, &offset, &line)) {
		cleanup_account struct account other = {0};

		if (account_state_lives_in(&line, account->home) && account_parse(&line, &other) == 0 &&
			strcmp(other.name, account->name) != 0)
			return plugin_set(result, CODE_HOME_UNSAFE, "%s also holds the home of %s; not deleted",
				account->home, other.name);
	}
	return 0;
}

static int add_home(struct facets *facets, const struct account *account)
{
	char text[FACET_VALUE_MAX];

	(void)snprintf(text, sizeof(text), "%u:%s", (unsigned)account->uid, account->home);
	return facets_add(facets, "home_directory", text, "");
}

static int check_removable(struct batch *batch, const struct account *account, struct plugin_result *result)
{
	const char *policy = plugin_setting_text(batch->request, "remove");
	const struct ledger_entry *entry = batch_entry(batch, account->name);

	if (strcmp(policy, "no") == 0)
		return plugin_set(result, CODE_POLICY, "[users] remove = no");
	if (strcmp(policy, "any") != 0 && (!entry || !entry->created))
		return plugin_set(result, CODE_NOT_OURS, "%s was not created by this agent ([users] remove = created)",
			account->name);
	return 0;
}

/* The home that a removal was to delete and did not, or not to its end. */
static int decide_home_left(
	struct batch *batch, const struct ledger_entry *entry, struct plugin_result *result, struct facets *facets)
{
	const struct account account = {.name = entry->user, .home = entry->home, .uid = entry->uid};
	const char *policy = plugin_setting_text(batch->request, "remove");
	enum home_state state;

	if (strcmp(policy, "any") != 0 && (strcmp(policy, "no") == 0 || !entry->created))
		return 0;
	int r = home_look(batch->request->root, account.home, account.uid, &state);
	if (r < 0 || state != HOME_OWN)
		return r == -ELOOP ? 0 : r;
	if (identifiers_uid_in_use(&batch->database, account.uid))
		return plugin_set(result, CODE_HOME_UNSAFE, "%s belongs to uid %u, which is another account's by now",
			account.home, (unsigned)account.uid);
	r = check_home(batch, &account, result, &state);
	return r < 0 || result->code != CODE_OK ? r : add_home(facets, &account);
}

/* passwd has no such line: that is what was asked for, unless a removal that failed half-way left something. */
static int decide_rest(
	struct batch *batch, const char *user, bool delete_home, struct plugin_result *result, struct facets *facets)
{
	const struct ledger_entry *entry = ledger_find_created(&batch->ledger, user);
	const struct ledger_entry *gone = ledger_find_gone(&batch->ledger, user);
	cleanup_group struct group_entry group = {0};
	char text[32];

	(void)plugin_set(result, CODE_OK, "there is no such user");
	int r = delete_home && gone && gone->home ? decide_home_left(batch, gone, result, facets) : 0;
	if (r < 0 || result->code != CODE_OK)
		return r;
	if (!entry || !account_state_has_rest(batch, user))
		return 0;
	r = group_find(&batch->database.files[DATABASE_GROUP].table, user, &group);
	if (r == -ENOMEM)
		return r;
	(void)snprintf(text, sizeof(text), "%u:%u", (unsigned)entry->uid, (unsigned)(r == 0 ? group.gid : entry->uid));
	return facets_add(facets, "account", text, "");
}

int decide_remove(struct batch *batch, unsigned index, struct plugin_result *result, struct facets *facets,
	struct json_writer *plan)
{
	const struct plugin_command *command = &batch->request->commands[index];
	const char *home = plugin_text(command, "home");
	bool delete_home = home && strcmp(home, "delete") == 0;
	cleanup_account struct account account = {0};
	enum home_state state = HOME_MISSING;
	unsigned processes = 0;
	char text[32];
	pid_t first = 0;

	int r = batch_find_user(batch, index, result, &account);
	if (r == -ENOENT && result->code == CODE_NO_SUCH_USER)
		return decide_rest(batch, plugin_text(command, "user"), delete_home, result, facets);
	if (r < 0)
		return r;
	r = batch_check_person(batch, &account, result);
	if (r < 0)
		return r;
	if (account.uid == 0)
		return plugin_set(result, CODE_SYSTEM_ACCOUNT, "uid 0 is never removed");
	(void)check_removable(batch, &account, result);
	if (result->code != CODE_OK)
		return 0;
	if (delete_home) {
		r = check_home(batch, &account, result, &state);
		if (r < 0 || result->code != CODE_OK)
			return r;
	}
	if (batch->request->is_host &&
		account_count_uid(&batch->database.files[DATABASE_PASSWD].table, account.uid) == 1)
		r = user_processes_count(&batch->processes, account.uid, &processes, &first);
	if (r < 0)
		return r;
	if (processes > 0) {
		/* Two steps: nobody logs in from now on, and the account goes when its last process has ended. */
		r = decide_lock(batch, index, result, facets, plan);
		if (r == 0 && result->code == CODE_OK)
			(void)plugin_set(result, CODE_BUSY, "locked; %u processes still run, the first is %d",
				processes, (int)first);
		return r;
	}
	r = account_state_change(batch, account.name, facets, "sudo", "none");
	if (r < 0)
		return r;
	(void)snprintf(text, sizeof(text), "%u:%u", (unsigned)account.uid, (unsigned)account.gid);
	r = facets_add(facets, "account", text, "");
	return r == 0 && state == HOME_OWN ? add_home(facets, &account) : r;
}
