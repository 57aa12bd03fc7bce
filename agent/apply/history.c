/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/history.h"

#include <errno.h>
#include <string.h>

#include "agent/apply/journal.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/name_map.h"
#include "lib/sys.h"

#define CURRENT "current"
#define PREVIOUS "previous"
#define IN_RUN "history" /* a file below /run/latchkey, at most HISTORY_FILE_MAX */
#define COMMAND_HEAD "{\"t\":\"command\",\"id\":\""
#define DOCUMENT_HEAD "{\"t\":\"document\","
#define RESET_HEAD "{\"t\":\"reset\","
#define DAMAGED_HEAD "{\"t\":\"damaged\","
#define RESULTS_MAX 4096u /* files; the endpoint was gone for as many documents */

int history_load(const struct apply *apply, struct history *ret_history)
{
	static const char *const names[] = {PREVIOUS, CURRENT};
	cleanup_history struct history history = {0};
	cleanup_close int directory = -1;

	int r = apply_state_directory(apply, "history", &directory);
	for (unsigned i = 0; r == 0 && i < ELEMENTS(names); i++) {
		r = file_read(directory, names[i], HISTORY_READ_MAX, &history.texts[i], &history.sizes[i]);
		if (r == -ENOENT)
			r = 0;
	}
	/* A state that cannot be had, or a disk that turned read-only before there was a history. */
	if (r == -EROFS)
		r = 0;
	if (r == 0 && apply->run >= 0) {
		r = file_read(apply->run, IN_RUN, HISTORY_READ_MAX, &history.texts[2], &history.sizes[2]);
		if (r == -ENOENT)
			r = 0;
	}
	if (r < 0) {
		log_error("cannot read the history: %s", strerror(-r));
		return r;
	}
	*ret_history = history;
	history = (struct history){0};
	return 0;
}

void history_free(struct history *history)
{
	for (unsigned i = 0; i < HISTORY_FILES; i++)
		free(history->texts[i]);
	*history = (struct history){0};
}

void history_newest(const struct history *history, unsigned *ret_file, size_t *ret_end)
{
	*ret_file = HISTORY_FILES - 1;
	*ret_end = history->sizes[HISTORY_FILES - 1];
}

bool history_previous_line(
	const struct history *history, unsigned *file, size_t *end, const char **ret_line, size_t *ret_size)
{
	while (*end == 0) {
		if (*file == 0)
			return false;
		*end = history->sizes[--*file];
	}
	const char *text = history->texts[*file];
	/* *end is just behind a newline, or behind a torn last line, which counts as none */
	size_t stop = *end;
	if (text[stop - 1] != '\n') {
		const char *newline = memrchr(text, '\n', stop);
		*end = newline ? (size_t)(newline - text) + 1 : 0;
		return history_previous_line(history, file, end, ret_line, ret_size);
	}
	const char *before = stop > 1 ? memrchr(text, '\n', stop - 1) : NULL;
	size_t start = before ? (size_t)(before - text) + 1 : 0;
	*ret_line = text + start;
	*ret_size = stop - 1 - start;
	*end = start;
	return true;
}

static bool starts_with(const char *line, size_t size, const char *head)
{
	size_t length = strlen(head);
	return size > length && memcmp(line, head, length) == 0;
}

/* The id of a command line, which history_append put first; NULL for other lines. */
static const char *line_id(const char *line, size_t size, size_t *ret_size)
{
	if (!starts_with(line, size, COMMAND_HEAD))
		return NULL;
	const char *id = line + strlen(COMMAND_HEAD);
	const char *quote = memchr(id, '"', size - strlen(COMMAND_HEAD));
	if (!quote)
		return NULL;
	*ret_size = (size_t)(quote - id);
	return id;
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp((*(struct command *const *)a)->id, (*(struct command *const *)b)->id);
}

