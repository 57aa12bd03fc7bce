/* SPDX-License-Identifier: Apache-2.0 */
/*
 * latchkey-apply's own types. The way of a document: verify → decide → stages → prove → report, in files of these
 * names, called in that order by document_run() in run.c.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/account_files.h"
#include "lib/buffer.h"
#include "lib/code.h"
#include "lib/config.h"
#include "lib/json.h"
#include "lib/manifest.h"
#include "lib/plugin.h"
#include "lib/signed_text.h"
#include "policy/policy.h"

#define DIGEST_SIZE 65u /* SHA-256 in hex and a NUL */
#define INSTANCE_SIZE 129u
#define DOCUMENT_COMMANDS_MAX 4096u
#define STAGES 6u

/* Exit codes that latchkeyd acts on (see latchkey-apply(8)). */
enum {
	EXIT_TAKEN_OVER = 0,
	EXIT_USAGE = 64,
	EXIT_REFUSED = 65,
	EXIT_SIGNER_UNKNOWN = 66,
	EXIT_INTERNAL = 70,
	EXIT_TRY_AGAIN = 75,
};

struct outcome {
	bool known;
	enum code code;
	enum code_status status; /* the code's, but a pending one that ran out of time is failed */
	bool changed;
	bool from_history; /* answered from there: done by an earlier document */
	bool in_history;   /* its line stands there already */
	char detail[DETAIL_MAX + 1];
	char *sealed, *login; /* base64; a JSON object */
	char *users[PLUGIN_USERS_MAX];
	unsigned user_count;
};

struct command {
	const char *id, *do_name, *actor, *user; /* borrowed from the document's tree; user NULL if none */
	int64_t not_before, until;               /* 0: at once */
	bool times_invalid;
	cJSON *node;
	const struct manifest_command *row; /* NULL: unknown */
	unsigned stage, position;
	char *plan;  /* JSON text, once planned */
	cJSON *lost; /* fingerprints of the keys that it would take away, as the plugin saw them; NULL if it says none
		      */
	cJSON *account; /* what of the account would be different, for the guard */
	cJSON *line;    /* the key line that would come in place of what is lost, where it outlives a reboot */
	bool redo;      /* the plan came from the journal */
	bool put_off;   /* tried before; pending_code is why it could not be done then */
	enum code pending_code;
	bool is_known_pending; /* the history's newest line for it says so, with this code */
	enum code known_pending;
	struct outcome outcome;
};

struct document {
	char *text; /* the signed text as it came */
	size_t text_size;
	char digest[DIGEST_SIZE];
	char *signer; /* NULL: unsigned */
	cJSON *tree;
	const char *instance, *actor;
	int64_t seq, issued, expires;
	bool dry_run;             /* nothing is applied, no id is used up; it has no journal */
	bool finished;            /* its journal is gone */
	bool only_in_hand;        /* a newer document waits: finish what was planned, begin nothing */
	struct command *commands; /* sorted by stage, plugin, position */
	size_t count;
};

struct floors {
	int64_t seq;              /* of the newest document taken over; 0: none */
	int64_t issued;           /* of that document */
	int64_t damaged;          /* when lines of the history were found lost, if none was taken over since */
	char digest[DIGEST_SIZE]; /* "" where only the seq is known */
};

struct apply {
	const char *root_path;
	int root;
	bool is_host; /* root_path is "/" */
	int state;    /* DIR/var/lib/latchkey, -1 when it cannot be had */
	int run;      /* /run/latchkey; -1 with another DIR */
	int lock;
	struct manifest_set manifests;
	struct config config; /* latchkey.conf */
	char config_error[CONFIG_ERROR_MAX];
	struct policy policy;
	char instance[INSTANCE_SIZE];
	struct floors floors;
	int64_t boot_time;  /* seconds since the boot, also those asleep: no clock that is set changes it */
	int64_t clock, now; /* now = max(clock, floor), latchkey-protocol(7) */
	bool clock_wrong;
	bool state_is_newer;         /* a later version wrote it: it is left as it is, and nothing is begun */
	bool history_unreadable;     /* so nobody knows what was done: nothing new is taken over */
	struct account_table passwd; /* as it was looked at last; empty before */
	cJSON *logins;               /* who can log in, as proved in this run: user → {"key":…,"password":…} */
	bool swept;                  /* every key was looked at in this run: so are the logins, by the view */
	bool box_used;               /* a sealed password was opened in this run: the box key rotates */
};

