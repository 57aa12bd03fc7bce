/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/log.h"
#include "lib/paths.h"
#include "lib/program.h"

int plugin_set(struct plugin_result *result, enum code code, const char *format, ...)
{
	va_list arguments;

	result->code = code;
	va_start(arguments, format);
	(void)vsnprintf(result->detail, sizeof(result->detail), format, arguments);
	va_end(arguments);
	for (char *at = result->detail; *at; at++) {
		if ((unsigned char)*at < 0x20 || (unsigned char)*at >= 0x7f)
			*at = '?';
	}
	return 0;
}

int plugin_set_plan(struct plugin_result *result, const char *json)
{
	free(result->plan);
	result->plan = strdup(json);
	return result->plan ? 0 : -ENOMEM;
}

int plugin_add_user(struct plugin_result *result, const char *user)
{
	for (unsigned i = 0; i < result->user_count; i++) {
		if (strcmp(result->users[i], user) == 0)
			return 0;
	}
	if (result->user_count == PLUGIN_USERS_MAX)
		return -E2BIG;
	result->users[result->user_count] = strdup(user);
	if (!result->users[result->user_count])
		return -ENOMEM;
	result->user_count++;
	return 0;
}

const char *plugin_text(const struct plugin_command *command, const char *field)
{
	const char *text = NULL;
	return json_get_string(command->fields, field, &text) == 0 ? text : NULL;
}

int64_t plugin_integer(const struct plugin_command *command, const char *field, int64_t fallback)
{
	int64_t integer = fallback;
	return json_get_integer(command->fields, field, &integer) == 0 ? integer : fallback;
}

bool plugin_flag(const struct plugin_command *command, const char *field, bool fallback)
{
	bool flag = fallback;
	return json_get_bool(command->fields, field, &flag) == 0 ? flag : fallback;
}

const char *plugin_setting_text(const struct plugin_request *request, const char *name)
{
	const char *text = NULL;
	return json_get_string(request->settings, name, &text) == 0 ? text : "";
}

int64_t plugin_setting_integer(const struct plugin_request *request, const char *name)
{
	int64_t integer = 0;
	return json_get_integer(request->settings, name, &integer) == 0 ? integer : 0;
}

static int check_settings(const struct plugin *plugin, struct plugin_request *request)
{
	const cJSON *declaration;

	for (unsigned i = 0; i < MANIFEST_PLUGINS; i++) {
		const struct manifest *manifest = &request->manifests.plugins[i];
		if (strcmp(manifest->name, plugin->name) != 0)
			continue;
		cJSON_ArrayForEach(declaration, manifest->settings)
		{
			struct field_type type;
			const cJSON *value = json_member(request->settings, declaration->string);
			if (!value || field_parse_type(declaration->valuestring, &type) < 0 ||
				field_check(&type, value) != CODE_OK)
				return -EBADMSG;
		}
	}
	return 0;
}

static int read_commands(const struct plugin *plugin, struct plugin_request *request)
{
	cJSON *commands = cJSON_GetObjectItemCaseSensitive(request->document, "commands");
	unsigned count = 0;
	cJSON *node;
	int r;

	if (!cJSON_IsArray(commands))
		return -EBADMSG;
	request->commands = calloc((size_t)cJSON_GetArraySize(commands) + 1, sizeof(*request->commands));
	if (!request->commands)
		return -ENOMEM;
	cJSON_ArrayForEach(node, commands)
	{
		struct plugin_command *command = &request->commands[count++];
		r = json_get_string(node, "id", &command->id);
		if (r == 0)
			r = json_get_string(node, "do", &command->do_name);
		if (r < 0)
			return -EBADMSG;
		command->plan = json_member(node, "plan");
		command->resolved = json_member(node, "resolved");
		command->fields = node;
		const struct manifest_command *row = manifest_find(&request->manifests, command->do_name);
		if (!row || strcmp(request->manifests.plugins[row->plugin].name, plugin->name) != 0)
			return -EBADMSG;
		if (request->apply && !command->plan)
			return -EBADMSG;
	}
	request->count = count;
	return 0;
}

static int read_request(const struct plugin *plugin, const char *bytes, size_t size, struct plugin_request *request)
{
	int64_t version;
	int r;

	r = json_parse_object(bytes, size, &request->document);
	if (r < 0)
		return r;
	const cJSON *root = request->document;
	r = json_get_integer(root, "v", &version);
	if (r < 0 || version != 1)
		return -EBADMSG;
	r = json_get_string(root, "instance", &request->instance);
	if (r == 0)
		r = json_get_string(root, "signer", &request->signer);
	if (r == 0)
		r = json_get_string(root, "actor", &request->actor);
	if (r == 0)
		r = json_get_integer(root, "seq", &request->seq);
	if (r == 0)
		r = json_get_integer(root, "time", &request->time);
	if (r == 0)
		r = json_get_object(root, "settings", &request->settings);
	if (r < 0)
		return -EBADMSG;
	(void)!json_get_bool(root, "redo", &request->redo);
	(void)!json_get_bool(root, "undo", &request->undo);
	r = check_settings(plugin, request);
	return r < 0 ? r : read_commands(plugin, request);
}

/* A reply that is not text is none: bytes of one account must not be the end of everybody's commands. */
static void keep_to_text(struct plugin_result *result)
{
	if ((!result->plan || json_is_utf8(result->plan)) && (!result->extra || json_is_utf8(result->extra)))
		return;
	free(result->plan);
	free(result->extra);
	result->plan = result->extra = NULL;
	result->changes = false;
	(void)plugin_set(result, CODE_INTERNAL, "what stands there is not in UTF-8");
}

