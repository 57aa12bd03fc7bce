/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/journal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "agent/apply/damage.h"
#include "lib/base64.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/sys.h"

#define SPARE "spare"
#define JOURNALS_MAX \
	64u /* one, and those that could not be ended (no space for their results); then no more is begun */
#define DOCUMENT_HEAD "{\"v\":1,\"t\":\"document\",\"digest\":\""
#define ISSUED_HEAD "\",\"issued\":"

/* Writes one line at the journal's end and waits until it is on disk. */
static int append(struct journal *journal, struct buffer *line)
{
	buffer_append(line, "\n", 1);
	int r = buffer_status(line);
	if (r < 0)
		return r;
	if (lseek(journal->descriptor, journal->end, SEEK_SET) < 0)
		return -errno;
	/* The NUL behind it, too: what a failed append left there must not follow this line. */
	r = file_write_all(journal->descriptor, line->bytes, line->size + 1);
	if (r < 0)
		return r;
	if (sys.fdatasync(journal->descriptor) < 0)
		return -errno;
	journal->end += (int64_t)line->size;
	return 0;
}

/* The spare, empty, open for writing; made anew when it is missing or holds the start of a torn document. */
static int open_spare(int state, int *ret_descriptor)
{
	cleanup_close int descriptor = -1;
	struct stat status;
	char first = 1;

	descriptor = sys.openat(state, SPARE, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
	if (descriptor >= 0 && sys.fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) &&
		pread(descriptor, &first, 1, 0) == 1 && first == '\0') {
		*ret_descriptor = steal_descriptor(&descriptor);
		return 0;
	}
	bool is_strange = descriptor < 0 && (errno == ELOOP || errno == EISDIR);
	if (descriptor < 0 && errno != ENOENT && !is_strange)
		return -errno;
	if (descriptor >= 0 || is_strange) {
		if (descriptor >= 0)
			(void)close(steal_descriptor(&descriptor));
		if (sys.unlinkat(state, SPARE, 0) < 0 && (!is_strange || sys.unlinkat(state, SPARE, AT_REMOVEDIR) < 0))
			return -errno;
	}
	descriptor = sys.openat(state, SPARE, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (descriptor < 0)
		return -errno;
	if (sys.fallocate(descriptor, 0, 0, JOURNAL_SPARE_SIZE) < 0 && errno != EOPNOTSUPP) {
		int error = errno;
		(void)sys.unlinkat(state, SPARE, 0);
		return -error;
	}
	*ret_descriptor = steal_descriptor(&descriptor);
	return 0;
}

void journal_prepare_spare(const struct apply *apply)
{
	cleanup_close int descriptor = -1;

	if (apply->state < 0)
		return;
	int r = open_spare(apply->state, &descriptor);
	if (r == 0 && sys.fsync(descriptor) < 0)
		r = -errno;
	if (r < 0)
		log_warning("cannot preallocate the journal's spare: %s", strerror(-r));
}

static int begin_in(int parent, const struct document *document, struct journal *ret_journal)
{
	cleanup_journal struct journal journal = {.directory = -1, .descriptor = -1, .seq = document->seq};
	cleanup_buffer struct buffer line = {0};
	struct json_writer writer = {&line, false};
	cleanup_buffer struct buffer body = {0};
	cleanup_names char **names = NULL;
	size_t count;

	int r = file_make_directory(parent, "journal", 0700, &journal.directory);
	if (r == 0)
		r = file_list(journal.directory, ".", JOURNALS_MAX - 1, &names, &count);
	if (r < 0)
		return r;
	base64_append(&body, document->text, document->text_size);
	r = buffer_status(&body);
	if (r < 0)
		return r;
	json_begin_object(&writer, NULL);
	json_put_integer(&writer, "v", 1);
	json_put_string(&writer, "t", "document");
	json_put_string(&writer, "digest", document->digest);
	json_put_integer(&writer, "issued", document->issued);
	json_put_string(&writer, "signer", document->signer ? document->signer : "");
	json_put_string(&writer, "body", body.bytes);
	json_end_object(&writer);
	r = open_spare(parent, &journal.descriptor);
	if (r < 0)
		return r;
	(void)snprintf(journal.name, sizeof(journal.name), "%" PRIi64, document->seq);
	r = append(&journal, &line);
	if (r < 0)
		return r;
	if (sys.renameat2(parent, SPARE, journal.directory, journal.name, 0) < 0 || sys.fsync(journal.directory) < 0)
		return -errno;
	*ret_journal = journal;
	journal = (struct journal){.directory = -1, .descriptor = -1};
	return 0;
}

static bool needs_only_runtime(const struct document *document)
{
	for (size_t i = 0; i < document->count; i++) {
		if (!command_is_for_this_boot(&document->commands[i]))
			return false;
	}
	return document->count > 0;
}

int journal_begin(const struct apply *apply, const struct document *document, struct journal *ret_journal)
{
	int r = apply->state >= 0 ? begin_in(apply->state, document, ret_journal) : -EROFS;
	if (r < 0 && apply->run >= 0 && needs_only_runtime(document)) {
		log_warning("the state cannot be written (%s): journal %" PRIi64 " goes to /run", strerror(-r),
			document->seq);
		r = begin_in(apply->run, document, ret_journal);
	}
	return r;
}

static void put_outcome(struct json_writer *writer, const struct command *command)
{
	const struct outcome *outcome = &command->outcome;

	json_begin_object(writer, NULL);
	json_put_string(writer, "id", command->id);
	json_put_string(writer, "code", code_name(outcome->code));
	json_put_bool(writer, "changed", outcome->changed);
	json_put_string(writer, "detail", outcome->detail);
	json_begin_array(writer, "users");
	for (unsigned i = 0; i < outcome->user_count; i++)
		json_put_string(writer, NULL, outcome->users[i]);
	json_end_array(writer);
	if (outcome->sealed)
		json_put_string(writer, "sealed", outcome->sealed);
	json_end_object(writer);
}

static void put_head(struct json_writer *writer, const char *type, unsigned stage, const char *plugin)
{
	json_begin_object(writer, NULL);
	json_put_string(writer, "t", type);
	json_put_integer(writer, "stage", stage);
	json_put_string(writer, "plugin", plugin);
}

int journal_plan(struct journal *journal, unsigned stage, const char *plugin, struct command **batch, size_t count)
{
	cleanup_buffer struct buffer line = {0};
	struct json_writer writer = {&line, false};

	put_head(&writer, "plan", stage, plugin);
	json_begin_object(&writer, "plans");
	for (size_t i = 0; i < count; i++) {
		if (!command_is_ended(batch[i]))
			json_put_raw(&writer, batch[i]->id, batch[i]->plan);
	}
	json_end_object(&writer);
	/* What ended before apply (denied, refused, nothing to change) is not asked again after a crash. */
	json_begin_array(&writer, "results");
	for (size_t i = 0; i < count; i++) {
		if (command_is_ended(batch[i]))
			put_outcome(&writer, batch[i]);
	}
	json_end_array(&writer);
	json_end_object(&writer);
	return append(journal, &line);
}

int journal_applied(struct journal *journal, unsigned stage, const char *plugin, struct command **batch, size_t count)
{
	cleanup_buffer struct buffer line = {0};
	struct json_writer writer = {&line, false};

	put_head(&writer, "applied", stage, plugin);
	json_begin_array(&writer, "results");
	for (size_t i = 0; i < count; i++)
		put_outcome(&writer, batch[i]);
	json_end_array(&writer);
	json_end_object(&writer);
	return append(journal, &line);
}

int journal_finish(struct journal *journal)
{
	if (journal->directory < 0)
		return 0;
	return file_remove(journal->directory, journal->name);
}

void journal_close(struct journal *journal)
{
	if (journal->descriptor >= 0)
		(void)close(journal->descriptor);
	if (journal->directory >= 0)
		(void)close(journal->directory);
	journal->descriptor = journal->directory = -1;
}

static struct command *find_command(const struct document *document, const char *id)
{
	for (size_t i = 0; i < document->count; i++) {
		if (strcmp(document->commands[i].id, id) == 0)
			return &document->commands[i];
	}
	return NULL;
}

static int read_outcome(const cJSON *node, const struct document *document)
{
	const char *id, *name, *detail = "", *sealed = NULL;
	const cJSON *users, *user;
	enum code code;

	if (json_get_string(node, "id", &id) < 0 || json_get_string(node, "code", &name) < 0 ||
		code_from_name(name, &code) < 0)
		return 0;
	struct command *command = find_command(document, id);
	if (!command)
		return 0;
	outcome_free(&command->outcome);
	/* What was only put off is tried again: it stays open and is planned anew. */
	if (code_is_retried(code)) {
		free(steal_pointer(&command->plan));
		command->redo = false;
		command->put_off = true;
		command->pending_code = code;
		return 0;
	}
	(void)!json_get_string(node, "detail", &detail);
	outcome_set(&command->outcome, code, "%s", detail);
	(void)!json_get_bool(node, "changed", &command->outcome.changed);
	if (json_get_string(node, "sealed", &sealed) == 0) {
		command->outcome.sealed = strdup(sealed);
		if (!command->outcome.sealed)
			return -ENOMEM;
	}
	if (json_get_array(node, "users", &users) == 0) {
		cJSON_ArrayForEach(user, users)
		{
			if (cJSON_IsString(user) && outcome_add_user(&command->outcome, user->valuestring) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

static int read_line(const cJSON *line, struct document *document)
{
	const cJSON *results, *result, *plans, *plan;
	int r = 0;

	if (json_get_object(line, "plans", &plans) == 0) {
		cJSON_ArrayForEach(plan, plans)
		{
			struct command *command = find_command(document, plan->string);
			cleanup_buffer struct buffer text = {0};
			struct json_writer writer = {&text, false};
			if (!command)
				continue;
			json_put_value(&writer, NULL, plan);
			if (buffer_status(&text) < 0)
				return -ENOMEM;
			free(command->plan);
			command->plan = buffer_steal(&text);
			command->redo = true;
		}
	}
	if (json_get_array(line, "results", &results) == 0) {
		cJSON_ArrayForEach(result, results)
		{
			r = r < 0 ? r : read_outcome(result, document);
		}
	}
	return r;
}

static int read_document_line(const struct apply *apply, const cJSON *line, struct document *ret_document)
{
	cleanup_free unsigned char *text = NULL;
	const char *body, *digest, *signer = "";
	size_t size;
	int64_t version;

	int r = json_get_integer(line, "v", &version);
	if (r < 0 || version != 1)
		return -EBADMSG;
	r = json_get_string(line, "body", &body);
	if (r == 0)
		r = json_get_string(line, "digest", &digest);
	if (r < 0)
		return -EBADMSG;
	(void)!json_get_string(line, "signer", &signer);
	r = base64_decode(body, strlen(body), &text, &size);
	if (r < 0)
		return r;
	r = document_read_journalled(apply, (const char *)text, size, ret_document);
	if (r < 0)
		return r;
	if (strcmp(ret_document->digest, digest) != 0) {
		document_free(ret_document);
		return -EBADMSG;
	}
	if (*signer) {
		ret_document->signer = strdup(signer);
		if (!ret_document->signer) {
			document_free(ret_document);
			return -ENOMEM;
		}
	}
	return 0;
}

/* It must not follow the next line, which is written over its beginning. Not by truncating: what is preallocated stays.
 */
static int cut_torn_rest(const struct journal *journal, size_t size)
{
	cleanup_free char *zeros = calloc(1, size - (size_t)journal->end);

	if (!zeros)
		return -ENOMEM;
	if (lseek(journal->descriptor, journal->end, SEEK_SET) < 0)
		return -errno;
	int r = file_write_all(journal->descriptor, zeros, size - (size_t)journal->end);
	if (r == 0 && sys.fdatasync(journal->descriptor) < 0)
		r = -errno;
	return r;
}

int journal_read(const struct apply *apply, const char *bytes, size_t size, struct document *document, int64_t *ret_end)
{
	bool first = true;
	size_t offset;

	for (offset = 0; offset < size;) {
		const char *newline = memchr(bytes + offset, '\n', size - offset);
		cleanup_json cJSON *line = NULL;
		if (!newline)
			break; /* torn: cut by the next append, which starts here */
		size_t length = (size_t)(newline - bytes) - offset;
		int r = json_parse_object(bytes + offset, length, &line);
		if (r == 0)
			r = first ? read_document_line(apply, line, document) : read_line(line, document);
		if (r < 0)
			return r;
		first = false;
		offset += length + 1;
	}
	if (first)
		return -EBADMSG;
	*ret_end = (int64_t)offset;
	return 0;
}

static int read_journal(const struct apply *apply, struct journal *journal, struct document *ret_document)
{
	cleanup_document struct document document = {0};
	cleanup_free char *bytes = NULL;
	size_t size;

	int r = file_read_descriptor(journal->descriptor, JOURNAL_SIZE_MAX, &bytes, &size);
	if (r < 0)
		return r;
	size = strnlen(bytes, size);
	r = journal_read(apply, bytes, size, &document, &journal->end);
	if (r == 0 && journal->end < (int64_t)size)
		r = cut_torn_rest(journal, size);
	if (r < 0)
		return r;
	*ret_document = document;
	document = (struct document){0};
	return 0;
}

static int64_t parse_seq(const char *name)
{
	int64_t seq = 0;

	if (*name == '\0' || strlen(name) > 16)
		return -1;
	for (; *name; name++) {
		if (*name < '0' || *name > '9')
			return -1;
		seq = seq * 10 + (*name - '0');
	}
	return seq <= JSON_INTEGER_MAX ? seq : -1;
}

/* The lowest seq in parent/journal above `after`, or the highest; -ENOENT when there is none. */
static int64_t scan(int parent, bool highest, int64_t after)
{
	cleanup_names char **names = NULL;
	int64_t found = -ENOENT;
	size_t count;

	if (parent < 0 || file_list(parent, "journal", JOURNALS_MAX, &names, &count) < 0)
		return -ENOENT;
	for (size_t i = 0; i < count; i++) {
		int64_t seq = parse_seq(names[i]);
		if (seq > after && (found < 0 || (highest ? seq > found : seq < found)))
			found = seq;
	}
	return found;
}

int64_t journal_newest(const struct apply *apply)
{
	int64_t state = scan(apply->state, true, 0), run = scan(apply->run, true, 0);
	int64_t newest = state > run ? state : run;
	return newest > 0 ? newest : 0;
}

/* The head of a journal's first line, which begin_in wrote: {"v":1,"t":"document","digest":"…","issued":N,… */
void journal_raise_floors(const struct apply *apply, struct floors *floors)
{
	char head[256], name[24];
	cleanup_close int directory = -1, descriptor = -1;
	int64_t seq = journal_newest(apply), issued = 0;
	const size_t digest_at = strlen(DOCUMENT_HEAD), issued_at = digest_at + DIGEST_SIZE - 1 + strlen(ISSUED_HEAD);

	if (seq == 0 || seq < floors->seq)
		return;
	if (seq > floors->seq)
		floors->digest[0] = '\0';
	floors->seq = seq;
	int parent = scan(apply->state, true, 0) == seq ? apply->state : apply->run;
	(void)snprintf(name, sizeof(name), "%" PRIi64, seq);
	if (file_open_directory(parent, "journal", &directory) < 0 || file_open(directory, name, &descriptor, NULL) < 0)
		return;
	ssize_t n = pread(descriptor, head, sizeof(head) - 1, 0);
	if (n <= (ssize_t)issued_at)
		return;
	head[n] = '\0';
	if (strncmp(head, DOCUMENT_HEAD, digest_at) != 0 ||
		strncmp(head + digest_at + DIGEST_SIZE - 1, ISSUED_HEAD, strlen(ISSUED_HEAD)) != 0)
		return;
	for (const char *at = head + issued_at; *at >= '0' && *at <= '9' && issued < JSON_INTEGER_MAX / 10; at++)
		issued = issued * 10 + (*at - '0');
	memcpy(floors->digest, head + digest_at, DIGEST_SIZE - 1);
	floors->digest[DIGEST_SIZE - 1] = '\0';
	if (issued > floors->issued)
		floors->issued = issued;
}

static int resume_in(
	const struct apply *apply, int parent, int64_t seq, struct journal *ret_journal, struct document *ret_document)
{
	cleanup_journal struct journal journal = {.directory = -1, .descriptor = -1};
	struct stat status;

	journal.seq = seq;
	(void)snprintf(journal.name, sizeof(journal.name), "%" PRIi64, seq);
	int r = file_open_directory(parent, "journal", &journal.directory);
	if (r < 0)
		return r;
	journal.descriptor =
		sys.openat(journal.directory, journal.name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
	bool is_strange = journal.descriptor < 0 && (errno == EISDIR || errno == ELOOP || errno == ENXIO);
	if (!is_strange && (journal.descriptor < 0 || sys.fstat(journal.descriptor, &status) < 0))
		return -errno;
	bool is_ours = !is_strange && S_ISREG(status.st_mode) && status.st_uid == 0 && (status.st_mode & 022) == 0;
	r = is_ours ? read_journal(apply, &journal, ret_document) : -EBADMSG;
	if (r == -EBADMSG) {
		r = damage_set_aside(parent, journal.directory, journal.name, DAMAGE_JOURNAL);
		return r < 0 ? r : -EBADMSG;
	}
	if (r < 0)
		return r;
	*ret_journal = journal;
	journal = (struct journal){.directory = -1, .descriptor = -1};
	return 0;
}

int journal_resume(const struct apply *apply, int64_t after, struct journal *ret_journal, struct document *ret_document)
{
	int64_t state = scan(apply->state, false, after), run = scan(apply->run, false, after);

	if (state < 0 && run < 0)
		return -ENOENT;
	if (state >= 0 && (run < 0 || state <= run))
		return resume_in(apply, apply->state, state, ret_journal, ret_document);
	return resume_in(apply, apply->run, run, ret_journal, ret_document);
}
