/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/view.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/apply/history.h"
#include "agent/apply/journal.h"
#include "agent/apply/ledger.h"
#include "agent/apply/login_check.h"
#include "agent/apply/sshd_paths.h"
#include "agent/apply/state_report.h"
#include "lib/account_files.h"
#include "lib/account_index.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/name_map.h"

#define VIEW_MAX (32u << 20)
#define VIEW_COMMANDS_MAX 256u /* the newest; the rest is in the history */
#define INDEX_FROM 4u          /* users; for fewer reading the lines is as fast */
#define VIEW_USERS_MAX 1024u   /* asked of the login plugin at once */

struct view {
	struct apply *apply;
	struct buffer out;
	cJSON *logins;                /* user → login, as known after this run */
	struct name_map known;        /* its members, as their addresses */
	struct name_map seen;         /* users asked about, by their place */
	struct account_table *passwd; /* apply's; NULL: it cannot be read */
	char **asked;                 /* users whose login nobody knows yet */
	size_t asked_count;
	char **managed; /* the users of the account plugin's ledger, sorted */
	size_t managed_count, managed_capacity;
	struct state_report report;
	int64_t trust_version;
};

/* Adds "uid" where the local files know the user; it, or -1. */
static int64_t put_uid(const struct view *view, struct json_writer *writer, const char *user)
{
	cleanup_account struct account account = {0};

	if (!view->passwd || account_find(view->passwd, user, &account) < 0)
		return -1;
	json_put_integer(writer, "uid", account.uid);
	return account.uid;
}

static void put_commands(struct view *view)
{
	cleanup_history struct history history = {0};
	unsigned file, count = 0;
	const char *line;
	size_t end, size;

	if (history_load(view->apply, &history) < 0)
		return;
	history_newest(&history, &file, &end);
	while (count < VIEW_COMMANDS_MAX && history_previous_line(&history, &file, &end, &line, &size)) {
		cleanup_json cJSON *tree = NULL;
		struct json_writer writer = {&view->out, false};
		const char *type, *user;
		const cJSON *member;
		if (json_parse_object(line, size, &tree) < 0 || json_get_string(tree, "t", &type) < 0 ||
			strcmp(type, "command") != 0)
			continue;
		json_begin_object(&writer, NULL);
		cJSON_ArrayForEach(member, tree)
		{
			if (strcmp(member->string, "until") != 0 && strcmp(member->string, "dry_run") != 0)
				json_put_value(&writer, member->string, member);
		}
		if (json_get_string(tree, "user", &user) == 0)
			(void)put_uid(view, &writer, user);
		json_end_object(&writer);
		buffer_append(&view->out, "\n", 1);
		count++;
	}
}

static const cJSON *find_login(const struct view *view, const char *user)
{
	size_t known = name_map_get(&view->known, user);
	return known == NAME_MAP_NONE ? NULL : (const cJSON *)known;
}

/* Takes the login over, also on failure. */
static int add_login(struct view *view, const char *user, cJSON *login)
{
	if (!cJSON_AddItemToObject(view->logins, user, login)) {
		cJSON_Delete(login);
		return -ENOMEM;
	}
	return name_map_put(&view->known, user, (size_t)login);
}

static int know_logins(struct view *view)
{
	const cJSON *login;
	int r = 0;

	cJSON_ArrayForEach(login, view->logins)
	{
		if (r == 0)
			r = name_map_put(&view->known, login->string, (size_t)login);
	}
	return r;
}

/* The logins that the last view knew, for users that this run did not touch. */
static void read_old_logins(struct view *view, const char *old, size_t size)
{
	for (size_t offset = 0; offset < size;) {
		const char *newline = memchr(old + offset, '\n', size - offset);
		size_t length = newline ? (size_t)(newline - old) - offset : size - offset;
		cleanup_json cJSON *line = NULL;
		const char *type, *user;
		if (json_parse_object(old + offset, length, &line) == 0 && json_get_string(line, "t", &type) == 0 &&
			strcmp(type, "user") == 0 && json_get_string(line, "user", &user) == 0 &&
			!find_login(view, user)) {
			cJSON *login = cJSON_CreateObject();
			cJSON *key = cJSON_DetachItemFromObjectCaseSensitive(line, "key");
			cJSON *password = cJSON_DetachItemFromObjectCaseSensitive(line, "password");
			if (login && key && password) {
				(void)cJSON_AddItemToObject(login, "key", key);
				(void)cJSON_AddItemToObject(login, "password", password);
				(void)!add_login(view, user, login);
			} else {
				cJSON_Delete(login);
				cJSON_Delete(key);
				cJSON_Delete(password);
			}
		}
		offset += length + 1;
	}
}

static bool user_exists(const struct view *view, const char *user)
{
	struct account_line line;
	return view->passwd && account_find_line(view->passwd, user, &line) == 0;
}

