/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fifth step: the results, signed by the instance, kept in results/SEQ until the endpoint has them. Where the disk is
 * full or read-only they are told from /run/latchkey/results: of what is gone at reboot, or has not ended, that is
 * enough; of anything else the journal stays until they stand on disk.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "agent/apply/apply.h"
#include "agent/apply/history.h"
#include "agent/apply/identity.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/sshsig.h"
#include "lib/sys.h"

#define PART_SIZE_MAX                                                                                   \
	(512u << 10)  /* with the host keys and the signature far below the link's and endpoint's 1 MiB \
		       */
#define PARTS_MAX 64u /* 4,096 results with a sealed password each fill about 48 */
#define PART_NAME_SIZE 40u
#define REFUSAL "refusal" /* in history/: the one that was reported last, and when */
#define REFUSAL_SIZE_MAX 1024u
#define REFUSAL_REPEAT 86400 /* s: an endpoint that lost it hears it again */
#define WAITING_MAX 2048u    /* files in results/ */

static void put_result(struct json_writer *writer, const struct command *command)
{
	const struct outcome *outcome = &command->outcome;

	json_begin_object(writer, NULL);
	json_put_string(writer, "id", command->id);
	json_put_string(writer, "status", code_status_name(outcome->status));
	json_put_string(writer, "code", code_name(outcome->code));
	json_put_bool(writer, "changed", outcome->changed);
	json_put_string(writer, "detail", outcome->detail);
	if (outcome->sealed)
		json_put_string(writer, "sealed", outcome->sealed);
	if (outcome->login)
		json_put_raw(writer, "login", outcome->login);
	json_end_object(writer);
}

static void put_head(const struct apply *apply, struct json_writer *writer, int64_t seq, const char *digest,
	const char *document_code, bool dry_run)
{
	json_begin_object(writer, NULL);
	json_put_integer(writer, "v", 1);
	json_put_string(writer, "instance", apply->instance);
	if (seq > 0)
		json_put_integer(writer, "seq", seq);
	json_put_string(writer, "digest", digest);
	json_put_string(writer, "document", document_code);
	if (dry_run)
		json_put_bool(writer, "dry_run", true);
	json_put_string(writer, "agent", LATCHKEY_VERSION);
	json_put_integer(writer, "time", apply->now);
}

static int finish(const struct apply *apply, int directory, const char *name, struct json_writer *writer)
{
	identity_put_host_keys(apply, writer);
	json_end_object(writer);
	buffer_append(writer->out, "\n", 1);
	int r = identity_sign(apply, SSHSIG_RESULTS, writer->out);
	if (r < 0)
		return r;
	return file_replace_simple(directory, name, writer->out->bytes, writer->out->size, 0600);
}

static int open_results(const struct apply *apply, bool in_run, int *ret_directory)
{
	if (!in_run)
		return apply_state_directory(apply, "results", ret_directory);
	return apply->run < 0 ? -EROFS : file_make_directory(apply->run, "results", 0700, ret_directory);
}

/* results/SEQ, then results/SEQ.1 and so on. */
static void part_name(int64_t seq, unsigned part, char name[PART_NAME_SIZE])
{
	if (part == 0)
		(void)snprintf(name, PART_NAME_SIZE, "%" PRIi64, seq);
	else
		(void)snprintf(name, PART_NAME_SIZE, "%" PRIi64 ".%u", seq, part);
}

/* Results that still wait to be delivered; NULL when there are none. */
static cJSON *read_waiting(int directory, const char *name)
{
	cleanup_free char *text = NULL;
	struct signed_text parts;
	cJSON *payload = NULL;
	size_t size;

	if (file_read(directory, name, SIGNED_TEXT_MAX, &text, &size) < 0 ||
		signed_text_split(text, size, &parts) != CODE_OK ||
		json_parse_object(parts.payload.text, parts.payload.size, &payload) < 0)
		return NULL;
	return payload;
}

/* A document's results, divided into texts that the link and the endpoint take. */
struct results {
	const struct apply *apply;
	int directory;
	int64_t seq;
	const char *digest;
	bool dry_run;
	struct buffer text, item;
	unsigned part;
	bool empty; /* the part has no result yet */
};

static void begin_part(struct results *results, struct json_writer *writer)
{
	*writer = (struct json_writer){&results->text, false};
	put_head(results->apply, writer, results->seq, results->digest, "ok", results->dry_run);
	json_begin_array(writer, "results");
	results->empty = true;
}

static int end_part(struct results *results, struct json_writer *writer)
{
	char name[PART_NAME_SIZE];

	if (results->part == PARTS_MAX)
		return -EFBIG;
	json_end_array(writer);
	part_name(results->seq, results->part++, name);
	int r = finish(results->apply, results->directory, name, writer);
	buffer_free(&results->text);
	return r;
}

/* The item in results->item; begins a new part when it does not fit any more. */
static int put_item(struct results *results, struct json_writer *writer)
{
	int r = buffer_status(&results->item);

	if (r == 0 && !results->empty && results->text.size + results->item.size > PART_SIZE_MAX) {
		r = end_part(results, writer);
		begin_part(results, writer);
	}
	if (r == 0)
		json_put_raw(writer, NULL, results->item.bytes);
	results->empty = false;
	buffer_free(&results->item);
	return r;
}

