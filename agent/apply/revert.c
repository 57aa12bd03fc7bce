/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/revert.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "agent/apply/damage.h"
#include "agent/apply/plugin_call.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/log_event.h"
#include "lib/sys.h"

#define REVERTS_MAX 4096u /* as many as one document has commands */
#define INHERITED 0       /* the deadline of a step that another machine's document asked for */

struct entry {
	int64_t deadline, seq;
	const char *id; /* into the name */
};

static bool parse_name(const char *name, struct entry *ret_entry)
{
	int64_t numbers[2] = {0, 0};
	const char *at = name;

	for (unsigned i = 0; i < 2; i++) {
		const char *start = at;
		while (*at >= '0' && *at <= '9' && at - start < 16)
			numbers[i] = numbers[i] * 10 + (*at++ - '0');
		if (at == start || *at++ != '-')
			return false;
	}
	*ret_entry = (struct entry){numbers[0], numbers[1], at};
	return *at != '\0';
}

/* The id itself, or one of its steps. */
static bool belongs(const char *entry, const char *id)
{
	size_t size = strlen(id);
	return strncmp(entry, id, size) == 0 && (entry[size] == '\0' || entry[size] == RESTORE_MARK[0]);
}

static int open_directories(const struct apply *apply, int *ret_state, int *ret_run)
{
	int r = apply_state_directory(apply, "revert", ret_state);
	if (r < 0)
		return r;
	return apply->run >= 0 ? file_make_directory(apply->run, "revert", 0700, ret_run) : 0;
}

