/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "console/cli/commands.h"
#include "console/cli/http.h"
#include "console/cli/output.h"
#include "console/cli/pins.h"

/* Prints the enrolment secret, once; nothing keeps it here. */
static enum cli_exit print_enrol(const struct cli *cli, const char *instance, const struct http_answer *answer)
{
	cleanup_json cJSON *root = NULL;
	const char *secret;

	if (json_parse_object(answer->body.bytes, answer->body.size, &root) < 0 ||
		json_get_string(root, "enrol", &secret) < 0 || !field_is_text(secret, 256)) {
		complain("the endpoint's answer is malformed");
		return CLI_ENDPOINT;
	}
	if (cli->json) {
		output_json(root);
	} else {
		(void)fprintf(stderr,
			"The enrolment secret of %s, shown once. Put it into /etc/latchkey/enrol there "
			"(root:latchkey, 0640):\n",
			instance);
		(void)printf("%s\n", secret);
	}
	return CLI_OK;
}

static enum cli_exit check_id(const char *instance)
{
	if (field_is_instance(instance))
		return CLI_OK;
	complain("%s is no instance id: 1 to 128 of A-Z a-z 0-9 . _ : -, beginning with a letter or digit", instance);
	return CLI_USAGE;
}

enum cli_exit command_instance_add(struct cli *cli, const struct arguments *arguments)
{
	cleanup_http_answer struct http_answer answer = {0};
	cleanup_buffer struct buffer body = {0};
	struct json_writer writer = {&body, false};

	enum cli_exit r = check_id(arguments->positional[0]);
	if (r != CLI_OK)
		return r;
	json_begin_object(&writer, NULL);
	json_put_string(&writer, "instance", arguments->positional[0]);
	json_end_object(&writer);
	if (buffer_status(&body) < 0)
		return CLI_LOCAL;
	const struct http_request request = {
		.method = "POST", .path = "/instances", .body = body.bytes, .body_size = body.size};
	r = http_exchange(cli, &request, false, &answer);
	if (r != CLI_OK)
		return r;
	if (answer.status != 201)
		return http_unexpected("instance add", &answer);
	return print_enrol(cli, arguments->positional[0], &answer);
}

enum cli_exit command_instance_list(struct cli *cli, const struct arguments *arguments)
{
	cleanup_http_answer struct http_answer answer = {0};
	cleanup_json cJSON *root = NULL;
	const cJSON *list, *name;

	(void)arguments;
	enum cli_exit r =
		http_exchange(cli, &(struct http_request){.method = "GET", .path = "/instances"}, false, &answer);
	if (r != CLI_OK)
		return r;
	if (answer.status != 200)
		return http_unexpected("instance list", &answer);
	if (json_parse_object(answer.body.bytes, answer.body.size, &root) < 0 ||
		json_get_array(root, "instances", &list) < 0) {
		complain("the endpoint's answer is malformed");
		return CLI_ENDPOINT;
	}
	cJSON_ArrayForEach(name, list)
	{
		cleanup_pin struct pin pin = {0};
		char fingerprint[SSHKEY_FINGERPRINT_SIZE] = "";
		if (!cJSON_IsString(name) || !field_is_instance(name->valuestring))
			continue;
		r = pin_load(cli, name->valuestring, &pin);
		if (r != CLI_OK)
			return r;
		if (pin.sign)
			sshkey_fingerprint(pin.sign_blob, pin.sign_blob_size, fingerprint);
		if (cli->json)
			(void)printf("{\"instance\":\"%s\",\"fingerprint\":\"%s\"}\n", pin.instance, fingerprint);
		else
			(void)printf("%s\t%s\n", pin.instance, *fingerprint ? fingerprint : "not met yet");
	}
	return CLI_OK;
}

enum cli_exit command_instance_reset(struct cli *cli, const struct arguments *arguments)
{
	cleanup_http_answer struct http_answer answer = {0};
	char path[192];

	enum cli_exit r = check_id(arguments->positional[0]);
	if (r != CLI_OK)
		return r;
	(void)snprintf(path, sizeof(path), "/instances/%s/reset", arguments->positional[0]);
	const struct http_request request = {.method = "POST", .path = path, .body = "", .body_size = 0};
	r = http_exchange(cli, &request, false, &answer);
	if (r != CLI_OK)
		return r;
	if (answer.status != 200)
		return http_unexpected("instance reset", &answer);
	r = pin_forget(cli, arguments->positional[0]);
	return r == CLI_OK ? print_enrol(cli, arguments->positional[0], &answer) : r;
}

enum cli_exit command_instance_forget(struct cli *cli, const struct arguments *arguments)
{
	enum cli_exit r = check_id(arguments->positional[0]);
	return r == CLI_OK ? pin_forget(cli, arguments->positional[0]) : r;
}
