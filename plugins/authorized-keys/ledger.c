/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/ledger.h"

#include <errno.h>
#include <string.h>

#include "lib/file.h"
#include "lib/json.h"

#define READ_MAX (2 * KEY_LEDGER_MAX) /* one that somebody made too large can still become smaller */
#define MEMBERS_MAX 512u              /* the names and numbers of a line, signer, command, fingerprint and label */

static void entry_free(struct key_entry *entry)
{
	free(entry->user);
	free(entry->keypair);
	free(entry->fingerprint);
	free(entry->signer);
	free(entry->command);
	free(entry->location);
	free(entry->path);
	free(entry->state);
	free(entry->line);
	*entry = (struct key_entry){0};
}

static int copy_entry(const struct key_entry *from, struct key_entry *ret_entry)
{
	struct key_entry copy = {strdup(from->user), strdup(from->keypair), strdup(from->fingerprint),
		strdup(from->signer), strdup(from->command), strdup(from->location), strdup(from->path),
		strdup(from->state), strdup(from->line ? from->line : ""), from->bound, from->expires, from->made,
		from->restored, from->restored_at, from->contested, from->uid, "", false, KEY_LEDGER_END};

	memcpy(copy.mark, from->mark, sizeof(copy.mark));

	if (!copy.user || !copy.keypair || !copy.fingerprint || !copy.signer || !copy.command || !copy.location ||
		!copy.path || !copy.state || !copy.line) {
		entry_free(&copy);
		return -ENOMEM;
	}
	*ret_entry = copy;
	return 0;
}

unsigned key_ledger_first(const struct key_ledger *ledger, const char *user)
{
	size_t index = name_map_get(&ledger->first, user);
	return index == NAME_MAP_NONE ? KEY_LEDGER_END : (unsigned)index;
}

/* Puts the entry in front of its user's others. */
static int chain(struct key_ledger *ledger, unsigned index)
{
	struct key_entry *entry = &ledger->entries[index];

	entry->next = key_ledger_first(ledger, entry->user);
	return name_map_put(&ledger->first, entry->user, index);
}

struct key_entry *key_ledger_find(
	const struct key_ledger *ledger, const char *user, const char *keypair, const char *path)
{
	for (unsigned i = key_ledger_first(ledger, user); i != KEY_LEDGER_END; i = ledger->entries[i].next) {
		struct key_entry *entry = &ledger->entries[i];
		if (strcmp(entry->keypair, keypair) == 0 && strcmp(entry->path, path) == 0)
			return entry;
	}
	return NULL;
}

bool key_ledger_made(const struct key_ledger *ledger, const char *user, const char *path)
{
	for (unsigned i = key_ledger_first(ledger, user); i != KEY_LEDGER_END; i = ledger->entries[i].next) {
		const struct key_entry *entry = &ledger->entries[i];
		if (entry->made && strcmp(entry->path, path) == 0)
			return true;
	}
	return false;
}

/* Takes the entry over, also on failure. */
static int append(struct key_ledger *ledger, struct key_entry *entry)
{
	struct key_entry *more = reallocarray(ledger->entries, ledger->count + 1, sizeof(*more));

	if (!more) {
		entry_free(entry);
		return -ENOMEM;
	}
	ledger->entries = more;
	ledger->entries[ledger->count++] = *entry;
	return chain(ledger, ledger->count - 1);
}

int key_ledger_put(struct key_ledger *ledger, const struct key_entry *entry)
{
	struct key_entry *old = key_ledger_find(ledger, entry->user, entry->keypair, entry->path), copy;

	int r = copy_entry(entry, &copy);
	if (r < 0)
		return r;
	copy.made = copy.made || key_ledger_made(ledger, entry->user, entry->path);
	ledger->changed = true;
	if (!old)
		return append(ledger, &copy);
	copy.next = old->next;
	entry_free(old);
	*old = copy;
	return 0;
}

/* Whatever led to the one entry of the user's leads to the other. */
static void repoint(struct key_ledger *ledger, const char *user, unsigned from, unsigned to)
{
	unsigned i = key_ledger_first(ledger, user);

	if (i == from) {
		(void)!name_map_put(&ledger->first, user, to); /* the name is there: it needs no memory */
		return;
	}
	while (i != KEY_LEDGER_END && ledger->entries[i].next != from)
		i = ledger->entries[i].next;
	if (i != KEY_LEDGER_END)
		ledger->entries[i].next = to;
}

void key_ledger_remove(struct key_ledger *ledger, const char *user, const char *keypair, const char *path)
{
	struct key_entry *entry = key_ledger_find(ledger, user, keypair, path);

	if (!entry)
		return;
	unsigned last = ledger->count - 1;
	repoint(ledger, user, (unsigned)(entry - ledger->entries), entry->next);
	entry_free(entry);
	if (entry != &ledger->entries[last]) { /* the last one takes its place */
		repoint(ledger, ledger->entries[last].user, last, (unsigned)(entry - ledger->entries));
		*entry = ledger->entries[last];
	}
	ledger->count--;
	ledger->changed = true;
}

