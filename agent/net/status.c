/* SPDX-License-Identifier: Apache-2.0 */
/* The methods: what each answers, and to whom. */
#include "agent/net/status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/net/status_server.h"
#include "agent/net/view_reader.h"

#define AGENT "io.latchkey.Agent"
#define SERVICE "org.varlink.service"

extern const char varlink_agent[], varlink_service[];

/* Members of the types in the .varlink file; what else stands in the view stays here. */
static const char *const status_members[] = {"agent", "health", "mode", "trust", "instance", "identity", "seq",
	"pending", "verified", "endpoint", "problems", NULL};
static const char *const command_members[] = {
	"id", "seq", "do", "user", "status", "code", "changed", "detail", "signer", "actor", "time", NULL};
static const char *const user_members[] = {"user", "uid", "created", "sudo", "groups", "key", "password", NULL};
static const char *const key_members[] = {
	"user", "keypair", "fingerprint", "signer", "command", "bound", "expires", "state", NULL};

struct question {
	struct net *net;
	uid_t uid;
	const struct varlink_call *call;
	struct buffer *out;
};

static void put_members(struct json_writer *writer, const cJSON *line, const char *const *members)
{
	for (; *members; members++) {
		const cJSON *member = json_member(line, *members);
		if (member)
			json_put_value(writer, *members, member);
	}
}

/* A call whose parameters are not among the named: the first that is not, or NULL. */
static const char *unknown_parameter(const struct varlink_call *call, const char *const *names)
{
	const char *unknown = NULL;
	return call->parameters && json_only_members(call->parameters, names, &unknown) < 0 ? unknown : NULL;
}

static enum varlink_verdict invalid(const struct question *question, const char *parameter)
{
	varlink_put_error(question->out, SERVICE ".InvalidParameter", "parameter", parameter);
	return VARLINK_REPLIED;
}

static bool may_see(uid_t uid, const cJSON *line)
{
	int64_t owner;
	return uid == 0 || (json_get_integer(line, "uid", &owner) == 0 && owner == (int64_t)uid);
}

static enum varlink_verdict get_status(const struct question *question)
{
	struct json_writer writer = {question->out, false};
	cleanup_json cJSON *status = NULL;
	const char *names[] = {NULL}, *unknown = unknown_parameter(question->call, names);

	if (unknown)
		return invalid(question, unknown);
	varlink_begin_reply(&writer);
	if (view_read_status(&question->net->status->view, &status) == 0) {
		put_members(&writer, status, status_members);
	} else {
		json_put_string(&writer, "agent", LATCHKEY_VERSION);
		json_put_string(&writer, "health", "failing");
		json_put_string(&writer, "mode", "unknown");
		json_put_string(&writer, "trust", "unknown");
		json_put_integer(&writer, "seq", 0);
		json_put_integer(&writer, "pending", 0);
		json_put_raw(&writer, "endpoint", "{\"state\":\"none\",\"code\":0,\"since\":0}");
		json_put_raw(&writer, "problems",
			"[{\"code\":\"no_view\",\"detail\":\"latchkeyd has not said anything yet\"}]");
	}
	varlink_end_reply(&writer, false);
	return VARLINK_REPLIED;
}

struct list {
	const struct question *question;
	struct json_writer writer;
	const char *const *members;
	const char *user; /* only of that user; NULL: any */
	int64_t left;
};

static int put_line(const cJSON *line, void *context)
{
	struct list *list = context;
	const char *user;

	if (!may_see(list->question->uid, line))
		return 0;
	if (list->user && (json_get_string(line, "user", &user) < 0 || strcmp(user, list->user) != 0))
		return 0;
	if (list->left-- == 0)
		return 1;
	json_begin_object(&list->writer, NULL);
	put_members(&list->writer, line, list->members);
	json_end_object(&list->writer);
	return 0;
}

static enum varlink_verdict put_list(const struct question *question, enum view_type type, const char *key,
	const char *const *members, const char *user, int64_t limit)
{
	struct list list = {question, {question->out, false}, members, user, limit};

	varlink_begin_reply(&list.writer);
	json_begin_array(&list.writer, key);
	(void)!view_walk(&question->net->status->view, type, question->uid, put_line, &list);
	json_end_array(&list.writer);
	varlink_end_reply(&list.writer, false);
	return VARLINK_REPLIED;
}

