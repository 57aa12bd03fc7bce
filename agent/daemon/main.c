/* SPDX-License-Identifier: Apache-2.0 */
/* latchkeyd(8): options, wiring, the loop. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>

#include "agent/daemon/daemon.h"
#include "lib/account_files.h"
#include "lib/agent_config.h"
#include "lib/box_age.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/paths.h"
#include "lib/program.h"
#include "lib/sandbox.h"

#define EVENTS_MAX 8

int64_t daemon_now(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t daemon_jitter(int64_t most)
{
	uint64_t random = 0;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
		return most / 2;
	return (int64_t)(random % (uint64_t)(most + 1));
}

int64_t daemon_back_off(int64_t *delay)
{
	*delay = *delay == 0 ? RETRY_FIRST_MS : *delay * 2 > RETRY_LAST_MS ? RETRY_LAST_MS : *delay * 2;
	return daemon_now() + 1 + daemon_jitter(*delay);
}

/*
 * The earliest deadline in that folder, in CLOCK_BOOTTIME ms, not before that; 0: none. Names begin with it, in the
 * seconds of a clock that shows clock_now.
 */
static int64_t next_deadline(int parent, const char *folder, int64_t clock_now, int64_t not_before)
{
	cleanup_names char **names = NULL;
	int64_t earliest = 0;
	size_t count;

	if (parent < 0 || file_list(parent, folder, 4096, &names, &count) < 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		int64_t deadline = 0;
		for (const char *at = names[i]; *at >= '0' && *at <= '9' && at - names[i] < 16; at++)
			deadline = deadline * 10 + (*at - '0');
		if (deadline > 0 && (earliest == 0 || deadline < earliest))
			earliest = deadline;
	}
	if (earliest == 0)
		return 0;
	int64_t left = (earliest - clock_now) * 1000;
	int64_t at = daemon_now() + (left > 0 ? left : 0) + 1000;
	return at > not_before ? at : not_before;
}

static int64_t next_revert(const struct daemon *daemon)
{
	return next_deadline(daemon->run, "revert", daemon_now() / 1000, daemon->revert_at);
}

static int64_t next_sweep(const struct daemon *daemon)
{
	return next_deadline(daemon->state, "sweep", (int64_t)time(NULL), daemon->sweep_at);
}

/* When a command that was not to be done yet is due. */
static int64_t next_later(const struct daemon *daemon)
{
	return next_deadline(daemon->run, "later", (int64_t)time(NULL), daemon->later_at);
}

static int64_t next_report(const struct daemon *daemon)
{
	return next_deadline(daemon->run, "report", (int64_t)time(NULL), daemon->report_due_at);
}

/* When a key that passwords are sealed to has served its time, in CLOCK_BOOTTIME ms; 0: never. */
static int64_t next_box(const struct daemon *daemon)
{
	cleanup_close int identity = -1;
	int64_t now = (int64_t)time(NULL);

	if (daemon->state < 0 || file_open_directory(daemon->state, "identity", &identity) < 0)
		return 0;
	int64_t due = box_age_due(identity, BOX, now), previous = box_age_due(identity, BOX_PREVIOUS, now);
	due = previous < due ? previous : due;
	if (due == INT64_MAX)
		return 0;
	int64_t at = daemon_now() + (due > now ? (due - now) * 1000 : 0);
	return at > daemon->box_at ? at : daemon->box_at;
}