static void read_line(struct key_ledger *ledger, const char *line, size_t size)
{
	static const char *const names[] = {
		"user", "keypair", "fingerprint", "signer", "command", "location", "path", "state"};
	const char *texts[ELEMENTS(names)];
	cleanup_json cJSON *object = NULL;
	int64_t bound = 0, expires = -1;
	bool made = false;

	if (json_parse_object(line, size, &object) < 0)
		return;
	for (unsigned i = 0; i < ELEMENTS(names); i++) {
		if (json_get_string(object, names[i], &texts[i]) < 0)
			return;
	}
	(void)!json_get_integer(object, "bound", &bound);
	(void)!json_get_integer(object, "expires", &expires);
	(void)!json_get_bool(object, "made", &made);
	const char *line_text = "", *mark;
	(void)!json_get_string(object, "line", &line_text);
	struct key_entry entry = {0};
	/* The texts stay in the tree; key_ledger_put copies and never writes to them. */
	char **fields[] = {&entry.user, &entry.keypair, &entry.fingerprint, &entry.signer, &entry.command,
		&entry.location, &entry.path, &entry.state};
	for (unsigned i = 0; i < ELEMENTS(fields); i++)
		*fields[i] = (char *)(uintptr_t)texts[i];
	entry.bound = bound;
	entry.expires = expires;
	entry.made = made;
	entry.uid = -1;
	(void)!json_get_integer(object, "uid", &entry.uid);
	if (json_get_string(object, "mark", &mark) == 0)
		(void)snprintf(entry.mark, sizeof(entry.mark), "%s", mark);
	entry.line = (char *)(uintptr_t)line_text;
	(void)!json_get_integer(object, "restored", &entry.restored);
	(void)!json_get_integer(object, "restored_at", &entry.restored_at);
	(void)!json_get_bool(object, "contested", &entry.contested);
	struct key_entry copy;
	if (copy_entry(&entry, &copy) == 0)
		(void)!append(ledger, &copy);
}

int key_ledger_read(int state, struct key_ledger *ret_ledger)
{
	cleanup_key_ledger struct key_ledger ledger = {0};
	cleanup_free char *text = NULL;
	size_t size = 0;

	if (state >= 0) {
		int r = file_read(state, "ledger", READ_MAX, &text, &size);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	if (state >= 0) {
		cleanup_free char *mark = NULL;
		size_t mark_size;
		int r = file_read(state, KEY_MARK, sizeof(ledger.mark) - 1, &mark, &mark_size);
		if (r == -ENOMEM)
			return r;
		if (r == 0) /* no such file, as a rule */
			(void)snprintf(ledger.mark, sizeof(ledger.mark), "%s", mark);
	}
	for (size_t offset = 0; offset < size;) {
		const char *newline = memchr(text + offset, '\n', size - offset);
		size_t length = newline ? (size_t)(newline - text) - offset : size - offset;
		read_line(&ledger, text + offset, length);
		offset += length + 1;
	}
	ledger.changed = false;
	ledger.size = size;
	*ret_ledger = ledger;
	ledger = (struct key_ledger){0};
	return 0;
}

void key_ledger_free(struct key_ledger *ledger)
{
	for (unsigned i = 0; i < ledger->count; i++)
		entry_free(&ledger->entries[i]);
	free(ledger->entries);
	name_map_free(&ledger->first);
	*ledger = (struct key_ledger){0};
}

size_t key_ledger_weight(const char *user, const char *path, const char *line)
{
	return strlen(user) + strlen(path) + strlen(line) + MEMBERS_MAX;
}

int key_ledger_write(int state, const struct key_ledger *ledger)
{
	cleanup_buffer struct buffer out = {0};

	if (!ledger->changed)
		return 0;
	if (state < 0)
		return -EROFS;
	for (unsigned i = 0; i < ledger->count; i++) {
		const struct key_entry *entry = &ledger->entries[i];
		struct json_writer writer = {&out, false};

		json_begin_object(&writer, NULL);
		json_put_string(&writer, "user", entry->user);
		json_put_string(&writer, "keypair", entry->keypair);
		json_put_string(&writer, "fingerprint", entry->fingerprint);
		json_put_string(&writer, "signer", entry->signer);
		json_put_string(&writer, "command", entry->command);
		json_put_integer(&writer, "bound", entry->bound);
		if (entry->expires >= 0)
			json_put_integer(&writer, "expires", entry->expires);
		json_put_string(&writer, "state", entry->state);
		json_put_string(&writer, "location", entry->location);
		json_put_string(&writer, "path", entry->path);
		if (*entry->mark)
			json_put_string(&writer, "mark", entry->mark);
		if (entry->uid >= 0)
			json_put_integer(&writer, "uid", entry->uid);
		if (entry->made)
			json_put_bool(&writer, "made", true);
		if (*entry->line)
			json_put_string(&writer, "line", entry->line);
		if (entry->restored > 0) {
			json_put_integer(&writer, "restored", entry->restored);
			json_put_integer(&writer, "restored_at", entry->restored_at);
		}
		if (entry->contested)
			json_put_bool(&writer, "contested", true);
		json_end_object(&writer);
		buffer_append(&out, "\n", 1);
	}
	int r = buffer_status(&out);
	if (r == 0 && out.size > KEY_LEDGER_MAX && out.size >= ledger->size)
		r = -EFBIG;
	return r < 0 ? r : file_replace_simple(state, "ledger", out.bytes, out.size, 0600);
}
