/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "console/cli/commands.h"
#include "console/cli/http.h"
#include "console/cli/init.h"
#include "console/cli/output.h"
#include "console/cli/pins.h"

/* The enrolment secret of an answer; nothing keeps it here. */
static enum cli_exit read_enrol(const struct http_answer *answer, cJSON **ret_root, const char **ret_secret)
{
	if (json_parse_object(answer->body.bytes, answer->body.size, ret_root) < 0 ||
		json_get_string(*ret_root, "enrol", ret_secret) < 0 || !field_is_text(*ret_secret, 256)) {
		complain("the endpoint's answer is malformed");
		return CLI_ENDPOINT;
	}
	return CLI_OK;
}

/* Prints it, once. */
static enum cli_exit print_enrol(const struct cli *cli, const char *instance, const struct http_answer *answer)
{
	cleanup_json cJSON *root = NULL;
	const char *secret;

	enum cli_exit r = read_enrol(answer, &root, &secret);
	if (r != CLI_OK)
		return r;
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

static enum cli_exit post_instance(struct cli *cli, const char *instance, struct http_answer *ret_answer)
{
	cleanup_buffer struct buffer body = {0};
	struct json_writer writer = {&body, false};

	enum cli_exit r = check_id(instance);
	if (r != CLI_OK)
		return r;
	json_begin_object(&writer, NULL);
	json_put_string(&writer, "instance", instance);
	json_end_object(&writer);
	if (buffer_status(&body) < 0)
		return CLI_LOCAL;
	const struct http_request request = {
		.method = "POST", .path = "/instances", .body = body.bytes, .body_size = body.size};
	return http_exchange(cli, &request, false, ret_answer);
}

static enum cli_exit post_reset(struct cli *cli, const char *instance, struct http_answer *ret_answer)
{
	char path[192];

	(void)snprintf(path, sizeof(path), "/instances/%s/reset", instance);
	const struct http_request request = {.method = "POST", .path = path, .body = "", .body_size = 0};
	return http_exchange(cli, &request, false, ret_answer);
}

enum cli_exit instance_enrol(struct cli *cli, const char *instance, char **ret_secret)
{
	cleanup_http_answer struct http_answer added = {0}, identity = {0}, reset = {0};
	const struct http_answer *answer = &added;
	cleanup_json cJSON *root = NULL;
	const char *secret;
	char path[192];

	*ret_secret = NULL;
	enum cli_exit r = post_instance(cli, instance, &added);
	if (r != CLI_OK)
		return r;
	if (added.status == 409) {
		(void)snprintf(path, sizeof(path), "/instances/%s/identity", instance);
		r = http_exchange(cli, &(struct http_request){.method = "GET", .path = path}, false, &identity);
		if (r != CLI_OK || identity.status == 200)
			return r;
		r = post_reset(cli, instance, &reset);
		if (r != CLI_OK)
			return r;
		answer = &reset;
	}
	if (answer->status != 200 && answer->status != 201)
		return http_unexpected("instance add", answer);
	r = read_enrol(answer, &root, &secret);
	if (r == CLI_OK)
		*ret_secret = strdup(secret);
	return r == CLI_OK && !*ret_secret ? CLI_LOCAL : r;
}

enum cli_exit command_instance_add(struct cli *cli, const struct arguments *arguments)
{
	cleanup_http_answer struct http_answer answer = {0};

	enum cli_exit r = post_instance(cli, arguments->positional[0], &answer);
	if (r != CLI_OK)
		return r;
	if (answer.status != 201)
		return http_unexpected("instance add", &answer);
	return print_enrol(cli, arguments->positional[0], &answer);
}

static void print_pin(void *context, const struct pin *pin)
{
	char fingerprint[SSHKEY_FINGERPRINT_SIZE] = "";
	const struct cli *cli = context;

	if (pin->sign)
		sshkey_fingerprint(pin->sign_blob, pin->sign_blob_size, fingerprint);
	if (cli->json)
		(void)printf("{\"instance\":\"%s\",\"fingerprint\":\"%s\"}\n", pin->instance, fingerprint);
	else
		(void)printf("%s\t%s\n", pin->instance, *fingerprint ? fingerprint : "not met yet");
}

enum cli_exit command_instance_list(struct cli *cli, const struct arguments *arguments)
{
	cleanup_http_answer struct http_answer answer = {0};
	cleanup_json cJSON *root = NULL;
	const cJSON *list;

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
	return pins_visit(cli, list, print_pin, cli);
}

enum cli_exit command_instance_reset(struct cli *cli, const struct arguments *arguments)
{
	cleanup_http_answer struct http_answer answer = {0};

	enum cli_exit r = check_id(arguments->positional[0]);
	if (r != CLI_OK)
		return r;
	r = post_reset(cli, arguments->positional[0], &answer);
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
