/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "plugins/account/account_state.h"
#include "plugins/account/commit.h"
#include "plugins/account/home.h"
#include "plugins/account/identifiers.h"

#define NUMBERS_TRIED_MAX 4096u /* a directory that has all of these has its own range wrong */

static int refuse_unknown(struct plugin_result *result, int error, const char *what)
{
	return error == -ENOMEM ? error
				: plugin_set(result, CODE_TIMEOUT, "name services do not answer whether %s", what);
}

static int choose_free_gid(struct batch *batch, uid_t uid, struct plugin_result *result, gid_t *ret_gid)
{
	const struct login_definitions *ranges = &batch->defaults.ranges;

	for (unsigned i = 0; i < NUMBERS_TRIED_MAX; i++) {
		bool known;
		gid_t gid;
		int r = identifiers_choose_gid(&batch->database, &batch->defaults, uid, &gid);
		if (r == -ENOSPC)
			break;
		if (r < 0)
			return r;
		r = elsewhere_gid(&batch->elsewhere, batch->request, &batch->database, gid, &known);
		if (r < 0)
			return refuse_unknown(result, r, "a group id is free");
		if (!known) {
			*ret_gid = gid;
			return 0;
		}
		r = identifiers_take(&batch->database, DATABASE_GROUP, gid);
		if (r < 0)
			return r;
	}
	return plugin_set(result, CODE_UID_EXHAUSTED, "no free group id from %u to %u", (unsigned)ranges->gid_min,
		(unsigned)ranges->gid_max);
}

/* A group of the account's own name. */
static int choose_own_group(
	struct batch *batch, const char *user, uid_t uid, struct plugin_result *result, gid_t *ret_gid)
{
	const struct account_defaults *defaults = &batch->defaults;
	cleanup_group struct group_entry group = {0};
	bool known;

	int r = group_find(&batch->database.files[DATABASE_GROUP].table, user, &group);
	if (r == -ENOENT) {
		r = elsewhere_group(&batch->elsewhere, user, &known);
		if (r < 0)
			return refuse_unknown(result, r, "they know a group of that name");
		return known ? plugin_set(result, CODE_NOT_LOCAL, "a group %s comes from a name service", user)
			     : choose_free_gid(batch, uid, result, ret_gid);
	}
	if (r < 0)
		return r;
	/* An empty one is what an earlier account that we made under that name has left; any other means more. */
	if (!ledger_find_created(&batch->ledger, user) || group.gid < defaults->ranges.gid_min ||
		group.gid > defaults->ranges.gid_max || (*group.members != '\0' && strcmp(group.members, user) != 0))
		return plugin_set(
			result, CODE_CONFLICT, "a group of that name exists with gid %u", (unsigned)group.gid);
	*ret_gid = group.gid;
	return 0;
}

/* The primary group of a new account; the result has a code when there is none to be had. */
static int choose_group(struct batch *batch, const char *user, uid_t uid, struct plugin_result *result, gid_t *ret_gid)
{
	const struct account_table *table = &batch->database.files[DATABASE_GROUP].table;
	const struct account_defaults *defaults = &batch->defaults;
	struct account_line line;
	size_t offset = 0;

	while (!defaults->user_groups && account_next_line(table, &offset, &line)) {
		cleanup_group struct group_entry group = {0};
		char number[16];

		if (group_parse(&line, &group) < 0)
			continue;
		(void)snprintf(number, sizeof(number), "%u", (unsigned)group.gid);
		if (strcmp(group.name, defaults->group) == 0 || strcmp(number, defaults->group) == 0) {
			*ret_gid = group.gid;
			return 0;
		}
	}
	/* Also where the common group that useradd would take does not exist. */
	return choose_own_group(batch, user, uid, result, ret_gid);
}

