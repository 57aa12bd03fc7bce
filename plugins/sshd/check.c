/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/sshd/check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Nobody's name: a Match for certain users or groups is not meant for it, Match all is. */
#define ANYONE "latchkey-anyone"

static bool is_wanted(const struct sshd_setting *setting, const char *value)
{
	cleanup_buffer struct buffer joined = {0};

	if (settings_join(setting->arguments, setting->count, &joined) < 0)
		return false;
	return sshd_same_value(joined.bytes, value);
}

/* The first line inside a Match that sets something else. */
static bool find_other(const struct sshd_scan *scan, enum setting setting, const char *value, char *text, size_t size)
{
	const struct sshd_setting *found;

	for (size_t at = 0; (found = setting_find_in_match(scan, setting, &at)) != NULL;) {
		if (is_wanted(found, value))
			continue;
		(void)snprintf(text, size, "%s:%u", scan->files[found->file].path, found->line);
		return true;
	}
	return false;
}

/* sshd -T prints AuthorizedKeysFile without the quotes that our line has. */
static bool is_in_force(const struct sshd_effective *effective, enum setting setting, const char *wanted)
{
	cleanup_buffer struct buffer line = {0};
	cleanup_free char **words = NULL;
	unsigned count = 0;
	bool same = false;

	buffer_append_format(&line, "%s %s", setting_keyword(setting), wanted);
	if (buffer_status(&line) < 0 || sshd_scan_line(line.bytes, &words, &count) < 0)
		return false;
	cleanup_buffer struct buffer plain = {0};
	for (unsigned i = 1; i < count; i++)
		buffer_append_format(&plain, "%s%s", i > 1 ? " " : "", words[i]);
	if (buffer_status(&plain) < 0)
		return false;
	for (size_t i = 0; i < effective->count; i++) {
		const struct sshd_value *value = &effective->values[i];
		if (strcmp(value->keyword, setting_lower(setting)) != 0)
			continue;
		if (!sshd_same_value(value->value, plain.bytes))
			return false;
		same = true;
		if (effective->scanned) /* the first wins; after it stand later lines and defaults */
			break;
	}
	return same;
}

static enum code from_errno(int r)
{
	return r == -EBADMSG ? CODE_SSHD_INVALID : r == -ENOMEM ? CODE_INTERNAL : CODE_CANNOT_VALIDATE;
}

enum code check_effective(struct sshd *sshd, const struct settings *wanted, char ret_detail[SSHD_DETAIL_MAX + 1])
{
	const struct sshd_scan *scan = sshd_get_scan(sshd);
	char place[SSHD_DETAIL_MAX - 60];
	int r;

	*ret_detail = '\0';
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		const struct sshd_effective *effective;
		const char *value = wanted->values[i], *keyword = setting_keyword((enum setting)i);
		if (!value || i == SETTING_CHALLENGE) /* seen as the keyboard's */
			continue;
		r = sshd_get_effective(sshd, i == SETTING_ROOT ? "root" : ANYONE, &effective, ret_detail);
		if (r < 0)
			return from_errno(r);
		bool elsewhere = find_other(scan, (enum setting)i, value, place, sizeof(place));
		if (!is_in_force(effective, (enum setting)i, value)) {
			const char *now = sshd_value(effective, setting_lower((enum setting)i));
			(void)snprintf(ret_detail, SSHD_DETAIL_MAX + 1, "%s is %.20s by %.100s", keyword,
				now ? now : "not set", elsewhere ? place : "sshd's own options");
			return CODE_OVERRIDDEN;
		}
		if (elsewhere && !*ret_detail)
			(void)snprintf(ret_detail, SSHD_DETAIL_MAX + 1, "a Match sets another %s for some: %.100s",
				keyword, place);
	}
	return CODE_OK;
}
