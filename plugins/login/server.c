/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/login/server.h"

#include <string.h>
#include <strings.h>

#include "lib/pattern.h"

/* From what lets nobody in to what lets everybody in. */
static unsigned root_rank(const char *value)
{
	return sshd_same_value(value, "yes")                    ? 3
	       : sshd_same_value(value, "prohibit-password")    ? 2
	       : sshd_same_value(value, "forced-commands-only") ? 1
								: 0;
}

void server_doors(const struct sshd_effective *effective, const struct sshd_scan *scan, const cJSON *methods,
	struct doors *ret_doors)
{
	struct doors doors = {.key = sshd_is_yes(effective, "pubkeyauthentication"),
		.password = sshd_is_yes(effective, "passwordauthentication"),
		.use_pam = sshd_is_yes(effective, "usepam"),
		.empty_passwords = sshd_is_yes(effective, "permitemptypasswords"),
		.root = sshd_value(effective, "permitrootlogin")};
	bool value;

	doors.keyboard = doors.use_pam && sshd_is_yes(effective, "kbdinteractiveauthentication");
	if (methods && json_get_bool(methods, "key", &value) == 0)
		doors.key = value;
	if (methods && json_get_bool(methods, "password", &value) == 0) {
		doors.password = value;
		doors.keyboard = doors.keyboard && value;
	}
	if (!doors.root)
		doors.root = "prohibit-password";
	const char *now = doors.root;
	const struct sshd_setting *global = sshd_scan_global(scan, "permitrootlogin");
	/* Our global line does not reach past a Match that holds root down, nor past an option of sshd's own. */
	bool held = sshd_scan_in_match(scan, "permitrootlogin", 0) ||
		    !sshd_same_value(global ? global->arguments[0] : "prohibit-password", now);
	if (methods && json_get_string(methods, "root", &doors.root) == 0 && root_rank(now) < root_rank(doors.root) &&
		held)
		doors.root = now;
	*ret_doors = doors;
}

enum verdict { ABSENT, MATCHED, UNMATCHED };

static enum verdict match_user(
	const struct sshd_effective *effective, const char *keyword, const char *user, const char *address, bool denies)
{
	enum verdict verdict = ABSENT;

	for (size_t i = 0; i < effective->count; i++) {
		if (strcmp(effective->values[i].keyword, keyword) != 0)
			continue;
		if (pattern_matches_user(user, address, effective->values[i].value, denies))
			return MATCHED;
		verdict = UNMATCHED;
	}
	return verdict;
}

static enum verdict match_groups(const struct sshd_effective *effective, const char *keyword, char *const *groups)
{
	enum verdict verdict = ABSENT;

	for (size_t i = 0; i < effective->count; i++) {
		if (strcmp(effective->values[i].keyword, keyword) != 0)
			continue;
		for (char *const *group = groups; *group; group++) {
			if (pattern_matches(*group, effective->values[i].value))
				return MATCHED;
		}
		verdict = UNMATCHED;
	}
	return verdict;
}

blocker_set server_user_blockers(
	const struct person *person, const struct sshd_effective *effective, const char *address)
{
	const char *user = person->account.name, *command = sshd_value(effective, "forcecommand");
	const char *sessions = sshd_value(effective, "maxsessions");
	blocker_set set = 0;

	if (match_user(effective, "denyusers", user, address, true) == MATCHED)
		set |= BLOCKER_BIT(BLOCKER_DENY_USERS);
	if (match_user(effective, "allowusers", user, address, false) == UNMATCHED)
		set |= BLOCKER_BIT(BLOCKER_ALLOW_USERS);
	if (match_groups(effective, "denygroups", person->group_names) == MATCHED)
		set |= BLOCKER_BIT(BLOCKER_DENY_GROUPS);
	if (match_groups(effective, "allowgroups", person->group_names) == UNMATCHED)
		set |= BLOCKER_BIT(BLOCKER_ALLOW_GROUPS);
	if (command && strcasecmp(command, "none") != 0)
		set |= BLOCKER_BIT(BLOCKER_FORCE_COMMAND);
	if (sessions && strcmp(sessions, "0") == 0)
		set |= BLOCKER_BIT(BLOCKER_MAX_SESSIONS);
	return set;
}

void server_root_blockers(const char *permit_root_login, blocker_set *key, blocker_set *password)
{
	if (sshd_same_value(permit_root_login, "yes"))
		return;
	if (sshd_same_value(permit_root_login, "prohibit-password")) {
		*password |= BLOCKER_BIT(BLOCKER_ROOT_PASSWORD_OFF);
	} else if (sshd_same_value(permit_root_login, "forced-commands-only")) {
		*password |= BLOCKER_BIT(BLOCKER_ROOT_PASSWORD_OFF);
		*key |= BLOCKER_BIT(BLOCKER_ROOT_COMMANDS_ONLY);
	} else {
		*password |= BLOCKER_BIT(BLOCKER_ROOT_LOGIN_OFF);
		*key |= BLOCKER_BIT(BLOCKER_ROOT_LOGIN_OFF);
	}
}

static bool is_method(const char *text, size_t size, const char *name)
{
	/* keyboard-interactive may name its device behind a colon */
	const char *colon = memchr(text, ':', size);
	size_t length = colon ? (size_t)(colon - text) : size;
	return strlen(name) == length && strncmp(text, name, length) == 0;
}

/* One alternative: "publickey,password". Every method of it must be a way. */
static bool can_pass(const char *list, size_t size, const struct ways *ways)
{
	uint32_t keys = 0;

	for (size_t at = 0; at < size;) {
		size_t length = 0;
		while (at + length < size && list[at + length] != ',')
			length++;
		if (is_method(list + at, length, "publickey")) {
			if (!ways->key || ++keys > ways->keys) /* the same key does not count twice */
				return false;
		} else if (is_method(list + at, length, "password")) {
			if (!ways->password)
				return false;
		} else if (is_method(list + at, length, "keyboard-interactive")) {
			if (!ways->keyboard)
				return false;
		} else {
			return false;
		}
		at += length + 1;
	}
	return true;
}

bool server_methods_leave_a_way(const struct sshd_effective *effective, const struct ways *ways)
{
	const char *value = sshd_value(effective, "authenticationmethods");

	if (!value || !*value || strcasecmp(value, "any") == 0)
		return ways->key || ways->password || ways->keyboard;
	while (*value) {
		size_t size = strcspn(value, " ");
		if (size > 0 && can_pass(value, size, ways))
			return true;
		value += size;
		value += strspn(value, " ");
	}
	return false;
}

void server_methods_blockers(
	const struct sshd_effective *effective, const struct doors *doors, blocker_set *key, blocker_set *password)
{
	const struct ways by_key = {.key = true, .keys = 1};
	const struct ways by_password = {.password = doors->password, .keyboard = doors->keyboard};

	if (!server_methods_leave_a_way(effective, &by_key))
		*key |= BLOCKER_BIT(BLOCKER_AUTHENTICATION_METHODS);
	if ((doors->password || doors->keyboard) && !server_methods_leave_a_way(effective, &by_password))
		*password |= BLOCKER_BIT(BLOCKER_AUTHENTICATION_METHODS);
}
