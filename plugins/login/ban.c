/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/login/ban.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/file.h"
#include "lib/process.h"
#include "lib/sshd_sockets.h"

#define CLIENT "/usr/bin/fail2ban-client"
#define SOCKET_DIRECTORY "/run/fail2ban"
#define SOCKET_NAME "fail2ban.sock"
#define TIMEOUT_MS 3000      /* for all questions together: a person waits */
#define ANSWER_MAX 4096u     /* the names of BAN_NAMES_MAX jails, or the ports of one */
#define ARGUMENTS_MAX 5u     /* get JAIL action NAME port */
#define ALL_PORTS "allports" /* what the name of an action ends in that asks for no port */
#define SSH_PORT 22u         /* "ssh" in /etc/services */

static bool is_name_character(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '-';
}

/* What becomes an argument later: no option, nothing that a shell or a terminal would mind. */
static size_t take_name(const char *text, struct ban_names *names)
{
	size_t size = 0;

	while (is_name_character(text[size]))
		size++;
	if (size == 0 || size > BAN_NAME_MAX || *text == '-' || names->count == BAN_NAMES_MAX)
		return 0;
	memcpy(names->names[names->count], text, size);
	names->names[names->count++][size] = '\0';
	return size;
}

int ban_read_jails(const char *text, struct ban_names *ret_jails)
{
	struct ban_names jails = {.count = 0};

	if (strncmp(text, "[[", 2) != 0)
		return -EBADMSG;
	text += 2;
	while (*text == '\'') {
		size_t size = take_name(text + 1, &jails);
		if (size == 0 || text[1 + size] != '\'')
			return -EBADMSG;
		text += size + 2;
		if (strncmp(text, ", '", 3) == 0)
			text += 2;
		else if (*text != ']')
			return -EBADMSG;
	}
	if (strcmp(text, "]]\n") != 0)
		return -EBADMSG;
	*ret_jails = jails;
	return 0;
}

int ban_read_actions(const char *text, const char *jail, struct ban_names *ret_actions)
{
	struct ban_names actions = {.count = 0};
	char heading[BAN_NAME_MAX + 64];

	(void)snprintf(heading, sizeof(heading), "The jail %s has the following actions:\n", jail);
	if (strncmp(text, heading, strlen(heading)) != 0)
		return -EBADMSG;
	text += strlen(heading);
	for (;;) {
		size_t size = take_name(text, &actions);
		if (size == 0)
			return -EBADMSG;
		text += size;
		if (strcmp(text, "\n") == 0)
			break;
		if (strncmp(text, ", ", 2) != 0)
			return -EBADMSG;
		text += 2;
	}
	*ret_actions = actions;
	return 0;
}

static const char *read_port(const char *text, unsigned *ret_port)
{
	unsigned port = 0;

	if (!isdigit((unsigned char)*text))
		return NULL;
	for (; isdigit((unsigned char)*text); text++)
		port = port > UINT16_MAX ? port : port * 10 + (unsigned)(*text - '0');
	*ret_port = port;
	return text;
}

/* One of a list: a port, a range, or ssh; other names are other services'. */
static bool read_range(const char *text, size_t size, unsigned *ret_first, unsigned *ret_last)
{
	const char *end = text + size, *at = read_port(text, ret_first);

	if (size == strlen("ssh") && strncmp(text, "ssh", size) == 0) {
		*ret_first = *ret_last = SSH_PORT;
		return true;
	}
	*ret_last = *ret_first;
	if (at && at < end && (*at == ':' || *at == '-'))
		at = read_port(at + 1, ret_last);
	return at == end;
}

bool ban_reaches(const char *action, const char *ports, const uint16_t *sshd_ports, unsigned count)
{
	size_t length = strlen(action);

	if (length >= strlen(ALL_PORTS) && strcmp(action + length - strlen(ALL_PORTS), ALL_PORTS) == 0)
		return true;
	for (const char *at = ports; *at;) {
		unsigned first = 0, last = 0;
		size_t size = strcspn(at, ", \n");
		bool is_range = read_range(at, size, &first, &last);
		for (unsigned i = 0; is_range && i < count; i++) {
			if (first <= sshd_ports[i] && sshd_ports[i] <= last)
				return true;
		}
		at += size;
		at += strspn(at, ", \n");
	}
	return false;
}

