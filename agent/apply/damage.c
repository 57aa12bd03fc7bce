/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/damage.h"

#include <errno.h>
#include <string.h>

#include "agent/apply/history.h"
#include "agent/apply/ledger.h"
#include "lib/box_age.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/sealed.h"
#include "lib/sshsig.h"
#include "lib/sys.h"

#define QUARANTINE "quarantine"

/* quarantine/, with nothing of that name in it. */
static int make_room(int parent, const char *kept, int *ret_quarantine)
{
	cleanup_close int quarantine = -1;

	int r = file_make_directory(parent, QUARANTINE, 0700, &quarantine);
	if (r < 0)
		return r;
	if (sys.unlinkat(quarantine, kept, 0) < 0 && errno != ENOENT &&
		sys.unlinkat(quarantine, kept, AT_REMOVEDIR) < 0)
		return -errno;
	*ret_quarantine = steal_descriptor(&quarantine);
	return 0;
}

int damage_set_aside(int parent, int directory, const char *name, const char *kept)
{
	cleanup_close int quarantine = -1;

	log_error("%s is damaged: set aside in " QUARANTINE "/%s", name, kept);
	int r = make_room(parent, kept, &quarantine);
	if (r < 0)
		return r;
	if (sys.renameat2(directory, name, quarantine, kept, 0) < 0)
		return -errno;
	return sys.fsync(quarantine) < 0 || sys.fsync(directory) < 0 ? -errno : 0;
}

/* A file of ours: regular, and nobody else's. Its size and an open descriptor; -EBADMSG for anything else. */
static int open_ours(int directory, const char *name, int *ret_descriptor, off_t *ret_size)
{
	cleanup_close int descriptor = -1;
	struct stat status;

	int r = file_open(directory, name, &descriptor, &status);
	if (r == -EINVAL || r == -ELOOP || (r == 0 && (status.st_uid != 0 || (status.st_mode & 022) != 0)))
		return -EBADMSG;
	if (r < 0)
		return r;
	*ret_descriptor = steal_descriptor(&descriptor);
	*ret_size = status.st_size;
	return 0;
}

/* The lines that are JSON objects. A last one without its newline is what a crash left, and no damage. */
static bool keep_whole_lines(const char *text, size_t size, struct buffer *whole)
{
	bool damaged = false;

	for (size_t offset = 0; offset < size;) {
		const char *newline = memchr(text + offset, '\n', size - offset);
		cleanup_json cJSON *line = NULL;
		if (!newline)
			break;
		size_t length = (size_t)(newline - text) - offset;
		int r = json_parse_object(text + offset, length, &line);
		if (r == 0)
			buffer_append(whole, text + offset, length + 1);
		else if (r == -ENOMEM)
			whole->failed = true;
		else
			damaged = true;
		offset += length + 1;
	}
	return damaged;
}

static int repair_lines(const struct apply *apply, int directory, const char *name, size_t most, const char *kept)
{
	bool is_history = strcmp(kept, DAMAGE_HISTORY) == 0;
	cleanup_close int descriptor = -1, quarantine = -1;
	cleanup_buffer struct buffer whole = {0};
	cleanup_free char *text = NULL;
	size_t size;
	off_t length;

	int r = open_ours(directory, name, &descriptor, &length);
	bool is_ours = r != -EBADMSG;
	if (r == 0)
		r = file_read_descriptor(descriptor, most, &text, &size);
	if (is_ours && (r < 0 || !keep_whole_lines(text, size, &whole)))
		return r;
	if (is_history)
		history_put_damaged(apply, &whole);
	r = buffer_status(&whole);
	if (r == 0 && is_ours) {
		log_error(
			"%s has damaged lines: a copy is in " QUARANTINE "/%s, and what is whole goes on", name, kept);
		r = make_room(apply->state, kept, &quarantine);
		if (r == 0)
			r = file_replace_simple(quarantine, kept, text, size, 0600);
	} else if (r == 0) {
		r = damage_set_aside(apply->state, directory, name, kept);
	}
	return r < 0 ? r : file_replace_simple(directory, name, whole.bytes, whole.size, 0600);
}

