/* SPDX-License-Identifier: Apache-2.0 */
/* latchkey-apply(8): options, wiring, and which of its few jobs is to be done. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <string.h>

#include <sodium.h>

#include "agent/apply/history.h"
#include "agent/apply/identity.h"
#include "agent/apply/inbox.h"
#include "agent/apply/journal.h"
#include "agent/apply/later.h"
#include "agent/apply/revert.h"
#include "agent/apply/sshd_paths.h"
#include "agent/apply/sweep.h"
#include "agent/apply/view.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/log_event.h"
#include "lib/program.h"
#include "lib/sandbox.h"
#include "lib/sys.h"

enum job {
	JOB_NONE,
	JOB_DOCUMENT,
	JOB_INBOX,
	JOB_TRUST,
	JOB_REDO,
	JOB_REVERT,
	JOB_SWEEP,
	JOB_VIEW,
	JOB_RESET_FLOOR,
};

struct options {
	enum job job;
	const char *file, *root;
};

static int usage(FILE *out, int code)
{
	(void)fputs(
		"Usage: latchkey-apply [--root DIR] --document FILE\n"
		"       latchkey-apply --inbox | --trust FILE | --redo | --revert | --sweep | --view |\n"
		"                      --reset-floor\n"
		"       latchkey-apply --describe | --help | --version\n\n"
		"Applies one signed document to this machine, as root. FILE may be - for standard input.\n\n"
		"  --document FILE  verify, decide, apply, prove, report\n"
		"  --root DIR       work on a mounted system; nothing from it is executed\n"
		"  --inbox          the same for the first document in /var/lib/latchkey/inbox\n"
		"  --trust FILE     take a signed trust document over\n"
		"  --redo           finish what a crash left, make the identity, write the view (done at boot)\n"
		"  --revert         take back what was to be confirmed in time and was not\n"
		"  --sweep          look whether the bound keys still stand ([keys] drift)\n"
		"  --view           write /run/latchkey/view and status.json anew\n"
		"  --reset-floor    forget the newest seq and time (after the endpoint was restored from a backup)\n"
		"  --describe       print the table of commands\n\n"
		"Exit codes: 0 taken over, 64 usage, 65 refused, 66 refused because the signer is unknown,\n"
		"70 internal error, 75 try again. The results are in /var/lib/latchkey/results.\n",
		out);
	return code;
}

static int describe(void)
{
	cleanup_manifest_set struct manifest_set set = {0};

	if (manifest_set_load(&set) < 0)
		return EXIT_INTERNAL;
	for (unsigned i = 0; i < MANIFEST_PLUGINS; i++)
		(void)fputs(manifest_text(set.plugins[i].name), stdout);
	return 0;
}

static int read_input(const char *file, char **ret_text, size_t *ret_size)
{
	if (strcmp(file, "-") == 0)
		return file_read_descriptor(STDIN_FILENO, SIGNED_TEXT_MAX, ret_text, ret_size);
	return file_read(AT_FDCWD, file, SIGNED_TEXT_MAX, ret_text, ret_size);
}

/* A revoked signer's documents end where they stand: only the step that had begun is finished. */
static void refuse_what_is_open(struct document *document)
{
	for (size_t i = 0; i < document->count; i++) {
		struct command *command = &document->commands[i];
		if (!command_is_ended(command) && !command->redo)
			outcome_set(&command->outcome, CODE_SIGNER, "the document's signer is not trusted any more");
	}
}

static bool is_about_keys(const struct document *document)
{
	for (size_t i = 0; i < document->count; i++) {
		if (strncmp(document->commands[i].do_name, "keys.", strlen("keys.")) == 0)
			return true;
	}
	return false;
}