static int choose_free_uid(struct batch *batch, struct plugin_result *result, uid_t *ret_uid)
{
	const struct login_definitions *ranges = &batch->defaults.ranges;

	for (unsigned i = 0; i < NUMBERS_TRIED_MAX; i++) {
		bool known;
		uid_t uid;
		int r = identifiers_choose_uid(&batch->database, &batch->defaults, &batch->ledger, &uid);
		if (r == -ENOSPC)
			break;
		if (r < 0)
			return r;
		r = elsewhere_uid(&batch->elsewhere, batch->request, &batch->database, uid, &known);
		if (r < 0)
			return refuse_unknown(result, r, "a uid is free");
		if (!known) {
			*ret_uid = uid;
			return 0;
		}
		r = identifiers_take(&batch->database, DATABASE_PASSWD, uid);
		if (r < 0)
			return r;
	}
	return plugin_set(result, CODE_UID_EXHAUSTED, "no free uid from %u to %u", (unsigned)ranges->uid_min,
		(unsigned)ranges->uid_max);
}

static int choose_uid(
	struct batch *batch, const struct plugin_command *command, struct plugin_result *result, uid_t *ret_uid)
{
	const struct ledger_entry *entry = ledger_find(&batch->ledger, plugin_text(command, "user"));
	int64_t named = plugin_integer(command, "uid", -1);
	bool known;

	/* An earlier try that did not reach passwd: its number is his already, and so may his home be. */
	if (named < 0 && entry && entry->created && !identifiers_uid_in_use(&batch->database, entry->uid)) {
		*ret_uid = entry->uid;
		return 0;
	}
	if (named < 0)
		return choose_free_uid(batch, result, ret_uid);
	if (identifiers_uid_in_use(&batch->database, (uid_t)named))
		return plugin_set(result, CODE_UID_TAKEN, "uid %d belongs to another account", (int)named);
	int r = elsewhere_uid(&batch->elsewhere, batch->request, &batch->database, (uid_t)named, &known);
	if (r < 0)
		return refuse_unknown(result, r, "a uid is free");
	if (known)
		return plugin_set(result, CODE_UID_TAKEN, "uid %d belongs to an account of a name service", (int)named);
	*ret_uid = (uid_t)named;
	return 0;
}

static int check_shell(struct batch *batch, const char *shell, struct plugin_result *result)
{
	/* Of another root's disk only the name can be known: its links may point anywhere. */
	if (!shell || !batch->request->is_host)
		return 0;
	cleanup_close int descriptor = open(shell, O_PATH | O_CLOEXEC);
	struct stat status;
	if (descriptor < 0 || fstat(descriptor, &status) < 0 || !S_ISREG(status.st_mode) || !(status.st_mode & 0111))
		return plugin_set(result, CODE_FIELD_INVALID, "shell: %s is not a program here", shell);
	return 0;
}

/* What is not there yet may be somebody's all the same: who owned it would own what he runs when he logs in. */
static int check_residents(struct batch *batch, const char *home, struct plugin_result *result)
{
	const struct account_table *passwd = &batch->database.files[DATABASE_PASSWD].table;
	size_t size = strlen(home), offset = 0;
	struct account_line line;

	while (size > 1 && home[size - 1] == '/')
		size--;
	/* By its last component: the slashes before it may be written otherwise. */
	const char *last = memrchr(home, '/', size);
	if (!last)
		return 0;
	while (account_next_with(passwd, last, size - (size_t)(last - home), &offset, &line)) {
		if (!strchr("#+-", *line.start) && account_state_lives_in(&line, home))
			return plugin_set(result, CODE_HOME_UNSAFE, "%.120s is or holds the home of %.*s", home,
				(int)strcspn(line.start, ":"), line.start);
	}
	return 0;
}

static int check_home(struct batch *batch, const char *home, uid_t uid, struct plugin_result *result)
{
	enum home_state state;

	int r = home_look(batch->request->root, home, uid, &state);
	if (r == -ELOOP)
		return plugin_set(result, CODE_SYMLINK, "%s", home);
	if (r == 0 && state == HOME_FOREIGN)
		return plugin_set(result, CODE_HOME_EXISTS, "%s belongs to another user", home);
	if (r == 0 && state == HOME_NOT_SAFE)
		return plugin_set(result, CODE_HOME_UNSAFE, "%s", home);
	return r == 0 && state == HOME_MISSING ? check_residents(batch, home, result) : r;
}