static int repair_key(const struct apply *apply, int directory, const char *name, size_t size, const char *kept)
{
	cleanup_close int descriptor = -1;
	off_t length;

	int r = open_ours(directory, name, &descriptor, &length);
	/* Another is made in its place, and the endpoint hears of it. */
	if (r == -EBADMSG || (r == 0 && length != (off_t)size))
		return damage_set_aside(apply->state, directory, name, kept);
	return r;
}

/* One that is made anew from the others where it is missing; whatever it says is judged by who reads it. */
static int repair_other(const struct apply *apply, int directory, const char *name, size_t size, const char *kept)
{
	cleanup_close int descriptor = -1;
	off_t length;

	(void)size;
	int r = open_ours(directory, name, &descriptor, &length);
	return r == -EBADMSG ? damage_set_aside(apply->state, directory, name, kept) : r;
}

/* Without it a clone would go on as its model: it starts over then, as with one that says something else. */
static int repair_machine(const struct apply *apply, int directory, const char *name, size_t size, const char *kept)
{
	static const char unknown[] = "unknown\n";
	struct stat status;

	int r = repair_other(apply, directory, name, size, kept);
	if (r < 0 || sys.fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0)
		return r;
	return file_replace_simple(directory, name, unknown, strlen(unknown), 0600);
}

void damage_repair(const struct apply *apply)
{
	static const struct {
		const char *folder, *name, *kept;
		size_t size;
		int (*repair)(
			const struct apply *apply, int directory, const char *name, size_t size, const char *kept);
	} files[] = {
		{"history", "previous", DAMAGE_HISTORY, HISTORY_READ_MAX, repair_lines},
		{"history", "current", DAMAGE_HISTORY, HISTORY_READ_MAX, repair_lines},
		{"identity", "sign", DAMAGE_KEY, SSHSIG_SECRET_SIZE, repair_key},
		{"identity", BOX, DAMAGE_KEY, SEALED_KEY_SIZE, repair_key},
		{"identity", "machine", DAMAGE_KEY, 0, repair_machine},
		{"identity", "instance", DAMAGE_KEY, 0, repair_other},
		{"identity", "generation", DAMAGE_KEY, 0, repair_other},
		{"identity", "text", DAMAGE_KEY, 0, repair_other},
		{"plugin/account", "ledger", DAMAGE_LEDGER, LEDGER_SIZE_MAX, repair_lines},
		{"plugin/authorized-keys", "ledger", DAMAGE_LEDGER, LEDGER_SIZE_MAX, repair_lines},
	};

	/* Another machine's disk keeps its identity, and its own agent looks after the rest. */
	if (apply->state < 0 || apply->state_is_newer || !apply->is_host)
		return;
	for (unsigned i = 0; i < ELEMENTS(files); i++) {
		cleanup_close int directory = -1;
		int r = file_open_directory(apply->state, files[i].folder, &directory);
		if (r == 0)
			r = files[i].repair(apply, directory, files[i].name, files[i].size, files[i].kept);
		if (r < 0 && r != -ENOENT)
			log_error("%s/%s cannot be looked at or set aside: %s", files[i].folder, files[i].name,
				strerror(-r));
	}
}

const char *damage_kept(const struct apply *apply)
{
	static const char *const names[] = {DAMAGE_JOURNAL, DAMAGE_HISTORY, DAMAGE_KEY, DAMAGE_LEDGER};
	cleanup_close int quarantine = -1;
	struct stat status;

	if (apply->state < 0 || file_open_directory(apply->state, QUARANTINE, &quarantine) < 0)
		return NULL;
	for (unsigned i = 0; i < ELEMENTS(names); i++) {
		if (sys.fstatat(quarantine, names[i], &status, AT_SYMLINK_NOFOLLOW) == 0)
			return names[i];
	}
	return NULL;
}