static void answer(struct command *command, const cJSON *line)
{
	const char *status, *name, *detail = "";
	enum code code;

	/* What was only tried uses no id up. */
	if (json_member(line, "dry_run"))
		return;
	if (json_get_string(line, "status", &status) < 0 || json_get_string(line, "code", &name) < 0 ||
		code_from_name(name, &code) < 0)
		return;
	if (strcmp(status, "pending") == 0) {
		/* The newest line comes first. The same again at each retry would push everything else out. */
		if (!command->is_known_pending)
			command->known_pending = code;
		command->is_known_pending = true;
		return;
	}
	/* A crash came after the line and before the journal's end: the outcome is known, and written. */
	if (command_is_ended(command)) {
		command->outcome.in_history = true;
		return;
	}
	(void)!json_get_string(line, "detail", &detail);
	outcome_set(&command->outcome, code, "%s", detail);
	if (strcmp(status, "failed") == 0)
		command->outcome.status = STATUS_FAILED;
	(void)!json_get_bool(line, "changed", &command->outcome.changed);
	command->outcome.from_history = command->outcome.in_history = true;
}

int history_answer(const struct history *history, struct document *document)
{
	unsigned file;
	size_t end, size;
	const char *line;

	history_newest(history, &file, &end);
	if (document->count == 0)
		return 0;
	cleanup_free struct command **sorted = calloc(document->count, sizeof(struct command *));
	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < document->count; i++)
		sorted[i] = &document->commands[i];
	qsort(sorted, document->count, sizeof(struct command *), compare_ids);
	while (history_previous_line(history, &file, &end, &line, &size)) {
		char text[65];
		size_t id_size;
		const char *id = line_id(line, size, &id_size);
		if (!id || id_size >= sizeof(text))
			continue;
		memcpy(text, id, id_size);
		text[id_size] = '\0';
		struct command wanted = {.id = text}, *wanted_pointer = &wanted;
		struct command **found =
			bsearch(&wanted_pointer, sorted, document->count, sizeof(struct command *), compare_ids);
		if (!found)
			continue;
		cleanup_json cJSON *tree = NULL;
		int r = json_parse_object(line, size, &tree);
		if (r == -ENOMEM)
			return r; /* or it would be done again */
		if (r == 0)
			answer(*found, tree);
	}
	return 0;
}

int history_find(const struct history *history, const char *id, cJSON **ret_line)
{
	unsigned file;
	size_t end, size, id_size;
	const char *line;

	history_newest(history, &file, &end);
	while (history_previous_line(history, &file, &end, &line, &size)) {
		const char *found = line_id(line, size, &id_size);
		cleanup_json cJSON *tree = NULL;
		if (!found || strlen(id) != id_size || memcmp(found, id, id_size) != 0 ||
			json_parse_object(line, size, &tree) < 0 || json_member(tree, "dry_run"))
			continue;
		*ret_line = steal_pointer(&tree);
		return 0;
	}
	return -ENOENT;
}

void history_progress(const struct apply *apply, int64_t *ret_pending, int64_t *ret_verified)
{
	cleanup_history struct history history = {0};
	cleanup_name_map struct name_map seen = {0};
	unsigned file;
	const char *line;
	int64_t newest = 0;
	size_t size, end;

	*ret_pending = *ret_verified = 0;
	if (history_load(apply, &history) < 0)
		return;
	history_newest(&history, &file, &end);
	/* A command that is tried again has a line only where something about it changed: its newest one counts. */
	while (history_previous_line(&history, &file, &end, &line, &size)) {
		cleanup_json cJSON *tree = NULL;
		const char *type = "", *status = "", *id = "";
		bool dry_run = false;
		int64_t seq = 0;
		if (json_parse_object(line, size, &tree) < 0)
			continue;
		(void)!json_get_string(tree, "t", &type);
		(void)!json_get_string(tree, "id", &id);
		(void)!json_get_integer(tree, "seq", &seq);
		(void)!json_get_bool(tree, "dry_run", &dry_run);
		(void)!json_get_string(tree, "status", &status);
		if (*ret_verified == 0 && strcmp(type, "document") == 0)
			(void)!json_get_integer(tree, "time", ret_verified);
		if (dry_run)
			continue;
		if (strcmp(type, "document") == 0 && newest == 0)
			newest = seq;
		if (newest > 0 && strcmp(type, "document") == 0 && seq < newest)
			break;
		if (strcmp(type, "command") != 0 || name_map_get(&seen, id) != NAME_MAP_NONE)
			continue;
		if (name_map_put(&seen, id, 0) < 0)
			break;
		if (seq == newest && strcmp(status, "pending") == 0)
			(*ret_pending)++;
	}
}