static int decide_new(
	struct batch *batch, const struct plugin_command *command, struct plugin_result *result, struct facets *facets)
{
	const char *user = plugin_text(command, "user"), *home = plugin_text(command, "home");
	const char *shell = plugin_text(command, "shell"), *gecos = plugin_text(command, "gecos");
	char text[FIELD_PATH_MAX + 40], ids[32];
	bool create = false;
	uid_t uid = 0;
	gid_t gid = 0;

	if (json_get_bool(batch->request->settings, "create", &create) < 0 || !create)
		return plugin_set(result, CODE_POLICY, "[users] create = no");
	int r = choose_uid(batch, command, result, &uid);
	if (r == 0 && result->code == CODE_OK)
		r = choose_group(batch, user, uid, result, &gid);
	if (r < 0 || result->code != CODE_OK)
		return r;
	if (!home) {
		(void)snprintf(text, sizeof(text), "%s/%s", batch->defaults.home, user);
		home = text;
	}
	r = check_home(batch, home, uid, result);
	if (r == 0 && result->code == CODE_OK)
		r = check_shell(batch, shell, result);
	if (r < 0 || result->code != CODE_OK)
		return r;
	(void)snprintf(ids, sizeof(ids), "%u:%u", (unsigned)uid, (unsigned)gid);
	r = facets_add(facets, "account", "", ids);
	if (r == 0)
		r = facets_add(facets, "gecos", "", gecos ? gecos : "");
	if (r == 0)
		r = facets_add(facets, "home", "", home);
	return r < 0 ? r : facets_add(facets, "shell", "", shell ? shell : batch->defaults.shell);
}

static int decide_existing(struct batch *batch, const struct plugin_command *command, const struct account *account,
	struct plugin_result *result, struct facets *facets)
{
	const char *home = plugin_text(command, "home"), *shell = plugin_text(command, "shell");
	const char *gecos = plugin_text(command, "gecos");
	const struct ledger_entry *entry = batch_entry(batch, account->name);
	bool ours = (entry && entry->created) || plugin_flag(command, "adopt", false);
	int64_t uid = plugin_integer(command, "uid", account->uid);

	int r = batch_check_person(batch, account, result);
	if (r < 0)
		return r;
	if (uid != account->uid)
		return plugin_set(result, CODE_CONFLICT, "%s exists with uid %u, which is never changed", account->name,
			(unsigned)account->uid);
	if (!ours && ((home && strcmp(home, account->home) != 0) || (shell && strcmp(shell, account->shell) != 0)))
		return plugin_set(
			result, CODE_NOT_OURS, "home and shell of an account that was here before need adopt");
	if (shell && strcmp(shell, account->shell) != 0)
		(void)check_shell(batch, shell, result);
	if (result->code == CODE_OK && home && strcmp(home, account->home) != 0) {
		enum home_state state;
		/* Nothing is moved: the new one must stand already and be his. */
		r = home_look(batch->request->root, home, account->uid, &state);
		if (r == 0 && state != HOME_OWN)
			return plugin_set(result, CODE_HOME_UNSAFE, "%s does not exist or is not his", home);
	}
	if (r < 0 || result->code != CODE_OK)
		return r;
	if (gecos)
		r = account_state_change(batch, account->name, facets, "gecos", gecos);
	if (r == 0 && home)
		r = account_state_change(batch, account->name, facets, "home", home);
	return r < 0 || !shell ? r : account_state_change(batch, account->name, facets, "shell", shell);
}

/* No file has it. */
static int refuse_group(const struct batch *batch, const char *group, struct plugin_result *result)
{
	bool known;

	int r = elsewhere_group(&batch->elsewhere, group, &known);
	if (r < 0)
		return plugin_set(
			result, CODE_TIMEOUT, "name services do not answer whether they know group %s", group);
	return known ? plugin_set(
			       result, CODE_NOT_LOCAL, "group %s comes from a name service, not from /etc/group", group)
		     : plugin_set(result, CODE_GROUP_MISSING, "there is no group %s", group);
}

/* A managed set: what is named is added, what an earlier command of ours gave and this one omits is taken. */
static int decide_groups(
	struct batch *batch, const struct plugin_command *command, struct plugin_result *result, struct facets *facets)
{
	const char *user = plugin_text(command, "user");
	const struct ledger_entry *entry = batch_entry(batch, user);
	cleanup_buffer struct buffer name = {0};
	const cJSON *groups, *group;
	int r;

