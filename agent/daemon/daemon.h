/* SPDX-License-Identifier: Apache-2.0 */
/*
 * latchkeyd: root, resident, libc only. It owns the link to latchkey-net and starts latchkey-apply, one at a time. It
 * parses nothing that came from outside: a body goes from the link into a memfd and from there to latchkey-apply.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "lib/link.h"
#include "lib/notify.h"

#define RETRY_FIRST_MS 10000 /* of a pending command and of results: 10 s doubling to 600 s, full jitter */
#define RETRY_LAST_MS 600000
#define DOCUMENT_BUCKET 10 /* signature checks (documents, trust documents): a burst of 10, then one a second */
#define DOCUMENT_REFILL_MS 1000
#define VIEW_DISTANCE_MS 1000    /* between views that only latchkey-net's word about the endpoint asks for */
#define REFUSAL_TRIES_MAX 8      /* an answer each; with the distances above half an hour and more */
#define BOX_DISTANCE_MS 3600000  /* between runs because a box key is due */
#define REPORT_DISTANCE_MS 10000 /* between reports, and */
#define REPORT_DUE_MS 3600000    /* between runs because one is due */
#define TRUST_DISTANCE_MS 60000  /* between questions for the trust document because a signer is unknown */

enum job_kind {
	JOB_NONE,
	JOB_REDO,
	JOB_REVERT,
	JOB_SWEEP,
	JOB_INBOX,
	JOB_TRUST,
	JOB_DOCUMENT,
	JOB_VIEW,
};

/* Something that latchkey-apply has still to do; bodies are ours until it is started. */
struct waiting {
	bool redo, revert, sweep, inbox, view;
	struct link_message endpoint; /* for view; type 0: none */
	char *document, *trust;
	size_t document_size, trust_size;
	char etag[128]; /* of document */
};

/* Which bytes were sent: an inode number alone is given out again. */
struct sent_file {
	ino_t inode;
	struct timespec changed;
};

struct daemon {
	int epoll, signals, timer, clock, listener, status_socket, state, run;
	int inbox;         /* inotify: documents that somebody puts there */
	int inbox_watched; /* its watch; 0: none */
	int lists;         /* inotify: the operator's list of revoked keys that ours carries along */
	int views;         /* inotify: each latchkey-apply ends with a new view, also one that we did not start */
	int list_watched;  /* its watch; 0: none, for the kernel counts from 1 */
	int link;          /* -1: latchkey-net is not there */
	bool link_waits;   /* READY came before the boot redo had made or read the identity */
	bool link_ready;
	bool booted; /* the boot redo is done */
	uid_t agent_uid;
	gid_t agent_gid;
	struct notify notify;

	enum job_kind running;
	pid_t child;
	char running_etag[128];
	struct waiting waiting;

	char etag[128]; /* of the document taken over last */
	struct sent_file identity_sent, view_sent;
	bool identified;

	bool result_in_flight;
	uint64_t result_seq;
	char result_name[40];
	int result_parent; /* state, or run where the disk could not take it */
	struct sent_file result_file;
	unsigned results_refusals; /* answers in a row by which none was taken */
	unsigned refusal_tries;    /* answered deliveries of results/0, as it is */
	struct sent_file refusal_file;
	bool result_stuck; /* the endpoint will never take result_name: the others go first */

	bool report_in_flight;
	struct sent_file report_file;

	/* CLOCK_BOOTTIME in ms; 0: not set */
	int64_t redo_at, redo_delay, results_at, results_delay, document_at, identity_at, identity_delay;
	int64_t revert_at, revert_delay; /* not before; after a revert that could not be done */
	int64_t sweep_at, sweep_delay;   /* the same for a sweep */
	int64_t later_at, later_delay;   /* and for a redo because a command is due */
	int64_t inbox_at, inbox_delay;   /* and for the inbox */
	int64_t box_at;                  /* not before; after a run that could not renew the key */
	int64_t report_at, report_delay; /* sent not before */
	int64_t report_due_at;           /* made not before; after a run that could not make one */
	int64_t view_at, trust_asked_at; /* not before; when last */
	int64_t tokens, tokens_at;
	bool endpoint_answered, is_ready;
	bool signer_unknown; /* a document waits for a trust document that names its signer */
	int64_t ready_at;    /* the boot waits no longer */
	int64_t watchdog_at;
	bool stopping;
};

int64_t daemon_now(void); /* CLOCK_BOOTTIME, ms */
/* A random delay between 0 and `most`. */
int64_t daemon_jitter(int64_t most);
/* Doubles the delay (RETRY_FIRST_MS … RETRY_LAST_MS) and returns the time of the next try, with full jitter. */
int64_t daemon_back_off(int64_t *delay);

/* jobs.c: starts the next job when none runs. */
void jobs_run(struct daemon *daemon);
/* The child has ended. */
void jobs_reap(struct daemon *daemon);
/* What any run of latchkey-apply leaves to be done by us, ours or one by hand. */
void jobs_follow(struct daemon *daemon);

/* lists.c: what sshd would read at once must not wait for the next sweep. */
int lists_open(struct daemon *daemon) MUST_CHECK;
/* After each job, which may have begun to carry another list, or the same name may be another file now. */
void lists_watch(struct daemon *daemon);
/* Something happened to the list: latchkey-apply brings ours up to date. */
void lists_changed(struct daemon *daemon);

/* by_hand.c: a latchkey-apply that somebody started, as in a rescue, leaves deadlines, results and a view. */
int by_hand_open(struct daemon *daemon) MUST_CHECK;
void by_hand_changed(struct daemon *daemon);

/* inbox.c: documents for a machine without an endpoint. */
int inbox_open(struct daemon *daemon) MUST_CHECK;
/* After each job, and when something was put there: one run of latchkey-apply takes one document. */
void inbox_look(struct daemon *daemon);
void inbox_changed(struct daemon *daemon);

/* peer.c: the link's protocol. */
int peer_listen(struct daemon *daemon) MUST_CHECK;
void peer_accept(struct daemon *daemon);
void peer_receive(struct daemon *daemon);
/* The boot redo is done: a latchkey-net that waits is greeted. */
void peer_booted(struct daemon *daemon);
void peer_close(struct daemon *daemon, const char *why);
void peer_send_have(struct daemon *daemon);
void peer_send_view(struct daemon *daemon);
void peer_send_identity(struct daemon *daemon);
/* A file of that name in PATH_RUN, there while something is so: for the view, which others write, too. */
void peer_note(struct daemon *daemon, const char *name, bool is_so);
/*
 * The endpoint does not know the key that signed (401): it was restored from a backup, or the operator has reset the
 * instance. Called with the growing distance of what it refused.
 */
void peer_offer_identity(struct daemon *daemon);
/* The signer of a document is unknown: perhaps a trust document names him. */
void peer_ask_trust(struct daemon *daemon);
void peer_send_ask(struct daemon *daemon, uint32_t what);

/* deliver.c: results, one in flight. */
bool sent_file_is_same(const struct sent_file *one, const struct sent_file *other);
void deliver_next(struct daemon *daemon);
void deliver_done(struct daemon *daemon, uint64_t seq, uint32_t code);
/* Removes the file only if it is still the one that was sent: another may have taken its place meanwhile. */
int deliver_remove(int parent, const char *folder, const char *name, const struct sent_file *file) MUST_CHECK;

/* report.c: the unsolicited report, behind the results. */
void report_send(struct daemon *daemon);
void report_done(struct daemon *daemon, uint32_t code);
