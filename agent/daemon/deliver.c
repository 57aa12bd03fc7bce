/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/daemon/daemon.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/paths.h"
#include "lib/sys.h"

#define RESULTS_MAX 4096u
#define REFUSALS_TOLD 3u /* in a row: one may be a restart, or a full second */

/* A name in results/: SEQ, or SEQ.PART where a document's results did not fit into one text. */
struct entry {
	uint64_t seq, part;
	const char *name;
	int parent; /* whose results/ it stands in: the state's, or /run's where the disk could not take it */
};

static bool parse_number(const char **at, uint64_t *ret_number)
{
	const char *start = *at;
	uint64_t number = 0;

	while (**at >= '0' && **at <= '9' && *at - start < 17)
		number = number * 10 + (uint64_t)(*(*at)++ - '0');
	*ret_number = number;
	return *at > start;
}

static bool parse_name(const char *name, struct entry *ret_entry)
{
	struct entry entry = {.name = name};
	const char *at = name;

	if (!parse_number(&at, &entry.seq) || (*at == '.' && (at++, !parse_number(&at, &entry.part))) || *at != '\0')
		return false;
	*ret_entry = entry;
	return true;
}

static int compare_entries(const void *a, const void *b)
{
	const struct entry *left = a, *right = b;

	if (left->seq != right->seq)
		return left->seq < right->seq ? -1 : 1;
	return left->part < right->part ? -1 : left->part > right->part;
}

static int read_entry(struct daemon *daemon, const struct entry *entry, char **ret_text, size_t *ret_size)
{
	cleanup_close int directory = -1, descriptor = -1;
	struct stat status;

	int r = file_open_directory(entry->parent, "results", &directory);
	if (r == 0)
		r = file_open(directory, entry->name, &descriptor, &status);
	if (r == 0)
		r = file_read_descriptor(descriptor, LINK_BODY_MAX, ret_text, ret_size);
	if (r < 0)
		return r;
	(void)snprintf(daemon->result_name, sizeof(daemon->result_name), "%s", entry->name);
	daemon->result_parent = entry->parent;
	daemon->result_file = (struct sent_file){status.st_ino, status.st_ctim};
	return 0;
}

/* Of one results/, the oldest first, behind those that are there. */
static void add_entries(int parent, char **names, size_t count, struct entry *entries, size_t *kept)
{
	size_t before = *kept;

	for (size_t i = 0; i < count; i++) {
		if (parse_name(names[i], &entries[*kept]))
			entries[(*kept)++].parent = parent;
	}
	qsort(entries + before, *kept - before, sizeof(*entries), compare_entries);
}

static int list_results(int parent, char ***ret_names, size_t *ret_count)
{
	int r = parent < 0 ? -ENOENT : file_list(parent, "results", RESULTS_MAX, ret_names, ret_count);
	return r == -ENOENT ? 0 : r;
}

/*
 * The oldest results that can be read: a file that cannot does not hold up those behind it. Those in /run come first,
 * for on a disk that is read-only what was delivered cannot be removed, and would be the oldest for ever.
 */
