/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "agent/daemon/daemon.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/paths.h"

/* latchkey-apply's exit codes, latchkey-apply(8). */
enum {
	APPLY_TAKEN_OVER = 0,
	APPLY_REFUSED = 65,
	APPLY_SIGNER_UNKNOWN = 66,
	APPLY_TRY_AGAIN = 75,
};

/* The child's standard input: a memfd at its beginning, so that it cannot wait for us. */
static int make_input(const void *bytes, size_t size, int *ret_descriptor)
{
	cleanup_close int descriptor = memfd_create("document", MFD_CLOEXEC);

	if (descriptor < 0)
		return -errno;
	int r = file_write_all(descriptor, bytes, size);
	if (r < 0)
		return r;
	if (lseek(descriptor, 0, SEEK_SET) < 0)
		return -errno;
	*ret_descriptor = steal_descriptor(&descriptor);
	return 0;
}

static int start(struct daemon *daemon, enum job_kind kind, const char *option, const char *operand, const void *input,
	size_t size)
{
	char *arguments[] = {
		(char *)(uintptr_t) "latchkey-apply", (char *)(uintptr_t)option, (char *)(uintptr_t)operand, NULL};
	static char *const environment[] = {NULL};
	cleanup_close int descriptor = -1;

	int r = make_input(input, size, &descriptor);
	if (r < 0)
		return r;
	pid_t child = fork();
	if (child < 0)
		return -errno;
	if (child == 0) {
		sigset_t none;
		(void)sigemptyset(&none);
		(void)sigprocmask(SIG_SETMASK, &none, NULL);
		(void)signal(SIGPIPE, SIG_DFL);
		/* Everything else is close-on-exec. Standard output is /dev/null or the service manager's. */
		if (dup2(descriptor, STDIN_FILENO) < 0)
			_exit(70);
		(void)execve(PATH_APPLY, arguments, environment);
		_exit(70);
	}
	daemon->running = kind;
	daemon->child = child;
	return 0;
}

static int start_document(struct daemon *daemon)
{
	struct waiting *waiting = &daemon->waiting;

	int r = start(daemon, JOB_DOCUMENT, "--document", "-", waiting->document, waiting->document_size);
	if (r < 0)
		return r;
	memcpy(daemon->running_etag, waiting->etag, sizeof(daemon->running_etag));
	free(steal_pointer(&waiting->document));
	daemon->tokens--;
	return 0;
}

static void refill(struct daemon *daemon, int64_t now)
{
	int64_t fresh = (now - daemon->tokens_at) / DOCUMENT_REFILL_MS;

	if (fresh <= 0)
		return;
	daemon->tokens = daemon->tokens + fresh > DOCUMENT_BUCKET ? DOCUMENT_BUCKET : daemon->tokens + fresh;
	daemon->tokens_at = now;
}

static int start_next(struct daemon *daemon)
{
	struct waiting *waiting = &daemon->waiting;
	int64_t now = daemon_now();
	int r = 0;

	refill(daemon, now);
	daemon->document_at = 0;
	if (waiting->redo) {
		r = start(daemon, JOB_REDO, "--redo", NULL, "", 0);
		waiting->redo = r < 0;
	} else if (waiting->revert) {
		r = start(daemon, JOB_REVERT, "--revert", NULL, "", 0);
		waiting->revert = r < 0;
	} else if (waiting->inbox) {
		r = start(daemon, JOB_INBOX, "--inbox", NULL, "", 0);
		waiting->inbox = r < 0;
	} else if (waiting->sweep && !waiting->document) {
		r = start(daemon, JOB_SWEEP, "--sweep", NULL, "", 0);
		waiting->sweep = r < 0;
	} else if (waiting->trust && daemon->tokens > 0) {
		r = start(daemon, JOB_TRUST, "--trust", "-", waiting->trust, waiting->trust_size);
		if (r == 0) {
			free(steal_pointer(&waiting->trust));
			daemon->tokens--;
		}
	} else if (waiting->document && daemon->tokens > 0) {
		r = start_document(daemon);
	} else if (waiting->view && daemon->view_at <= now) {
		bool has_endpoint = waiting->endpoint.type != 0;
		r = start(daemon, JOB_VIEW, "--view", NULL, &waiting->endpoint,
			has_endpoint ? sizeof(waiting->endpoint) : 0);
		if (r == 0) {
			waiting->view = false;
			daemon->view_at = now + VIEW_DISTANCE_MS;
			waiting->endpoint = (struct link_message){0};
		}
	} else if (waiting->document || waiting->trust) {
		daemon->document_at = now + DOCUMENT_REFILL_MS;
	}
	return r;
}

void jobs_run(struct daemon *daemon)
{
	if (daemon->running != JOB_NONE || daemon->stopping)
		return;
	int r = start_next(daemon);
	if (r < 0) {
		log_error("latchkey-apply cannot be started: %s", strerror(-r));
		daemon->document_at = daemon_now() + RETRY_FIRST_MS; /* wakes the loop, which tries again */
	}
}