static enum varlink_verdict list_commands(const struct question *question)
{
	const char *names[] = {"limit", NULL}, *unknown = unknown_parameter(question->call, names);
	const cJSON *limit = json_member(question->call->parameters, "limit");
	int64_t most = INT64_MAX;

	if (unknown)
		return invalid(question, unknown);
	if (limit && !cJSON_IsNull(limit)) {
		if (!cJSON_IsNumber(limit) || json_integer_of(limit) < 0)
			return invalid(question, "limit");
		most = json_integer_of(limit);
	}
	return put_list(question, VIEW_COMMAND, "commands", command_members, NULL, most);
}

struct search {
	const struct question *question;
	const char *id;
	cJSON *found;
};

static int find_line(const cJSON *line, void *context)
{
	struct search *search = context;
	const char *id;

	if (!may_see(search->question->uid, line) || json_get_string(line, "id", &id) < 0 ||
		strcmp(id, search->id) != 0)
		return 0;
	search->found = cJSON_Duplicate(line, true);
	return 1;
}

static enum varlink_verdict get_command(const struct question *question)
{
	const char *names[] = {"id", NULL}, *unknown = unknown_parameter(question->call, names);
	struct search search = {question, NULL, NULL};

	if (unknown)
		return invalid(question, unknown);
	if (json_get_string(question->call->parameters, "id", &search.id) < 0)
		return invalid(question, "id");
	(void)!view_walk(&question->net->status->view, VIEW_COMMAND, question->uid, find_line, &search);
	if (!search.found) {
		varlink_put_error(question->out, AGENT ".NoSuchCommand", "id", search.id);
		return VARLINK_REPLIED;
	}
	struct json_writer writer = {question->out, false};
	varlink_begin_reply(&writer);
	json_begin_object(&writer, "command");
	put_members(&writer, search.found, command_members);
	json_end_object(&writer);
	varlink_end_reply(&writer, false);
	cJSON_Delete(search.found);
	return VARLINK_REPLIED;
}

static enum varlink_verdict list_users(const struct question *question)
{
	const char *names[] = {NULL}, *unknown = unknown_parameter(question->call, names);
	return unknown ? invalid(question, unknown)
		       : put_list(question, VIEW_USER, "users", user_members, NULL, INT64_MAX);
}

struct own {
	uid_t uid;
	const char *name;
	bool found;
};

static int find_own(const cJSON *line, void *context)
{
	struct own *own = context;
	const char *name;
	int64_t uid;

	own->found = own->found || (json_get_string(line, "user", &name) == 0 && strcmp(name, own->name) == 0 &&
					   json_get_integer(line, "uid", &uid) == 0 && uid == (int64_t)own->uid);
	return own->found;
}

/* True when the view has a line of that name and the caller's uid: no file is opened here, /etc/passwd neither. */
static bool is_own_name(const struct question *question, const char *name)
{
	const struct view *view = &question->net->status->view;
	struct own own = {question->uid, name, false};

	(void)!view_walk(view, VIEW_USER, question->uid, find_own, &own);
	if (!own.found)
		(void)!view_walk(view, VIEW_KEY, question->uid, find_own, &own);
	return own.found;
}

static enum varlink_verdict list_keys(const struct question *question)
{
	const char *names[] = {"user", NULL}, *unknown = unknown_parameter(question->call, names);
	const cJSON *user = json_member(question->call->parameters, "user");

	if (unknown)
		return invalid(question, unknown);
	if (user && !cJSON_IsNull(user) && !cJSON_IsString(user))
		return invalid(question, "user");
	const char *name = cJSON_IsString(user) ? user->valuestring : NULL;
	if (name && question->uid != 0 && !is_own_name(question, name)) {
		varlink_put_error(question->out, SERVICE ".PermissionDenied", NULL, NULL);
		return VARLINK_REPLIED;
	}
	return put_list(question, VIEW_KEY, "keys", key_members, name, INT64_MAX);
}

