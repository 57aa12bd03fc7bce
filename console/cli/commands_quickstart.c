/* SPDX-License-Identifier: Apache-2.0 */
/* latchkey quickstart: every step is one that can be typed alone, and each is left out where it was done before. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "console/cli/change.h"
#include "console/cli/commands.h"
#include "console/cli/endpoint_here.h"
#include "console/cli/http.h"
#include "console/cli/init.h"
#include "console/cli/output.h"
#include "console/cli/state.h"
#include "lib/file.h"
#include "lib/process.h"

#define WAIT_DEFAULT 3600 /* seconds for somebody to make a machine with the user-data */
/* No name that a distribution has: operator is an account of EL's, and a group of Debian's. */
#define USER_DEFAULT "quickstart"
#define KNOWN_HOSTS "known_hosts"
#define LOGIN_TIMEOUT_MS 60000u

struct quickstart {
	struct cli *cli;
	const struct arguments *arguments;
	char user[33], host[256];
	const char *instance, *label;
	unsigned port;
	struct buffer signers; /* the line for /etc/latchkey/allowed_signers */
	int endpoint;          /* the process started here; 0: none */
};

/* [USER@]HOST[:PORT], an IPv6 address in brackets. */
static enum cli_exit parse_host(struct quickstart *quickstart, const char *text)
{
	const char *at = strrchr(text, '@'), *host = at ? at + 1 : text;
	size_t size = host[0] == '[' ? strcspn(++host, "]") : strcspn(host, ":");
	const char *rest = host + size + (host[size] == ']');
	int64_t port = 22;

	(void)snprintf(quickstart->user, sizeof(quickstart->user), "%.*s", at ? (int)(at - text) : INT_MAX,
		at ? text : USER_DEFAULT);
	if ((at && (size_t)(at - text) >= sizeof(quickstart->user)) || !field_is_user(quickstart->user) || size == 0 ||
		size >= sizeof(quickstart->host) || host[0] == '-' ||
		strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:_-") < size ||
		(*rest != '\0' && (*rest != ':' || arguments_duration(rest + 1, 65535, &port) < 0 || port == 0))) {
		complain("%s: give [USER@]HOST[:PORT]", text);
		return CLI_USAGE;
	}
	(void)snprintf(quickstart->host, sizeof(quickstart->host), "%.*s", (int)size, host);
	quickstart->port = (unsigned)port;
	quickstart->instance = arguments_option(quickstart->arguments, "instance");
	if (!quickstart->instance)
		quickstart->instance = quickstart->host;
	if (!field_is_instance(quickstart->instance)) {
		complain("%s is no instance id: give --instance ID", quickstart->instance);
		return CLI_USAGE;
	}
	quickstart->label = arguments_option(quickstart->arguments, "keypair");
	if (!quickstart->label)
		quickstart->label = "quickstart";
	return CLI_OK;
}

static void step(const struct quickstart *quickstart, const char *text)
{
	if (!quickstart->cli->json)
		note("* %s", text);
}

/* An endpoint that the operator names, or one of his own. */
static enum cli_exit set_up(struct quickstart *quickstart)
{
	const char *url = arguments_option(quickstart->arguments, "endpoint"),
		   *listen = arguments_option(quickstart->arguments, "listen");
	char address[ENDPOINT_ADDRESS_SIZE], made[ENDPOINT_ADDRESS_SIZE + 8];
	struct cli *cli = quickstart->cli;
	struct stat status;
	enum cli_exit r = CLI_OK;