/* The client believes whatever it reads there, so nobody but root may have made it. -ENOENT: it does not run. */
static int find_socket(void)
{
	cleanup_close int directory = -1;
	struct stat status;

	int r = file_open_directory(-1, SOCKET_DIRECTORY, &directory);
	if (r < 0)
		return r;
	if (fstat(directory, &status) < 0)
		return -errno;
	if (status.st_uid != 0 || (status.st_mode & 022) != 0)
		return -EPERM;
	if (fstatat(directory, SOCKET_NAME, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return S_ISSOCK(status.st_mode) && status.st_uid == 0 ? 0 : -EPERM;
}

static int64_t now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* One question, of up to ARGUMENTS_MAX words (NULL-terminated). Without any capability: uid 0 is enough for it. */
static int ask(int64_t deadline, const char *const *words, struct process_result *ret_result)
{
	static const char *const environment[] = {
		"LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1", "PYTHONNOUSERSITE=1", NULL};
	const char *argv[ARGUMENTS_MAX + 4] = {"fail2ban-client", "-s", SOCKET_DIRECTORY "/" SOCKET_NAME};
	cleanup_process_result struct process_result result = {0};
	int64_t left = deadline - now_ms();

	for (unsigned i = 0; i < ARGUMENTS_MAX && words[i]; i++)
		argv[3 + i] = words[i];
	if (left <= 0)
		return -ETIMEDOUT;
	const struct process process = {.path = CLIENT,
		.argv = argv,
		.environment = environment,
		.working_directory = -1,
		.output_limit = ANSWER_MAX,
		.timeout_ms = (unsigned)left,
		.capabilities = 0};
	int r = process_run(&process, &result);
	if (r < 0)
		return r;
	if (!process_exited(&result, 0) || strlen(result.output.bytes) != result.output.size)
		return -EBADMSG;
	*ret_result = result;
	result = (struct process_result){0};
	return 0;
}

static int ask_ports(int64_t deadline, const char *jail, const char *action, const uint16_t *ports, unsigned count,
	bool *ret_reaches)
{
	const char *const words[] = {"get", jail, "action", action, "port", NULL};
	cleanup_process_result struct process_result answer = {0};

	int r = ask(deadline, words, &answer);
	if (r == -EBADMSG) /* an action that has no port, as one that sends mail, says so by failing */
		*ret_reaches = ban_reaches(action, "", ports, count);
	else if (r == 0)
		*ret_reaches = ban_reaches(action, answer.output.bytes, ports, count);
	return r == -EBADMSG ? 0 : r;
}

static int ask_jail(int64_t deadline, const char *jail, const uint16_t *ports, unsigned count, bool *ret_reaches)
{
	const char *const words[] = {"get", jail, "actions", NULL};
	cleanup_process_result struct process_result answer = {0};
	struct ban_names actions;
	bool reaches = false;

	int r = ask(deadline, words, &answer);
	if (r == 0)
		r = ban_read_actions(answer.output.bytes, jail, &actions);
	for (unsigned i = 0; r == 0 && !reaches && i < actions.count; i++)
		r = ask_ports(deadline, jail, actions.names[i], ports, count, &reaches);
	if (r == 0)
		*ret_reaches = reaches;
	return r;
}

static int ask_jails(int64_t deadline, const char *address, struct ban_names *ret_jails)
{
	const char *const words[] = {"banned", address, NULL};
	cleanup_process_result struct process_result answer = {0};

	int r = ask(deadline, words, &answer);
	return r < 0 ? r : ban_read_jails(answer.output.bytes, ret_jails);
}

void ban_ask(const char *address, const struct sshd_effective *effective, struct ban *ret_ban)
{
	int64_t deadline = now_ms() + TIMEOUT_MS;
	uint16_t ports[SSHD_SOCKETS_MAX];
	struct ban_names jails;
	struct ban ban = {0};
	size_t size = 0;

	*ret_ban = ban;
	int r = find_socket();
	if (r == -ENOENT)
		return;
	unsigned count = sshd_sockets_ports(effective, ports);
	if (r == 0)
		r = ask_jails(deadline, address, &jails);
	for (unsigned i = 0; r == 0 && i < jails.count; i++) {
		bool reaches = false;
		r = ask_jail(deadline, jails.names[i], ports, count, &reaches);
		if (r < 0 || !reaches)
			continue;
		int written = snprintf(ban.words + size, sizeof(ban.words) - size, "%s%s",
			ban.is_banned ? ", " : "by its jail ", jails.names[i]);
		if (written > 0)
			size += (size_t)written;
		if (size >= sizeof(ban.words)) /* the first few will do */
			size = sizeof(ban.words) - 1;
		ban.is_banned = true;
	}
	if (r < 0 && !ban.is_banned)
		(void)snprintf(ban.words, sizeof(ban.words), "does not say whether it bans %s", address);
	*ret_ban = ban;
}