#define TALLIES_MAX 128u /* two methods of some fifty blockers, four states of keys */

struct tally {
	char name[80];
	int64_t count;
};

struct tallies {
	struct tally items[TALLIES_MAX];
	unsigned count;
};

static void tally_add(struct tallies *tallies, const char *group, const char *name)
{
	char full[sizeof(tallies->items[0].name)];

	(void)snprintf(full, sizeof(full), "%s.%s", group, name);
	for (unsigned i = 0; i < tallies->count; i++) {
		if (strcmp(tallies->items[i].name, full) == 0) {
			tallies->items[i].count++;
			return;
		}
	}
	if (tallies->count == TALLIES_MAX)
		return;
	struct tally *tally = &tallies->items[tallies->count++];
	memcpy(tally->name, full, sizeof(full));
	tally->count = 1;
}

static int tally_user(const cJSON *line, void *context)
{
	static const char *const methods[] = {"key", "password"}, *const groups[] = {"blocked.key", "blocked.password"};
	const cJSON *login, *blockers, *blocker;

	for (unsigned i = 0; i < ELEMENTS(methods); i++) {
		if (json_get_object(line, methods[i], &login) < 0 || json_get_array(login, "blockers", &blockers) < 0)
			continue;
		cJSON_ArrayForEach(blocker, blockers)
		{
			if (cJSON_IsString(blocker))
				tally_add(context, groups[i], blocker->valuestring);
		}
	}
	return 0;
}

static int tally_key(const cJSON *line, void *context)
{
	const char *state;

	if (json_get_string(line, "state", &state) == 0)
		tally_add(context, "keys", state);
	return 0;
}

/* What is wrong with whom is root's to know, also when it is only counted: there may be one user. */
static void put_tallies(const struct question *question, const cJSON *status, struct json_writer *writer)
{
	const cJSON *problems, *problem;
	const struct view *view = &question->net->status->view;
	struct tallies tallies = {0};
	const char *code;

	if (question->uid == 0) {
		(void)!view_walk(view, VIEW_USER, 0, tally_user, &tallies);
		(void)!view_walk(view, VIEW_KEY, 0, tally_key, &tallies);
	}
	if (status && json_get_array(status, "problems", &problems) == 0) {
		cJSON_ArrayForEach(problem, problems)
		{
			if (json_get_string(problem, "code", &code) == 0)
				tally_add(&tallies, "problem", code);
		}
	}
	for (unsigned i = 0; i < tallies.count; i++)
		json_put_integer(writer, tallies.items[i].name, tallies.items[i].count);
}

static enum varlink_verdict get_metrics(const struct question *question)
{
	static const char *const counted[] = {[VIEW_COMMAND] = "commands", [VIEW_USER] = "users", [VIEW_KEY] = "keys"};
	struct json_writer writer = {question->out, false};
	const char *names[] = {NULL}, *unknown = unknown_parameter(question->call, names), *text = "";
	const cJSON *endpoint, *problems;
	cleanup_json cJSON *status = NULL;
	int64_t integer;

	if (unknown)
		return invalid(question, unknown);
	varlink_begin_reply(&writer);
	json_begin_object(&writer, "metrics");
	for (unsigned i = 0; i < VIEW_TYPES; i++)
		json_put_integer(&writer, counted[i], (int64_t)question->net->status->view.counts[i]);
	if (view_read_status(&question->net->status->view, &status) == 0) {
		static const char *const integers[] = {"seq", "pending", "verified", "time"};
		for (unsigned i = 0; i < ELEMENTS(integers); i++) {
			if (json_get_integer(status, integers[i], &integer) == 0)
				json_put_integer(&writer, integers[i], integer);
		}
		(void)!json_get_string(status, "health", &text);
		json_put_integer(&writer, "healthy", strcmp(text, "ok") == 0);
		if (json_get_array(status, "problems", &problems) == 0)
			json_put_integer(&writer, "problems", cJSON_GetArraySize(problems));
		text = "";
		if (json_get_object(status, "endpoint", &endpoint) == 0)
			(void)!json_get_string(endpoint, "state", &text);
		json_put_integer(&writer, "endpoint_up", strcmp(text, "ok") == 0 || strcmp(text, "files") == 0);
	}
	put_tallies(question, status, &writer);
	json_end_object(&writer);
	varlink_end_reply(&writer, false);
	return VARLINK_REPLIED;
}