/* The file name of the entry with that id, or of one of its steps; -ENOENT. */
static int find(int directory, const char *id, bool exact, char **ret_name, int64_t *ret_seq)
{
	cleanup_names char **names = NULL;
	size_t count;

	int r = file_list(directory, ".", REVERTS_MAX, &names, &count);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		struct entry entry;
		if (!parse_name(names[i], &entry) || !(exact ? strcmp(entry.id, id) == 0 : belongs(entry.id, id)))
			continue;
		*ret_seq = entry.seq;
		*ret_name = strdup(names[i]);
		return *ret_name ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

static int find_entry(const struct apply *apply, const char *id, bool exact, int64_t *ret_seq)
{
	cleanup_close int directory = -1;
	cleanup_free char *name = NULL;

	if (apply->state < 0)
		return -ENOENT;
	int r = file_open_directory(apply->state, "revert", &directory);
	return r < 0 ? r : find(directory, id, exact, &name, ret_seq);
}

int revert_find(const struct apply *apply, const char *id, int64_t *ret_seq)
{
	return find_entry(apply, id, false, ret_seq);
}

bool revert_any(const struct apply *apply)
{
	cleanup_names char **names = NULL;
	size_t count;

	if (apply->state < 0)
		return false;
	int r = file_list(apply->state, "revert", REVERTS_MAX, &names, &count);
	return r < 0 ? r != -ENOENT : count > 0;
}

bool revert_is_pending(const struct apply *apply, const char *id)
{
	int64_t seq;
	return find_entry(apply, id, true, &seq) == 0;
}

/* The marker of that entry: its name, and when the entry's time is over, by apply->boot_time. -ENOENT. */
static int find_marker(int run, const char *entry, char **ret_name, int64_t *ret_deadline)
{
	cleanup_names char **names = NULL;
	size_t count;

	int r = file_list(run, ".", REVERTS_MAX, &names, &count);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		int64_t deadline = 0;
		const char *at = names[i];
		while (*at >= '0' && *at <= '9' && at - names[i] < 16)
			deadline = deadline * 10 + (*at++ - '0');
		if (at == names[i] || *at != '-' || strcmp(at + 1, entry) != 0)
			continue;
		*ret_deadline = deadline;
		*ret_name = strdup(names[i]);
		return *ret_name ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

static int write_marker(int run, const char *entry_name, int64_t deadline)
{
	char name[192];

	(void)snprintf(name, sizeof(name), "%" PRIi64 "-%s", deadline, entry_name);
	return file_replace_simple(run, name, "", 0, 0600);
}

/* One that stands is not moved: the step may be prepared again after a crash. */
static int put_marker(const struct apply *apply, int run, const char *entry_name, int64_t within)
{
	cleanup_free char *old = NULL;
	struct entry entry;
	int64_t deadline;

	int r = find_marker(run, entry_name, &old, &deadline);
	if (r != -ENOENT)
		return r;
	/* Made before a reboot, and begun again in the redo after it: only what is left of its time. */
	if (parse_name(entry_name, &entry) && entry.deadline - apply->now < within)
		within = entry.deadline > apply->now ? entry.deadline - apply->now : 0;
	return write_marker(run, entry_name, apply->boot_time + within);
}

int revert_prepare(const struct apply *apply, const struct document *document, struct command *command,
	const struct resolved_account *account, int64_t within)
{
	cleanup_close int state = -1, run = -1;
	cleanup_buffer struct buffer request = {0};
	cleanup_free char *name = NULL;
	char fresh[128];
	int64_t seq;

	int r = open_directories(apply, &state, &run);
	if (r < 0)
		return r;
	r = find(state, command->id, true, &name, &seq);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT) {
		r = plugin_build_request(
			apply, document, command->row->plugin, PLUGIN_UNDO, &command, account, 1, &request);
		if (r < 0)
			return r;
		(void)snprintf(fresh, sizeof(fresh), "%" PRIi64 "-%" PRIi64 "-%s", apply->now + within, document->seq,
			command->id);
		name = strdup(fresh);
		if (!name)
			return -ENOMEM;
		r = file_replace_simple(state, name, request.bytes, request.size, 0600);
		if (r < 0)
			return r;
	}
	return run >= 0 ? put_marker(apply, run, name, within) : 0;
}

static int remove_entry(int state, int run, const char *name)
{
	cleanup_free char *marker = NULL;
	int64_t deadline;

	int r = file_remove(state, name);
	if (r == 0 && run >= 0 && find_marker(run, name, &marker, &deadline) == 0)
		(void)sys.unlinkat(run, marker, 0);
	return r;
}

int revert_remove(const struct apply *apply, const char *id, int64_t *ret_seq)
{
	cleanup_close int state = -1, run = -1;
	bool removed = false;

	int r = open_directories(apply, &state, &run);
	while (r == 0) {
		cleanup_free char *name = NULL;
		r = find(state, id, false, &name, ret_seq);
		if (r == 0)
			r = remove_entry(state, run, name);
		removed = removed || r == 0;
	}
	return r == -ENOENT && removed ? 0 : r;
}

/* A stored request and its one command. -EBADMSG where it is none of ours. */
static int read_request(
	int directory, const char *name, struct buffer *ret_request, cJSON **ret_tree, const cJSON **ret_command)
{
	cleanup_free char *text = NULL;
	cleanup_json cJSON *tree = NULL;
	const cJSON *commands = NULL;
	size_t size;

	int r = file_read(directory, name, PLUGIN_MESSAGE_MAX, &text, &size);
	if (r < 0)
		return r;
	r = json_parse_object(text, size, &tree);
	if (r == -ENOMEM)
		return r;
	if (r < 0 || json_get_array(tree, "commands", &commands) < 0 || !commands->child)
		return -EBADMSG;
	buffer_append(ret_request, text, size);
	*ret_command = commands->child;
	*ret_tree = steal_pointer(&tree);
	return buffer_status(ret_request);
}

int revert_walk(
	const struct apply *apply, int (*visit)(const char *id, const cJSON *command, void *context), void *context)
{
	cleanup_close int directory = -1;
	cleanup_names char **names = NULL;
	size_t count;

	if (apply->state < 0)
		return 0;
	int r = file_open_directory(apply->state, "revert", &directory);
	if (r == 0)
		r = file_list(directory, ".", REVERTS_MAX, &names, &count);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (size_t i = 0; r == 0 && i < count; i++) {
		cleanup_buffer struct buffer request = {0};
		cleanup_json cJSON *tree = NULL;
		const cJSON *command;
		struct entry entry;
		if (!parse_name(names[i], &entry))
			continue;
		r = read_request(directory, names[i], &request, &tree, &command);
		if (r == 0)
			r = visit(entry.id, command, context);
	}
	return r;
}

/* Runs the stored request; OK when the former state is back. */
static enum code undo(const struct apply *apply, int directory, const char *name, char detail[DETAIL_MAX + 1])
{
	cleanup_buffer struct buffer request = {0};
	cleanup_json cJSON *reply = NULL, *tree = NULL;
	const cJSON *results = NULL, *command;
	const char *code_text, *reason = "", *name_of_command = NULL;
	enum code code;

	int r = read_request(directory, name, &request, &tree, &command);
	if (r < 0)
		return r == -EBADMSG ? CODE_INTERNAL : r == -ENOMEM ? CODE_BUSY : code_from_errno(-r);
	if (json_get_string(command, "do", &name_of_command) < 0)
		return CODE_INTERNAL;
	const struct manifest_command *row = manifest_find(&apply->manifests, name_of_command);
	if (!row)
		return CODE_INTERNAL;
	code = plugin_call(apply, row->plugin, true, &request, 1, &reply);
	if (code != CODE_OK)
		return code;
	if (json_get_array(reply, "results", &results) < 0 || json_get_string(results->child, "code", &code_text) < 0 ||
		code_from_name(code_text, &code) < 0)
		return CODE_PLUGIN_PROTOCOL;
	(void)!json_get_string(results->child, "detail", &reason);
	(void)snprintf(detail, DETAIL_MAX + 1, "%s", reason);
	return code;
}

static void report(const struct apply *apply, const struct entry *entry, enum code code)
{
	const char *mark = strchr(entry->id, RESTORE_MARK[0]);
	cleanup_free char *id = strndup(entry->id, mark ? (size_t)(mark - entry->id) : strlen(entry->id));
	struct command command = {.id = id, .do_name = mark ? "access.restore" : "sshd.set", .actor = ""};
	const char *foreign = code == CODE_SUPERSEDED ? ", but for what somebody has changed since" : "";

	if (code == CODE_INTERNAL)
		outcome_set(&command.outcome, code, "the way back is damaged: what was changed stays as it is");
	else if (mark)
		outcome_set(
			&command.outcome, CODE_UNCONFIRMED, "the time is over: %s is as it was%s", mark + 1, foreign);
	else
		outcome_set(&command.outcome, CODE_UNCONFIRMED,
			"no sshd.confirm came in time: the former settings are back%s", foreign);
	int r = id ? report_late(apply, entry->seq, &command) : -ENOMEM;
	if (r < 0)
		log_error("cannot report that %s was taken back: %s", entry->id, strerror(-r));
	outcome_free(&command.outcome);
}

/* False when it cannot be undone yet. */
static bool undo_now(
	const struct apply *apply, int state, const char *name, const struct entry *entry, enum code *ret_code)
{
	char detail[DETAIL_MAX + 1] = "";

	*ret_code = undo(apply, state, name, detail);
	/* Overridden by the operator's own Match: what is ours is back. */
	if (*ret_code == CODE_OK || *ret_code == CODE_SUPERSEDED || *ret_code == CODE_OVERRIDDEN)
		return true;
	log_error("cannot take %s back yet: %s %s", entry->id, code_name(*ret_code), detail);
	return false;
}

int revert_now(const struct apply *apply, const char *id)
{
	cleanup_close int state = -1, run = -1;
	cleanup_names char **names = NULL;
	size_t count;

	int r = open_directories(apply, &state, &run);
	if (r == 0)
		r = file_list(state, ".", REVERTS_MAX, &names, &count);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		struct entry entry;
		enum code code;
		if (!parse_name(names[i], &entry) || !belongs(entry.id, id) ||
			!undo_now(apply, state, names[i], &entry, &code))
			continue;
		r = remove_entry(state, run, names[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

void revert_repair(const struct apply *apply)
{
	cleanup_close int state = -1;
	cleanup_names char **names = NULL;
	size_t count;

	if (apply->state < 0 || file_open_directory(apply->state, "revert", &state) < 0 ||
		file_list(state, ".", REVERTS_MAX, &names, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		cleanup_buffer struct buffer request = {0};
		cleanup_json cJSON *tree = NULL;
		const cJSON *command;
		struct entry entry;
		if (strncmp(names[i], FILE_TEMPORARY_PREFIX, strlen(FILE_TEMPORARY_PREFIX)) == 0)
			continue; /* what a crash left is taken away, and is no damage */
		bool named = parse_name(names[i], &entry);
		int r = named ? read_request(state, names[i], &request, &tree, &command) : -EBADMSG;
		if (r != -EBADMSG && r != -EINVAL && r != -ELOOP && r != -EFBIG)
			continue;
		r = damage_set_aside(apply->state, state, names[i], DAMAGE_JOURNAL);
		if (r < 0)
			log_error("revert/%s cannot be set aside: %s", names[i], strerror(-r));
		else if (named && entry.deadline != INHERITED)
			report(apply, &entry, CODE_INTERNAL);
	}
}

int revert_inherit(const struct apply *apply)
{
	cleanup_close int state = -1;
	cleanup_names char **names = NULL;
	size_t count;

	int r = apply_state_directory(apply, "revert", &state);
	if (r == 0)
		r = file_list(state, ".", REVERTS_MAX, &names, &count);
	for (size_t i = 0; r == 0 && i < count; i++) {
		struct entry entry;
		char name[192];
		if (!parse_name(names[i], &entry)) {
			r = file_remove(state, names[i]);
			continue;
		}
		(void)snprintf(name, sizeof(name), "%d-%" PRIi64 "-%s", INHERITED, entry.seq, entry.id);
		if (sys.renameat2(state, names[i], state, name, 0) < 0)
			r = -errno;
	}
	return r == 0 && sys.fsync(state) < 0 ? -errno : r;
}

static bool is_due(const struct apply *apply, int run, const char *name, const struct entry *entry)
{
	cleanup_free char *marker = NULL;
	int64_t deadline;

	if (run < 0)
		return entry->deadline <= apply->now;
	int r = find_marker(run, name, &marker, &deadline);
	return r == -ENOENT || (r == 0 && deadline <= apply->boot_time);
}

/* Whether two stored steps are about the same: one command's name, and one user's where it has one. */
static bool are_about_the_same(int state, const char *one, const char *other)
{
	const char *names[2] = {one, other}, *what[2] = {"", ""}, *users[2] = {"", ""};
	cleanup_json cJSON *first = NULL, *second = NULL;
	cJSON **trees[2] = {&first, &second};

	for (unsigned i = 0; i < 2; i++) {
		cleanup_buffer struct buffer request = {0};
		const cJSON *command;
		if (read_request(state, names[i], &request, trees[i], &command) < 0)
			return false;
		(void)!json_get_string(command, "do", &what[i]);
		(void)!json_get_string(command, "user", &users[i]);
	}
	return strcmp(what[0], what[1]) == 0 && strcmp(users[0], users[1]) == 0;
}

/*
 * A step that came later and stands for a time may hide what this one is to take back: that one goes back first, and
 * then to what this one had set, which nobody has confirmed. -ENOENT: there is no such step.
 */
static int wait_for_later(
	int state, int run, char *const *names, size_t count, const char *name, const struct entry *entry)
{
	for (size_t i = 0; i < count; i++) {
		cleanup_free char *marker = NULL, *own = NULL;
		int64_t deadline, ignored;
		struct entry later;
		struct stat status;
		if (!parse_name(names[i], &later) || later.seq <= entry->seq ||
			sys.fstatat(state, names[i], &status, AT_SYMLINK_NOFOLLOW) < 0 ||
			!are_about_the_same(state, names[i], name))
			continue;
		if (run < 0)
			return 0;
		int r = find_marker(run, names[i], &marker, &deadline);
		if (r < 0)
			return r;
		if (find_marker(run, name, &own, &ignored) == 0)
			(void)sys.unlinkat(run, own, 0);
		return write_marker(run, name, deadline);
	}
	return -ENOENT;
}

/* What came last goes back first. */
static int newest_first(const void *a, const void *b)
{
	const char *const *one = a, *const *other = b;
	struct entry x = {0}, y = {0};

	(void)parse_name(*one, &x);
	(void)parse_name(*other, &y);
	return x.seq == y.seq ? strcmp(*one, *other) : x.seq < y.seq ? 1 : -1;
}

/* Markers whose entries are gone would wake latchkeyd for nothing. */
static void sweep_markers(int state, int run)
{
	cleanup_names char **names = NULL;
	struct stat status;
	size_t count;

	if (run < 0 || file_list(run, ".", REVERTS_MAX, &names, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		const char *dash = strchr(names[i], '-');
		if (!dash || (sys.fstatat(state, dash + 1, &status, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT))
			(void)sys.unlinkat(run, names[i], 0);
	}
}

int revert_run_due(struct apply *apply)
{
	cleanup_close int state = -1, run = -1;
	cleanup_names char **names = NULL;
	size_t count;
	bool again = false;

	if (apply->state < 0)
		return 0;
	int r = open_directories(apply, &state, &run);
	if (r == 0)
		r = file_list(state, ".", REVERTS_MAX, &names, &count);
	if (r < 0)
		return r;
	qsort(names, count, sizeof(*names), newest_first);
	for (size_t i = 0; i < count; i++) {
		struct entry entry;
		enum code code;
		if (!parse_name(names[i], &entry) || !is_due(apply, run, names[i], &entry))
			continue;
		if (!undo_now(apply, state, names[i], &entry, &code)) {
			/* After a reboot there is no marker, by which latchkeyd knows that it is to be tried again. */
			if (run >= 0)
				(void)!put_marker(apply, run, names[i], 0);
			again = true;
			continue;
		}
		if (code == CODE_SUPERSEDED && wait_for_later(state, run, names, count, names[i], &entry) == 0)
			continue;
		log_event(LOG_EVENT_TAKEN_BACK, LOG_NOTICE, entry.id, "%s was not confirmed: what was before is back",
			entry.id);
		if (entry.deadline != INHERITED)
			report(apply, &entry, code);
		r = remove_entry(state, run, names[i]);
		if (r < 0)
			return r;
	}
	sweep_markers(state, run);
	return again ? -EAGAIN : 0;
}