/* Finishes what a crash left. With `only_in_hand` nothing new is begun, for a newer document waits. */
static int redo(struct apply *apply, bool only_in_hand)
{
	int64_t newest = journal_newest(apply), after = 0;

	for (;;) {
		cleanup_document struct document document = {0};
		cleanup_journal struct journal journal = {.directory = -1, .descriptor = -1};

		int r = journal_resume(apply, after, &journal, &document);
		if (r == -ENOENT) {
			later_sweep(apply);
			return EXIT_TAKEN_OVER;
		}
		if (r == -EBADMSG)
			continue; /* set aside; perhaps there is another */
		/* On a read-only disk no step can be in hand, and a key at `runtime` must not wait for those. */
		if (r == -EROFS && only_in_hand)
			return EXIT_TAKEN_OVER;
		if (r < 0) {
			log_error("the journal cannot be read: %s", strerror(-r));
			return EXIT_TRY_AGAIN;
		}
		after = journal.seq;
		document.only_in_hand = only_in_hand || journal.seq < newest;
		enum code signer = verify_signer_again(apply, &document);
		if (signer != CODE_OK) {
			log_warning(
				"document %lld: its signer is not trusted any more: only what is in hand is finished",
				(long long)document.seq);
			refuse_what_is_open(&document);
		}
		/* The crash may have come before this. */
		if (apply->is_host && !document.only_in_hand && is_about_keys(&document))
			sshd_paths_ensure(apply);
		/* One that cannot be ended now (its results cannot be kept) must not hold the newer document up. */
		int code = document_run(apply, &document, &journal);
		if (code != EXIT_TAKEN_OVER)
			return code;
	}
}

static int refuse(const struct apply *apply, const struct document *document, enum code code, const char *detail)
{
	bool signature_held = document->signer != NULL;

	log_event(LOG_EVENT_DOCUMENT_REFUSED, LOG_WARNING, code_name(code), "document refused: %s: %s", code_name(code),
		detail);
	int r = report_refusal(apply, document->digest, code, detail);
	if (r < 0)
		log_warning("the refusal cannot be reported: %s", strerror(-r));
	if (code == CODE_NOT_YET_VALID || code == CODE_INTERNAL)
		return EXIT_TRY_AGAIN;
	if (code == CODE_SIGNER_UNKNOWN)
		return EXIT_SIGNER_UNKNOWN;
	return signature_held ? EXIT_TAKEN_OVER : EXIT_REFUSED;
}

static int take_over(struct apply *apply, struct document *document)
{
	cleanup_journal struct journal journal = {.directory = -1, .descriptor = -1};

	if (document->seq == apply->floors.seq) {
		log_debug("document %lld is taken over already", (long long)document->seq);
		return EXIT_TAKEN_OVER;
	}
	if (apply->history_unreadable) {
		log_error("document %lld is not taken over: the history cannot be read", (long long)document->seq);
		return EXIT_TRY_AGAIN;
	}
	/* It leaves what is open alone, and needs no journal: done again after a crash, it is the same. */
	if (document->dry_run)
		return document_run(apply, document, &journal);
	int result = redo(apply, true);
	if (result != EXIT_TAKEN_OVER)
		return result;
	int r = journal_begin(apply, document, &journal);
	if (r < 0) {
		log_error("document %lld cannot be journalled, so nothing is begun: %s", (long long)document->seq,
			strerror(-r));
		document_put_off(apply, document, r);
		return EXIT_TRY_AGAIN;
	}
	/* Where the operator has moved AuthorizedKeysFile, keys go there, and sshd reads them there. */
	if (apply->is_host && is_about_keys(document)) {
		sweep_revoked(apply);
		sshd_paths_ensure(apply);
	}
	return document_run(apply, document, &journal);
}

static int do_document(struct apply *apply, const char *text, size_t size)
{
	cleanup_document struct document document = {0};
	char detail[DETAIL_MAX + 1];

	enum code code = verify_document(apply, text, size, &document, detail);
	return code == CODE_OK ? take_over(apply, &document) : refuse(apply, &document, code, detail);
}

/* One document: the next run of this program begins with what is on disk then. */
static int do_inbox(struct apply *apply)
{
	cleanup_document struct document document = {0};
	cleanup_free char *name = NULL, *text = NULL;
	char detail[DETAIL_MAX + 1];
	int result;
	size_t size;

	int r = inbox_next(apply, &name, &text, &size);
	if (r < 0)
		return r == -ENOENT || r == -EBADMSG ? EXIT_TAKEN_OVER : EXIT_TRY_AGAIN;
	enum code code = verify_document(apply, text, size, &document, detail);
	if (code == CODE_OK) {
		result = take_over(apply, &document);
	} else if (code == CODE_REPLAYED) {
		/* A medium that stays in the machine brings it at every boot. */
		log_info("inbox/%s is not new: %s", name, detail);
		result = EXIT_TAKEN_OVER;
	} else {
		result = refuse(apply, &document, code, detail);
		/* These are about the machine, not about the document. */
		if (code == CODE_MODE_OFF || code == CODE_NO_SIGNERS)
			result = EXIT_TRY_AGAIN;
	}
	if (result == EXIT_TRY_AGAIN)
		return result;
	r = code == CODE_OK || code == CODE_REPLAYED ? inbox_remove(apply, name) : inbox_set_aside(apply, name);
	if (r < 0) {
		log_error("inbox/%s cannot be taken away: %s", name, strerror(-r));
		return EXIT_TRY_AGAIN;
	}
	return EXIT_TAKEN_OVER;
}