static bool is_asked(const struct view *view, const char *user)
{
	return name_map_get(&view->seen, user) != NAME_MAP_NONE;
}

static int add_asked(struct view *view, const char *user)
{
	view->asked[view->asked_count] = strdup(user);
	if (!view->asked[view->asked_count])
		return -ENOMEM;
	return name_map_put(&view->seen, user, view->asked_count++);
}

/* Managed users: those of the account plugin's ledger and those that hold a key of ours. */
static int visit_unknown(const cJSON *line, void *context)
{
	struct view *view = context;
	const char *user;

	if (json_get_string(line, "user", &user) < 0 || find_login(view, user) || is_asked(view, user) ||
		view->asked_count == VIEW_USERS_MAX || !user_exists(view, user))
		return 0;
	return add_asked(view, user);
}

static void ask_unknown(struct view *view)
{
	cleanup_json cJSON *login = NULL;
	cJSON *child;

	if (ledger_walk(view->apply, "account", visit_unknown, view) < 0 ||
		ledger_walk(view->apply, "authorized-keys", visit_unknown, view) < 0 || view->asked_count == 0)
		return;
	enum code code = login_of_users(view->apply, (const char *const *)view->asked, view->asked_count, &login);
	if (code != CODE_OK) {
		log_warning("the view cannot say who can log in: %s", code_name(code));
		return;
	}
	while ((child = login->child) != NULL) {
		cJSON *detached = cJSON_DetachItemViaPointer(login, child);
		cleanup_free char *user = strdup(detached->string);
		if (!user)
			cJSON_Delete(detached);
		else
			(void)!add_login(view, user, detached);
	}
}

/* True when it works. */
static bool put_login(const struct view *view, struct json_writer *writer, const char *user, const char *method)
{
	const cJSON *login = json_member(find_login(view, user), method);
	bool can = false;

	if (login) {
		json_put_value(writer, method, login);
		(void)!json_get_bool(login, "can", &can);
		return can;
	}
	json_begin_object(writer, method);
	json_put_bool(writer, "can", false);
	json_begin_array(writer, "blockers");
	json_put_string(writer, NULL, "unknown");
	json_end_array(writer);
	json_end_object(writer);
	return false;
}