/* Waiting results that these commands do not replace. */
static int put_waiting(struct results *results, struct json_writer *writer, const cJSON *waiting,
	const struct command *commands, size_t count)
{
	const cJSON *list, *result;

	if (!waiting || json_get_array(waiting, "results", &list) < 0)
		return 0;
	cJSON_ArrayForEach(result, list)
	{
		struct json_writer item = {&results->item, false};
		const char *id = "";
		bool replaced = false;
		(void)!json_get_string(result, "id", &id);
		for (size_t i = 0; i < count && !replaced; i++)
			replaced = commands[i].outcome.known && strcmp(commands[i].id, id) == 0;
		if (replaced)
			continue;
		json_put_value(&item, NULL, result);
		int r = put_item(results, writer);
		if (r < 0)
			return r;
	}
	return 0;
}

static int put_all(struct results *results, cJSON *const *waiting, const struct command *commands, size_t count)
{
	struct json_writer writer;
	int r = 0;

	begin_part(results, &writer);
	for (unsigned i = 0; r == 0 && i < PARTS_MAX; i++)
		r = put_waiting(results, &writer, waiting[i], commands, count);
	for (size_t i = 0; r == 0 && i < count; i++) {
		struct json_writer item = {&results->item, false};
		if (!commands[i].outcome.known)
			continue;
		put_result(&item, &commands[i]);
		r = put_item(results, &writer);
	}
	return r < 0 ? r : end_part(results, &writer);
}

/* Seq for seq; what is no document's, as a refusal, comes last. */
static int compare_age(const void *a, const void *b)
{
	const char *left = *(char *const *)a, *right = *(char *const *)b;
	bool left_is_other = left[0] < '1' || left[0] > '9', right_is_other = right[0] < '1' || right[0] > '9';
	size_t left_size = strcspn(left, "."), right_size = strcspn(right, ".");

	if (left_is_other != right_is_other)
		return left_is_other ? 1 : -1;
	if (left_size != right_size)
		return left_size < right_size ? -1 : 1;
	return strcmp(left, right);
}

/* Results of an endpoint that is gone for ever, or was never there (a static server), do not fill the disk. */
static void drop_oldest(int directory)
{
	cleanup_names char **names = NULL;
	size_t count;

	int r = file_list(directory, ".", 4 * WAITING_MAX, &names, &count);
	if (r == 0 && count > WAITING_MAX) {
		qsort(names, count, sizeof(*names), compare_age);
		log_warning("more than %u results wait for the endpoint: from results/%s on, %zu are dropped",
			WAITING_MAX, names[0], count - WAITING_MAX);
	}
	/* A document may have brought many parts. */
	for (size_t i = 0; r == 0 && i + WAITING_MAX < count; i++)
		r = file_remove(directory, names[i]);
	if (r < 0)
		log_warning("the oldest results cannot be removed: %s", strerror(-r));
}

static int write_results(const struct apply *apply, bool in_run, const struct document *document,
	const struct command *commands, size_t count)
{
	int64_t seq = document->seq;
	struct results results = {
		.apply = apply, .directory = -1, .seq = seq, .digest = document->digest, .dry_run = document->dry_run};
	cleanup_close int directory = -1;
	cJSON *waiting[PARTS_MAX] = {NULL};
	char name[PART_NAME_SIZE];

	int r = open_results(apply, in_run, &directory);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < PARTS_MAX; i++) {
		part_name(seq, i, name);
		waiting[i] = read_waiting(directory, name);
		if (waiting[i] && results.digest[0] == '\0')
			(void)!json_get_string(waiting[i], "digest", &results.digest);
	}
	results.directory = directory;
	r = put_all(&results, waiting, commands, count);
	/* Everything stands in the parts before; an older part may not follow with what they replaced. */
	for (unsigned i = results.part; r == 0 && i < PARTS_MAX; i++) {
		part_name(seq, i, name);
		if (waiting[i])
			r = file_remove(directory, name);
	}
	for (unsigned i = 0; i < PARTS_MAX; i++)
		cJSON_Delete(waiting[i]);
	buffer_free(&results.text);
	buffer_free(&results.item);
	if (r == 0)
		drop_oldest(directory);
	return r;
}

int report_set_aside(const struct apply *apply)
{
	cleanup_names char **names = NULL;
	cleanup_close int directory = -1;
	size_t count;

	int r = apply_state_directory(apply, "results", &directory);
	if (r == 0)
		r = file_list(directory, ".", 2 * WAITING_MAX, &names, &count);
	for (size_t i = 0; r == 0 && i < count; i++) {
		size_t size = strlen(names[i]);
		if (size != strspn(names[i], "0123456789") || strcmp(names[i], "0") == 0 || size > 16)
			continue;
		r = -EEXIST;
		for (unsigned part = 1; r == -EEXIST && part < PARTS_MAX; part++) {
			char name[PART_NAME_SIZE + 24];
			(void)snprintf(name, sizeof(name), "%s.%u", names[i], part);
			r = sys.renameat2(directory, names[i], directory, name, RENAME_NOREPLACE) < 0 ? -errno : 0;
		}
	}
	if (r == 0 && sys.fsync(directory) < 0)
		r = -errno;
	return r;
}