/* Under the lock a temporary file of ours is one that a crash left. */
static void sweep(const struct apply *apply)
{
	static const char *const folders[] = {"identity", "history", "quarantine", "results", "revert", "trust",
		"plugin/account", "plugin/authorized-keys", "plugin/sshd", "plugin/login"};

	for (unsigned i = 0; i < ELEMENTS(folders); i++) {
		cleanup_close int directory = -1;
		if (apply_state_directory(apply, folders[i], &directory) == 0)
			file_sweep_temporaries(directory, INT64_MAX);
	}
	cleanup_close int report = -1;
	if (apply->run >= 0)
		file_sweep_temporaries(apply->run, INT64_MAX);
	if (apply->run >= 0 && file_open_directory(apply->run, "report", &report) == 0)
		file_sweep_temporaries(report, INT64_MAX);
}

static int do_redo(struct apply *apply)
{
	sweep(apply);
	int r = apply_keep_version(apply);
	if (r < 0)
		log_warning("the version of the state cannot be written: %s", strerror(-r));
	r = identity_refresh(apply);
	if (r < 0)
		log_warning("the identity cannot be brought up to date: %s", strerror(-r));
	revert_repair(apply);
	int result = redo(apply, false);
	r = revert_run_due(apply);
	if (r < 0 && result == EXIT_TAKEN_OVER)
		result = EXIT_TRY_AGAIN;
	if (apply->is_host) {
		sweep_at_boot(apply);
		sshd_paths_ensure(apply);
	}
	journal_prepare_spare(apply);
	return result;
}

static int reset_floor(struct apply *apply)
{
	/* An open journal and undelivered results are floors too. The results still go to the endpoint. */
	int result = redo(apply, true);
	if (result == EXIT_TAKEN_OVER && journal_newest(apply) > 0)
		result = EXIT_TRY_AGAIN;
	if (result != EXIT_TAKEN_OVER) {
		log_error("the floors cannot be reset: a document is still open");
		return result;
	}
	int r = report_set_aside(apply);
	if (r == 0)
		r = history_reset_floors(apply);
	if (r < 0) {
		log_error("the floors cannot be reset: %s", strerror(-r));
		return EXIT_INTERNAL;
	}
	log_event(LOG_EVENT_FLOORS_RESET, LOG_NOTICE, NULL,
		"the floors are reset: the next good document applies whatever its seq");
	return EXIT_TAKEN_OVER;
}

static int run_job(struct apply *apply, const struct options *options, const char *text, size_t size)
{
	const struct link_message *endpoint = NULL;
	struct link_message message;
	int result = EXIT_TAKEN_OVER, r;

	if (apply->state_is_newer && options->job != JOB_VIEW) {
		log_error("nothing is begun: a later version of this program has written the state");
		r = view_write(apply, NULL);
		return r < 0 ? EXIT_INTERNAL : EXIT_TRY_AGAIN;
	}
	switch (options->job) {
	case JOB_DOCUMENT:
		result = do_document(apply, text, size);
		break;
	case JOB_INBOX:
		result = do_inbox(apply);
		break;
	case JOB_TRUST:
		result = trust_take_over(apply, text, size);
		break;
	case JOB_REDO:
		result = do_redo(apply);
		break;
	case JOB_REVERT:
		revert_repair(apply);
		result = revert_run_due(apply) < 0 ? EXIT_TRY_AGAIN : EXIT_TAKEN_OVER;
		break;
	case JOB_SWEEP:
		r = sweep_run(apply);
		sweep_schedule(apply, r == 0);
		apply->swept = true;
		result = r < 0 ? EXIT_TRY_AGAIN : EXIT_TAKEN_OVER;
		break;
	case JOB_RESET_FLOOR:
		result = reset_floor(apply);
		break;
	case JOB_VIEW:
		if (size == sizeof(message)) {
			memcpy(&message, text, sizeof(message));
			message.text[sizeof(message.text) - 1] = '\0';
			/* latchkey-net's words end up in status.json: printable ASCII only. */
			for (char *at = message.text; *at; at++) {
				if ((unsigned char)*at < 0x20 || (unsigned char)*at >= 0x7f)
					*at = '?';
			}
			endpoint = &message;
		}
		break;
	case JOB_NONE:
		return EXIT_USAGE;
	}
	if (options->job == JOB_DOCUMENT || options->job == JOB_INBOX || options->job == JOB_REDO)
		sweep_schedule(apply, false);
	r = apply->state_is_newer ? 0 : identity_age_box(apply);
	if (r < 0 && r != -EROFS)
		log_warning("the box key cannot be renewed: %s", strerror(-r));
	r = view_write(apply, endpoint);
	if (r < 0)
		log_warning("the view cannot be written: %s", strerror(-r));
	return result;
}

