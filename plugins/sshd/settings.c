/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/sshd/settings.h"

#include <errno.h>
#include <string.h>

#include "lib/field.h"

static const struct {
	const char *keyword, *lower;
} table[SETTING_COUNT] = {
	[SETTING_PASSWORD] = {"PasswordAuthentication", "passwordauthentication"},
	[SETTING_KEYBOARD] = {"KbdInteractiveAuthentication", "kbdinteractiveauthentication"},
	[SETTING_CHALLENGE] = {"ChallengeResponseAuthentication", "challengeresponseauthentication"},
	[SETTING_PUBKEY] = {"PubkeyAuthentication", "pubkeyauthentication"},
	[SETTING_ROOT] = {"PermitRootLogin", "permitrootlogin"},
	[SETTING_KEYS_FILE] = {"AuthorizedKeysFile", "authorizedkeysfile"},
	[SETTING_REVOKED_KEYS] = {"RevokedKeys", "revokedkeys"},
};

const char *setting_keyword(enum setting setting)
{
	return table[setting].keyword;
}

const char *setting_lower(enum setting setting)
{
	return table[setting].lower;
}

/* sshd still knows names of twenty years ago. */
static bool is_name(enum setting setting, const char *keyword)
{
	static const struct {
		enum setting setting;
		const char *name;
	} aliases[] = {{SETTING_KEYBOARD, "challengeresponseauthentication"}, {SETTING_KEYBOARD, "skeyauthentication"},
		{SETTING_PUBKEY, "dsaauthentication"}};

	for (unsigned i = 0; i < ELEMENTS(aliases); i++) {
		if (aliases[i].setting == setting && strcmp(aliases[i].name, keyword) == 0)
			return true;
	}
	return strcmp(table[setting].lower, keyword) == 0;
}

const struct sshd_setting *setting_find_global(const struct sshd_scan *scan, enum setting setting)
{
	for (size_t i = 0; i < scan->count; i++) {
		if (scan->settings[i].match < 0 && is_name(setting, scan->settings[i].keyword))
			return &scan->settings[i];
	}
	return NULL;
}

const struct sshd_setting *setting_find_in_match(const struct sshd_scan *scan, enum setting setting, size_t *from)
{
	while (*from < scan->count) {
		const struct sshd_setting *found = &scan->settings[(*from)++];
		if (found->match >= 0 && is_name(setting, found->keyword))
			return found;
	}
	return NULL;
}

int settings_put(struct settings *settings, enum setting setting, const char *value)
{
	char *copy = value ? strdup(value) : NULL;
	if (value && !copy)
		return -ENOMEM;
	free(settings->values[setting]);
	settings->values[setting] = copy;
	return 0;
}

int settings_join(const char *const *arguments, unsigned count, struct buffer *out)
{
	for (unsigned i = 0; i < count; i++) {
		const char *argument = arguments[i];
		if (strpbrk(argument, "\"'\\\r\n"))
			return -EINVAL;
		bool quoted = *argument == '\0' || strpbrk(argument, " \t#=");
		buffer_append_format(out, "%s%s%s%s", i ? " " : "", quoted ? "\"" : "", argument, quoted ? "\"" : "");
	}
	return buffer_status(out);
}

static int parse_line(const char *line, struct settings *settings)
{
	cleanup_buffer struct buffer value = {0};
	cleanup_free char **words = NULL;
	unsigned count = 0;

	int r = sshd_scan_line(line, &words, &count);
	if (r == -ENOMEM)
		return r;
	if (r < 0 || count < 2)
		return 0;
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		if (strcmp(words[0], table[i].lower) != 0 || settings->values[i])
			continue;
		r = settings_join((const char *const *)(words + 1), count - 1, &value);
		if (r == -EINVAL)
			return 0;
		return r < 0 ? r : settings_put(settings, (enum setting)i, value.bytes);
	}
	return 0;
}

int settings_parse(const char *text, struct settings *settings)
{
	int r = 0;

	while (r == 0 && *text) {
		size_t size = strcspn(text, "\n");
		cleanup_free char *line = strndup(text, size);
		if (!line)
			return -ENOMEM;
		r = parse_line(line, settings);
		text += size + (text[size] == '\n');
	}
	return r;
}

int settings_format(const struct settings *settings, struct buffer *out)
{
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		if (settings->values[i])
			buffer_append_format(out, "%s %s\n", table[i].keyword, settings->values[i]);
	}
	return buffer_status(out);
}