/* The highest seq among the names of results/: a result is written before its history line. */
static int64_t newest_result(const struct apply *apply)
{
	cleanup_names char **names = NULL;
	int64_t newest = 0;
	size_t count;

	if (apply->state < 0 || file_list(apply->state, "results", RESULTS_MAX, &names, &count) < 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		int64_t seq = 0;
		const char *at = names[i];
		while (*at >= '0' && *at <= '9' && at - names[i] < 16)
			seq = seq * 10 + (*at++ - '0');
		if (*at == '\0' && seq > newest)
			newest = seq;
	}
	return newest;
}

int history_floors(const struct history *history, struct floors *ret_floors)
{
	struct floors floors = {0};
	unsigned file;
	const char *line;
	size_t end, size;

	history_newest(history, &file, &end);
	while (history_previous_line(history, &file, &end, &line, &size)) {
		bool is_damaged = starts_with(line, size, DAMAGED_HEAD);
		cleanup_json cJSON *tree = NULL;
		const char *digest = "";
		int64_t seq, issued;
		if (starts_with(line, size, RESET_HEAD))
			break;
		if (!is_damaged && !starts_with(line, size, DOCUMENT_HEAD))
			continue;
		int r = json_parse_object(line, size, &tree);
		if (r == -ENOMEM)
			return r;
		/* The next document is above all that were; before it nobody knows which those are. */
		if (is_damaged && floors.damaged == 0)
			(void)!json_get_integer(tree, "time", &floors.damaged);
		if (is_damaged || json_get_integer(tree, "seq", &seq) < 0 ||
			json_get_integer(tree, "issued", &issued) < 0)
			continue;
		(void)!json_get_string(tree, "digest", &digest);
		floors.seq = seq;
		floors.issued = issued;
		(void)snprintf(floors.digest, sizeof(floors.digest), "%s", digest);
		break;
	}
	*ret_floors = floors;
	return 0;
}

int history_read_floors(const struct apply *apply, struct floors *ret_floors)
{
	cleanup_history struct history history = {0};
	struct floors floors;

	int r = history_load(apply, &history);
	if (r == 0)
		r = history_floors(&history, &floors);
	if (r < 0)
		return r;
	int64_t result = newest_result(apply);
	if (result > floors.seq) {
		floors.seq = result;
		floors.digest[0] = '\0';
	}
	journal_raise_floors(apply, &floors);
	*ret_floors = floors;
	return 0;
}

static void put_command(struct json_writer *writer, const struct apply *apply, const struct document *document,
	const struct command *command)
{
	json_begin_object(writer, NULL);
	json_put_string(writer, "t", "command");
	json_put_string(writer, "id", command->id);
	json_put_integer(writer, "seq", document->seq);
	json_put_string(writer, "do", command->do_name);
	if (command->user)
		json_put_string(writer, "user", command->user);
	json_put_string(writer, "status", code_status_name(command->outcome.status));
	json_put_string(writer, "code", code_name(command->outcome.code));
	json_put_bool(writer, "changed", command->outcome.changed);
	json_put_string(writer, "detail", command->outcome.detail);
	json_put_string(writer, "signer", document->signer ? document->signer : "");
	json_put_string(writer, "actor", command->actor);
	json_put_integer(writer, "time", apply->now);
	json_put_integer(writer, "until", command->until);
	if (document->dry_run)
		json_put_bool(writer, "dry_run", true);
	json_end_object(writer);
	buffer_append(writer->out, "\n", 1);
	writer->comma = false;
}

