/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/login_check.h"

#include <errno.h>
#include <string.h>

#include "agent/apply/plugin_call.h"
#include "agent/apply/revert.h"
#include "lib/account_files.h"
#include "lib/log.h"

/* Users of one question: with a Match sshd is asked for each, 10 ms on a busy machine, and the plugin has 30 s. */
#define LOOK_MAX 256u

void removal_free(struct removal *removal)
{
	buffer_free(&removal->users);
	buffer_free(&removal->passwords);
	buffer_free(&removal->keys);
	buffer_free(&removal->fingerprints);
	buffer_free(&removal->accounts);
	buffer_free(&removal->lines);
}

static void copy(const struct buffer *from, struct buffer *to)
{
	if (from->bytes)
		buffer_append(to, from->bytes, from->size);
}

int removal_copy(const struct removal *from, struct removal *ret_to)
{
	*ret_to = (struct removal){.password = from->password, .key = from->key, .root = from->root};
	copy(&from->users, &ret_to->users);
	copy(&from->passwords, &ret_to->passwords);
	copy(&from->keys, &ret_to->keys);
	copy(&from->fingerprints, &ret_to->fingerprints);
	copy(&from->accounts, &ret_to->accounts);
	copy(&from->lines, &ret_to->lines);
	bool failed = ret_to->users.failed || ret_to->passwords.failed || ret_to->keys.failed ||
		      ret_to->fingerprints.failed || ret_to->accounts.failed || ret_to->lines.failed;
	return failed ? -ENOMEM : 0;
}

static int add_text(struct buffer *list, const char *text)
{
	struct json_writer writer = {list, list->size > 0};
	json_put_string(&writer, NULL, text);
	return buffer_status(list);
}

/* What the plugin saw in the files counts; the ledger may be older than what somebody wrote under the label. */
static int add_unbind(const struct command *command, struct removal *removal)
{
	struct json_writer writer = {&removal->keys, removal->keys.size > 0};
	const cJSON *fingerprint;

	/* Keys that nobody names: judge as if the user could not log in at all. */
	if (!command->lost)
		return add_text(&removal->users, command->user);
	cJSON_ArrayForEach(fingerprint, command->lost)
	{
		if (!cJSON_IsString(fingerprint))
			return -EBADMSG;
		json_begin_object(&writer, NULL);
		json_put_string(&writer, "user", command->user);
		json_put_string(&writer, "fingerprint", fingerprint->valuestring);
		json_end_object(&writer);
	}
	return buffer_status(&removal->keys);
}

static int add_member(struct buffer *list, const char *user, const char *name, const cJSON *value)
{
	struct json_writer writer = {list, list->size > 0};

	json_begin_object(&writer, NULL);
	json_put_string(&writer, "user", user);
	json_put_value(&writer, name, value);
	json_end_object(&writer);
	return buffer_status(list);
}

/* A key under a label that is exchanged for another, or for the same one that lets in less. */
static int add_exchange(const struct command *command, struct removal *removal)
{
	if (!command->lost || cJSON_GetArraySize(command->lost) == 0)
		return 1;
	int r = add_unbind(command, removal);
	if (r == 0 && command->line)
		r = add_member(&removal->lines, command->user, "line", command->line);
	return r;
}

int removal_add(const struct command *command, struct removal *removal)
{
	const char *name = command->do_name, *text = NULL;
	bool value;

	if (strcmp(name, "user.ensure") == 0)
		return command->account ? add_member(&removal->accounts, command->user, "account", command->account)
					: 1;
	if (strcmp(name, "keys.bind") == 0 || strcmp(name, "keys.replace") == 0)
		return add_exchange(command, removal);
	if (strcmp(name, "user.lock") == 0 || strcmp(name, "user.remove") == 0)
		return add_text(&removal->users, command->user);
	if (strcmp(name, "password.remove") == 0)
		return add_text(&removal->passwords, command->user);
	if (strcmp(name, "keys.unbind") == 0)
		return add_unbind(command, removal);
	if (strcmp(name, "keys.revoke") == 0) {
		if (json_get_string(command->node, "fingerprint", &text) < 0)
			return -EBADMSG;
		return add_text(&removal->fingerprints, text);
	}
	if (strcmp(name, "sshd.set") != 0)
		return 1;
	if (json_get_bool(command->node, "password_auth", &value) == 0)
		removal->password = value;
	if (json_get_bool(command->node, "pubkey_auth", &value) == 0)
		removal->key = value;
	if (json_get_string(command->node, "permit_root_login", &text) == 0)
		removal->root = text;
	return 0;
}

static int add_to_trial(const char *id, const cJSON *command, void *context)
{
	struct trial *trial = context;
	const char *root, *user;
	bool value;
	(void)id;

	if (json_get_string(command, "user", &user) == 0)
		return add_text(&trial->users, user);
	if (json_get_bool(command, "password_auth", &value) == 0 && value)
		trial->password = true;
	if (json_get_bool(command, "pubkey_auth", &value) == 0 && value)
		trial->key = true;
	if (json_get_string(command, "permit_root_login", &root) == 0 && strcmp(root, "no") != 0)
		trial->root = true;
	return 0;
}