/* True when /run/latchkey/later says that the journal of that name only waits for its time. */
static bool only_waits(char *const *later, const char *journal)
{
	for (; later && *later; later++) {
		const char *dash = strchr(*later, '-');
		if (dash && strcmp(dash + 1, journal) == 0)
			return true;
	}
	return false;
}

/* A journal that is to be tried again. */
static bool has_journal(const struct daemon *daemon)
{
	const int parents[] = {daemon->state, daemon->run};
	cleanup_names char **later = NULL;
	size_t later_count;

	(void)!file_list(daemon->run, "later", 256, &later, &later_count);

	for (unsigned i = 0; i < ELEMENTS(parents); i++) {
		cleanup_names char **names = NULL;
		size_t count = 0;
		if (parents[i] < 0 || file_list(parents[i], "journal", 64, &names, &count) < 0)
			continue;
		for (size_t j = 0; j < count; j++) {
			if (!only_waits(later, names[j]))
				return true;
		}
	}
	return false;
}

/* Work that was put off is tried again with growing distance. */
static void schedule_redo(struct daemon *daemon, bool grow)
{
	if (!has_journal(daemon)) {
		daemon->redo_at = daemon->redo_delay = 0;
		return;
	}
	if (daemon->redo_delay == 0)
		daemon->redo_delay = RETRY_FIRST_MS;
	else if (grow && daemon->redo_delay < RETRY_LAST_MS)
		daemon->redo_delay = daemon->redo_delay * 2 > RETRY_LAST_MS ? RETRY_LAST_MS : daemon->redo_delay * 2;
	daemon->redo_at = daemon_now() + daemon_jitter(daemon->redo_delay);
}

static void document_ended(struct daemon *daemon, int code)
{
	if (code == APPLY_TAKEN_OVER) {
		memcpy(daemon->etag, daemon->running_etag, sizeof(daemon->etag));
		daemon->redo_delay = 0;
	} else if (code == APPLY_SIGNER_UNKNOWN) {
		daemon->signer_unknown = true;
		peer_ask_trust(daemon);
	} else if (code != APPLY_REFUSED && code != APPLY_TRY_AGAIN) {
		log_error("latchkey-apply ended with %d: the document will be tried again", code);
	}
	/* With the old etag this says "not taken over", and latchkey-net backs off. */
	peer_send_have(daemon);
}

void jobs_follow(struct daemon *daemon)
{
	if (daemon->redo_at == 0)
		schedule_redo(daemon, false);
	inbox_look(daemon);
	lists_watch(daemon);
	peer_send_identity(daemon);
	peer_send_view(daemon);
	deliver_next(daemon);
	report_send(daemon);
}

void jobs_reap(struct daemon *daemon)
{
	int status;

	if (daemon->running == JOB_NONE || waitpid(daemon->child, &status, WNOHANG) != daemon->child)
		return;
	enum job_kind ended = daemon->running;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	daemon->running = JOB_NONE;
	daemon->child = 0;
	if (ended == JOB_DOCUMENT)
		document_ended(daemon, code);
	else if (code != APPLY_TAKEN_OVER && code != APPLY_TRY_AGAIN && code != APPLY_REFUSED)
		log_error("latchkey-apply ended with %d", code);
	/* Killed in the middle of its work: what it had in hand is finished at once. */
	if (WIFSIGNALED(status) && (ended == JOB_DOCUMENT || ended == JOB_INBOX || ended == JOB_REDO) &&
		daemon->redo_delay == 0) {
		daemon->redo_delay = RETRY_FIRST_MS;
		daemon->waiting.redo = true;
	} else {
		schedule_redo(daemon, ended == JOB_REDO);
	}
	if (ended == JOB_REVERT && code != APPLY_TAKEN_OVER)
		daemon->revert_at = daemon_back_off(&daemon->revert_delay);
	else if (ended == JOB_REVERT || ended == JOB_DOCUMENT || ended == JOB_INBOX)
		daemon->revert_at = daemon->revert_delay = 0;
	if (ended == JOB_SWEEP && code != APPLY_TAKEN_OVER)
		daemon->sweep_at = daemon_back_off(&daemon->sweep_delay);
	else if (ended == JOB_SWEEP)
		daemon->sweep_at = daemon->sweep_delay = 0;
	if (ended == JOB_REDO && code != APPLY_TAKEN_OVER)
		daemon->later_at = daemon_back_off(&daemon->later_delay);
	else if (ended == JOB_REDO)
		daemon->later_at = daemon->later_delay = 0;
	if (ended == JOB_REDO)
		peer_booted(daemon);
	if (ended == JOB_TRUST && code == APPLY_TAKEN_OVER && daemon->signer_unknown) {
		daemon->signer_unknown = false;
		peer_send_ask(daemon, 0); /* the document of the signer that was unknown */
	}
	if (ended == JOB_INBOX && code != APPLY_TAKEN_OVER)
		daemon->inbox_at = daemon_back_off(&daemon->inbox_delay);
	else if (ended == JOB_INBOX)
		daemon->inbox_at = daemon->inbox_delay = 0;
	jobs_follow(daemon);
}
