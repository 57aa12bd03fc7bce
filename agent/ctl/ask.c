/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that are one question to the agent. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/ctl/ctl.h"
#include "agent/ctl/output.h"
#include "agent/ctl/used.h"

/* latchkeyd holds the socket: that a connection was made says nothing of latchkey-net, which answers. */
static int explain_silence(int r)
{
	if (r == -EAGAIN)
		(void)fprintf(stderr,
			"latchctl: no answer in %d s: latchkey-net does not run, or hangs; try: systemctl status "
			"latchkey-net\n",
			CLIENT_TIMEOUT_S);
	else if (r == -ECONNRESET || r == -EPIPE)
		(void)fprintf(stderr,
			"latchctl: the agent closed the connection: it was stopped, or you have too many open; try: "
			"systemctl status latchkey-net\n");
	else
		(void)fprintf(stderr, "latchctl: no sensible answer from the agent: %s\n", strerror(-r));
	return r == -EAGAIN || r == -ECONNRESET || r == -EPIPE ? EXIT_NO_AGENT : EXIT_PROTOCOL;
}

/* The next reply's parameters, alive as long as *ret_reply. An exit code other than 0 was explained. */
static int receive(struct client *client, cJSON **ret_reply, const cJSON **ret_parameters)
{
	const char *error = NULL;

	int r = client_receive(client, ret_reply);
	if (r < 0)
		return explain_silence(r);
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

int ask_call(struct client *client, const char *method, const char *parameters, bool more, cJSON **ret_reply,
	const cJSON **ret_parameters)
{
	int r = client_send(client, method, parameters, more);
	if (r < 0)
		return explain_silence(r);
	return receive(client, ret_reply, ret_parameters);
}

static int simple(struct client *client, const struct options *options, const char *method, const char *parameters,
	const char *member, void (*print)(const cJSON *value))
{
	cleanup_json cJSON *reply = NULL;
	const cJSON *answer = NULL;

	int code = ask_call(client, method, parameters, false, &reply, &answer);
	if (code != EXIT_OK)
		return code;
	const cJSON *value = member ? json_member(answer, member) : answer;
	if (!value)
		return EXIT_PROTOCOL;
	if (options->json)
		output_json(value);
	else
		print(value);
	return EXIT_OK;
}

int ask_status(struct client *client, const struct options *options)
{
	cleanup_json cJSON *reply = NULL;
	const cJSON *status = NULL;
	const char *health = "";

	int code = ask_call(client, "io.latchkey.Agent.GetStatus", NULL, false, &reply, &status);
	if (code != EXIT_OK)
		return code;
	if (options->json)
		output_json(status);
	else
		output_status(status);
	(void)!json_get_string(status, "health", &health);
	return strcmp(health, "failing") == 0 ? EXIT_UNHEALTHY : EXIT_OK;
}

int ask_banner(struct client *client, const struct options *options)
{
	return simple(client, options, "io.latchkey.Agent.GetStatus", NULL, NULL, output_banner);
}

int ask_commands(struct client *client, const struct options *options)
{
	return simple(client, options, "io.latchkey.Agent.ListCommands", NULL, "commands", output_commands);
}

int ask_users(struct client *client, const struct options *options)
{
	return simple(client, options, "io.latchkey.Agent.ListUsers", NULL, "users", output_users);
}

static int keys_used(struct client *client, const struct options *options, const char *parameters)
{
	cleanup_json cJSON *reply = NULL;
	const cJSON *answer = NULL;
	unsigned seen = 0;

	int code = ask_call(client, "io.latchkey.Agent.ListKeys", parameters, false, &reply, &answer);
	if (code != EXIT_OK)
		return code;
	cJSON *keys = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(reply, "parameters"), "keys");
	if (!cJSON_IsArray(keys))
		return EXIT_PROTOCOL;
	code = used_add(keys, &seen);
	if (code != EXIT_OK)
		return code;
	if (options->json)
		output_json(keys);
	else
		output_keys_used(keys, seen > 0);
	if (seen == 0)
		(void)fprintf(stderr,
			"latchctl: no line of sshd's in the journal can be read: it keeps none, or only root and the "
			"group systemd-journal may\n");
	return EXIT_OK;
}

int ask_keys(struct client *client, const struct options *options)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};

	/* Nobody's name but his own may be asked about, and the agent shows a user what is his without being told it.
	 */
	const struct passwd *own = geteuid() != 0 ? getpwuid(geteuid()) : NULL;
	json_begin_object(&writer, NULL);
	if (options->operand && !(own && strcmp(own->pw_name, options->operand) == 0))
		json_put_string(&writer, "user", options->operand);
	json_end_object(&writer);
	if (buffer_status(&text) < 0)
		return EXIT_PROTOCOL;
	if (!options->used)
		return simple(client, options, "io.latchkey.Agent.ListKeys", text.bytes, "keys", output_keys);
	return keys_used(client, options, text.bytes);
}

int ask_metrics(struct client *client, const struct options *options)
{
	return simple(client, options, "io.latchkey.Agent.GetMetrics", NULL, "metrics", output_metrics);
}

int ask_monitor(struct client *client, const struct options *options)
{
	cleanup_json cJSON *reply = NULL;
	const cJSON *answer = NULL;

	int code = ask_call(client, "io.latchkey.Agent.Monitor", NULL, true, &reply, &answer);
	while (code == EXIT_OK) {
		const cJSON *command = json_member(answer, "command");
		if (options->json)
			output_json(command);
		else
			output_command(command);
		(void)fflush(stdout);
		cJSON_Delete(steal_pointer(&reply));
		code = receive(client, &reply, &answer);
	}
	return code;
}