static enum varlink_verdict monitor(const struct question *question)
{
	const char *names[] = {NULL}, *unknown = unknown_parameter(question->call, names);

	if (unknown)
		return invalid(question, unknown);
	if (!question->call->more) {
		varlink_put_error(question->out, SERVICE ".ExpectedMore", NULL, NULL);
		return VARLINK_REPLIED;
	}
	return VARLINK_STREAMS;
}

static enum varlink_verdict get_info(const struct question *question)
{
	struct json_writer writer = {question->out, false};
	const char *names[] = {NULL}, *unknown = unknown_parameter(question->call, names);

	if (unknown)
		return invalid(question, unknown);
	varlink_begin_reply(&writer);
	json_put_string(&writer, "vendor", "Latchkey");
	json_put_string(&writer, "product", "Latchkey instance agent");
	json_put_string(&writer, "version", LATCHKEY_VERSION);
	json_put_string(&writer, "url", "");
	json_begin_array(&writer, "interfaces");
	json_put_string(&writer, NULL, AGENT);
	json_put_string(&writer, NULL, SERVICE);
	json_end_array(&writer);
	varlink_end_reply(&writer, false);
	return VARLINK_REPLIED;
}

static enum varlink_verdict get_description(const struct question *question)
{
	struct json_writer writer = {question->out, false};
	const char *names[] = {"interface", NULL}, *unknown = unknown_parameter(question->call, names), *name,
		   *text = NULL;

	if (unknown)
		return invalid(question, unknown);
	if (json_get_string(question->call->parameters, "interface", &name) < 0)
		return invalid(question, "interface");
	if (strcmp(name, AGENT) == 0)
		text = varlink_agent;
	else if (strcmp(name, SERVICE) == 0)
		text = varlink_service;
	if (!text) {
		varlink_put_error(question->out, SERVICE ".InterfaceNotFound", "interface", name);
		return VARLINK_REPLIED;
	}
	varlink_begin_reply(&writer);
	json_put_string(&writer, "description", text);
	varlink_end_reply(&writer, false);
	return VARLINK_REPLIED;
}

static const struct {
	const char *interface, *member;
	enum varlink_verdict (*answer)(const struct question *question);
} methods[] = {
	{AGENT, "GetStatus", get_status},
	{AGENT, "ListCommands", list_commands},
	{AGENT, "GetCommand", get_command},
	{AGENT, "ListUsers", list_users},
	{AGENT, "ListKeys", list_keys},
	{AGENT, "GetMetrics", get_metrics},
	{AGENT, "Monitor", monitor},
	{SERVICE, "GetInfo", get_info},
	{SERVICE, "GetInterfaceDescription", get_description},
};

enum varlink_verdict status_call(struct net *net, uid_t uid, const struct varlink_call *call, struct buffer *out)
{
	const struct question question = {net, uid, call, out};
	bool known_interface = false;

	for (unsigned i = 0; i < ELEMENTS(methods); i++) {
		if (strcmp(methods[i].interface, call->interface) != 0)
			continue;
		known_interface = true;
		if (strcmp(methods[i].member, call->member) == 0)
			return methods[i].answer(&question);
	}
	if (known_interface)
		varlink_put_error(out, SERVICE ".MethodNotFound", "method", call->method);
	else
		varlink_put_error(out, SERVICE ".InterfaceNotFound", "interface", call->interface);
	return VARLINK_REPLIED;
}

/* The monitors' reply for one new command. */
bool status_put_monitor(uid_t uid, const cJSON *line, struct buffer *out)
{
	struct json_writer writer = {out, false};

	if (!may_see(uid, line))
		return false;
	varlink_begin_reply(&writer);
	json_begin_object(&writer, "command");
	put_members(&writer, line, command_members);
	json_end_object(&writer);
	varlink_end_reply(&writer, true);
	return true;
}
