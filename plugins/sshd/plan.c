/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/file.h"
#include "lib/krl.h"
#include "lib/sshd_ask.h"
#include "lib/sshd_open.h"
#include "plugins/sshd/check.h"
#include "plugins/sshd/commands.h"

#define SYSTEM_KEYS "/etc/ssh/latchkey_keys/%u"
#define RUNTIME_KEYS "/run/latchkey/authorized_keys/%u"
#define DEFAULT_KEYS_FILES ".ssh/authorized_keys", ".ssh/authorized_keys2" /* sshd's own, since 5.9 */

/* Another server has other settings, which are not ours to write. */
static void look_for_sshd(const struct plugin_request *request, struct outlook *outlook)
{
	static const char *const others[] = {"/usr/sbin/dropbear", "/usr/bin/dropbear"};
	const char *other = NULL;

	if (!request->is_host || sshd_ask_program())
		return;
	for (unsigned i = 0; i < ELEMENTS(others) && !other; i++) {
		cleanup_close int descriptor = -1;
		if (sshd_open_below(request->root, others[i], O_PATH, &descriptor) == 0)
			other = others[i];
	}
	outlook->code = CODE_UNSUPPORTED;
	(void)snprintf(outlook->detail, sizeof(outlook->detail), "no OpenSSH server is installed%s%s",
		other ? ", only " : "", other ? other : "");
}

int outlook_open(const struct plugin_request *request, struct outlook *ret_outlook)
{
	cleanup_outlook struct outlook outlook = {.code = CODE_OK};

	outlook.unfinished = request->is_host && place_is_unfinished(request->state);
	int r = place_read(request->root, &outlook.place);
	if (r == 0)
		r = settings_copy(&outlook.place.settings, &outlook.settings);
	if (r == 0) {
		r = sshd_open(request->root, request->is_host, request->state, &outlook.sshd, outlook.detail);
		if (r == -EINVAL)
			outlook.code = CODE_SSHD_INVALID;
	}
	if (r == -ENOMEM)
		return r;
	if (r < 0 && outlook.code == CODE_OK) {
		outlook.code = r == -ENOENT ? CODE_UNSUPPORTED : r == -E2BIG ? CODE_TOO_LARGE : code_from_errno(-r);
		if (!*outlook.detail)
			(void)snprintf(outlook.detail, sizeof(outlook.detail), SSHD_DIRECTORY ": %s", strerror(-r));
	}
	look_for_sshd(request, &outlook);
	*ret_outlook = outlook;
	outlook = (struct outlook){0};
	return 0;
}

void outlook_close(struct outlook *outlook)
{
	sshd_close(outlook->sshd);
	place_free(&outlook->place);
	settings_free(&outlook->settings);
	*outlook = (struct outlook){0};
}

int change_plan(const struct settings_change *change, struct outlook *outlook, struct plugin_result *result)
{
	cleanup_settings struct settings next = {0};
	int r;

	if (settings_change_is_empty(change) && !outlook->unfinished &&
		place_wins(&outlook->place, sshd_get_scan(outlook->sshd), &outlook->settings)) {
		char detail[SSHD_DETAIL_MAX + 1] = "";
		enum code code = check_effective(outlook->sshd, &change->after, detail);
		if (code == CODE_CANNOT_VALIDATE) /* nothing is to be done, so nothing needs validating */
			code = CODE_OK;
		return plugin_set(result, code, "%s", detail);
	}
	r = settings_apply(change, &outlook->settings, &next);
	if (r == 0)
		r = settings_change_write(change, &result->plan);
	if (r < 0)
		return r;
	settings_free(&outlook->settings);
	outlook->settings = next;
	next = (struct settings){0};
	result->changes = true;
	return plugin_set(result, CODE_OK, "%s", "");
}

/* sshd before 8.7 has a second switch for keyboard-interactive; where its age cannot be told both names are right. */
static bool needs_old_name(const struct plugin_request *request, struct sshd *sshd)
{
	unsigned major, minor;

	if (!request->is_host)
		return true;
	return sshd_get_version(sshd, &major, &minor) == 0 && (major < 8 || (major == 8 && minor < 7));
}

static int touch_password(
	const struct plugin_request *request, bool value, struct outlook *outlook, struct settings_change *change)
{
	const struct settings *now = &outlook->settings;
	const char *old = !value && needs_old_name(request, outlook->sshd) ? "no" : NULL;

	int r = settings_touch(change, now, SETTING_PASSWORD, value ? "yes" : "no");
	/* Password authentication off leaves the same password through PAM; on, the first door is enough. */
	if (r == 0)
		r = settings_touch(change, now, SETTING_KEYBOARD, value ? NULL : "no");
	if (r == 0)
		r = settings_touch(change, now, SETTING_CHALLENGE, old);
	return r;
}

int set_plan(const struct plugin_request *request, const struct plugin_command *command, struct outlook *outlook,
	struct plugin_result *result)
{
	cleanup_settings_change struct settings_change change = {0};
	const char *root_login = plugin_text(command, "permit_root_login");
	int r = 0;

