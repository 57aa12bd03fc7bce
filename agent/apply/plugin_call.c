/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/plugin_call.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "lib/file.h"
#include "lib/log.h"
#include "lib/paths.h"
#include "lib/process.h"

unsigned plugin_index(const struct apply *apply, const char *name)
{
	for (unsigned i = 0; i < MANIFEST_PLUGINS; i++) {
		if (strcmp(apply->manifests.plugins[i].name, name) == 0)
			return i;
	}
	return 0;
}

int plugin_build_request(const struct apply *apply, const struct document *document, unsigned plugin,
	enum plugin_verb verb, struct command *const *batch, const struct resolved_account *accounts, size_t count,
	struct buffer *ret_request)
{
	struct json_writer writer = {ret_request, false};
	bool redo = false;

	for (size_t i = 0; i < count; i++)
		redo = redo || batch[i]->redo;
	json_begin_object(&writer, NULL);
	json_put_integer(&writer, "v", 1);
	json_put_string(&writer, "instance", apply->instance);
	json_put_integer(&writer, "seq", document->seq);
	json_put_string(&writer, "signer", document->signer ? document->signer : "");
	json_put_string(&writer, "actor", document->actor ? document->actor : "");
	json_put_integer(&writer, "time", apply->now);
	if (verb == PLUGIN_APPLY && redo)
		json_put_bool(&writer, "redo", true);
	if (verb == PLUGIN_UNDO)
		json_put_bool(&writer, "undo", true);
	json_begin_object(&writer, "settings");
	int r = policy_write_settings(&apply->policy, apply->manifests.plugins[plugin].settings, &writer);
	if (r < 0)
		return r;
	json_end_object(&writer);
	json_begin_array(&writer, "commands");
	for (size_t i = 0; i < count; i++) {
		const cJSON *member;
		json_begin_object(&writer, NULL);
		cJSON_ArrayForEach(member, batch[i]->node)
		{
			json_put_value(&writer, member->string, member);
		}
		if (accounts && batch[i]->user) {
			json_begin_object(&writer, "resolved");
			if (accounts[i].exists) {
				json_put_integer(&writer, "uid", accounts[i].uid);
				json_put_bool(&writer, "privileged", accounts[i].privileged);
			}
			json_put_integer(&writer, "stamp", accounts[i].stamp);
			json_end_object(&writer);
		}
		if (verb != PLUGIN_PLAN)
			json_put_raw(&writer, "plan", batch[i]->plan);
		json_end_object(&writer);
	}
	json_end_array(&writer);
	json_end_object(&writer);
	return buffer_status(ret_request);
}

static int check_reply(const struct buffer *output, size_t count, cJSON **ret_reply)
{
	cleanup_json cJSON *reply = NULL;
	const cJSON *results;
	int64_t version;

	int r = json_parse_object(output->bytes, output->size, &reply);
	if (r < 0)
		return r;
	if (json_get_integer(reply, "v", &version) < 0 || version != 1 ||
		json_get_array(reply, "results", &results) < 0 || (size_t)cJSON_GetArraySize(results) != count)
		return -EBADMSG;
	*ret_reply = steal_pointer(&reply);
	return 0;
}

/* The plugin's own state is its working directory; without a disk it works in / and says what it could not keep. */
static int open_working_directory(const struct apply *apply, const char *name, int *ret_directory)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "plugin/%s", name);
	return apply_state_directory(apply, path, ret_directory);
}

static enum code run_once(const struct process *process, const char *name, size_t count, cJSON **ret_reply)
{
	cleanup_process_result struct process_result result = {0};

	int r = process_run(process, &result);
	if (r == -ENOENT)
		return CODE_PLUGIN_MISSING;
	if (r == -ETIMEDOUT)
		return CODE_TIMEOUT;
	if (r == -EPERM)
		return CODE_CAPABILITY_MISSING;
	if (r == -EAGAIN || r == -ENOMEM || r == -EMFILE)
		return CODE_BUSY;
	if (r < 0) {
		log_error("plugin %s: %s", name, strerror(-r));
		return r == -EFBIG ? CODE_PLUGIN_PROTOCOL : CODE_PLUGIN_CRASHED;
	}
	if (!process_exited(&result, 0)) {
		log_error("plugin %s ended with status 0x%x", name, (unsigned)result.status);
		return CODE_PLUGIN_CRASHED;
	}
	r = check_reply(&result.output, count, ret_reply);
	if (r < 0) {
		log_error("plugin %s: its reply is not valid", name);
		return CODE_PLUGIN_PROTOCOL;
	}
	return CODE_OK;
}

