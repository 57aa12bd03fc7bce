/* SPDX-License-Identifier: Apache-2.0 */
/* The login plugin: who can log in, how, and what blocks whom. It changes nothing. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/field.h"
#include "lib/plugin.h"
#include "plugins/login/guard.h"
#include "plugins/login/look.h"

#define INDEX_FROM 4                 /* users; for fewer reading the lines is as fast */
#define SSHD_REPORTED_VALUE_MAX 256u /* bytes of one setting, for the report */
#define LOOKS_MAX 4u                 /* homes that are looked at at once */

static bool is_address(const char *text)
{
	unsigned char address[16];
	return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

static int open_world(const struct plugin_request *request, const struct plugin_command *command,
	struct plugin_result *result, struct world *ret_world)
{
	const char *from = plugin_text(command, "from");

	if (from && !is_address(from)) {
		(void)plugin_set(result, CODE_FIELD_INVALID, "from is not an address");
		return -EBADMSG;
	}
	int r = world_open(request, from, ret_world);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		(void)plugin_set(result, r == -EACCES ? CODE_CAPABILITY_MISSING : code_from_errno(-r),
			"the account files cannot be read: %s", strerror(-r));
		return -EBADMSG;
	}
	return 0;
}

static void write_look(struct json_writer *writer, const char *user, const struct look *look)
{
	json_begin_object(writer, user);
	blocker_write(writer, "key", look->key);
	blocker_write(writer, "password", look->password);
	json_end_object(writer);
}

static void read_without(const cJSON *node, struct without *ret_without)
{
	*ret_without = (struct without){0};
	if (!node)
		return;
	ret_without->users = json_member(node, "users");
	ret_without->passwords = json_member(node, "passwords");
	ret_without->keys = json_member(node, "keys");
	ret_without->fingerprints = json_member(node, "fingerprints");
	ret_without->methods = json_member(node, "methods");
	ret_without->accounts = json_member(node, "accounts");
	ret_without->lines = json_member(node, "lines");
}

/* Some homes are looked at at once; each look that was started is finished, also after an error. */
static int look_at_all(struct world *world, const cJSON *users, struct json_writer *writer)
{
	struct looking ring[LOOKS_MAX] = {{0}};
	const cJSON *next = users ? users->child : NULL;
	int r = 0;

	for (unsigned i = 0, idle = 0; idle < LOOKS_MAX; i++) {
		struct looking *looking = &ring[i % LOOKS_MAX];
		struct look look;

		if (looking->user) {
			int finished = look_finish(looking, &look);
			r = r < 0 ? r : finished;
			if (r == 0)
				write_look(writer, looking->user, &look);
			looking->user = NULL;
		}
		if (!next || r < 0) {
			idle++;
			continue;
		}
		r = look_start(world, cJSON_GetStringValue(next), NULL, looking);
		if (r < 0)
			looking->user = NULL;
		next = next->next;
	}
	return r;
}

/* What sshd itself is and does, for the report: with root, whom PermitRootLogin is about, if a Match tells users apart.
 */
static int write_sshd(struct world *world, struct json_writer *writer)
{
	static const char *const keywords[] = {"pubkeyauthentication", "passwordauthentication",
		"kbdinteractiveauthentication", "permitrootlogin", "usepam", "authorizedkeysfile"};
	const struct sshd_effective *effective = NULL;
	char detail[SSHD_DETAIL_MAX + 1], version[32] = "";
	unsigned major, minor;

	int r = world->sshd ? sshd_get_effective(world->sshd, "root", &effective, detail) : world->sshd_error;
	if (r == -ENOMEM)
		return r;
	if (world->sshd && sshd_get_version(world->sshd, &major, &minor) == 0)
		(void)snprintf(version, sizeof(version), "OpenSSH_%u.%u", major, minor);
	json_begin_object(writer, "sshd");
	json_put_string(writer, "state", r == 0 ? "ok" : r == -ENOENT ? "none" : r == -EBADMSG ? "invalid" : "unknown");
	json_put_string(writer, "version", version);
	json_begin_object(writer, "settings");
	for (size_t i = 0; r == 0 && i < ELEMENTS(keywords); i++) {
		const char *value = sshd_value(effective, keywords[i]);
		if (value && field_is_text(value, SSHD_REPORTED_VALUE_MAX))
			json_put_string(writer, keywords[i], value);
	}
	json_end_object(writer);
	json_end_object(writer);
	return 0;
}

