/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few sshd settings that are ours to write, as values and as lines. NULL: not set by us, so the operator's own
 * value or sshd's default is in force.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/sshd_config.h"

enum setting {
	SETTING_PASSWORD,
	SETTING_KEYBOARD,
	SETTING_CHALLENGE, /* the name of the one before for sshd older than 8.7 */
	SETTING_PUBKEY,
	SETTING_ROOT,
	SETTING_KEYS_FILE,
	SETTING_REVOKED_KEYS,
	SETTING_COUNT
};

#define SETTING_VALUE_MAX 4096u /* AuthorizedKeysFile with many entries */

struct settings {
	char *values[SETTING_COUNT]; /* the words after the keyword, as they stand in the file */
};

/* A change of some of them: `touched` ones go from before to after. */
struct settings_change {
	bool touched[SETTING_COUNT];
	struct settings before, after;
};

/* "PasswordAuthentication", and as sshd -T prints it. */
const char *setting_keyword(enum setting setting);
const char *setting_lower(enum setting setting);
/* The first line that sets it, by whatever name sshd takes for it: outside any Match, or inside one from `from` on. */
const struct sshd_setting *setting_find_global(const struct sshd_scan *scan, enum setting setting);
const struct sshd_setting *setting_find_in_match(const struct sshd_scan *scan, enum setting setting, size_t *from);

/* Adds what the text sets and the settings do not have yet; other lines are passed over. */
int settings_parse(const char *text, struct settings *settings) MUST_CHECK;
/* One line each; nothing at all when none is set. */
int settings_format(const struct settings *settings, struct buffer *out) MUST_CHECK;
bool settings_are_empty(const struct settings *settings);
int settings_copy(const struct settings *from, struct settings *ret_to) MUST_CHECK;
int settings_put(struct settings *settings, enum setting setting, const char *value) MUST_CHECK;
void settings_free(struct settings *settings);
#define cleanup_settings CLEANUP(settings_free)

/* Marks one as touched, from its present value to `value` (NULL: taken away). */
int settings_touch(struct settings_change *change, const struct settings *present, enum setting setting,
	const char *value) MUST_CHECK;
bool settings_change_is_empty(const struct settings_change *change);
/* Whether every touched one has its value of `side` (change->before or change->after). */
bool settings_match(const struct settings_change *change, const struct settings *side, const struct settings *present);
/* The present settings with the touched ones as in change->after. */
int settings_apply(
	const struct settings_change *change, const struct settings *present, struct settings *ret_settings) MUST_CHECK;
void settings_change_exchange(struct settings_change *change);
/* Touches no longer what has neither value at present: somebody else has set it. Whether there is such a one. */
bool settings_change_leave_foreign(struct settings_change *change, const struct settings *present);
/* {"before":{"PasswordAuthentication":""},"after":{"PasswordAuthentication":"no"}}; "" stands for not set. */
int settings_change_write(const struct settings_change *change, char **ret_json) MUST_CHECK;
int settings_change_read(const cJSON *plan, struct settings_change *ret_change) MUST_CHECK;
void settings_change_free(struct settings_change *change);
#define cleanup_settings_change CLEANUP(settings_change_free)

/* Joins arguments so that sshd splits them again as they were. -EINVAL where older versions could not. */
int settings_join(const char *const *arguments, unsigned count, struct buffer *out) MUST_CHECK;
