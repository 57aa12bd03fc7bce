/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/revocation.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "lib/file.h"
#include "lib/log.h"
#include "lib/process.h"
#include "lib/sshd_open.h"
#include "lib/sshkey.h"
#include "lib/sys.h"
#include "plugins/authorized-keys/key_lines.h"

#define STATE_NAME "revoked"
#define STATE_MAX (16u << 20) /* KRL_FINGERPRINTS_MAX lines */
#define CARRIED_NAME "carried"
#define TRIAL_NAME "revoked.trial"
#define SSH_KEYGEN "/usr/bin/ssh-keygen"
#define SSH_KEYGEN_TIMEOUT_MS 5000u /* for KRL_SIZE_MAX it needs a tenth of a second */
#define ANYONE "latchkey-anyone"    /* nobody's name */

void revocation_free(struct revocation *revocation)
{
	name_map_free(&revocation->places);
	buffer_free(&revocation->digests);
	buffer_free(&revocation->lines);
	buffer_free(&revocation->list);
	buffer_free(&revocation->operators);
	free(revocation->carried);
	*revocation = (struct revocation){0};
}

static int refuse(struct revocation *revocation, enum code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(struct revocation *revocation, enum code code, const char *format, ...)
{
	va_list arguments;

	revocation->code = code;
	va_start(arguments, format);
	(void)vsnprintf(revocation->detail, sizeof(revocation->detail), format, arguments);
	va_end(arguments);
	return 0;
}

#define NAME_SIZE (2 * KRL_DIGEST_SIZE + 1)

static void name_of(const unsigned char *digest, char ret_name[NAME_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < KRL_DIGEST_SIZE; i++) {
		ret_name[2 * i] = digits[digest[i] >> 4];
		ret_name[2 * i + 1] = digits[digest[i] & 15];
	}
	ret_name[NAME_SIZE - 1] = '\0';
}

static size_t find(const struct revocation *revocation, const unsigned char *digest)
{
	char name[NAME_SIZE];

	name_of(digest, name);
	size_t at = name_map_get(&revocation->places, name);
	return at == NAME_MAP_NONE ? SIZE_MAX : at;
}

static void set_place(struct revocation *revocation, const unsigned char *digest, size_t at)
{
	char name[NAME_SIZE];

	name_of(digest, name);
	if (name_map_put(&revocation->places, name, at) < 0)
		revocation->digests.failed = true;
}

static void add(struct revocation *revocation, const unsigned char *digest)
{
	if (find(revocation, digest) != SIZE_MAX)
		return;
	set_place(revocation, digest, revocation->digests.size);
	buffer_append(&revocation->digests, digest, KRL_DIGEST_SIZE);
}

/* Our own entries are the list's first section. */
static int visit_list(enum krl_kind kind, unsigned section, const struct ssh_slice *value, void *context)
{
	if (section == 0 && kind == KRL_SHA256)
		add(context, value->bytes);
	return 0;
}

static int read_list(const struct plugin_request *request, struct revocation *revocation)
{
	cleanup_close int directory = -1, descriptor = -1;
	cleanup_free char *bytes = NULL;
	struct stat status;
	size_t size = 0;

	int r = file_open_directory(request->root, &SSHD_DIRECTORY[1], &directory);
	if (r == 0)
		r = file_open(directory, SSHD_REVOKED_NAME, &descriptor, &status);
	if (r == 0 && (status.st_uid != 0 || (status.st_mode & 022) != 0))
		r = -EPERM;
	if (r == 0)
		r = file_read_descriptor(descriptor, KRL_SIZE_MAX, &bytes, &size);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return 0; /* missing, or not ours alone to write: made anew from the state */
	buffer_append(&revocation->list, bytes, size);
	revocation->is_whole = krl_walk(bytes, size, visit_list, revocation) == 0;
	return buffer_status(&revocation->list);
}

static int read_state(const struct plugin_request *request, struct revocation *revocation)
{
	cleanup_free char *text = NULL;
	size_t size = 0;

	int r = request->state >= 0 ? file_read(request->state, STATE_NAME, STATE_MAX, &text, &size) : -ENOENT;
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	for (size_t offset = 0; offset < size;) {
		const char *newline = memchr(text + offset, '\n', size - offset), *fingerprint;
		size_t length = newline ? (size_t)(newline - text) - offset : size - offset;
		unsigned char digest[KRL_DIGEST_SIZE];
		cleanup_json cJSON *line = NULL;

		if (json_parse_object(text + offset, length, &line) == 0 &&
			json_get_string(line, "fingerprint", &fingerprint) == 0 &&
			sshkey_read_fingerprint(fingerprint, digest) == 0) {
			add(revocation, digest);
			buffer_append(&revocation->lines, text + offset, length);
			buffer_append(&revocation->lines, "\n", 1);
		}
		offset += length + 1;
	}
	return buffer_status(&revocation->lines);
}

/* The first RevokedKeys that is not our own line. */
static const char *operators_path(struct sshd *sshd)
{
	const struct sshd_scan *scan = sshd_get_scan(sshd);

	for (size_t i = 0; i < scan->count; i++) {
		const struct sshd_setting *setting = &scan->settings[i];
		if (setting->match < 0 && strcmp(setting->keyword, "revokedkeys") == 0 && setting->count > 0 &&
			strcmp(setting->arguments[0], SSHD_REVOKED) != 0)
			return strcmp(setting->arguments[0], "none") == 0 ? NULL : setting->arguments[0];
	}
	return NULL;
}

/* sshd reads one list for each user, and a Match's goes before ours. */
static void find_overriding(struct sshd *sshd, struct revocation *revocation)
{
	const struct sshd_scan *scan = sshd_get_scan(sshd);

	for (size_t i = 0; i < scan->count; i++) {
		const struct sshd_setting *setting = &scan->settings[i];
		if (setting->match < 0 || strcmp(setting->keyword, "revokedkeys") != 0 || setting->count == 0 ||
			strcmp(setting->arguments[0], SSHD_REVOKED) == 0)
			continue;
		(void)snprintf(revocation->overriding, sizeof(revocation->overriding), "%.200s:%u",
			scan->files[setting->file].path, setting->line);
		return;
	}
}

int revocation_tell_overridden(const struct revocation *revocation, struct plugin_result *result)
{
	return *revocation->overriding == '\0'
		       ? 0
		       : plugin_set(result, CODE_OVERRIDDEN,
				 "revoked, but not for those to whom a Match gives another list: %.110s",
				 revocation->overriding);
}

/* A text file names keys, one a line. */
static int add_text(const char *bytes, size_t size, struct revocation *revocation)
{
	cleanup_buffer struct buffer digests = {0};
	struct key_line line;
	size_t offset = 0;

	while (key_lines_next(bytes, size, &offset, &line)) {
		cleanup_free unsigned char *blob = NULL;
		unsigned char digest[KRL_DIGEST_SIZE];
		size_t blob_size;
		int r = key_line_blob(&line, &blob, &blob_size);
		if (r == -ENOMEM)
			return r;
		if (r < 0)
			continue;
		sshkey_digest(blob, blob_size, digest);
		buffer_append(&digests, digest, sizeof(digest));
	}
	int r = buffer_status(&digests);
	if (r == 0 && digests.size > 0)
		krl_put_fingerprints(&revocation->operators, (unsigned char(*)[KRL_DIGEST_SIZE])(void *)digests.bytes,
			digests.size / KRL_DIGEST_SIZE);
	return r < 0 ? r : buffer_status(&revocation->operators);
}

static int read_operators(const struct plugin_request *request, struct sshd *sshd, struct revocation *revocation)
{
	const char *path = operators_path(sshd);
	cleanup_close int descriptor = -1;
	cleanup_free char *bytes = NULL;
	struct stat status;
	size_t size = 0;

	if (!path)
		return 0;
	revocation->carried = strdup(path);
	if (!revocation->carried)
		return -ENOMEM;
	int r = *path == '/' ? sshd_open_below(request->root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, &descriptor)
			     : -ENOENT;
	if (r == 0 && (sys.fstat(descriptor, &status) < 0 || !S_ISREG(status.st_mode)))
		r = -EINVAL;
	if (r == 0)
		r = file_read_descriptor(descriptor, KRL_SIZE_MAX, &bytes, &size);
	if (r == 0)
		r = krl_is_one(bytes, size) ? krl_put_sections(&revocation->operators, bytes, size, 0)
					    : add_text(bytes, size, revocation);
	if (r >= 0 || r == -ENOMEM)
		return r;
	/* What it said when it could be read stays in force; before the first time nobody knows what it would say. */
	buffer_free(&revocation->operators);
	if (revocation->is_whole)
		return krl_put_sections(&revocation->operators, revocation->list.bytes, revocation->list.size, 1);
	if (revocation->digests.size > 0)
		return 0;
	return refuse(revocation, CODE_CANNOT_VALIDATE, "the operator's RevokedKeys %.100s cannot be carried along: %s",
		path, strerror(-r));
}

/* Lists by fingerprint are read since 7.9; an older sshd would refuse every key. */
static int check_version(struct sshd *sshd, struct revocation *revocation)
{
	unsigned major = 0, minor = 0;
	int r = sshd ? sshd_get_version(sshd, &major, &minor) : -ENOENT;

	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return refuse(revocation, r == -ENOENT ? CODE_UNSUPPORTED : CODE_CANNOT_VALIDATE,
			"which RevokedKeys the sshd here reads cannot be known");
	if (major < 7 || (major == 7 && minor < 9))
		return refuse(
			revocation, CODE_UNSUPPORTED, "OpenSSH %u.%u revokes no key by its fingerprint", major, minor);
	return 0;
}

int revocation_open(const struct plugin_request *request, struct sshd *sshd, struct revocation *revocation)
{
	int r = 0;

	if (revocation->is_open)
		return 0;
	revocation->is_open = true;
	if (!request->is_host)
		return refuse(
			revocation, CODE_CANNOT_VALIDATE, "nothing from another root's disk is asked what it reads");
	r = check_version(sshd, revocation);
	if (r == 0)
		r = read_state(request, revocation);
	if (r == 0)
		r = read_list(request, revocation);
	if (r == 0 && sshd) {
		find_overriding(sshd, revocation);
		r = read_operators(request, sshd, revocation);
	}
	return r < 0 ? r : buffer_status(&revocation->digests);
}

static bool is_in_force(struct sshd *sshd)
{
	const struct sshd_effective *effective;
	char detail[SSHD_DETAIL_MAX + 1];

	if (sshd_get_effective(sshd, ANYONE, &effective, detail) < 0)
		return false;
	const char *value = sshd_value(effective, "revokedkeys");
	return value && strcmp(value, SSHD_REVOKED) == 0;
}

static int read_command(const struct revocation *revocation, const struct plugin_command *command,
	struct plugin_result *result, unsigned char ret_digest[KRL_DIGEST_SIZE])
{
	if (sshkey_read_fingerprint(plugin_text(command, "fingerprint"), ret_digest) < 0)
		return plugin_set(result, CODE_FIELD_INVALID,
			"fingerprint: SHA256: and 43 characters, as ssh-keygen -l prints it");
	if (revocation->code != CODE_OK)
		return plugin_set(result, revocation->code, "%s", revocation->detail);
	return 0;
}

int revocation_plan(struct sshd *sshd, const struct key_ledger *ledger, struct revocation *revocation,
	const struct plugin_command *command, struct plugin_result *result)
{
	unsigned char digest[KRL_DIGEST_SIZE];

	int r = read_command(revocation, command, result, digest);
	if (r < 0 || result->code != CODE_OK)
		return r;
	for (unsigned i = 0; r == 0 && i < ledger->count && result->user_count < PLUGIN_USERS_MAX; i++) {
		if (strcmp(ledger->entries[i].fingerprint, plugin_text(command, "fingerprint")) == 0)
			r = plugin_add_user(result, ledger->entries[i].user);
	}
	if (r < 0)
		return r;
	bool had = find(revocation, digest) != SIZE_MAX;
	if (!had && revocation->digests.size >= (size_t)KRL_FINGERPRINTS_MAX * KRL_DIGEST_SIZE)
		return plugin_set(result, CODE_TOO_LARGE, "%u keys are revoked already", KRL_FINGERPRINTS_MAX);
	result->changes = !had || !is_in_force(sshd);
	if (!result->changes)
		return revocation_tell_overridden(revocation, result);
	result->plan = strdup(had ? "{\"had\":true}" : "{\"had\":false}");
	return result->plan ? 0 : -ENOMEM;
}

static void note(const struct plugin_request *request, struct revocation *revocation,
	const struct plugin_command *command, const char *fingerprint)
{
	struct json_writer writer = {&revocation->lines, false};

	json_begin_object(&writer, NULL);
	json_put_string(&writer, "fingerprint", fingerprint);
	json_put_string(&writer, "signer", request->signer);
	json_put_string(&writer, "command", command->id);
	json_put_integer(&writer, "time", request->time);
	json_end_object(&writer);
	buffer_append(&revocation->lines, "\n", 1);
}

/* The state's line of that fingerprint goes. */
static void forget(struct revocation *revocation, const char *fingerprint)
{
	cleanup_buffer struct buffer kept = {0};

	for (size_t offset = 0; offset < revocation->lines.size;) {
		const char *line = revocation->lines.bytes + offset;
		size_t size = (size_t)(strchrnul(line, '\n') - line) + 1;
		if (!memmem(line, size, fingerprint, strlen(fingerprint)))
			buffer_append(&kept, line, size);
		offset += size;
	}
	struct buffer old = revocation->lines;
	revocation->lines = kept;
	kept = old;
}

int revocation_change(const struct plugin_request *request, struct revocation *revocation,
	const struct plugin_command *command, struct plugin_result *result)
{
	const char *fingerprint = plugin_text(command, "fingerprint");
	unsigned char digest[KRL_DIGEST_SIZE];
	bool had = true;

	int r = read_command(revocation, command, result, digest);
	if (r < 0 || result->code != CODE_OK)
		return r;
	size_t at = find(revocation, digest);
	if (request->undo) {
		if (json_get_bool(command->plan, "had", &had) < 0 || had || at == SIZE_MAX)
			return 0;
		size_t last = revocation->digests.size - KRL_DIGEST_SIZE;
		memmove(revocation->digests.bytes + at, revocation->digests.bytes + last, KRL_DIGEST_SIZE);
		set_place(revocation, (const unsigned char *)revocation->digests.bytes + at, at);
		set_place(revocation, digest, NAME_MAP_NONE);
		revocation->digests.size = last;
		forget(revocation, fingerprint);
	} else if (at == SIZE_MAX) {
		add(revocation, digest);
		note(request, revocation, command, fingerprint);
	} else {
		return 0;
	}
	revocation->changed = true;
	result->changes = true;
	return buffer_status(&revocation->digests);
}

/* The last word on whether it can be read has the one who wrote sshd. */
static enum code try_out(
	const struct plugin_request *request, const struct buffer *list, char ret_detail[DETAIL_MAX + 1])
{
	cleanup_process_result struct process_result result = {0};
	static const char *const arguments[] = {"ssh-keygen", "-Q", "-l", "-f", TRIAL_NAME, NULL};
	const struct process process = {.path = SSH_KEYGEN,
		.argv = arguments,
		.working_directory = request->state,
		.output_limit = 4 * KRL_SIZE_MAX,
		.timeout_ms = SSH_KEYGEN_TIMEOUT_MS};

	if (request->state < 0)
		return CODE_OK; /* a disk that cannot be written has no room for /etc either */
	int r = file_replace_simple(request->state, TRIAL_NAME, list->bytes, list->size, 0600);
	if (r < 0) {
		(void)snprintf(ret_detail, DETAIL_MAX + 1, "the plugin's state: %s", strerror(-r));
		return code_from_errno(-r);
	}
	r = process_run(&process, &result);
	(void)!file_remove(request->state, TRIAL_NAME);
	if (r == 0 && process_exited(&result, 0))
		return CODE_OK;
	(void)snprintf(ret_detail, DETAIL_MAX + 1, "ssh-keygen cannot read the list that was to be written%s%s",
		r < 0 ? ": " : "", r < 0 ? strerror(-r) : "");
	return CODE_CANNOT_VALIDATE;
}

static int write_state(const struct plugin_request *request, struct revocation *revocation)
{
	if (!revocation->changed)
		return 0;
	if (request->state < 0)
		return -EROFS;
	int r = buffer_status(&revocation->lines);
	return r < 0 ? r
		     : file_replace_simple(
			       request->state, STATE_NAME, revocation->lines.bytes, revocation->lines.size, 0600);
}

/* The list as it should be; *ret_same: it stands so. */
static int build(
	const struct plugin_request *request, const struct revocation *revocation, struct buffer *list, bool *ret_same)
{
	/* Sorted in a copy: building is no change. */
	cleanup_free unsigned char(*digests)[KRL_DIGEST_SIZE] = malloc(revocation->digests.size + 1);

	if (!digests)
		return -ENOMEM;
	if (revocation->digests.size > 0)
		memcpy(digests, revocation->digests.bytes, revocation->digests.size);
	krl_put_header(list, (uint64_t)request->time, (uint64_t)request->time);
	size_t header = list->size;
	krl_put_fingerprints(list, digests, revocation->digests.size / KRL_DIGEST_SIZE);
	buffer_append(list, revocation->operators.bytes, revocation->operators.size);
	int r = buffer_status(list);
	if (r < 0)
		return r;
	*ret_same = revocation->list.size == list->size &&
		    memcmp(revocation->list.bytes + header, list->bytes + header, list->size - header) == 0;
	return 0;
}

/* Where the operator's list is, for latchkeyd, which has it read again when it changes. */
static bool is_linked(const struct plugin_request *request, const struct revocation *revocation)
{
	char target[PATH_MAX] = "";

	if (request->state < 0)
		return true;
	ssize_t size = readlinkat(request->state, CARRIED_NAME, target, sizeof(target) - 1);
	target[size > 0 ? size : 0] = '\0';
	return strcmp(target, revocation->carried ? revocation->carried : "") == 0;
}

static void link_carried(const struct plugin_request *request, const struct revocation *revocation)
{
	if (is_linked(request, revocation))
		return;
	int r = sys.unlinkat(request->state, CARRIED_NAME, 0) < 0 && errno != ENOENT ? -errno : 0;
	if (r == 0 && revocation->carried && sys.symlinkat(revocation->carried, request->state, CARRIED_NAME) < 0)
		r = -errno;
	if (r < 0)
		log_warning("%s will be read again only by the next sweep: %s",
			revocation->carried ? revocation->carried : CARRIED_NAME, strerror(-r));
}

static bool is_needed(const struct revocation *revocation)
{
	return revocation->digests.size > 0 || revocation->is_whole;
}

bool revocation_is_stale(const struct plugin_request *request, const struct revocation *revocation)
{
	cleanup_buffer struct buffer list = {0};
	bool same = false;

	return revocation->code == CODE_OK && is_needed(revocation) && build(request, revocation, &list, &same) == 0 &&
	       (!same || !is_linked(request, revocation));
}

enum code revocation_write(const struct plugin_request *request, struct revocation *revocation, bool *ret_written,
	char ret_detail[DETAIL_MAX + 1])
{
	cleanup_buffer struct buffer list = {0};
	cleanup_close int directory = -1;
	bool same = false;

	*ret_written = false;
	if (!is_needed(revocation))
		return CODE_OK;
	int r = build(request, revocation, &list, &same);
	if (r < 0)
		return CODE_INTERNAL;
	link_carried(request, revocation);
	if (same && !revocation->changed)
		return CODE_OK;
	enum code code = same ? CODE_OK : try_out(request, &list, ret_detail);
	if (code != CODE_OK)
		return code;
	/* First what it is made from again: a list that is ahead of it would lose the key at its next writing. */
	r = write_state(request, revocation);
	if (r == 0 && !same)
		r = file_make_directory(request->root, &SSHD_DIRECTORY[1], 0755, &directory);
	if (r == 0 && !same)
		r = file_replace_simple(directory, SSHD_REVOKED_NAME, list.bytes, list.size, 0644);
	if (r < 0) {
		(void)snprintf(ret_detail, DETAIL_MAX + 1, "%s: %s", SSHD_REVOKED, strerror(-r));
		return code_from_errno(-r);
	}
	*ret_written = !same;
	return CODE_OK;
}