static int run(const struct options *options)
{
	cleanup_free char *text = NULL;
	struct apply apply;
	size_t size = 0;
	int result = EXIT_TRY_AGAIN, r = 0;

	if (options->job == JOB_DOCUMENT || options->job == JOB_TRUST)
		r = read_input(options->file, &text, &size);
	else if (options->job == JOB_VIEW && !isatty(STDIN_FILENO))
		r = file_read_descriptor(STDIN_FILENO, sizeof(struct link_message), &text, &size);
	if (r < 0) {
		log_error("cannot read %s: %s", options->file ? options->file : "standard input", strerror(-r));
		return r == -EFBIG ? EXIT_REFUSED : EXIT_TRY_AGAIN;
	}
	r = apply_open(&apply, options->root);
	if (r == 0)
		r = apply_lock(&apply, options->job == JOB_REDO);
	if (r == 0)
		result = run_job(&apply, options, text, size);
	else
		log_error("cannot start: %s", strerror(-r));
	apply_close(&apply);
	return result;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {{"document", required_argument, NULL, 'd'},
		{"inbox", no_argument, NULL, 'i'}, {"trust", required_argument, NULL, 't'},
		{"redo", no_argument, NULL, 'r'}, {"revert", no_argument, NULL, 'b'}, {"sweep", no_argument, NULL, 's'},
		{"view", no_argument, NULL, 'v'}, {"reset-floor", no_argument, NULL, 'f'},
		{"root", required_argument, NULL, 'R'}, {"describe", no_argument, NULL, 'D'},
		{"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
	struct options options = {.root = "/"};
	int option;

	if (program_begin() < 0 || sodium_init() < 0)
		return EXIT_INTERNAL;
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
		enum job job = JOB_NONE;
		switch (option) {
		case 'd':
		case 't':
			job = option == 'd' ? JOB_DOCUMENT : JOB_TRUST;
			options.file = optarg;
			break;
		case 'i':
			job = JOB_INBOX;
			break;
		case 'r':
			job = JOB_REDO;
			break;
		case 'b':
			job = JOB_REVERT;
			break;
		case 's':
			job = JOB_SWEEP;
			break;
		case 'v':
			job = JOB_VIEW;
			break;
		case 'f':
			job = JOB_RESET_FLOOR;
			break;
		case 'R':
			options.root = optarg;
			continue;
		case 'D':
			return describe();
		case 'h':
			return usage(stdout, 0);
		case 'V':
			(void)printf("latchkey-apply %s\n", LATCHKEY_VERSION);
			return 0;
		default:
			return usage(stderr, EXIT_USAGE);
		}
		if (options.job != JOB_NONE)
			return usage(stderr, EXIT_USAGE);
		options.job = job;
	}
	if (options.job == JOB_NONE || optind != argc || options.root[0] != '/')
		return usage(stderr, EXIT_USAGE);
	if (geteuid() != 0) {
		(void)fputs("latchkey-apply: must run as root\n", stderr);
		return EXIT_INTERNAL;
	}
	int r = sandbox_enter_root();
	if (r < 0) {
		log_error("the kernel does not take this program's filter: %s", strerror(-r));
		return EXIT_INTERNAL;
	}
	return run(&options);
}