enum code plugin_call(const struct apply *apply, unsigned plugin, bool apply_verb, const struct buffer *request,
	size_t count, cJSON **ret_reply)
{
	const struct manifest *manifest = &apply->manifests.plugins[plugin];
	const char *arguments[] = {manifest->name, apply_verb ? "apply" : "plan", apply->is_host ? NULL : "--root",
		apply->root_path, NULL};
	cleanup_close int directory = -1;
	char path[128];
	enum code code = CODE_PLUGIN_CRASHED;

	if (request->size > PLUGIN_MESSAGE_MAX)
		return CODE_TOO_LARGE;
	(void)snprintf(path, sizeof(path), PATH_PLUGINS "/%s", manifest->name);
	if (open_working_directory(apply, manifest->name, &directory) < 0)
		directory = -1;
	/* The manifest's trees, and what every plugin has: its own state and the sink. With another root they lie
	 * elsewhere. */
	char state[96];
	struct sandbox sandbox = manifest->sandbox;
	(void)snprintf(state, sizeof(state), "/" PATH_STATE "/plugin/%s", manifest->name);
	sandbox.confines_writes = sandbox.confines_writes && apply->is_host;
#ifdef LATCHKEY_FAULT
	sandbox.confines_writes = false; /* each call is logged in /run */
#endif
	sandbox.trees[sandbox.tree_count++] = state;
	sandbox.trees[sandbox.tree_count++] = "/dev/null";
	const struct process process = {
		.path = path,
		.argv = arguments,
		.working_directory = directory,
		.input = request->bytes,
		.input_size = request->size,
		.output_limit = PLUGIN_MESSAGE_MAX,
		.timeout_ms = manifest->timeout_s * 1000 + 100 * (unsigned)count,
		.capabilities = manifest->capabilities,
		.sandbox = &sandbox,
		.inherit_error = true,
	};
	for (unsigned i = 0; i < PLUGIN_TRIES; i++) {
		code = run_once(&process, manifest->name, count, ret_reply);
		if (code != CODE_PLUGIN_CRASHED && code != CODE_PLUGIN_PROTOCOL)
			break;
	}
	return code;
}

static int keep(const cJSON *result, const char *name, cJSON **member)
{
	const cJSON *found = json_member(result, name);

	cJSON_Delete(*member);
	*member = found ? cJSON_Duplicate(found, true) : NULL;
	return found && !*member ? -ENOMEM : 0;
}

int plugin_read_result(const cJSON *result, enum plugin_verb verb, struct command *command)
{
	const char *id, *name, *detail = "", *sealed = NULL;
	const cJSON *plan = NULL, *users, *user, *lost;
	bool changes = false;
	enum code code;

	if (json_get_string(result, "id", &id) < 0 || strcmp(id, command->id) != 0 ||
		json_get_string(result, "code", &name) < 0 || code_from_name(name, &code) < 0 ||
		code_status(code) == STATUS_DOCUMENT ||
		json_get_bool(result, verb == PLUGIN_PLAN ? "changes" : "changed", &changes) < 0)
		return -EBADMSG;
	(void)!json_get_string(result, "detail", &detail);
	struct outcome *outcome = &command->outcome;
	if (json_get_array(result, "users", &users) == 0) {
		cJSON_ArrayForEach(user, users)
		{
			if (!cJSON_IsString(user))
				return -EBADMSG;
			if (outcome_add_user(outcome, user->valuestring) < 0)
				return -ENOMEM;
		}
	}
	if (verb == PLUGIN_PLAN && code == CODE_OK && changes) {
		cleanup_buffer struct buffer text = {0};
		struct json_writer writer = {&text, false};
		if (json_get_object(result, "plan", &plan) < 0)
			return -EBADMSG;
		json_put_value(&writer, NULL, plan);
		if (buffer_status(&text) < 0)
			return -ENOMEM;
		if (text.size > PLUGIN_PLAN_MAX)
			return -EBADMSG;
		free(command->plan);
		command->plan = buffer_steal(&text);
		if (json_get_array(result, "fingerprints", &lost) == 0) {
			cJSON_Delete(command->lost);
			command->lost = cJSON_Duplicate(lost, true);
			if (!command->lost)
				return -ENOMEM;
		}
		if (keep(result, "account", &command->account) < 0 || keep(result, "line", &command->line) < 0)
			return -ENOMEM;
		return 0;
	}
	outcome_set(outcome, code, "%s", detail);
	outcome->changed = verb != PLUGIN_PLAN && changes;
	if (json_get_string(result, "sealed", &sealed) == 0) {
		outcome->sealed = strdup(sealed);
		if (!outcome->sealed)
			return -ENOMEM;
	}
	return 0;
}

int plugin_run(const struct apply *apply, const struct document *document, enum plugin_verb verb,
	struct command **batch, const struct resolved_account *accounts, size_t count)
{
	cleanup_buffer struct buffer request = {0};
	cleanup_json cJSON *reply = NULL;
	const cJSON *results, *result;
	unsigned plugin = batch[0]->row->plugin;
	size_t i = 0;

	int r = plugin_build_request(apply, document, plugin, verb, batch, accounts, count, &request);
	if (r < 0)
		return r;
	enum code code = plugin_call(apply, plugin, verb != PLUGIN_PLAN, &request, count, &reply);
	if (code != CODE_OK) {
		outcome_fail_open(batch, count, code,
			code == CODE_TIMEOUT ? "the plugin ran into its deadline"
					     : "the plugin could not do its work; see the log");
		return 0;
	}
	r = json_get_array(reply, "results", &results);
	if (r < 0)
		return r;
	cJSON_ArrayForEach(result, results)
	{
		r = plugin_read_result(result, verb, batch[i]);
		if (r == -ENOMEM)
			return r;
		if (r < 0)
			outcome_set(&batch[i]->outcome, CODE_PLUGIN_PROTOCOL, "the plugin's answer is not valid");
		i++;
	}
	return 0;
}

int plugin_run_internal(const struct apply *apply, struct command *commands, size_t count)
{
	cleanup_free struct command **batch = calloc(count + 1, sizeof(struct command *));
	const struct document document = {0};
	size_t kept = 0;

	if (!batch)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		commands[i].row = manifest_find(&apply->manifests, commands[i].do_name);
		if (!commands[i].row)
			return -ENOENT;
		batch[i] = &commands[i];
	}
	int r = plugin_run(apply, &document, PLUGIN_PLAN, batch, NULL, count);
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (!command_is_ended(&commands[i]))
			batch[kept++] = &commands[i];
	}
	return r < 0 || kept == 0 ? r : plugin_run(apply, &document, PLUGIN_APPLY, batch, NULL, kept);
}