	if (json_get_array(command->fields, "groups", &groups) < 0)
		return 0;
	cJSON_ArrayForEach(group, groups)
	{
		cleanup_wiped char *before = NULL;

		name.size = 0;
		buffer_append_format(&name, "group.%s", group->valuestring);
		r = buffer_status(&name);
		if (r == 0)
			r = account_state_read(batch, user, name.bytes, &before);
		if (r == -ENOENT)
			return refuse_group(batch, group->valuestring, result);
		if (r == 0)
			r = facets_add(facets, name.bytes, before, "in");
		if (r == -ENOTUNIQ || r == -EBADMSG)
			commit_report(result, r, group->valuestring);
		if (r < 0)
			return r;
	}
	for (unsigned i = 0; entry && i < entry->group_count; i++) {
		cleanup_wiped char *before = NULL;
		bool named = false;

		cJSON_ArrayForEach(group, groups)
		{
			named = named || strcmp(group->valuestring, entry->groups[i]) == 0;
		}
		name.size = 0;
		buffer_append_format(&name, "group.%s", entry->groups[i]);
		r = buffer_status(&name);
		if (r == 0 && !named)
			r = account_state_read(batch, user, name.bytes, &before);
		if (r == -ENOENT || named)
			continue;
		if (r == 0)
			r = facets_add(facets, name.bytes, before, "out");
		if (r < 0)
			return r;
	}
	return 0;
}

static int decide_expiry(
	struct batch *batch, const struct plugin_command *command, struct plugin_result *result, struct facets *facets)
{
	const char *user = plugin_text(command, "user");
	int64_t expires = plugin_integer(command, "expires", -1);
	cleanup_wiped char *before = NULL;
	char text[24];

	if (expires < 0)
		return 0;
	if (expires == 0)
		return plugin_set(result, CODE_FIELD_INVALID, "expires: 0");
	(void)snprintf(text, sizeof(text), "%" PRIi64, account_state_day(expires));
	/* While the account is locked by us the date waits, or naming one would open half of the lock. */
	const char *facet = batch_is_locked(batch, user) ? "expire_before" : "expire";
	int r = account_state_read(batch, user, facet, &before);
	return r < 0 ? r : facets_add(facets, facet, before, text);
}

/* The colon is this file format's own: JSON and the manifest know nothing of it. */
static int check_fields(const struct plugin_command *command, struct plugin_result *result)
{
	static const char *const names[] = {"gecos", "home", "shell"};

	for (unsigned i = 0; i < ELEMENTS(names); i++) {
		const char *text = plugin_text(command, names[i]);
		if (text && !table_edit_is_field(text))
			return plugin_set(
				result, CODE_FIELD_INVALID, "%s cannot hold a colon or a control character", names[i]);
	}
	return 0;
}

int decide_ensure(struct batch *batch, unsigned index, struct plugin_result *result, struct facets *facets,
	struct json_writer *plan)
{
	const struct plugin_command *command = &batch->request->commands[index];
	const char *sudo = plugin_text(command, "sudo"), *user = plugin_text(command, "user");
	cleanup_account struct account account = {0};
	cleanup_wiped char *before = NULL;
	(void)plan;

	(void)check_fields(command, result);
	if (result->code != CODE_OK)
		return 0;
	int r = batch_find_user(batch, index, result, &account);
	if (r == -ENOENT && result->code == CODE_NO_SUCH_USER) {
		result->code = CODE_OK;
		result->detail[0] = '\0';
		r = decide_new(batch, command, result, facets);
	} else if (r == 0) {
		r = decide_existing(batch, command, &account, result, facets);
	}
	if (r == 0 && result->code == CODE_OK)
		r = decide_groups(batch, command, result, facets);
	if (r == 0 && result->code == CODE_OK)
		r = decide_expiry(batch, command, result, facets);
	if (r < 0 || result->code != CODE_OK || !sudo)
		return r;
	r = account_state_read(batch, user, "sudo", &before);
	return r < 0 ? r : facets_add(facets, "sudo", before, sudo);
}