bool settings_are_empty(const struct settings *settings)
{
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		if (settings->values[i])
			return false;
	}
	return true;
}

int settings_copy(const struct settings *from, struct settings *ret_to)
{
	cleanup_settings struct settings copy = {0};

	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		int r = settings_put(&copy, (enum setting)i, from->values[i]);
		if (r < 0)
			return r;
	}
	*ret_to = copy;
	copy = (struct settings){0};
	return 0;
}

void settings_free(struct settings *settings)
{
	for (unsigned i = 0; i < SETTING_COUNT; i++)
		free(settings->values[i]);
	*settings = (struct settings){0};
}

int settings_touch(
	struct settings_change *change, const struct settings *present, enum setting setting, const char *value)
{
	int r = settings_put(&change->before, setting, present->values[setting]);
	if (r == 0)
		r = settings_put(&change->after, setting, value);
	if (r == 0)
		change->touched[setting] = true;
	return r;
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool settings_change_is_empty(const struct settings_change *change)
{
	return settings_match(change, &change->before, &change->after);
}

bool settings_match(const struct settings_change *change, const struct settings *side, const struct settings *present)
{
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		if (change->touched[i] && !same(side->values[i], present->values[i]))
			return false;
	}
	return true;
}

int settings_apply(const struct settings_change *change, const struct settings *present, struct settings *ret_settings)
{
	cleanup_settings struct settings result = {0};

	int r = settings_copy(present, &result);
	for (unsigned i = 0; r == 0 && i < SETTING_COUNT; i++) {
		if (change->touched[i])
			r = settings_put(&result, (enum setting)i, change->after.values[i]);
	}
	if (r < 0)
		return r;
	*ret_settings = result;
	result = (struct settings){0};
	return 0;
}

void settings_change_exchange(struct settings_change *change)
{
	struct settings before = change->before;
	change->before = change->after;
	change->after = before;
}

bool settings_change_leave_foreign(struct settings_change *change, const struct settings *present)
{
	bool found = false;

	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		const char *now = present->values[i];
		if (!change->touched[i] || same(now, change->before.values[i]) || same(now, change->after.values[i]))
			continue;
		change->touched[i] = false;
		free(change->before.values[i]);
		free(change->after.values[i]);
		change->before.values[i] = change->after.values[i] = NULL;
		found = true;
	}
	return found;
}

void settings_change_free(struct settings_change *change)
{
	settings_free(&change->before);
	settings_free(&change->after);
}

static void write_side(
	struct json_writer *writer, const char *name, const struct settings_change *change, const struct settings *side)
{
	json_begin_object(writer, name);
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		if (change->touched[i])
			json_put_string(writer, table[i].keyword, side->values[i] ? side->values[i] : "");
	}
	json_end_object(writer);
}

int settings_change_write(const struct settings_change *change, char **ret_json)
{
	cleanup_buffer struct buffer out = {0};
	struct json_writer writer = {&out, false};

	json_begin_object(&writer, NULL);
	write_side(&writer, "before", change, &change->before);
	write_side(&writer, "after", change, &change->after);
	json_end_object(&writer);
	char *json = buffer_steal(&out);
	if (!json)
		return -ENOMEM;
	*ret_json = json;
	return 0;
}

int settings_change_read(const cJSON *plan, struct settings_change *ret_change)
{
	cleanup_settings_change struct settings_change change = {0};
	const cJSON *before, *after;

	if (json_get_object(plan, "before", &before) < 0 || json_get_object(plan, "after", &after) < 0)
		return -EBADMSG;
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		const char *from, *to;
		if (!json_member(before, table[i].keyword) && !json_member(after, table[i].keyword))
			continue;
		if (json_get_string(before, table[i].keyword, &from) < 0 ||
			json_get_string(after, table[i].keyword, &to) < 0 || !field_is_text(from, SETTING_VALUE_MAX) ||
			!field_is_text(to, SETTING_VALUE_MAX))
			return -EBADMSG;
		int r = settings_put(&change.before, (enum setting)i, *from ? from : NULL);
		if (r == 0)
			r = settings_put(&change.after, (enum setting)i, *to ? to : NULL);
		if (r < 0)
			return r;
		change.touched[i] = true;
	}
	*ret_change = change;
	change = (struct settings_change){0};
	return 0;
}
