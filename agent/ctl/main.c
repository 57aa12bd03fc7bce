/* SPDX-License-Identifier: Apache-2.0 */
/* latchctl(1): what is true on this machine, and why. Reads the status socket; changes nothing. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/ctl/client.h"
#include "agent/ctl/output.h"
#include "lib/field.h"
#include "lib/paths.h"

enum {
	EXIT_OK = 0,
	EXIT_UNHEALTHY = 1,
	EXIT_USAGE = 64,
	EXIT_NO_AGENT = 69,
	EXIT_PROTOCOL = 76,
	EXIT_DENIED = 77,
};

struct options {
	bool json;
	const char *operand;
};

static void print_json(const cJSON *value)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};

	json_put_value(&writer, NULL, value);
	if (buffer_status(&text) == 0)
		(void)printf("%s\n", text.bytes);
}

/* The next reply's parameters, alive as long as *ret_reply. An exit code other than 0 was explained. */
static int receive(struct client *client, cJSON **ret_reply, const cJSON **ret_parameters)
{
	const char *error = NULL;

	int r = client_receive(client, ret_reply);
	if (r < 0) {
		(void)fprintf(stderr, "latchctl: no answer from the agent: %s\n", strerror(-r));
		return EXIT_PROTOCOL;
	}
	if (json_get_string(*ret_reply, "error", &error) == 0) {
		bool denied = strcmp(error, "org.varlink.service.PermissionDenied") == 0;
		(void)fprintf(stderr, denied ? "latchctl: only root may ask about another user\n"
					     : "latchctl: the agent refuses the call\n");
		return denied ? EXIT_DENIED : EXIT_PROTOCOL;
	}
	if (json_get_object(*ret_reply, "parameters", ret_parameters) < 0)
		return EXIT_PROTOCOL;
	return EXIT_OK;
}

static int call(struct client *client, const char *method, const char *parameters, bool more, cJSON **ret_reply,
	const cJSON **ret_parameters)
{
	int r = client_send(client, method, parameters, more);
	if (r < 0) {
		(void)fprintf(stderr, "latchctl: the agent does not take the call: %s\n", strerror(-r));
		return EXIT_PROTOCOL;
	}
	return receive(client, ret_reply, ret_parameters);
}

static int simple(struct client *client, const struct options *options, const char *method, const char *parameters,
	const char *member, void (*print)(const cJSON *value))
{
	cleanup_json cJSON *reply = NULL;
	const cJSON *answer = NULL;

	int code = call(client, method, parameters, false, &reply, &answer);
	if (code != EXIT_OK)
		return code;
	const cJSON *value = member ? json_member(answer, member) : answer;
	if (!value)
		return EXIT_PROTOCOL;
	if (options->json)
		print_json(value);
	else
		print(value);
	return EXIT_OK;
}

static int do_status(struct client *client, const struct options *options)
{
	cleanup_json cJSON *reply = NULL;
	const cJSON *status = NULL;
	const char *health = "";

	int code = call(client, "io.latchkey.Agent.GetStatus", NULL, false, &reply, &status);
	if (code != EXIT_OK)
		return code;
	if (options->json)
		print_json(status);
	else
		output_status(status);
	(void)!json_get_string(status, "health", &health);
	return strcmp(health, "failing") == 0 ? EXIT_UNHEALTHY : EXIT_OK;
}

static int do_commands(struct client *client, const struct options *options)
{
	return simple(client, options, "io.latchkey.Agent.ListCommands", NULL, "commands", output_commands);
}

static int do_users(struct client *client, const struct options *options)
{
	return simple(client, options, "io.latchkey.Agent.ListUsers", NULL, "users", output_users);
}

static int do_keys(struct client *client, const struct options *options)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};

	json_begin_object(&writer, NULL);
	if (options->operand)
		json_put_string(&writer, "user", options->operand);
	json_end_object(&writer);
	if (buffer_status(&text) < 0)
		return EXIT_PROTOCOL;
	return simple(client, options, "io.latchkey.Agent.ListKeys", text.bytes, "keys", output_keys);
}

static int do_metrics(struct client *client, const struct options *options)
{
	return simple(client, options, "io.latchkey.Agent.GetMetrics", NULL, "metrics", output_metrics);
}

static int do_monitor(struct client *client, const struct options *options)
{
	cleanup_json cJSON *reply = NULL;
	const cJSON *answer = NULL;

	int code = call(client, "io.latchkey.Agent.Monitor", NULL, true, &reply, &answer);
	while (code == EXIT_OK) {
		const cJSON *command = json_member(answer, "command");
		if (options->json)
			print_json(command);
		else
			output_command(command);
		(void)fflush(stdout);
		cJSON_Delete(steal_pointer(&reply));
		code = receive(client, &reply, &answer);
	}
	return code;
}

static const struct {
	const char *name, *operand, *help;
	int (*run)(struct client *client, const struct options *options);
} verbs[] = {
	{"status", NULL, "health, endpoint, newest document, problems (exit 1 when failing)", do_status},
	{"commands", NULL, "what was done, newest first", do_commands},
	{"users", NULL, "managed users and whether they can log in", do_users},
	{"keys", "[USER]", "bound keys: who, when, by whom", do_keys},
	{"monitor", NULL, "a line for each command that ends from now on", do_monitor},
	{"metrics", NULL, "OpenMetrics text", do_metrics},
};

static int usage(FILE *out, int code)
{
	(void)fprintf(out, "Usage: latchctl [--json] COMMAND\n\nWhat the Latchkey agent knows of this machine.\n\n");
	for (unsigned i = 0; i < ELEMENTS(verbs); i++)
		(void)fprintf(out, "  %-9s %-7s %s\n", verbs[i].name, verbs[i].operand ? verbs[i].operand : "",
			verbs[i].help);
	(void)fprintf(out, "\n  --json     print JSON\n  --help     this text\n  --version  the version\n\n"
			   "A user sees what concerns himself, root everything. Exit codes: 0 ok, 1 the agent is "
			   "failing, 64 usage,\n"
			   "69 the agent does not run, 76 no sensible answer, 77 not allowed.\n");
	return code;
}

int main(int argc, char **argv)
{
	cleanup_client struct client client = {.descriptor = -1};
	struct options options = {0};
	const char *verb = NULL;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0)
			return usage(stdout, EXIT_OK);
		if (strcmp(argv[i], "--version") == 0) {
			(void)printf("latchctl %s\n", LATCHKEY_VERSION);
			return EXIT_OK;
		}
		if (strcmp(argv[i], "--json") == 0)
			options.json = true;
		else if (argv[i][0] == '-')
			return usage(stderr, EXIT_USAGE);
		else if (!verb)
			verb = argv[i];
		else if (!options.operand && field_is_user(argv[i]))
			options.operand = argv[i];
		else
			return usage(stderr, EXIT_USAGE);
	}
	for (unsigned i = 0; verb && i < ELEMENTS(verbs); i++) {
		if (strcmp(verbs[i].name, verb) != 0)
			continue;
		if (options.operand && !verbs[i].operand)
			return usage(stderr, EXIT_USAGE);
		int r = client_open(PATH_STATUS_SOCKET, &client);
		if (r < 0) {
			(void)fprintf(stderr,
				"latchctl: the agent does not run (%s: %s); try: systemctl status latchkeyd\n",
				PATH_STATUS_SOCKET, strerror(-r));
			return EXIT_NO_AGENT;
		}
		return verbs[i].run(&client, &options);
	}
	return usage(stderr, EXIT_USAGE);
}