static int check(
	const struct plugin_request *request, const struct plugin_command *command, struct plugin_result *result)
{
	cleanup_world struct world world = {0};
	cleanup_buffer struct buffer out = {0};
	struct json_writer writer = {&out, false};
	const cJSON *users = json_member(command->fields, "users");
	struct without without;
	bool anyone = false;

	int r = open_world(request, command, result, &world);
	if (r < 0)
		return r == -EBADMSG ? 0 : r;
	if (cJSON_GetArraySize(users) >= INDEX_FROM)
		r = world_index(&world);
	if (r < 0)
		return r;
	if (json_member(command->fields, "without")) {
		read_without(json_member(command->fields, "without"), &without);
		r = guard_anyone(&world, &without, &anyone);
		if (r < 0)
			return r;
		json_put_bool(&writer, "anyone", anyone);
	}
	bool about_sshd = false;
	(void)!json_get_bool(command->fields, "sshd", &about_sshd);
	if (about_sshd)
		r = write_sshd(&world, &writer);
	if (r < 0)
		return r;
	json_begin_object(&writer, "login");
	r = look_at_all(&world, users, &writer);
	if (r < 0)
		return r;
	json_end_object(&writer);
	result->extra = buffer_steal(&out);
	return result->extra ? plugin_set(result, CODE_OK, "%s", "") : -ENOMEM;
}

static void say(struct buffer *out, const char *methods, blocker_set set, const struct blocker_names *names)
{
	buffer_append_format(out, "%s: ", methods);
	if (set == 0)
		buffer_append_text(out, "yes");
	for (unsigned i = 0, said = 0; i < BLOCKER_COUNT; i++) {
		if (!(set & BLOCKER_BIT(i)))
			continue;
		buffer_append_format(out, "%s%s (", said++ ? ", " : "no, ", blocker_sentence((enum blocker)i));
		blocker_put_fix((enum blocker)i, names, out);
		buffer_append_text(out, ")");
	}
}

static int diagnose(
	const struct plugin_request *request, const struct plugin_command *command, struct plugin_result *result)
{
	cleanup_world struct world world = {0};
	cleanup_buffer struct buffer detail = {0}, out = {0};
	struct json_writer writer = {&out, false};
	const char *user = plugin_text(command, "user");
	struct look look;

	int r = open_world(request, command, result, &world);
	if (r < 0)
		return r == -EBADMSG ? 0 : r;
	world.fingerprint = plugin_text(command, "fingerprint");
	r = look_at_user(&world, user, NULL, &look);
	if (r == 0)
		r = plugin_add_user(result, user);
	if (r < 0)
		return r;
	const struct blocker_names names = {user, request->instance, world.address};
	bool same = look.key == look.password; /* said once: a detail is short */
	say(&detail, same ? "key and password" : "key", look.key, &names);
	if (look.answer.unsafe)
		buffer_append_format(&detail, " [%s is %04o of uid %u]", look.answer.unsafe_path,
			(unsigned)look.answer.unsafe_mode, (unsigned)look.answer.unsafe_owner);
	if (!same)
		say(&detail, "; password", look.password, &names);
	if (world.sshd_detail[0])
		buffer_append_format(&detail, "; %s", world.sshd_detail);
	if (world.ban.words[0])
		buffer_append_format(&detail, "; fail2ban: %s", world.ban.words);
	json_begin_object(&writer, "login");
	write_look(&writer, user, &look);
	json_end_object(&writer);
	if (look.answer.unsafe) {
		json_begin_object(&writer, "unsafe");
		json_put_string(&writer, "path", look.answer.unsafe_path);
		json_put_integer(&writer, "mode", look.answer.unsafe_mode);
		json_put_integer(&writer, "owner", look.answer.unsafe_owner);
		json_end_object(&writer);
	}
	json_put_string(&writer, "sshd", world.sshd_detail);
	if (world.ban.words[0])
		json_put_string(&writer, "fail2ban", world.ban.words);
	r = buffer_status(&detail);
	result->extra = buffer_steal(&out);
	if (r < 0 || !result->extra)
		return -ENOMEM;
	return plugin_set(result, CODE_OK, "%s", detail.bytes);
}

static int plan(struct plugin_request *request, struct plugin_result *results)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < request->count; i++) {
		const struct plugin_command *command = &request->commands[i];
		r = strcmp(command->do_name, "login.check") == 0 ? check(request, command, &results[i])
								 : diagnose(request, command, &results[i]);
	}
	return r;
}

/* Nothing is ever planned, so there is nothing to apply. */
static int apply(struct plugin_request *request, struct plugin_result *results)
{
	for (unsigned i = 0; i < request->count; i++)
		(void)plugin_set(&results[i], CODE_OK, "%s", "");
	return 0;
}

int main(int argc, char **argv)
{
	static const struct plugin plugin = {.name = "login", .plan = plan, .apply = apply, .as_user = keys_serve};
	return plugin_main(&plugin, argc, argv);
}
