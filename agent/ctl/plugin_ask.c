/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/plugin_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/ctl/ctl.h"
#include "lib/file.h"
#include "lib/manifest.h"
#include "lib/paths.h"
#include "lib/process.h"
#include "policy/policy.h"

#define REPLY_MAX (2u << 20)

static int build_request(const struct manifest *manifest, const char *command, struct buffer *ret_request)
{
	cleanup_close int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct json_writer writer = {ret_request, false};
	cleanup_policy struct policy policy = {0};

	int r = root < 0 ? -errno : policy_load(root, &policy);
	if (r < 0)
		return r;
	json_begin_object(&writer, NULL);
	json_put_integer(&writer, "v", 1);
	json_put_string(&writer, "instance", "");
	json_put_integer(&writer, "seq", 0);
	json_put_string(&writer, "signer", "");
	json_put_string(&writer, "actor", "latchctl");
	json_put_integer(&writer, "time", time(NULL));
	json_begin_object(&writer, "settings");
	r = policy_write_settings(&policy, manifest->settings, &writer);
	if (r < 0)
		return r;
	json_end_object(&writer);
	json_begin_array(&writer, "commands");
	json_put_raw(&writer, NULL, command);
	json_end_array(&writer);
	json_end_object(&writer);
	return buffer_status(ret_request);
}

static const struct manifest *find(const struct manifest_set *set, const char *name)
{
	for (unsigned i = 0; i < MANIFEST_PLUGINS; i++) {
		if (strcmp(set->plugins[i].name, name) == 0)
			return &set->plugins[i];
	}
	return NULL;
}

int plugin_ask(const char *plugin, bool apply, const char *command, cJSON **ret_reply, const cJSON **ret_result)
{
	const char *argv[] = {plugin, apply ? "apply" : "plan", NULL};
	cleanup_process_result struct process_result result = {0};
	cleanup_manifest_set struct manifest_set manifests = {0};
	cleanup_buffer struct buffer request = {0};
	cleanup_json cJSON *reply = NULL;
	cleanup_close int directory = -1;
	const cJSON *results = NULL;
	char path[128];

	if (manifest_set_load(&manifests) < 0)
		return EXIT_TROUBLE;
	const struct manifest *manifest = find(&manifests, plugin);
	if (!manifest || build_request(manifest, command, &request) < 0)
		return EXIT_TROUBLE;
	(void)snprintf(path, sizeof(path), "/" PATH_STATE "/plugin/%s", plugin);
	if (file_open_directory(AT_FDCWD, path, &directory) < 0)
		directory = -1; /* the agent never ran: the plugin keeps nothing */
	(void)snprintf(path, sizeof(path), PATH_PLUGINS "/%s", plugin);
	const struct process process = {
		.path = path,
		.argv = argv,
		.working_directory = directory,
		.input = request.bytes,
		.input_size = request.size,
		.output_limit = REPLY_MAX,
		.timeout_ms = manifest->timeout_s * 1000,
		.capabilities = manifest->capabilities,
		.inherit_error = true,
	};
	int r = process_run(&process, &result);
	if (r < 0 || !process_exited(&result, 0)) {
		(void)fprintf(stderr, "latchctl: %s: %s\n", path, r < 0 ? strerror(-r) : "it failed");
		return EXIT_TROUBLE;
	}
	if (json_parse_object(result.output.bytes, result.output.size, &reply) < 0 ||
		json_get_array(reply, "results", &results) < 0 || !results->child)
		return EXIT_PROTOCOL;
	*ret_result = results->child;
	*ret_reply = steal_pointer(&reply);
	return EXIT_OK;
}