static int read_next(struct daemon *daemon, uint64_t *ret_seq, char **ret_text, size_t *ret_size)
{
	cleanup_names char **in_run = NULL;
	cleanup_names char **in_state = NULL;
	size_t run_count = 0, state_count = 0, kept = 0;

	int r = list_results(daemon->run, &in_run, &run_count);
	if (r == 0)
		r = list_results(daemon->state, &in_state, &state_count);
	if (r < 0)
		return r;
	cleanup_free struct entry *entries = calloc(run_count + state_count + 1, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	add_entries(daemon->run, in_run, run_count, entries, &kept);
	add_entries(daemon->state, in_state, state_count, entries, &kept);
	/* What the endpoint will never take is tried again when everything else is gone. */
	for (size_t i = 0; daemon->result_stuck && i + 1 < kept; i++) {
		struct entry entry = entries[i];
		if (entry.parent != daemon->result_parent || strcmp(entry.name, daemon->result_name) != 0)
			continue;
		memmove(&entries[i], &entries[i + 1], (kept - i - 1) * sizeof(*entries));
		entries[kept - 1] = entry;
		break;
	}
	r = -ENOENT;
	for (size_t i = 0; i < kept; i++) {
		int failed = read_entry(daemon, &entries[i], ret_text, ret_size);
		if (failed == 0) {
			*ret_seq = entries[i].seq;
			return 0;
		}
		if (failed != -ENOENT) {
			log_error("results/%s cannot be read: %s", entries[i].name, strerror(-failed));
			r = failed;
		}
	}
	return r;
}

void deliver_next(struct daemon *daemon)
{
	struct link_message message = {.type = LINK_RESULTS};
	cleanup_free char *text = NULL;
	size_t size;

	if (!daemon->link_ready || !daemon->identified || daemon->result_in_flight || daemon->results_at > daemon_now())
		return;
	daemon->results_at = 0;
	int r = read_next(daemon, &message.seq, &text, &size);
	if (r == -ENOENT)
		return;
	if (r == 0)
		r = link_send_body(daemon->link, &message, text, size);
	if (r < 0) {
		log_error("results cannot be sent: %s", strerror(-r));
		daemon->results_at = daemon_now() + RETRY_LAST_MS;
		return;
	}
	daemon->result_in_flight = true;
	daemon->result_seq = message.seq;
}

bool sent_file_is_same(const struct sent_file *one, const struct sent_file *other)
{
	return one->inode == other->inode && memcmp(&one->changed, &other->changed, sizeof(one->changed)) == 0;
}

int deliver_remove(int parent, const char *folder, const char *name, const struct sent_file *file)
{
	cleanup_close int directory = -1;
	struct stat status;

	int r = file_open_directory(parent, folder, &directory);
	if (r < 0)
		return r;
	if (sys.fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	const struct sent_file now = {status.st_ino, status.st_ctim};
	return sent_file_is_same(&now, file) ? file_remove(directory, name) : 0;
}

/* A refusal is news of no command: an endpoint that keeps on answering, but does not take it, goes without. */
static void give_up_refusal(struct daemon *daemon, uint32_t code)
{
	if (code == 0 || strcmp(daemon->result_name, "0") != 0)
		return;
	if (!sent_file_is_same(&daemon->refusal_file, &daemon->result_file)) {
		daemon->refusal_file = daemon->result_file;
		daemon->refusal_tries = 0;
	}
	if (++daemon->refusal_tries < REFUSAL_TRIES_MAX)
		return;
	int r = deliver_remove(daemon->result_parent, "results", daemon->result_name, &daemon->result_file);
	log_warning("the endpoint does not take the refusal of a document (%u): given up%s%s", code, r < 0 ? ": " : "",
		r < 0 ? strerror(-r) : "");
}

void deliver_done(struct daemon *daemon, uint64_t seq, uint32_t code)
{
	if (!daemon->result_in_flight || seq != daemon->result_seq)
		return;
	daemon->result_in_flight = false;
	if (code >= 200 && code < 300) {
		int r = deliver_remove(daemon->result_parent, "results", daemon->result_name, &daemon->result_file);
		daemon->result_stuck = false;
		daemon->results_delay = 0;
		daemon->results_refusals = 0;
		peer_note(daemon, NAME_RESULTS_REFUSED, false);
		if (r < 0 && r != -ENOENT) {
			log_error("delivered results cannot be removed: %s", strerror(-r));
			daemon->results_at = daemon_now() + RETRY_LAST_MS;
			return;
		}
		deliver_next(daemon);
		return;
	}
	give_up_refusal(daemon, code);
	if (code != 0 && ++daemon->results_refusals == REFUSALS_TOLD)
		peer_note(daemon, NAME_RESULTS_REFUSED, true);
	/* This text, not the endpoint's state, is what it does not like. */
	daemon->result_stuck = code == 400 || code == 413 || code == 422;
	daemon->results_at = daemon_back_off(&daemon->results_delay);
	if (code == 401)
		peer_offer_identity(daemon);
	log_info("results %" PRIu64 " not delivered (%u), tried again later", seq, code);
}