/* context.c */
int apply_open(struct apply *apply, const char *root_path) MUST_CHECK;
void apply_close(struct apply *apply);
/* Repairing costs a look at every line of the state: at boot and when something is done again. */
int apply_lock(struct apply *apply, bool repair) MUST_CHECK;
/* A directory of the state by name, created 0700 where it is missing. */
/* Says in the state which version of this program writes it. */
int apply_keep_version(const struct apply *apply) MUST_CHECK;
int apply_state_directory(const struct apply *apply, const char *name, int *ret_directory) MUST_CHECK;

/* What keeps the state from being written, as a problem of status; NULL when nothing does. */
const char *apply_state_problem(const struct apply *apply, const char **ret_detail);

/* verify.c: a signed text becomes a document, or the code that refuses it. */
enum code verify_document(const struct apply *apply, const char *text, size_t size, struct document *ret_document,
	char ret_detail[DETAIL_MAX + 1]);
/* The signer may have been revoked or struck off since the document was taken over: OK, or why not. */
enum code verify_signer_again(const struct apply *apply, const struct document *document);
/* The text of a journal, verified when it was taken over. */
int document_read_journalled(
	const struct apply *apply, const char *text, size_t size, struct document *ret_document) MUST_CHECK;
void document_free(struct document *document);
#define cleanup_document CLEANUP(document_free)
/* trust.c: 0 taken over, or an exit code. */
int trust_take_over(struct apply *apply, const char *text, size_t size);

/* decide.c: the commands' own fields, conflicts between them, answers from the history. */
int decide_commands(const struct apply *apply, struct document *document) MUST_CHECK;
/* decide.c: NULL when what is planned is also applied; else why it is not, in a word for people. */
const char *decide_only_observes(const struct apply *apply, const struct document *document);
/* decide.c: the policy on the resolved account, for the commands of one batch. */
int decide_batch(struct apply *apply, const struct document *document, struct command **batch, size_t count,
	struct resolved_account *accounts) MUST_CHECK;

/* stages.c */
struct journal;
int stages_run(struct apply *apply, struct document *document, struct journal *journal) MUST_CHECK;
/* prove.c: asks the login plugin as a stranger would, and fills each outcome's login. */
void prove_document(struct apply *apply, struct document *document);
/* report.c */
/* With `for_this_boot` a record in /run is enough where the disk cannot take it. */
int report_document(const struct apply *apply, const struct document *document, bool for_this_boot) MUST_CHECK;
/* Why nothing of it was begun, told from /run; the document's digest goes, for it is not taken over. */
int report_not_begun(const struct apply *apply, struct document *document) MUST_CHECK;
/* A refusal of a whole document, as results/0. */
int report_refusal(const struct apply *apply, const char *digest, enum code code, const char *detail) MUST_CHECK;
/* One more result for a command of an earlier document (confirmed, reverted). */
int report_late(const struct apply *apply, int64_t seq, const struct command *command) MUST_CHECK;

/* Undelivered results count for the floors by their names; afterwards they do not, and are delivered all the same. */
int report_set_aside(const struct apply *apply) MUST_CHECK;

/* run.c: the whole way of one document; an exit code. */
int document_run(struct apply *apply, struct document *document, struct journal *journal);
/* It cannot be journalled (negative errno), so nothing of it is begun; the console hears of it, once for each reason.
 */
void document_put_off(struct apply *apply, struct document *document, int error);

/* outcome */
void outcome_set(struct outcome *outcome, enum code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Once, and no more than PLUGIN_USERS_MAX; -ENOMEM. */
int outcome_add_user(struct outcome *outcome, const char *user) MUST_CHECK;
void outcome_free(struct outcome *outcome);
/* For those that have none yet. */
void outcome_fail_open(struct command **batch, size_t count, enum code code, const char *why);
/* True when the plugin did not end as it should, so that nobody knows what it did: the way back stays until its time.
 */
bool outcome_may_have_changed(const struct outcome *outcome);
/* What it does is gone at the next boot: a key at `runtime`. */
bool command_is_for_this_boot(const struct command *command);
/* True when nothing more will be done for the command in this run. */
bool command_is_ended(const struct command *command);