static int rotate(int directory)
{
	struct stat status;

	if (sys.fstatat(directory, CURRENT, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (status.st_size < (off_t)HISTORY_FILE_MAX / 2)
		return 0;
	if (sys.renameat2(directory, CURRENT, directory, PREVIOUS, 0) < 0 || sys.fsync(directory) < 0)
		return -errno;
	return 0;
}

/* The last line as a crash or a full disk left it, so that the next one is whole. */
static int cut_torn_line(int descriptor)
{
	cleanup_free char *text = NULL;
	size_t size;

	int r = file_read_descriptor(descriptor, HISTORY_READ_MAX, &text, &size);
	if (r < 0)
		return r;
	const char *newline = memrchr(text, '\n', size);
	return sys.ftruncate(descriptor, newline ? newline + 1 - text : 0) < 0 ? -errno : 0;
}

static int append_to(int directory, const char *name, size_t most, const struct buffer *lines)
{
	cleanup_close int descriptor = -1;
	struct stat status;
	int r = 0;

	descriptor =
		sys.openat(directory, name, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (descriptor < 0 || sys.fstat(descriptor, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	if (status.st_size > (off_t)most)
		return -ENOSPC;
	char last = '\n';
	if (status.st_size > 0 && pread(descriptor, &last, 1, status.st_size - 1) == 1 && last != '\n')
		r = cut_torn_line(descriptor);
	if (r == 0)
		r = file_write_all(descriptor, lines->bytes, lines->size);
	if (r < 0)
		return r;
	if (sys.fdatasync(descriptor) < 0)
		return -errno;
	if (status.st_size == 0 && sys.fsync(directory) < 0)
		return -errno;
	return 0;
}

/* On disk, behind what could only be noted in /run before. */
static int append_lines(const struct apply *apply, const struct buffer *lines)
{
	cleanup_close int directory = -1;
	cleanup_free char *noted = NULL;
	cleanup_buffer struct buffer all = {0};
	size_t size = 0;

	int r = apply_state_directory(apply, "history", &directory);
	if (r < 0)
		return r;
	r = rotate(directory);
	if (r == 0 && apply->run >= 0)
		r = file_read(apply->run, IN_RUN, HISTORY_READ_MAX, &noted, &size);
	if (r < 0 && r != -ENOENT)
		return r;
	if (!noted)
		return append_to(directory, CURRENT, SIZE_MAX >> 1, lines);
	buffer_append(&all, noted, size);
	buffer_append(&all, lines->bytes, lines->size);
	r = buffer_status(&all);
	if (r == 0)
		r = append_to(directory, CURRENT, SIZE_MAX >> 1, &all);
	return r < 0 ? r : file_remove(apply->run, IN_RUN);
}

static void put_mark(const struct apply *apply, const char *type, struct buffer *lines)
{
	struct json_writer writer = {lines, false};

	json_begin_object(&writer, NULL);
	json_put_string(&writer, "t", type);
	json_put_integer(&writer, "time", apply->clock);
	json_end_object(&writer);
	buffer_append(lines, "\n", 1);
}

void history_put_damaged(const struct apply *apply, struct buffer *lines)
{
	put_mark(apply, "damaged", lines);
}

int history_reset_floors(const struct apply *apply)
{
	cleanup_buffer struct buffer line = {0};

	put_mark(apply, "reset", &line);
	int r = buffer_status(&line);
	return r < 0 ? r : append_lines(apply, &line);
}

static bool needs_line(const struct command *command)
{
	const struct outcome *outcome = &command->outcome;

	if (!outcome->known || outcome->in_history)
		return false;
	return !(outcome->status == STATUS_PENDING && command->is_known_pending &&
		 command->known_pending == outcome->code);
}

static int put_lines(const struct apply *apply, const struct document *document, struct buffer *lines)
{
	struct json_writer writer = {lines, false};

	for (size_t i = 0; i < document->count; i++) {
		if (needs_line(&document->commands[i]))
			put_command(&writer, apply, document, &document->commands[i]);
	}
	/* The document's own line comes last: it is what raises the floors, and the newest one is read: an older
	 * document that ends after a newer one must not lower them. A late result has none. */
	if (document->digest[0] != '\0' && document->seq >= apply->floors.seq) {
		json_begin_object(&writer, NULL);
		json_put_string(&writer, "t", "document");
		json_put_integer(&writer, "seq", document->seq);
		json_put_integer(&writer, "issued", document->issued);
		json_put_string(&writer, "digest", document->digest);
		json_put_integer(&writer, "time", apply->now);
		if (document->dry_run)
			json_put_bool(&writer, "dry_run", true);
		json_end_object(&writer);
		buffer_append(lines, "\n", 1);
	}
	return buffer_status(lines);
}

int history_append(const struct apply *apply, const struct document *document)
{
	cleanup_buffer struct buffer lines = {0};

	int r = put_lines(apply, document, &lines);
	return r < 0 ? r : append_lines(apply, &lines);
}

int history_append_in_run(const struct apply *apply, const struct document *document)
{
	cleanup_buffer struct buffer lines = {0};

	if (apply->run < 0)
		return -EROFS;
	int r = put_lines(apply, document, &lines);
	return r < 0 ? r : append_to(apply->run, IN_RUN, HISTORY_FILE_MAX, &lines);
}
