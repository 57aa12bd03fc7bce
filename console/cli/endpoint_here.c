/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/endpoint_here.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "console/cli/http.h"
#include "console/cli/state.h"
#include "lib/file.h"
#include "lib/process.h"

#define PROGRAM "/usr/sbin/latchkey-endpoint"
#define DATABASE "endpoint.db"
#define LOG "endpoint.log"
#define TRIES 200 /* of 50 ms: a slow disk makes a database in less */

static enum cli_exit failed(const char *what, int error)
{
	complain("%s: %s", what, strerror(-error));
	return CLI_LOCAL;
}

enum cli_exit endpoint_address_for(const char *host, char ret_address[ENDPOINT_ADDRESS_SIZE])
{
	const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
	struct addrinfo *found = NULL;
	struct sockaddr_storage local;
	socklen_t size = sizeof(local);
	char text[NI_MAXHOST];
	bool good = false;

	int r = getaddrinfo(host, "9", &hints, &found);
	if (r != 0) {
		complain("%s: %s", host, gai_strerror(r));
		return CLI_USAGE;
	}
	/* Connecting a datagram socket sends nothing; it only asks the routes. */
	for (const struct addrinfo *at = found; at && !good; at = at->ai_next) {
		cleanup_close int descriptor = socket(at->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		size = sizeof(local);
		good = descriptor >= 0 && connect(descriptor, at->ai_addr, at->ai_addrlen) == 0 &&
		       getsockname(descriptor, (struct sockaddr *)&local, &size) == 0 &&
		       getnameinfo((struct sockaddr *)&local, size, text, sizeof(text), NULL, 0, NI_NUMERICHOST) == 0 &&
		       !strchr(text, '%');
	}
	freeaddrinfo(found);
	if (!good || strlen(text) > ENDPOINT_ADDRESS_SIZE - 16) {
		complain("%s: no address of this machine that it could reach: give --listen ADDRESS:PORT", host);
		return CLI_USAGE;
	}
	(void)snprintf(
		ret_address, ENDPOINT_ADDRESS_SIZE, strchr(text, ':') ? "[%.46s]:%d" : "%.46s:%d", text, ENDPOINT_PORT);
	return CLI_OK;
}

static enum cli_exit path_of(const struct cli *cli, const char *name, struct buffer *path)
{
	buffer_append_format(path, "%s/%s", cli->home_path, name);
	return buffer_status(path) < 0 ? failed(name, -ENOMEM) : CLI_OK;
}

enum cli_exit endpoint_make(struct cli *cli)
{
	cleanup_process_result struct process_result result = {0};
	cleanup_buffer struct buffer path = {0};
	char name[64], token[STATE_TOKEN_MAX];

	enum cli_exit made = path_of(cli, DATABASE, &path);
	if (made != CLI_OK)
		return made;
	/* A token can be shown once: where it was lost, as when we were killed, another name is due. */
	(void)snprintf(name, sizeof(name), "quickstart-%lld", (long long)cli_now());
	const struct process process = {
		.path = PROGRAM,
		.argv = (const char *const[]){"latchkey-endpoint", "--database", path.bytes, "token", "add", name,
			NULL},
		.working_directory = -1,
		.output_limit = STATE_TOKEN_MAX - 1,
		.timeout_ms = 30000,
		.capabilities = PROCESS_CAPABILITIES_KEEP,
		.inherit_error = true,
	};
	int r = process_run(&process, &result);
	if (r < 0 || !process_exited(&result, 0) || result.output.size < 2) {
		complain(PROGRAM " cannot make a token%s%s: install the endpoint, or give --endpoint URL",
			r < 0 ? ": " : "", r < 0 ? strerror(-r) : "");
		return CLI_LOCAL;
	}
	(void)snprintf(token, sizeof(token), "%.*s", (int)strcspn(result.output.bytes, "\n"), result.output.bytes);
	explicit_bzero(result.output.bytes, result.output.size);
	made = state_save_token(cli, token);
	explicit_bzero(token, sizeof(token));
	return made;
}

static bool answers(struct cli *cli)
{
	cleanup_http_answer struct http_answer answer = {0};

	return http_exchange(cli, &(struct http_request){.method = "GET", .path = "/instances"}, true, &answer) ==
		       CLI_OK &&
	       answer.status == 200;
}

/* Never returns. */
static void run_endpoint(const char *database, const char *address, int log)
{
	char *const arguments[] = {(char *)(uintptr_t) "latchkey-endpoint", (char *)(uintptr_t) "--database",
		(char *)(uintptr_t)database, (char *)(uintptr_t) "--listen", (char *)(uintptr_t)address, NULL};
	char *const environment[] = {NULL};
	int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (setsid() >= 0 && nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 && dup2(log, STDOUT_FILENO) >= 0 &&
		dup2(log, STDERR_FILENO) >= 0)
		(void)execve(PROGRAM, arguments, environment);
	_exit(70);
}

enum cli_exit endpoint_start(struct cli *cli, const char *address, int *ret_pid)
{
	const struct timespec pause = {0, 50000000};
	cleanup_buffer struct buffer database = {0};
	cleanup_close int log = -1;

	*ret_pid = 0;
	if (answers(cli))
		return CLI_OK;
	enum cli_exit r = path_of(cli, DATABASE, &database);
	if (r != CLI_OK)
		return r;
	log = openat(cli->home, LOG, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (log < 0)
		return failed(LOG, -errno);
	pid_t child = fork();
	if (child < 0)
		return failed("fork", -errno);
	if (child == 0)
		run_endpoint(database.bytes, address, log);
	for (unsigned i = 0; i < TRIES; i++) {
		if (answers(cli)) {
			*ret_pid = child;
			return CLI_OK;
		}
		if (waitpid(child, NULL, WNOHANG) == child)
			break;
		(void)nanosleep(&pause, NULL);
	}
	complain("the endpoint does not answer at %s: see %s/" LOG, cli->settings.endpoint, cli->home_path);
	return CLI_ENDPOINT;
}