	if (outlook->code != CODE_OK)
		return plugin_set(result, outlook->code, "%s", outlook->detail);
	if (json_member(command->fields, "password_auth"))
		r = touch_password(request, plugin_flag(command, "password_auth", true), outlook, &change);
	if (r == 0 && json_member(command->fields, "pubkey_auth"))
		r = settings_touch(&change, &outlook->settings, SETTING_PUBKEY,
			plugin_flag(command, "pubkey_auth", true) ? "yes" : "no");
	if (r == 0 && root_login) /* the one spelling that every version takes */
		r = settings_touch(&change, &outlook->settings, SETTING_ROOT,
			strcmp(root_login, "prohibit-password") == 0 ? "without-password" : root_login);
	return r < 0 ? r : change_plan(&change, outlook, result);
}

/* The operator's own AuthorizedKeysFile: what would win if ours did not stand there. */
static const struct sshd_setting *find_operators(const struct outlook *outlook)
{
	const struct sshd_scan *scan = sshd_get_scan(outlook->sshd);
	const struct place *place = &outlook->place;

	for (size_t i = 0; i < scan->count; i++) {
		const struct sshd_setting *setting = &scan->settings[i];
		const char *path = scan->files[setting->file].path;
		if (setting->match >= 0 || strcmp(setting->keyword, setting_lower(SETTING_KEYS_FILE)) != 0)
			continue;
		if (strcmp(path, SSHD_DROP_IN) == 0)
			continue;
		if (place->has_block && strcmp(path, SSHD_MAIN) == 0 && setting->line >= place->block_first &&
			setting->line <= place->block_last)
			continue;
		return setting;
	}
	return NULL;
}

static int join_keys_files(
	const struct plugin_request *request, const struct sshd_setting *operators, struct buffer *out)
{
	static const char *const defaults[] = {DEFAULT_KEYS_FILES};
	const char *const *own = operators ? operators->arguments : defaults;
	unsigned count = operators ? operators->count : ELEMENTS(defaults);
	cleanup_free const char **words = calloc(count + 2u, sizeof(*words));
	const cJSON *locations = json_member(request->settings, "locations"), *location;
	unsigned used = 0, ours = 0;

	if (!words)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		if (strcasecmp(own[i], "none") != 0)
			words[used++] = own[i];
	}
	cJSON_ArrayForEach(location, locations)
	{
		const char *name = cJSON_GetStringValue(location);
		const char *path = strcmp(name, "system") == 0    ? SYSTEM_KEYS
				   : strcmp(name, "runtime") == 0 ? RUNTIME_KEYS
								  : NULL;
		for (unsigned i = 0; path && i < used; i++) {
			if (strcmp(words[i], path) == 0) /* the operator has it already, or it was named twice */
				path = NULL;
		}
		if (path && ours < 2) {
			words[used++] = path;
			ours++;
		}
	}
	return ours ? settings_join(words, used, out) : 0;
}

/* A list that sshd cannot read closes every key login: only one that is there, root's and whole is ever named. */
static bool has_revoked_list(const struct plugin_request *request)
{
	cleanup_close int directory = -1, descriptor = -1;
	cleanup_free char *bytes = NULL;
	struct stat status;
	size_t size;

	return file_open_directory(request->root, &SSHD_DIRECTORY[1], &directory) == 0 &&
	       file_open(directory, SSHD_REVOKED_NAME, &descriptor, &status) == 0 && status.st_uid == 0 &&
	       (status.st_mode & 022) == 0 && file_read_descriptor(descriptor, KRL_SIZE_MAX, &bytes, &size) == 0 &&
	       krl_walk(bytes, size, NULL, NULL) == 0;
}

int paths_plan(const struct plugin_request *request, const struct plugin_command *command, struct outlook *outlook,
	struct plugin_result *result)
{
	cleanup_settings_change struct settings_change change = {0};
	cleanup_buffer struct buffer value = {0};

	(void)command;
	if (outlook->code != CODE_OK)
		return plugin_set(result, outlook->code, "%s", outlook->detail);
	int r = join_keys_files(request, find_operators(outlook), &value);
	if (r == -EINVAL)
		return plugin_set(result, CODE_UNSUPPORTED, "AuthorizedKeysFile has a quote or a backslash in a path");
	if (r == 0)
		r = settings_touch(&change, &outlook->settings, SETTING_KEYS_FILE, value.size ? value.bytes : NULL);
	if (r == 0)
		r = settings_touch(&change, &outlook->settings, SETTING_REVOKED_KEYS,
			has_revoked_list(request) ? SSHD_REVOKED : NULL);
	return r < 0 ? r : change_plan(&change, outlook, result);
}

int action_plan(const struct plugin_request *request, const struct outlook *outlook, struct plugin_result *result)
{
	if (outlook->code == CODE_UNSUPPORTED)
		return plugin_set(result, outlook->code, "%s", outlook->detail);
	if (!request->is_host)
		return plugin_set(result, CODE_UNSUPPORTED, "no service is touched below another root");
	result->changes = true;
	return plugin_set(result, CODE_OK, "%s", "");
}