static void put_user(struct view *view, const char *user, const cJSON *ledger_line)
{
	struct json_writer writer = {&view->out, false};
	const char *sudo = "none";
	const cJSON *groups = NULL, *group;
	bool created = false;

	if (ledger_line) {
		(void)!json_get_bool(ledger_line, "created", &created);
		(void)!json_get_string(ledger_line, "sudo", &sudo);
		(void)!json_get_array(ledger_line, "groups", &groups);
	}
	json_begin_object(&writer, NULL);
	json_put_string(&writer, "t", "user");
	json_put_string(&writer, "user", user);
	int64_t uid = put_uid(view, &writer, user);
	json_put_bool(&writer, "created", created);
	json_put_string(&writer, "sudo", sudo);
	json_begin_array(&writer, "groups");
	cJSON_ArrayForEach(group, groups)
	{
		if (cJSON_IsString(group))
			json_put_string(&writer, NULL, group->valuestring);
	}
	json_end_array(&writer);
	bool by_key = put_login(view, &writer, user, "key");
	bool by_password = put_login(view, &writer, user, "password");
	state_report_add_user(&view->report, user, uid, by_key, by_password);
	json_end_object(&writer);
	buffer_append(&view->out, "\n", 1);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in the account plugin's ledger, sorted. */
static int visit_name(const cJSON *line, void *context)
{
	struct view *view = context;
	const char *user;

	if (json_get_string(line, "user", &user) < 0)
		return 0;
	if (view->managed_count == view->managed_capacity) {
		size_t capacity = view->managed_capacity * 2 + 64;
		char **more = reallocarray(view->managed, capacity, sizeof(*more));
		if (!more)
			return -ENOMEM;
		view->managed = more;
		view->managed_capacity = capacity;
	}
	view->managed[view->managed_count] = strdup(user);
	return view->managed[view->managed_count++] ? 0 : -ENOMEM;
}

static int list_managed(struct view *view)
{
	int r = ledger_walk(view->apply, "account", visit_name, view);
	if (r == 0 && view->managed_count > 0)
		qsort(view->managed, view->managed_count, sizeof(*view->managed), compare_names);
	/* One look-up reads every line, and each of these users is one. */
	if (r == 0 && view->passwd && !view->passwd->index && view->managed_count >= INDEX_FROM)
		r = account_index_build(view->passwd);
	return r;
}

static bool is_managed(const struct view *view, const char *user)
{
	return view->managed_count > 0 &&
	       bsearch(&user, view->managed, view->managed_count, sizeof(*view->managed), compare_names) != NULL;
}

static int visit_user(const cJSON *line, void *context)
{
	struct view *view = context;
	const char *user;

	if (json_get_string(line, "user", &user) == 0 && user_exists(view, user))
		put_user(view, user, line);
	return 0;
}

static int visit_key(const cJSON *line, void *context)
{
	static const char *const members[] = {
		"user", "keypair", "fingerprint", "signer", "command", "bound", "expires", "state"};
	struct view *view = context;
	struct json_writer writer = {&view->out, false};
	const char *user;

	if (json_get_string(line, "user", &user) < 0)
		return 0;
	json_begin_object(&writer, NULL);
	json_put_string(&writer, "t", "key");
	for (unsigned i = 0; i < ELEMENTS(members); i++) {
		const cJSON *member = json_member(line, members[i]);
		if (member)
			json_put_value(&writer, members[i], member);
	}
	(void)put_uid(view, &writer, user);
	state_report_add_key(&view->report, line);
	json_end_object(&writer);
	buffer_append(&view->out, "\n", 1);
	return 0;
}

/* A user who holds a key of ours but was never touched by the account plugin: once, at his first key. */
static int visit_key_user(const cJSON *line, void *context)
{
	struct view *view = context;
	const char *user;

	if (json_get_string(line, "user", &user) < 0 || is_managed(view, user) || is_asked(view, user) ||
		!user_exists(view, user))
		return 0;
	if (view->asked_count < VIEW_USERS_MAX) {
		int r = add_asked(view, user);
		if (r < 0)
			return r;
		put_user(view, user, NULL);
	}
	return 0;
}

static void forget_asked(struct view *view)
{
	for (size_t i = 0; i < view->asked_count; i++)
		free(view->asked[i]);
	view->asked_count = 0;
	name_map_free(&view->seen);
}

/* What sshd is told decides over everybody's login: an AuthorizedKeysFile that was moved, a door that was shut. */
static bool is_outdated(const struct apply *apply)
{
	struct stat status;
	return fstatat(apply->run, "view", &status, AT_SYMLINK_NOFOLLOW) == 0 &&
	       sshd_paths_changed_since(apply, &status.st_mtim);
}

static int fill(struct view *view, const struct link_message *message)
{
	struct apply *apply = view->apply;
	cleanup_free char *old = NULL;
	cleanup_json cJSON *old_status = NULL;
	cleanup_buffer struct buffer status = {0};
	size_t size = 0;

	int r = know_logins(view);
	if (r < 0)
		return r;
	if (file_read(apply->run, "view", VIEW_MAX, &old, &size) == 0) {
		if (!apply->swept && !is_outdated(apply))
			read_old_logins(view, old, size);
		const char *newline = memchr(old, '\n', size);
		if (newline)
			(void)!json_parse_object(old, (size_t)(newline - old), &old_status);
	}
	r = view_put_status(apply, old_status, message, &status, &view->trust_version);
	if (r < 0)
		return r;
	buffer_append(&view->out, status.bytes, status.size);
	put_commands(view);
	r = list_managed(view);
	if (r < 0)
		return r;
	ask_unknown(view);
	forget_asked(view);
	r = ledger_walk(apply, "account", visit_user, view);
	if (r == 0)
		r = ledger_walk(apply, "authorized-keys", visit_key_user, view);
	if (r == 0)
		r = ledger_walk(apply, "authorized-keys", visit_key, view);
	if (r == 0)
		r = buffer_status(&view->out);
	if (r == 0)
		r = file_replace_simple(apply->run, "view", view->out.bytes, view->out.size, 0600);
	if (r == 0)
		r = file_replace_simple(apply->run, "status.json", status.bytes, status.size, 0644);
	if (r < 0)
		return r;
	int reported = state_report_write(apply, &view->report, &status, view->trust_version);
	if (reported < 0)
		log_warning("the report for the endpoint cannot be made: %s", strerror(-reported));
	return 0;
}

int view_write(struct apply *apply, const struct link_message *endpoint)
{
	struct view view = {.apply = apply};

	if (apply->run < 0)
		return 0;
	view.logins = apply->logins ? apply->logins : cJSON_CreateObject();
	apply->logins = NULL;
	view.asked = calloc(VIEW_USERS_MAX, sizeof(*view.asked));
	int r = view.logins && view.asked ? 0 : -ENOMEM;
	if (r == 0) {
		if (account_table_refresh(apply->root, "etc/passwd", &apply->passwd) == 0)
			view.passwd = &apply->passwd;
		r = fill(&view, endpoint);
	}
	if (view.asked)
		forget_asked(&view);
	for (size_t i = 0; i < view.managed_count; i++)
		free(view.managed[i]);
	free(view.managed);
	free(view.asked);
	name_map_free(&view.known);
	cJSON_Delete(view.logins);
	state_report_free(&view.report);
	buffer_free(&view.out);
	return r;
}
