/* SPDX-License-Identifier: Apache-2.0 */
/* AuthorizedKeysFile: where sshd looks for an account's keys. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/sshd_config.h"

#define PATH_LENGTH_MAX 4096u /* PATH_MAX; sshd gives up beyond it as well */

int sshd_expand(const char *pattern, const struct account *account, char **ret_path)
{
	cleanup_buffer struct buffer path = {0};
	/* What does not begin with a slash once it is expanded is below the home. */
	const char *begin = strncmp(pattern, "%h", 2) != 0 ? pattern : *account->home ? account->home : pattern + 2;

	if (*begin != '/') {
		buffer_append_text(&path, account->home);
		buffer_append(&path, "/", 1);
	}
	for (const char *at = pattern; *at; at++) {
		size_t plain = strcspn(at, "%");
		buffer_append(&path, at, plain);
		at += plain;
		if (*at == '\0')
			break;
		switch (*++at) {
		case '%':
			buffer_append(&path, "%", 1);
			break;
		case 'h':
			buffer_append_text(&path, account->home);
			break;
		case 'u':
			buffer_append_text(&path, account->name);
			break;
		case 'U':
			buffer_append_format(&path, "%lu", (unsigned long)account->uid);
			break;
		default:
			return -EINVAL;
		}
	}
	int r = buffer_status(&path);
	if (r < 0)
		return r;
	if (path.size >= PATH_LENGTH_MAX)
		return -ENAMETOOLONG;
	*ret_path = buffer_steal(&path);
	return 0;
}

static int add(char ***list, size_t *count, const char *text, size_t size)
{
	if (size == 4 && strncasecmp(text, "none", 4) == 0)
		return 0;
	if (*count == SSHD_KEYS_FILES_MAX)
		return -E2BIG;
	char **more = reallocarray(*list, *count + 2, sizeof(*more));
	if (!more)
		return -ENOMEM;
	*list = more;
	more[*count] = strndup(text, size);
	more[*count + 1] = NULL;
	if (!more[*count])
		return -ENOMEM;
	(*count)++;
	return 0;
}

/* sshd -T prints the entries with a space between them and no quotes; the configuration knows where one ends. */
static bool is_joined(const struct sshd_setting *setting, const char *value)
{
	for (unsigned i = 0; i < setting->count; i++) {
		size_t size = strlen(setting->arguments[i]);
		if (i > 0 && *value++ != ' ')
			return false;
		if (strncmp(value, setting->arguments[i], size) != 0)
			return false;
		value += size;
	}
	return *value == '\0';
}

int sshd_keys_patterns(
	const struct sshd *sshd, const struct sshd_effective *effective, char ***ret_patterns, size_t *ret_count)
{
	const struct sshd_scan *scan = sshd_get_scan(sshd);
	cleanup_names char **patterns = calloc(1, sizeof(*patterns));
	const char *value = sshd_value(effective, "authorizedkeysfile");
	size_t count = 0;
	int r = 0;

	if (!patterns)
		return -ENOMEM;
	if (!value)
		value = "none";
	const struct sshd_setting *setting = NULL;
	for (size_t i = 0; i < scan->count && !setting; i++) {
		if (strcmp(scan->settings[i].keyword, "authorizedkeysfile") == 0 &&
			is_joined(&scan->settings[i], value))
			setting = &scan->settings[i];
	}
	for (unsigned i = 0; r == 0 && setting && i < setting->count; i++)
		r = add(&patterns, &count, setting->arguments[i], strlen(setting->arguments[i]));
	for (const char *at = value; r == 0 && !setting && *at;) {
		at += strspn(at, " ");
		size_t size = strcspn(at, " ");
		if (size > 0)
			r = add(&patterns, &count, at, size);
		at += size;
	}
	if (r < 0)
		return r;
	*ret_patterns = steal_pointer(&patterns);
	*ret_count = count;
	return 0;
}

int sshd_keys_files(const struct sshd *sshd, const struct sshd_effective *effective, const struct account *account,
	char ***ret_paths, size_t *ret_count)
{
	cleanup_names char **names = NULL;
	size_t count;

	int r = sshd_keys_patterns(sshd, effective, &names, &count);
	for (size_t i = 0; r == 0 && i < count; i++) {
		char *path;
		r = sshd_expand(names[i], account, &path);
		if (r < 0)
			break;
		free(names[i]);
		names[i] = path;
	}
	if (r < 0)
		return r;
	*ret_paths = steal_pointer(&names);
	*ret_count = count;
	return 0;
}