static void arm(struct daemon *daemon)
{
	const int64_t times[] = {daemon->redo_at, daemon->results_at, daemon->document_at, next_revert(daemon),
		next_sweep(daemon), next_later(daemon), next_box(daemon), daemon->inbox_at,
		daemon->is_ready ? 0 : daemon->ready_at, daemon->watchdog_at, next_report(daemon), daemon->report_at,
		daemon->identity_at, daemon->waiting.view && daemon->running == JOB_NONE ? daemon->view_at : 0};
	struct itimerspec when = {0};
	int64_t earliest = 0;

	for (unsigned i = 0; i < ELEMENTS(times); i++) {
		if (times[i] > 0 && (earliest == 0 || times[i] < earliest))
			earliest = times[i];
	}
	if (earliest > 0) {
		when.it_value.tv_sec = earliest / 1000;
		when.it_value.tv_nsec = (earliest % 1000) * 1000000 + 1;
	}
	(void)timerfd_settime(daemon->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void handle_times(struct daemon *daemon)
{
	int64_t revert = next_revert(daemon), sweep = next_sweep(daemon), later = next_later(daemon),
		report = next_report(daemon);
	int64_t now = daemon_now();

	if (daemon->redo_at > 0 && daemon->redo_at <= now) {
		daemon->redo_at = 0;
		daemon->waiting.redo = true;
	}
	int64_t box = daemon->is_ready ? next_box(daemon) : 0;
	if (box > 0 && box <= daemon_now()) {
		daemon->box_at = now + BOX_DISTANCE_MS;
		daemon->waiting.redo = true;
	}
	if (revert > 0 && revert <= now + 1000 && daemon->running != JOB_REVERT)
		daemon->waiting.revert = true;
	if (later > 0 && later <= now + 1000 && daemon->running != JOB_REDO)
		daemon->waiting.redo = true;
	if (sweep > 0 && sweep <= now + 1000 && daemon->running != JOB_SWEEP)
		daemon->waiting.sweep = true;
	if (report > 0 && report <= now + 1000) {
		/* Any run of latchkey-apply makes it. */
		daemon->report_due_at = now + REPORT_DUE_MS;
		daemon->waiting.view = true;
	}
	if (daemon->inbox_at > 0 && daemon->inbox_at <= now) {
		daemon->inbox_at = 0;
		inbox_look(daemon);
	}
	if (daemon->identity_at > 0 && daemon->identity_at <= now) {
		daemon->identity_at = 0;
		daemon->identity_sent = (struct sent_file){0};
		peer_send_identity(daemon);
	}
	if (daemon->results_at > 0 && daemon->results_at <= now)
		deliver_next(daemon);
	if (daemon->report_at > 0 && daemon->report_at <= now)
		report_send(daemon);
	if (daemon->watchdog_at > 0 && daemon->watchdog_at <= now) {
		notify_send(&daemon->notify, "WATCHDOG=1");
		daemon->watchdog_at = now + (int64_t)(daemon->notify.watchdog_us / 2000);
	}
}

/* sshd may start once the waiting document is applied, or when the endpoint has had its time. */
static void tell_ready(struct daemon *daemon)
{
	bool busy = daemon->running != JOB_NONE || daemon->waiting.redo || daemon->waiting.inbox ||
		    daemon->waiting.document;

	if (daemon->is_ready || daemon->running == JOB_REDO || daemon->waiting.redo)
		return;
	if ((daemon->endpoint_answered && !busy) || daemon->ready_at <= daemon_now()) {
		daemon->is_ready = true;
		notify_send(&daemon->notify, "READY=1");
	}
}

static void handle_signal(struct daemon *daemon)
{
	struct signalfd_siginfo signal;

	while (read(daemon->signals, &signal, sizeof(signal)) == (ssize_t)sizeof(signal)) {
		if (signal.ssi_signo == SIGCHLD)
			jobs_reap(daemon);
		else if (signal.ssi_signo == SIGUSR1)
			peer_send_ask(daemon, 0); /* the doorbell: ask the endpoint now */
		else
			daemon->stopping = true;
	}
}

static int watch(const struct daemon *daemon, int descriptor)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
	return epoll_ctl(daemon->epoll, EPOLL_CTL_ADD, descriptor, &event) < 0 ? -errno : 0;
}

/* Deadlines are times of day: when the clock is set, they are elsewhere. */
static int watch_clock(const struct daemon *daemon)
{
	/* Never: what a clock of the year 2100 has passed would be told at once, again and again. */
	const time_t end = (time_t)(sizeof(time_t) == sizeof(int64_t) ? INT64_MAX : INT32_MAX);
	const struct itimerspec never = {.it_value.tv_sec = end};

	return timerfd_settime(daemon->clock, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) < 0 &&
			       errno != ECANCELED
		       ? -errno
		       : 0;
}

/* A document that was refused as expired, or not yet valid, is judged by the new time. */
static void clock_changed(struct daemon *daemon)
{
	(void)!watch_clock(daemon);
	if (daemon->running == JOB_DOCUMENT || daemon->waiting.document)
		return;
	daemon->etag[0] = '\0';
	peer_send_have(daemon);
	peer_send_ask(daemon, 0);
}

static int find_agent_user(struct daemon *daemon, int root)
{
	cleanup_account_table struct account_table passwd = {0};
	cleanup_account struct account account = {0};

	int r = account_table_read(root, "etc/passwd", &passwd);
	if (r == 0)
		r = account_find(&passwd, AGENT_USER, &account);
	if (r < 0) {
		log_error("there is no user '%s': the package makes it (sysusers.d)", AGENT_USER);
		return r;
	}
	daemon->agent_uid = account.uid;
	daemon->agent_gid = account.gid;
	return 0;
}

static int open_all(struct daemon *daemon)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGCHLD, SIGUSR1};
	char error[CONFIG_ERROR_MAX];
	struct config config = {0};
	cleanup_close int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int64_t boot_wait = 15;
	sigset_t set;

	if (root < 0)
		return -errno;
	int r = find_agent_user(daemon, root);
	if (r == 0)
		r = file_make_directory(root, &PATH_RUN[1], 0755, &daemon->run);
	if (r < 0)
		return r;
	if (file_make_directory(root, PATH_STATE, 0700, &daemon->state) < 0)
		daemon->state = -1; /* a read-only disk: a key can still be bound at runtime */
	if (agent_config_load(root, &config, error) == 0) {
		boot_wait = config_integer(&config, "agent", "boot_wait");
		agent_config_set_log_level(&config);
	} else {
		log_error("latchkey.conf: %s", error);
	}
	config_free(&config);
	(void)sigemptyset(&set);
	for (unsigned i = 0; i < ELEMENTS(signals); i++)
		(void)sigaddset(&set, signals[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	daemon->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	daemon->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	daemon->epoll = epoll_create1(EPOLL_CLOEXEC);
	daemon->clock = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (daemon->signals < 0 || daemon->timer < 0 || daemon->epoll < 0 || daemon->clock < 0)
		return -errno;
	r = watch_clock(daemon);
	if (r < 0)
		return r;
	r = peer_listen(daemon);
	if (r < 0) {
		log_error("the sockets in %s cannot be made: %s", PATH_RUN, strerror(-r));
		return r;
	}
	r = lists_open(daemon);
	if (r == 0)
		r = inbox_open(daemon);
	if (r == 0)
		r = by_hand_open(daemon);
	if (r < 0)
		return r;
	const int watched[] = {daemon->signals, daemon->timer, daemon->clock, daemon->listener, daemon->lists,
		daemon->inbox, daemon->views};
	for (unsigned i = 0; r == 0 && i < ELEMENTS(watched); i++)
		r = watch(daemon, watched[i]);
	daemon->ready_at = daemon_now() + boot_wait * 1000;
	if (daemon->notify.watchdog_us > 0)
		daemon->watchdog_at = daemon_now() + (int64_t)(daemon->notify.watchdog_us / 2000);
	return r;
}

static int loop(struct daemon *daemon)
{
	daemon->waiting.redo = true; /* what a crash or a reboot left comes before everything */
	while (!daemon->stopping) {
		struct epoll_event events[EVENTS_MAX];
		uint64_t expirations;

		jobs_run(daemon);
		tell_ready(daemon);
		arm(daemon);
		int count = epoll_wait(daemon->epoll, events, EVENTS_MAX, -1);
		if (count < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < count; i++) {
			if (events[i].data.fd == daemon->signals)
				handle_signal(daemon);
			else if (events[i].data.fd == daemon->listener)
				peer_accept(daemon);
			else if (events[i].data.fd == daemon->timer)
				(void)!read(daemon->timer, &expirations, sizeof(expirations));
			else if (events[i].data.fd == daemon->clock)
				clock_changed(daemon);
			else if (events[i].data.fd == daemon->lists)
				lists_changed(daemon);
			else if (events[i].data.fd == daemon->inbox)
				inbox_changed(daemon);
			else if (events[i].data.fd == daemon->views)
				by_hand_changed(daemon);
			else if (events[i].data.fd == daemon->link)
				peer_receive(daemon);
		}
		handle_times(daemon);
	}
	/* A latchkey-apply in its work is left to finish it; the lock keeps a second one out. */
	notify_send(&daemon->notify, "STOPPING=1");
	return 0;
}

static int usage(FILE *out, int code)
{
	(void)fputs("Usage: latchkeyd [--help | --version]\n\n"
		    "The resident root half of the Latchkey agent: starts latchkey-apply(8) for the documents that\n"
		    "latchkey-net(8) brings. Runs in the foreground; the service manager starts it. SIGUSR1: ask the\n"
		    "endpoint now. Configuration: latchkey.conf(5).\n",
		out);
	return code;
}

int main(int argc, char **argv)
{
	struct daemon daemon = {.epoll = -1,
		.signals = -1,
		.timer = -1,
		.clock = -1,
		.listener = -1,
		.status_socket = -1,
		.state = -1,
		.run = -1,
		.inbox = -1,
		.lists = -1,
		.views = -1,
		.link = -1,
		.tokens = DOCUMENT_BUCKET};

	notify_read_environment(&daemon.notify);
	if (program_begin() < 0)
		return 70;
	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return usage(stdout, 0);
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		(void)printf("latchkeyd %s\n", LATCHKEY_VERSION);
		return 0;
	}
	if (argc != 1)
		return usage(stderr, 64);
	daemon.tokens_at = daemon_now();
	int r = sandbox_enter_root();
	if (r == 0)
		r = open_all(&daemon);
	if (r == 0)
		r = loop(&daemon);
	if (r < 0) {
		log_error("latchkeyd ends: %s", strerror(-r));
		return 1;
	}
	return 0;
}