	if (url && listen) {
		complain("--listen is for an endpoint that is started here, and --endpoint names another");
		return CLI_USAGE;
	}
	if (listen)
		(void)snprintf(address, sizeof(address), "%s", listen);
	else if (!url)
		r = endpoint_address_for(quickstart->host, address);
	if (r != CLI_OK)
		return r;
	(void)snprintf(made, sizeof(made), "http://%s", url ? "" : address);
	bool known = fstatat(cli->home, "config", &status, AT_SYMLINK_NOFOLLOW) == 0;
	step(quickstart, known ? "state and signing key are there" : "a signing key and a state directory");
	if (known)
		r = state_load_settings(cli);
	/* Somebody's console is not turned round to a try. */
	if (r == CLI_OK && known && strcmp(cli->settings.endpoint, url ? url : made) != 0) {
		complain("%s is for the endpoint %s: give --endpoint %s, or --home DIR for another state",
			cli->home_path, cli->settings.endpoint, cli->settings.endpoint);
		return CLI_USAGE;
	}
	if (r == CLI_OK)
		r = init_endpoint(cli, url ? url : made);
	if (r == CLI_OK && url && !known)
		r = init_token(cli, quickstart->arguments);
	else if (r == CLI_OK && !url && fstatat(cli->home, "token", &status, AT_SYMLINK_NOFOLLOW) < 0)
		r = endpoint_make(cli);
	if (r == CLI_OK)
		r = init_finish(cli, quickstart->arguments, &quickstart->signers);
	if (r != CLI_OK || url)
		return r;
	step(quickstart, "the endpoint");
	r = endpoint_start(cli, address, &quickstart->endpoint);
	if (r == CLI_OK && quickstart->endpoint > 0 && !cli->json)
		note("  process %d at %s, without TLS: for a try. It goes on when this has ended; to start it again:\n"
		     "  latchkey-endpoint --database %s/endpoint.db --listen %s",
			quickstart->endpoint, cli->settings.endpoint, cli->home_path, address);
	return r;
}

static void put_user_data(const struct quickstart *quickstart, const char *secret, struct buffer *text)
{
	buffer_append_format(text,
		"#cloud-config\n"
		"write_files:\n"
		"  - path: /etc/latchkey/allowed_signers\n"
		"    permissions: '0644'\n"
		"    content: |\n"
		"      %s"
		"  - path: /etc/latchkey/enrol\n"
		"    owner: root:latchkey\n"
		"    permissions: '0640'\n"
		"    content: |\n"
		"      %s\n"
		"  - path: /etc/latchkey/latchkey.conf\n"
		"    permissions: '0644'\n"
		"    content: |\n"
		"      [agent]\n"
		"      instance = %s\n"
		"      [endpoint]\n"
		"      url = %s\n"
		"runcmd:\n"
		"  - [systemctl, enable, latchkeyd, latchkey-net]\n"
		"  - [systemctl, restart, latchkeyd, latchkey-net]\n",
		quickstart->signers.bytes, secret, quickstart->instance, quickstart->cli->settings.endpoint);
}

/* What the machine needs to know, for an image that has the agent. */
static enum cli_exit tell_user_data(const struct quickstart *quickstart, const char *secret)
{
	const char *file = arguments_option(quickstart->arguments, "user-data");
	cleanup_buffer struct buffer text = {0}, line = {0};
	struct json_writer writer = {&line, false};

	put_user_data(quickstart, secret, &text);
	if (buffer_status(&text) < 0)
		return CLI_LOCAL;
	if (file) {
		cleanup_close int descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
		int r = descriptor < 0 || fchmod(descriptor, 0600) < 0 ? -errno : 0; /* a secret is in it */
		if (r == 0)
			r = file_write_all(descriptor, text.bytes, text.size);
		if (r < 0) {
			complain("%s: %s", file, strerror(-r));
			return CLI_LOCAL;
		}
		step(quickstart, "the user-data is written: make the machine with it");
	} else if (quickstart->cli->json) {
		json_begin_object(&writer, NULL);
		json_put_string(&writer, "instance", quickstart->instance);
		json_put_string(&writer, "endpoint", quickstart->cli->settings.endpoint);
		json_put_integer(&writer, "endpoint_process", quickstart->endpoint);
		json_put_string(&writer, "allowed_signers", quickstart->signers.bytes);
		json_put_string(&writer, "enrol", secret);
		json_put_string(&writer, "user_data", text.bytes);
		json_end_object(&writer);
		if (buffer_status(&line) == 0)
			(void)printf("%s\n", line.bytes);
	} else {
		step(quickstart, "make the machine, from an image that has the agent, with this user-data:\n");
		(void)fputs(text.bytes, stdout);
	}
	(void)fflush(stdout);
	return CLI_OK;
}