static int write_reply(const struct plugin_request *request, struct plugin_result *results)
{
	cleanup_buffer struct buffer out = {0};
	struct json_writer writer = {&out, false};

	json_begin_object(&writer, NULL);
	json_put_integer(&writer, "v", 1);
	json_begin_array(&writer, "results");
	for (unsigned i = 0; i < request->count; i++) {
		struct plugin_result *result = &results[i];
		keep_to_text(result);
		json_begin_object(&writer, NULL);
		json_put_string(&writer, "id", request->commands[i].id);
		json_put_string(&writer, "code", code_name(result->code));
		json_put_bool(&writer, request->apply ? "changed" : "changes", result->changes);
		if (!request->apply)
			json_put_raw(&writer, "plan", result->plan ? result->plan : "{}");
		json_begin_array(&writer, "users");
		for (unsigned j = 0; j < result->user_count; j++)
			json_put_string(&writer, NULL, result->users[j]);
		json_end_array(&writer);
		json_put_string(&writer, "detail", result->detail);
		if (result->sealed)
			json_put_string(&writer, "sealed", result->sealed);
		if (result->extra) {
			buffer_append(&out, ",", 1);
			buffer_append_text(&out, result->extra);
		}
		json_end_object(&writer);
	}
	json_end_array(&writer);
	json_end_object(&writer);
	buffer_append(&out, "\n", 1);
	int r = buffer_status(&out);
	if (r < 0)
		return r;
	if (out.size > PLUGIN_MESSAGE_MAX)
		return -EFBIG;
	return file_write_all(STDOUT_FILENO, out.bytes, out.size);
}

static void free_results(struct plugin_result *results, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		free(results[i].plan);
		free(results[i].sealed);
		free(results[i].extra);
		for (unsigned j = 0; j < results[i].user_count; j++)
			free(results[i].users[j]);
	}
	free(results);
}

static int serve(const struct plugin *plugin, struct plugin_request *request)
{
	cleanup_free char *bytes = NULL;
	char state[128];
	size_t size;

	int r = file_read_descriptor(STDIN_FILENO, PLUGIN_MESSAGE_MAX, &bytes, &size);
	if (r < 0) {
		log_error("%s: cannot read the request: %s", plugin->name, strerror(-r));
		return r;
	}
	r = manifest_set_load(&request->manifests);
	if (r == 0)
		r = read_request(plugin, bytes, size, request);
	if (r < 0) {
		log_error("%s: the request is not valid: %s", plugin->name, strerror(-r));
		return r;
	}
	request->root = open(request->root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (request->root < 0) {
		r = -errno;
		log_error("%s: cannot open %s: %s", plugin->name, request->root_path, strerror(-r));
		return r;
	}
	(void)snprintf(state, sizeof(state), PATH_STATE "/plugin/%s", plugin->name);
	r = file_make_directory(request->root, state, 0700, &request->state);
	if (r < 0)
		request->state = -1; /* a full or read-only disk must not keep a runtime key out */
	struct plugin_result *results = calloc(request->count + 1u, sizeof(*results));
	if (!results)
		return -ENOMEM;
	r = request->apply ? plugin->apply(request, results) : plugin->plan(request, results);
	if (r < 0)
		log_error("%s: %s", plugin->name, strerror(-r));
	else
		r = write_reply(request, results);
	free_results(results, request->count);
	return r;
}

static int usage(const struct plugin *plugin, FILE *out, int code)
{
	(void)fprintf(out,
		"Usage: %s plan|apply [--root DIR]\n"
		"       %s --describe | --help | --version\n\n"
		"A plugin of latchkey-apply(8): reads one JSON request on standard input and writes one reply.\n"
		"--describe prints its command table. See latchkey-plugin(7).\n",
		plugin->name, plugin->name);
	return code;
}

int plugin_main(const struct plugin *plugin, int argc, char **argv)
{
	struct plugin_request request = {.root_path = "/", .root = -1, .state = -1, .spawner = {.socket = -1}};

	int r = program_begin();
	if (r < 0)
		return 1;
	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return usage(plugin, stdout, 0);
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		(void)printf("latchkey %s %s\n", plugin->name, LATCHKEY_VERSION);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--describe") == 0) {
		(void)fputs(manifest_text(plugin->name), stdout);
		return 0;
	}
	if ((argc != 2 && argc != 4) || (strcmp(argv[1], "plan") != 0 && strcmp(argv[1], "apply") != 0) ||
		(argc == 4 && strcmp(argv[2], "--root") != 0))
		return usage(plugin, stderr, 64);
	request.apply = strcmp(argv[1], "apply") == 0;
	if (argc == 4)
		request.root_path = argv[3];
	request.is_host = strcmp(request.root_path, "/") == 0;
	if (plugin->as_user) {
		r = user_spawner_open(plugin->as_user, &request.spawner);
		if (r < 0) {
			log_error("%s: cannot fork: %s", plugin->name, strerror(-r));
			return 1;
		}
	}
	r = serve(plugin, &request);
	user_spawner_close(&request.spawner);
	free(request.commands);
	cJSON_Delete(request.document);
	manifest_set_free(&request.manifests);
	if (request.root >= 0)
		(void)close(request.root);
	if (request.state >= 0)
		(void)close(request.state);
	return r < 0 ? 1 : 0;
}
