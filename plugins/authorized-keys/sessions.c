/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/sessions.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "lib/file.h"
#include "plugins/authorized-keys/session_keys.h"

#define PROCESSES_MAX (4u << 20) /* pid_max's own limit */
#define TITLE_MAX 4096u
#define STAT_MAX 4096u
#define STAT_START 22u /* proc(5) */
#define POLL_MS 50u
#define ASK_EACH 10u /* rounds: a line may come to the journal a little later than the session is there */

struct list {
	struct session *items;
	unsigned count;
};

static void list_free(struct list *list)
{
	free(list->items);
}

/* True for root's process (all four uids) with that user's title. */
static bool has_title(int directory, const char *user)
{
	static const char *const programs[] = {"sshd", "sshd-session"}; /* the second from OpenSSH 9.8 on */
	static const char *const roles[] = {"[priv]", "[postauth]"};    /* the second seen in 10.5 */
	cleanup_free char *status = NULL, *title = NULL;
	char expected[128];
	size_t size;

	if (file_read(directory, "status", 65536, &status, &size) < 0 ||
		file_read(directory, "cmdline", TITLE_MAX, &title, &size) < 0 ||
		!strstr(status, "\nUid:\t0\t0\t0\t0\n"))
		return false;
	for (unsigned i = 0; i < ELEMENTS(programs); i++) {
		for (unsigned j = 0; j < ELEMENTS(roles); j++) {
			(void)snprintf(expected, sizeof(expected), "%s: %s %s", programs[i], user, roles[j]);
			if (strcmp(title, expected) == 0)
				return true;
		}
		/* Root's sessions have no second process. */
		(void)snprintf(expected, sizeof(expected), "%s: %s@", programs[i], user);
		if (strncmp(title, expected, strlen(expected)) == 0)
			return true;
	}
	return false;
}

/* When it started, in clock ticks since boot. The name in the second field may hold anything, blanks and brackets too.
 */
static bool read_start(int directory, uint64_t *ret_started)
{
	cleanup_free char *text = NULL;
	uint64_t ticks = 0;
	size_t size;

	if (file_read(directory, "stat", STAT_MAX, &text, &size) < 0)
		return false;
	const char *at = strrchr(text, ')');
	for (unsigned field = 2; at && field < STAT_START; field++) {
		at = strchr(at, ' ');
		at = at ? at + 1 : NULL;
	}
	if (!at || *at < '0' || *at > '9')
		return false;
	for (; *at >= '0' && *at <= '9'; at++)
		ticks = ticks * 10 + (uint64_t)(*at - '0');
	*ret_started = ticks;
	return true;
}

static bool is_session(int proc, const char *pid, const char *user, uint64_t *ret_started)
{
	cleanup_close int directory = -1;

	return file_open_directory(proc, pid, &directory) == 0 && has_title(directory, user) &&
	       read_start(directory, ret_started);
}

static const struct session *find_known(const struct list *known, pid_t pid, uint64_t started)
{
	for (unsigned i = 0; i < known->count; i++) {
		if (known->items[i].pid == pid && known->items[i].started == started)
			return &known->items[i];
	}
	return NULL;
}

/* How long the machine has slept: proc(5) counts that time, the journal does not. */
static uint64_t slept_us(void)
{
	struct timespec all, awake;

	if (clock_gettime(CLOCK_BOOTTIME, &all) < 0 || clock_gettime(CLOCK_MONOTONIC, &awake) < 0)
		return 0;
	int64_t slept = (all.tv_sec - awake.tv_sec) * 1000000 + (all.tv_nsec - awake.tv_nsec) / 1000;
	return slept > 0 ? (uint64_t)slept : 0;
}

/* Those that are open now, with what is known of them. */
static int find(const char *user, struct list *list)
{
	cleanup_names char **names = NULL;
	cleanup_close int proc = -1;
	CLEANUP(list_free) struct list found = {0};
	size_t count;

	int r = file_open_directory(AT_FDCWD, "/proc", &proc);
	if (r == 0)
		r = file_list(proc, ".", PROCESSES_MAX, &names, &count);
	if (r < 0)
		return r;
	found.items = calloc(SESSIONS_MAX, sizeof(*found.items));
	if (!found.items)
		return -ENOMEM;
	for (size_t i = 0; i < count && found.count < SESSIONS_MAX; i++) {
		uint64_t started;
		pid_t pid = 0;

		if (strspn(names[i], "0123456789") != strlen(names[i]) || !is_session(proc, names[i], user, &started))
			continue;
		for (const char *digit = names[i]; *digit; digit++)
			pid = pid * 10 + (*digit - '0');
		const struct session *known = find_known(list, pid, started);
		uint64_t us = started * (1000000u / (uint64_t)sysconf(_SC_CLK_TCK)), slept = slept_us();
		found.items[found.count++] =
			known ? *known
			      : (struct session){
					.pid = pid, .started = started, .started_us = us > slept ? us - slept : 0};
	}
	struct list old = *list;
	*list = found;
	found = old;
	return 0;
}

static bool is_meant(const struct session *session, const char *const *fingerprints)
{
	for (const char *const *at = fingerprints; at && *at; at++) {
		if (session->evidence == SESSION_KEY && strcmp(*at, session->fingerprint) == 0)
			return true;
	}
	return !fingerprints;
}