/* The lines of other hosts, for the ssh line that was printed for each goes on working. */
static int keep_known_hosts(const struct cli *cli, const char *name, struct buffer *text)
{
	cleanup_free char *old = NULL;
	size_t size, length = strlen(name);

	int r = file_read(cli->home, KNOWN_HOSTS, STATE_FILE_MAX, &old, &size);
	for (char *line = old; line && *line;) {
		size_t count = strcspn(line, "\n");
		if (strncmp(line, name, length) != 0 || line[length] != ' ')
			buffer_append_format(text, "%.*s\n", (int)count, line);
		line += count + (line[count] == '\n');
	}
	return r == -ENOENT ? 0 : r;
}

/* Host keys come signed: ssh need not trust on first use. */
static enum cli_exit write_known_hosts(const struct quickstart *quickstart, const struct identity *identity)
{
	cleanup_buffer struct buffer text = {0}, name = {0};
	const cJSON *key;

	if (quickstart->port == 22)
		buffer_append_text(&name, quickstart->host);
	else
		buffer_append_format(&name, "[%s]:%u", quickstart->host, quickstart->port);
	int r = buffer_status(&name);
	if (r == 0)
		r = keep_known_hosts(quickstart->cli, name.bytes, &text);
	cJSON_ArrayForEach(key, identity->host_keys)
	{
		if (r == 0 && cJSON_IsString(key))
			buffer_append_format(&text, "%s %s\n", name.bytes, key->valuestring);
	}
	if (r == 0)
		r = buffer_status(&text);
	if (r < 0) {
		complain(KNOWN_HOSTS ": %s", strerror(-r));
		return CLI_LOCAL;
	}
	return state_write(quickstart->cli, KNOWN_HOSTS, text.bytes, text.size, false);
}

/* Asks until it is there or the time is over. */
static enum cli_exit wait_for_identity(struct quickstart *quickstart)
{
	cleanup_pin struct pin pin = {0};
	cleanup_identity struct identity identity = {0};
	const char *timeout = arguments_option(quickstart->arguments, "timeout");
	int64_t seconds = WAIT_DEFAULT, begin = cli_now();
	char path[192];

	if (timeout && arguments_duration(timeout, DOCUMENT_VALID_MAX, &seconds) < 0) {
		complain("--timeout must be a number of seconds, at most 7d");
		return CLI_USAGE;
	}
	step(quickstart, "waiting for the machine's identity …");
	(void)snprintf(path, sizeof(path), "/instances/%s/identity", quickstart->instance);
	for (;;) {
		cleanup_http_answer struct http_answer answer = {0};
		enum cli_exit r = http_exchange(
			quickstart->cli, &(struct http_request){.method = "GET", .path = path}, true, &answer);
		if (r == CLI_OK && answer.status == 200) {
			enum code code = identity_read(answer.body.bytes, answer.body.size, &identity);
			if (code == CODE_OK)
				break;
			complain("the identity that the endpoint offers is not good: %s", code_name(code));
			return CLI_TRUST;
		}
		if (r == CLI_OK && answer.status != 404)
			return http_unexpected("identity", &answer);
		if (cli_now() - begin >= seconds) {
			complain("%s has not registered; run the same again to wait on", quickstart->instance);
			return CLI_TIMEOUT;
		}
		state_unlock(quickstart->cli);
		(void)sleep(1);
		r = state_lock(quickstart->cli);
		if (r != CLI_OK)
			return r;
	}
	enum cli_exit r = pin_load(quickstart->cli, quickstart->instance, &pin);
	if (r != CLI_OK)
		return r;
	if (!quickstart->cli->json)
		note("  %s", identity.fingerprint);
	r = pin_check_identity(quickstart->cli, quickstart->arguments, &identity, &pin);
	return r == CLI_OK ? write_known_hosts(quickstart, &identity) : r;
}

/* A subcommand as if it had been typed. */
static enum cli_exit run_as(const struct quickstart *quickstart, const char *words, const char *first,
	const char *second, const char *third)
{
	struct arguments arguments = *quickstart->arguments;
	const char *const positional[] = {first, second, third};

	arguments.count = 0;
	for (unsigned i = 0; i < ELEMENTS(positional) && positional[i]; i++)
		arguments.positional[arguments.count++] = positional[i];
	/* --timeout was for the machine to come */
	for (unsigned i = 0; i < arguments.option_count; i++) {
		struct argument_option *option = &arguments.options[i];
		if (strncmp(option->name, "timeout", option->name_size) == 0)
			*option = arguments.options[--arguments.option_count];
	}
	for (const struct subcommand *at = subcommands; at->words; at++) {
		if (strcmp(at->words, words) == 0) {
			arguments.subcommand = at;
			return at->run(quickstart->cli, &arguments);
		}
	}
	return CLI_LOCAL;
}