/* What stands on disk now says more than what was told from /run. */
static void forget_in_run(const struct apply *apply, int64_t seq)
{
	cleanup_close int directory = -1;
	char name[PART_NAME_SIZE];

	if (apply->run < 0 || file_open_directory(apply->run, "results", &directory) < 0)
		return;
	for (unsigned i = 0; i < PARTS_MAX; i++) {
		part_name(seq, i, name);
		if (sys.unlinkat(directory, name, 0) < 0)
			return;
	}
}

int report_document(const struct apply *apply, const struct document *document, bool for_this_boot)
{
	int r = write_results(apply, false, document, document->commands, document->count);
	if (r == 0) {
		forget_in_run(apply, document->seq);
		r = history_append(apply, document);
		return r < 0 && for_this_boot ? history_append_in_run(apply, document) : r;
	}
	int told = write_results(apply, true, document, document->commands, document->count);
	if (told == 0 && for_this_boot)
		return history_append_in_run(apply, document);
	return r;
}

int report_not_begun(const struct apply *apply, struct document *document)
{
	int r = write_results(apply, true, document, document->commands, document->count);
	/* Without a digest no line of the document's own: it is not taken over. */
	document->digest[0] = '\0';
	return r < 0 ? r : history_append_in_run(apply, document);
}

int report_late(const struct apply *apply, int64_t seq, const struct command *command)
{
	struct command copy = *command;
	struct document document = {.seq = seq, .commands = &copy, .count = 1};
	int r = write_results(apply, false, &document, command, 1);
	if (r < 0)
		return r;
	/* Who asked for it stands in the history's line of the pending result. */
	cleanup_history struct history history = {0};
	cleanup_json cJSON *line = NULL;
	const char *signer = NULL;
	r = history_load(apply, &history);
	if (r == 0 && history_find(&history, command->id, &line) == 0) {
		(void)!json_get_string(line, "signer", &signer);
		(void)!json_get_string(line, "actor", &copy.actor);
	}
	document.signer = signer ? strdup(signer) : NULL;
	if (r == 0)
		r = history_append(apply, &document);
	free(document.signer);
	return r;
}

/* The refusal was delivered, or latchkeyd gave it up, and the same document is still there. */
static bool was_said(const struct apply *apply, const char *digest, enum code code)
{
	cleanup_close int directory = -1;
	cleanup_free char *text = NULL;
	cleanup_json cJSON *said = NULL;
	const char *old_digest, *old_code;
	int64_t time;
	size_t size;

	if (apply_state_directory(apply, "history", &directory) < 0 ||
		file_read(directory, REFUSAL, REFUSAL_SIZE_MAX, &text, &size) < 0 ||
		json_parse_object(text, size, &said) < 0 || json_get_string(said, "digest", &old_digest) < 0 ||
		json_get_string(said, "code", &old_code) < 0 || json_get_integer(said, "time", &time) < 0)
		return false;
	return strcmp(old_digest, digest) == 0 && strcmp(old_code, code_name(code)) == 0 && time <= apply->clock &&
	       apply->clock - time < REFUSAL_REPEAT;
}

/* Best effort: without it the refusal is said once more. */
static void note_said(const struct apply *apply, const char *digest, enum code code)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};
	cleanup_close int directory = -1;

	json_begin_object(&writer, NULL);
	json_put_string(&writer, "digest", digest);
	json_put_string(&writer, "code", code_name(code));
	json_put_integer(&writer, "time", apply->clock);
	json_end_object(&writer);
	if (buffer_status(&text) == 0 && apply_state_directory(apply, "history", &directory) == 0)
		(void)!file_replace_simple(directory, REFUSAL, text.bytes, text.size, 0600);
}

int report_refusal(const struct apply *apply, const char *digest, enum code code, const char *detail)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};
	cleanup_close int directory = -1;
	cleanup_json cJSON *waiting = NULL;
	const char *old_digest = "", *old_code = "";
	struct stat status;

	int r = open_results(apply, false, &directory);
	if (r < 0)
		return r;
	/* The same refusal again says nothing new; the endpoint may be offering it for ever. */
	waiting = read_waiting(directory, "0");
	if (waiting && json_get_string(waiting, "digest", &old_digest) == 0 &&
		json_get_string(waiting, "document", &old_code) == 0 && strcmp(old_digest, digest) == 0 &&
		strcmp(old_code, code_name(code)) == 0)
		return 0;
	if (sys.fstatat(directory, "0", &status, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT &&
		was_said(apply, digest, code))
		return 0;
	put_head(apply, &writer, 0, digest, code_name(code), false);
	json_put_string(&writer, "detail", detail);
	json_begin_array(&writer, "results");
	json_end_array(&writer);
	r = finish(apply, directory, "0", &writer);
	if (r == 0)
		note_said(apply, digest, code);
	return r;
}
