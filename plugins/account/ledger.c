/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/ledger.h"

#include <errno.h>
#include <string.h>

#include "lib/field.h"
#include "lib/file.h"
#include "lib/json.h"

static void copy_text(const cJSON *object, const char *name, char *ret_text, size_t size)
{
	const char *text;

	if (json_get_string(object, name, &text) == 0 && strlen(text) < size)
		memcpy(ret_text, text, strlen(text) + 1);
}

static void entry_free(struct ledger_entry *entry)
{
	for (unsigned i = 0; i < entry->group_count; i++)
		free(entry->groups[i]);
	free(entry->groups);
	free(entry->home);
	*entry = (struct ledger_entry){0};
}

static int add_group(struct ledger_entry *entry, const char *group)
{
	if (entry->group_count == LEDGER_GROUPS_MAX)
		return -E2BIG;
	char **more = reallocarray(entry->groups, entry->group_count + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	entry->groups = more;
	entry->groups[entry->group_count] = strdup(group);
	if (!entry->groups[entry->group_count])
		return -ENOMEM;
	entry->group_count++;
	return 0;
}

static int read_entry(const cJSON *object, struct ledger_entry *entry)
{
	const cJSON *groups, *group;
	const char *home;
	int64_t uid;
	int r;

	copy_text(object, "user", entry->user, sizeof(entry->user));
	if (!field_is_user(entry->user) || json_get_integer(object, "uid", &uid) < 0 || uid < 0 || uid > UINT32_MAX)
		return -EBADMSG;
	entry->uid = (uid_t)uid;
	copy_text(object, "sudo", entry->sudo, sizeof(entry->sudo));
	copy_text(object, "expire_before", entry->expire_before, sizeof(entry->expire_before));
	(void)!json_get_bool(object, "created", &entry->created);
	(void)!json_get_bool(object, "gone", &entry->gone);
	(void)!json_get_bool(object, "locked", &entry->locked);
	(void)!json_get_bool(object, "inherited", &entry->inherited);
	if (json_get_string(object, "home", &home) == 0) {
		entry->home = strdup(home);
		if (!entry->home)
			return -ENOMEM;
	}
	if (json_get_array(object, "groups", &groups) < 0)
		return 0;
	cJSON_ArrayForEach(group, groups)
	{
		if (!cJSON_IsString(group))
			continue;
		r = add_group(entry, group->valuestring);
		if (r < 0)
			return r;
	}
	return 0;
}

static int append(struct ledger *ledger, struct ledger_entry **ret_entry)
{
	if (ledger->count == ledger->capacity) {
		unsigned capacity = ledger->capacity * 2 + 16;
		struct ledger_entry *more = reallocarray(ledger->entries, capacity, sizeof(*more));
		if (!more)
			return -ENOMEM;
		ledger->entries = more;
		ledger->capacity = capacity;
	}
	*ret_entry = &ledger->entries[ledger->count++];
	**ret_entry = (struct ledger_entry){.sudo = "none"};
	return 0;
}

int ledger_read(int state, struct ledger *ret_ledger)
{
	cleanup_ledger struct ledger ledger = {0};
	int r;

	if (state >= 0) {
		r = file_read(state, "ledger", LEDGER_SIZE_MAX, &ledger.old, &ledger.old_size);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	for (size_t offset = 0; offset < ledger.old_size;) {
		const char *line = ledger.old + offset;
		const char *newline = memchr(line, '\n', ledger.old_size - offset);
		size_t size = newline ? (size_t)(newline - line) : ledger.old_size - offset;
		cleanup_json cJSON *object = NULL;
		struct ledger_entry *entry;

		offset += size + 1;
		if (json_parse_object(line, size, &object) < 0)
			continue;
		r = append(&ledger, &entry);
		if (r < 0)
			return r;
		r = read_entry(object, entry);
		if (r < 0) {
			entry_free(entry);
			ledger.count--;
			if (r != -EBADMSG)
				return r;
			continue;
		}
		if (entry->created)
			r = name_map_put(&ledger.created, entry->user, ledger.count - 1u);
		if (r == 0 && !entry->gone && name_map_get(&ledger.living, entry->user) == NAME_MAP_NONE)
			r = name_map_put(&ledger.living, entry->user, ledger.count - 1u);
		if (r < 0)
			return r;
	}
	*ret_ledger = ledger;
	ledger = (struct ledger){0};
	return 0;
}

void ledger_free(struct ledger *ledger)
{
	for (unsigned i = 0; i < ledger->count; i++)
		entry_free(&ledger->entries[i]);
	free(ledger->entries);
	name_map_free(&ledger->living);
	name_map_free(&ledger->created);
	free(ledger->old);
	*ledger = (struct ledger){0};
}

const struct ledger_entry *ledger_find_created(const struct ledger *ledger, const char *user)
{
	size_t index = name_map_get(&ledger->created, user);
	return index == NAME_MAP_NONE ? NULL : &ledger->entries[index];
}

struct ledger_entry *ledger_find_gone(const struct ledger *ledger, const char *user)
{
	for (unsigned i = ledger->count; i-- > 0;) {
		struct ledger_entry *entry = &ledger->entries[i];
		if (entry->gone && strcmp(entry->user, user) == 0)
			return entry;
	}
	return NULL;
}

struct ledger_entry *ledger_find(const struct ledger *ledger, const char *user)
{
	size_t index = name_map_get(&ledger->living, user);

	if (index == NAME_MAP_NONE)
		return NULL;
	if (!ledger->entries[index].gone)
		return &ledger->entries[index];
	/* It went away in this pass: an older one may stand behind it. */
	for (unsigned i = 0; i < ledger->count; i++) {
		if (!ledger->entries[i].gone && strcmp(ledger->entries[i].user, user) == 0)
			return &ledger->entries[i];
	}
	return NULL;
}

int ledger_get(struct ledger *ledger, const char *user, uid_t uid, struct ledger_entry **ret_entry)
{
	struct ledger_entry *entry = ledger_find(ledger, user);

	/* Its account went without us, and another has the name: the old uid stays known. */
	if (entry && entry->uid != uid) {
		entry->gone = true;
		entry = NULL;
	}
	if (!entry) {
		int r = append(ledger, &entry);
		if (r < 0)
			return r;
		(void)snprintf(entry->user, sizeof(entry->user), "%.32s", user);
		entry->uid = uid;
		ledger->changed = true;
		r = name_map_put(&ledger->living, entry->user, ledger->count - 1u);
		if (r < 0)
			return r;
	}
	*ret_entry = entry;
	return 0;
}

int ledger_set_created(struct ledger *ledger, struct ledger_entry *entry, uid_t uid)
{
	entry->created = true;
	entry->uid = uid;
	return name_map_put(&ledger->created, entry->user, (size_t)(entry - ledger->entries));
}

bool ledger_has_group(const struct ledger_entry *entry, const char *group)
{
	for (unsigned i = 0; entry && i < entry->group_count; i++) {
		if (strcmp(entry->groups[i], group) == 0)
			return true;
	}
	return false;
}

int ledger_set_group(struct ledger *ledger, struct ledger_entry *entry, const char *group, bool present)
{
	if (ledger_has_group(entry, group) == present)
		return 0;
	ledger->changed = true;
	if (present)
		return add_group(entry, group);
	for (unsigned i = 0; i < entry->group_count; i++) {
		if (strcmp(entry->groups[i], group) == 0) {
			free(entry->groups[i]);
			entry->groups[i] = entry->groups[--entry->group_count];
			break;
		}
	}
	return 0;
}

/* A removal that a power failure cut short is noted again by the redo: the uid is remembered once. */
static bool is_noted_before(const struct ledger *ledger, const struct ledger_entry *entry)
{
	const struct ledger_entry *created = ledger_find_created(ledger, entry->user);

	return entry->gone && !entry->created && created && created->gone && created->uid == entry->uid;
}

int ledger_write(int state, struct ledger *ledger)
{
	cleanup_buffer struct buffer out = {0};

	if (!ledger->changed)
		return 0;
	if (state < 0)
		return -EROFS;
	for (unsigned i = 0; i < ledger->count; i++) {
		const struct ledger_entry *entry = &ledger->entries[i];
		struct json_writer writer = {&out, false};

		if (is_noted_before(ledger, entry))
			continue;

		json_begin_object(&writer, NULL);
		json_put_string(&writer, "user", entry->user);
		json_put_integer(&writer, "uid", entry->uid);
		json_put_bool(&writer, "created", entry->created);
		json_put_string(&writer, "sudo", entry->sudo);
		json_begin_array(&writer, "groups");
		for (unsigned j = 0; j < entry->group_count; j++)
			json_put_string(&writer, NULL, entry->groups[j]);
		json_end_array(&writer);
		if (entry->gone)
			json_put_bool(&writer, "gone", true);
		if (entry->home)
			json_put_string(&writer, "home", entry->home);
		if (entry->inherited)
			json_put_bool(&writer, "inherited", true);
		if (entry->locked) {
			json_put_bool(&writer, "locked", true);
			json_put_string(&writer, "expire_before", entry->expire_before);
		}
		json_end_object(&writer);
		buffer_append(&out, "\n", 1);
	}
	int r = buffer_status(&out);
	if (r < 0)
		return r;
	if (out.size > LEDGER_SIZE_MAX)
		return -EFBIG;
	return file_replace_simple(state, "ledger", out.bytes, out.size, 0600);
}

void ledger_restore(int state, const struct ledger *ledger)
{
	if (state >= 0 && ledger->changed && ledger->old)
		(void)!file_replace_simple(state, "ledger", ledger->old, ledger->old_size, 0600);
	else if (state >= 0 && ledger->changed)
		(void)!file_remove(state, "ledger");
}