/* By descriptor, looked at again once it is held: a pid that was given to another meanwhile is left alone. */
static void end(const struct session *session, const char *user, int signal_number)
{
	cleanup_close int process = (int)syscall(SYS_pidfd_open, session->pid, 0);
	if (process < 0 && errno != ENOSYS)
		return;
	cleanup_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t started;
	char pid[16];

	(void)snprintf(pid, sizeof(pid), "%d", (int)session->pid);
	if (proc < 0 || !is_session(proc, pid, user, &started) || started != session->started)
		return;
	if (process >= 0)
		(void)syscall(SYS_pidfd_send_signal, process, signal_number, NULL, 0);
	else
		(void)kill(session->pid, signal_number); /* Linux before 5.3 */
}

static int count_open(const char *user, const char *const *fingerprints, bool ask, struct list *list,
	struct sessions_outcome *outcome)
{
	int r = find(user, list);
	if (r == 0 && fingerprints && ask)
		r = session_keys_find(user, list->items, list->count);
	if (r < 0)
		return r;
	outcome->open = outcome->unknown = 0;
	for (unsigned i = 0; i < list->count; i++) {
		if (is_meant(&list->items[i], fingerprints))
			outcome->open++;
		else if (list->items[i].evidence == SESSION_UNKNOWN)
			outcome->unknown++;
	}
	return 0;
}

int sessions_end(
	const char *user, const char *const *fingerprints, unsigned budget_ms, struct sessions_outcome *ret_outcome)
{
	const struct timespec pause = {0, POLL_MS * 1000000L};
	CLEANUP(list_free) struct list list = {0};
	struct sessions_outcome outcome = {0};
	unsigned most = 0, round = 0;

	for (unsigned waited = 0; waited <= 2 * SESSIONS_GRACE_MS && (waited == 0 || waited <= budget_ms);
		waited += POLL_MS, round++) {
		int r = count_open(user, fingerprints, round % ASK_EACH == 0, &list, &outcome);
		if (r < 0)
			return r;
		/* A session that nobody can tell gets its line one more chance. */
		if (outcome.open == 0 && (outcome.unknown == 0 || round > ASK_EACH))
			break;
		most = outcome.open > most ? outcome.open : most;
		/* Each round also finds those that were opened meanwhile. */
		for (unsigned i = 0; i < list.count; i++) {
			if (is_meant(&list.items[i], fingerprints))
				end(&list.items[i], user, waited < SESSIONS_GRACE_MS ? SIGTERM : SIGKILL);
		}
		(void)nanosleep(&pause, NULL);
	}
	outcome.ended = most > outcome.open ? most - outcome.open : 0;
	*ret_outcome = outcome;
	return 0;
}

static int check(
	const struct plugin_request *request, const struct plugin_command *command, struct plugin_result *result)
{
	const char *fingerprint = plugin_text(command, "fingerprint");
	unsigned char digest[SSHKEY_DIGEST_SIZE];

	int r = plugin_add_user(result, plugin_text(command, "user"));
	if (r < 0)
		return r;
	if (fingerprint && sshkey_read_fingerprint(fingerprint, digest) < 0)
		return plugin_set(result, CODE_FIELD_INVALID,
			"fingerprint: SHA256: and 43 characters, as ssh-keygen -l prints it");
	if (!request->is_host)
		return plugin_set(result, CODE_CANNOT_VALIDATE, "there are no sessions on another root's disk");
	return 0;
}

int sessions_plan(
	const struct plugin_request *request, const struct plugin_command *command, struct plugin_result *result)
{
	const char *fingerprint = plugin_text(command, "fingerprint");
	const char *const fingerprints[] = {fingerprint, NULL};
	CLEANUP(list_free) struct list list = {0};
	struct sessions_outcome outcome = {0};

	int r = check(request, command, result);
	if (r < 0 || result->code != CODE_OK)
		return r;
	r = count_open(plugin_text(command, "user"), fingerprint ? fingerprints : NULL, true, &list, &outcome);
	if (r < 0)
		return r;
	result->changes = outcome.open + outcome.unknown > 0;
	return plugin_set_plan(result, "{}");
}

int sessions_apply(
	const struct plugin_request *request, const struct plugin_command *command, struct plugin_result *result)
{
	const char *fingerprint = plugin_text(command, "fingerprint");
	const char *const fingerprints[] = {fingerprint, NULL};
	struct sessions_outcome outcome;

	int r = check(request, command, result);
	if (r < 0 || result->code != CODE_OK)
		return r;
	r = sessions_end(
		plugin_text(command, "user"), fingerprint ? fingerprints : NULL, 2 * SESSIONS_GRACE_MS, &outcome);
	if (r < 0)
		return r;
	result->changes = outcome.ended > 0;
	if (outcome.open > 0)
		return plugin_set(result, CODE_BUSY, "%u sessions are still open", outcome.open);
	if (outcome.unknown > 0)
		return plugin_set(result, CODE_CANNOT_VALIDATE,
			"%u sessions ended; of %u nobody can tell which key opened them: without a fingerprint all end",
			outcome.ended, outcome.unknown);
	return outcome.ended > 0 ? plugin_set(result, CODE_OK, "%u sessions ended", outcome.ended) : 0;
}
