/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/defaults.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "lib/field.h"

#define VALUE_MAX 256u /* FIELD_PATH_MAX */

/* "KEY value" (login.defs) or "KEY=value" (useradd); the first word of the value. */
static bool find_value(
	const struct account_table *table, const char *key, const char *separators, char ret_value[VALUE_MAX + 1])
{
	size_t offset = 0, key_size = strlen(key);
	struct account_line line;
	bool found = false;

	while (account_next_line(table, &offset, &line)) {
		char text[512], *at = text;

		if (line.size >= sizeof(text))
			continue;
		memcpy(text, line.start, line.size);
		text[line.size] = '\0';
		at += strspn(at, " \t");
		if (strncmp(at, key, key_size) != 0 || at[key_size] == '\0' || !strchr(separators, at[key_size]))
			continue;
		at += key_size;
		at += strspn(at, separators);
		at += strspn(at, "\"");
		at[strcspn(at, " \t\r\"#")] = '\0';
		if (strlen(at) > VALUE_MAX)
			continue;
		memcpy(ret_value, at, strlen(at) + 1);
		found = true; /* the last one counts, as for the tools */
	}
	return found;
}

static bool parse_number(const char *text, unsigned base, int64_t *ret_number)
{
	int64_t number = 0;

	if (*text == '\0')
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text >= (char)('0' + base) || number > INT32_MAX)
			return false;
		number = number * base + (*text - '0');
	}
	*ret_number = number;
	return true;
}

static int64_t number_or(const struct account_table *table, const char *key, unsigned base, int64_t fallback)
{
	char value[VALUE_MAX + 1];
	int64_t number = fallback;

	if (!find_value(table, key, " \t", value) || !parse_number(value, base, &number))
		return fallback;
	return number;
}

static void path_or(
	const struct account_table *table, const char *key, const char *fallback, char ret_path[VALUE_MAX + 1])
{
	char value[VALUE_MAX + 1];

	if (!find_value(table, key, "=", value) || !field_is_path(value))
		(void)snprintf(value, sizeof(value), "%s", fallback);
	memcpy(ret_path, value, sizeof(value));
}

static int read_login_definitions(int root, struct account_defaults *defaults)
{
	cleanup_account_table struct account_table table = {0};
	char value[VALUE_MAX + 1];

	int r = account_table_read(root, "etc/login.defs", &table);
	if (r < 0 && r != -ENOENT)
		return r;
	defaults->maximum_age = number_or(&table, "PASS_MAX_DAYS", 10, -1);
	defaults->minimum_age = number_or(&table, "PASS_MIN_DAYS", 10, -1);
	defaults->warn = number_or(&table, "PASS_WARN_AGE", 10, -1);
	int64_t mask = number_or(&table, "UMASK", 8, 022);
	defaults->home_mode = (mode_t)(number_or(&table, "HOME_MODE", 8, 0777 & ~mask) & 0777);
	defaults->user_groups = find_value(&table, "USERGROUPS_ENAB", " \t", value) && strcmp(value, "yes") == 0;
	defaults->subuid_min = number_or(&table, "SUB_UID_MIN", 10, 100000);
	defaults->subuid_max = number_or(&table, "SUB_UID_MAX", 10, 600100000);
	defaults->subuid_count = number_or(&table, "SUB_UID_COUNT", 10, 65536);
	defaults->subgid_min = number_or(&table, "SUB_GID_MIN", 10, 100000);
	defaults->subgid_max = number_or(&table, "SUB_GID_MAX", 10, 600100000);
	defaults->subgid_count = number_or(&table, "SUB_GID_COUNT", 10, 65536);
	return 0;
}

/* "YYYY-MM-DD" as a day of shadow(5); any other text is none. */
static void read_date(const char *text, char ret_day[16])
{
	struct tm date = {0};
	const char *end = strptime(text, "%Y-%m-%d", &date);
	time_t time = end && *end == '\0' ? timegm(&date) : -1;

	if (time >= 0)
		(void)snprintf(ret_day, 16, "%lld", (long long)time / 86400);
}

int account_defaults_read(int root, struct account_defaults *ret_defaults)
{
	struct account_defaults defaults = {0};
	cleanup_account_table struct account_table table = {0};
	char value[VALUE_MAX + 1];
	int64_t days;

	int r = login_definitions_read(root, &defaults.ranges);
	if (r < 0)
		return r;
	r = read_login_definitions(root, &defaults);
	if (r < 0)
		return r;
	r = account_table_read(root, "etc/default/useradd", &table);
	if (r < 0 && r != -ENOENT)
		return r;
	path_or(&table, "SHELL", "/bin/sh", defaults.shell);
	path_or(&table, "SKEL", "/etc/skel", defaults.skel);
	path_or(&table, "HOME", "/home", defaults.home);
	(void)snprintf(defaults.group, sizeof(defaults.group), "100");
	if (find_value(&table, "GROUP", "=", value) && (field_is_user(value) || parse_number(value, 10, &days)))
		(void)snprintf(defaults.group, sizeof(defaults.group), "%.63s", value);
	if (find_value(&table, "INACTIVE", "=", value) && parse_number(value, 10, &days))
		(void)snprintf(defaults.inactive, sizeof(defaults.inactive), "%d", (int)days);
	if (find_value(&table, "EXPIRE", "=", value))
		read_date(value, defaults.expire);
	*ret_defaults = defaults;
	return 0;
}