static enum cli_exit bind_key(const struct quickstart *quickstart)
{
	char path[96];
	struct stat status;

	(void)snprintf(path, sizeof(path), "keypairs/%.64s.pub", quickstart->label);
	bool known = fstatat(quickstart->cli->home, path, &status, AT_SYMLINK_NOFOLLOW) == 0;
	step(quickstart, known ? "the key pair is there" : "a key pair");
	enum cli_exit r = known ? CLI_OK : run_as(quickstart, "keypair create", quickstart->label, NULL, NULL);
	step(quickstart, "the user, and the key for him");
	if (r == CLI_OK)
		r = run_as(quickstart, "user add", quickstart->instance, quickstart->user, NULL);
	if (r == CLI_OK)
		r = run_as(quickstart, "bind", quickstart->instance, quickstart->user, quickstart->label);
	return r;
}

static enum cli_exit log_in(const struct quickstart *quickstart)
{
	cleanup_process_result struct process_result result = {0};
	cleanup_buffer struct buffer hosts = {0}, place = {0};
	char key[PATH_MAX], port[8];

	if (!realpath(quickstart->label, key)) {
		complain("the private key of %s is not in this directory (%s): log in with it yourself",
			quickstart->label, strerror(errno));
		return CLI_LOCAL;
	}
	buffer_append_format(&hosts, "UserKnownHostsFile=%s/" KNOWN_HOSTS, quickstart->cli->home_path);
	buffer_append_format(&place, "%s@%s", quickstart->user, quickstart->host);
	if (buffer_status(&hosts) < 0 || buffer_status(&place) < 0)
		return CLI_LOCAL;
	(void)snprintf(port, sizeof(port), "%u", quickstart->port);
	const struct process process = {
		.path = "/usr/bin/ssh",
		.argv = (const char *const[]){"ssh", "-F", "none", "-p", port, "-i", key, "-o", "IdentitiesOnly=yes",
			"-o", "IdentityAgent=none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o",
			hosts.bytes, "--", place.bytes, "id", "-un", NULL},
		.working_directory = -1,
		.output_limit = 4096,
		.timeout_ms = LOGIN_TIMEOUT_MS,
		.capabilities = PROCESS_CAPABILITIES_KEEP,
		.inherit_error = true,
	};
	step(quickstart, "ssh, with the host keys that the machine has signed");
	int r = process_run(&process, &result);
	bool in = r == 0 && process_exited(&result, 0) && result.output.size > 0 &&
		  strcspn(result.output.bytes, "\n") == strlen(quickstart->user) &&
		  strncmp(result.output.bytes, quickstart->user, strlen(quickstart->user)) == 0;
	if (!in) {
		complain("the login as %s did not work; latchkey diagnose %s %s says what the machine sees",
			place.bytes, quickstart->instance, quickstart->user);
		return CLI_FAILED;
	}
	if (quickstart->cli->json)
		(void)printf("{\"login\":true}\n");
	else
		(void)printf("You are in. By hand:\n  ssh -i %s -p %s -o %s %s\n", key, port, hosts.bytes, place.bytes);
	return CLI_OK;
}

enum cli_exit command_quickstart(struct cli *cli, const struct arguments *arguments)
{
	struct quickstart quickstart = {.cli = cli, .arguments = arguments};
	cleanup_free char *secret = NULL;

	enum cli_exit r = parse_host(&quickstart, arguments->positional[0]);
	if (r == CLI_OK)
		r = set_up(&quickstart);
	if (r == CLI_OK)
		r = instance_enrol(cli, quickstart.instance, &secret);
	if (r == CLI_OK && secret)
		r = tell_user_data(&quickstart, secret);
	if (r == CLI_OK)
		r = wait_for_identity(&quickstart);
	if (r == CLI_OK)
		r = bind_key(&quickstart);
	if (r == CLI_OK)
		r = log_in(&quickstart);
	buffer_free(&quickstart.signers);
	return r;
}