int trial_find(const struct apply *apply, struct trial *ret_trial)
{
	*ret_trial = (struct trial){0};
	return revert_walk(apply, add_to_trial, ret_trial);
}

void trial_free(struct trial *trial)
{
	buffer_free(&trial->users);
}

void removal_add_trial(const struct trial *trial, struct removal *removal)
{
	if (trial->password)
		removal->password = 0;
	if (trial->key)
		removal->key = 0;
	if (trial->root)
		removal->root = "no";
}

static void put_list(struct json_writer *writer, const char *key, const struct buffer *list)
{
	json_begin_array(writer, key);
	if (list->size > 0)
		buffer_append(writer->out, list->bytes, list->size);
	json_end_array(writer);
}

/* One login.check; the reply's only result. Without users and removal it is about sshd. */
static enum code ask(const struct apply *apply, const char *const *users, size_t count, const struct removal *removal,
	cJSON **ret_reply)
{
	cleanup_buffer struct buffer text = {0}, request = {0};
	struct json_writer writer = {&text, false};
	unsigned plugin = plugin_index(apply, "login");

	json_begin_object(&writer, NULL);
	json_put_string(&writer, "id", "check");
	json_put_string(&writer, "do", "login.check");
	json_begin_array(&writer, "users");
	for (size_t i = 0; i < count; i++)
		json_put_string(&writer, NULL, users[i]);
	json_end_array(&writer);
	if (count == 0 && !removal)
		json_put_bool(&writer, "sshd", true);
	if (removal) {
		json_begin_object(&writer, "without");
		put_list(&writer, "users", &removal->users);
		put_list(&writer, "passwords", &removal->passwords);
		put_list(&writer, "keys", &removal->keys);
		put_list(&writer, "fingerprints", &removal->fingerprints);
		put_list(&writer, "accounts", &removal->accounts);
		put_list(&writer, "lines", &removal->lines);
		json_begin_object(&writer, "methods");
		if (removal->password >= 0)
			json_put_bool(&writer, "password", removal->password);
		if (removal->key >= 0)
			json_put_bool(&writer, "key", removal->key);
		if (removal->root)
			json_put_string(&writer, "root", removal->root);
		json_end_object(&writer);
		json_end_object(&writer);
	}
	json_end_object(&writer);
	cleanup_json cJSON *node = NULL;
	if (buffer_status(&text) < 0 || json_parse_object(text.bytes, text.size, &node) < 0)
		return CODE_INTERNAL;
	const struct document document = {0};
	struct command command = {.id = "check", .do_name = "login.check", .node = node}, *batch = &command;
	if (plugin_build_request(apply, &document, plugin, PLUGIN_PLAN, &batch, NULL, 1, &request) < 0)
		return CODE_INTERNAL;
	return plugin_call(apply, plugin, false, &request, 1, ret_reply);
}

static const cJSON *only_result(const cJSON *reply)
{
	const cJSON *results = NULL;
	return json_get_array(reply, "results", &results) == 0 ? results->child : NULL;
}

enum code login_anyone(const struct apply *apply, const struct removal *removal, bool *ret_anyone)
{
	cleanup_json cJSON *reply = NULL;

	enum code code = ask(apply, NULL, 0, removal, &reply);
	if (code != CODE_OK)
		return code;
	return json_get_bool(only_result(reply), "anyone", ret_anyone) < 0 ? CODE_PLUGIN_PROTOCOL : CODE_OK;
}

/* The answer about some users, added to the object. */
static enum code add_logins(const struct apply *apply, const char *const *users, size_t count, cJSON *all)
{
	cleanup_json cJSON *reply = NULL;
	const cJSON *login = NULL, *one;

	enum code code = ask(apply, users, count, NULL, &reply);
	if (code != CODE_OK)
		return code;
	if (json_get_object(only_result(reply), "login", &login) < 0)
		return CODE_PLUGIN_PROTOCOL;
	cJSON_ArrayForEach(one, login)
	{
		cJSON *copy = cJSON_Duplicate(one, true);
		if (!copy || !cJSON_AddItemToObject(all, one->string, copy)) {
			cJSON_Delete(copy);
			return CODE_INTERNAL;
		}
	}
	return CODE_OK;
}

enum code login_of_users(const struct apply *apply, const char *const *users, size_t count, cJSON **ret_login)
{
	cleanup_json cJSON *all = cJSON_CreateObject();

	if (!all)
		return CODE_INTERNAL;
	for (size_t at = 0; at < count; at += LOOK_MAX) {
		enum code code = add_logins(apply, users + at, count - at < LOOK_MAX ? count - at : LOOK_MAX, all);
		if (code != CODE_OK)
			return code;
	}
	*ret_login = steal_pointer(&all);
	return CODE_OK;
}

enum code login_about_sshd(const struct apply *apply, cJSON **ret_sshd)
{
	cleanup_json cJSON *reply = NULL;
	const cJSON *sshd = NULL;

	enum code code = ask(apply, NULL, 0, NULL, &reply);
	if (code != CODE_OK)
		return code;
	if (json_get_object(only_result(reply), "sshd", &sshd) < 0)
		return CODE_PLUGIN_PROTOCOL;
	*ret_sshd = cJSON_Duplicate(sshd, true);
	return *ret_sshd ? CODE_OK : CODE_INTERNAL;
}
