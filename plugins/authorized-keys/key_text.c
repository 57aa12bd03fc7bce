/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/key_text.h"

#include <errno.h>
#include <string.h>
#include <time.h>

void key_text_free(struct key_text *text)
{
	sshkey_free(&text->key);
	free(text->line);
	*text = (struct key_text){0};
}

/* Whether a setting's list has the word. */
static bool allows(const struct plugin_request *request, const char *setting, const char *word)
{
	const cJSON *list, *element;

	if (json_get_array(request->settings, setting, &list) < 0)
		return false;
	cJSON_ArrayForEach(element, list)
	{
		if (cJSON_IsString(element) && strcmp(element->valuestring, word) == 0)
			return true;
	}
	return false;
}

static int check_policy(const struct plugin_request *request, const struct plugin_command *command,
	const struct sshkey *key, struct plugin_result *result)
{
	const char *location = plugin_text(command, "location"), *family = sshkey_family_name(key->family);
	int64_t bits = plugin_setting_integer(request, "rsa_bits");

	if (!allows(request, "types", family))
		return plugin_set(result, CODE_KEY_TYPE, "%s keys are not in [keys] types", family);
	if (key->family == SSHKEY_RSA && key->bits < bits)
		return plugin_set(
			result, CODE_KEY_TYPE, "an RSA key of %u bits; [keys] rsa_bits = %d", key->bits, (int)bits);
	if (!allows(request, "locations", location ? location : "home"))
		return plugin_set(result, CODE_POLICY, "[keys] locations has no %s", location ? location : "home");
	if (json_member(command->fields, "expires") && !allows(request, "options", "expires"))
		return plugin_set(result, CODE_POLICY, "[keys] options has no expires");
	if (json_member(command->fields, "from") && !allows(request, "options", "from"))
		return plugin_set(result, CODE_POLICY, "[keys] options has no from");
	return 0;
}

/* sshd before 9.1 reads the time with mktime and tm_isdst 0: the fields that give this time back that way. */
static int standard_time(int64_t when, struct tm *ret_tm)
{
	int64_t guess = when;

	for (unsigned i = 0; i < 4; i++) {
		time_t seconds = (time_t)guess;
		struct tm tm, copy;

		if (!gmtime_r(&seconds, &tm))
			return -EINVAL;
		tm.tm_isdst = 0;
		copy = tm;
		int64_t back = (int64_t)mktime(&copy);
		if (back == when) {
			tm.tm_isdst = 0;
			*ret_tm = tm;
			return 0;
		}
		guess += when - back;
	}
	return -EINVAL;
}

static int put_expiry(const struct plugin_request *request, struct sshd *sshd, int64_t expires,
	struct plugin_result *result, struct buffer *options)
{
	bool by_agent = strcmp(plugin_setting_text(request, "expiry"), "agent") == 0;
	unsigned major = 0, minor = 0;
	struct tm tm;
	char text[32];

	int r = sshd ? sshd_get_version(sshd, &major, &minor) : -ENOENT;
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return plugin_set(result, request->is_host ? CODE_EXPIRY_UNSUPPORTED : CODE_CANNOT_VALIDATE,
			"which expiry-time the sshd here reads cannot be known");
	if (major < 7 || (major == 7 && minor < 7))
		return by_agent ? 0
				: plugin_set(result, CODE_EXPIRY_UNSUPPORTED, "OpenSSH %u.%u has no expiry-time", major,
					  minor);
	bool utc = major > 9 || (major == 9 && minor >= 1);
	time_t seconds = (time_t)expires;
	if (utc ? !gmtime_r(&seconds, &tm) : standard_time(expires, &tm) < 0)
		return plugin_set(result, CODE_FIELD_INVALID, "expires");
	if (tm.tm_year + 1900 > 9999 || strftime(text, sizeof(text), "%Y%m%d%H%M%S", &tm) == 0)
		return plugin_set(result, CODE_FIELD_INVALID, "expires");
	buffer_append_format(options, "expiry-time=\"%s%s\"", text, utc ? "Z" : "");
	return 0;
}

static void put_from(const struct plugin_command *command, struct buffer *options)
{
	const cJSON *list, *element;
	bool first = true;

	if (json_get_array(command->fields, "from", &list) < 0 || cJSON_GetArraySize(list) == 0)
		return;
	buffer_append_text(options, options->size > 0 ? ",from=\"" : "from=\"");
	cJSON_ArrayForEach(element, list)
	{
		buffer_append_text(options, first ? "" : ",");
		buffer_append_text(options, element->valuestring);
		first = false;
	}
	buffer_append_text(options, "\"");
}

int key_text_make(const struct plugin_request *request, const struct plugin_command *command, struct sshd *sshd,
	struct plugin_result *result, struct key_text *ret_text)
{
	const char *text = plugin_text(command, "key");
	cleanup_buffer struct buffer line = {0}, options = {0};
	cleanup_sshkey struct sshkey key = {0};
	char detail[DETAIL_MAX + 1] = "";
	int64_t expires = plugin_integer(command, "expires", -1);
	int r = 0;

	enum code code = sshkey_parse(text, strlen(text), &key, detail);
	if (code != CODE_OK)
		return plugin_set(result, code, "%s", detail);
	(void)check_policy(request, command, &key, result);
	if (result->code == CODE_OK && expires >= 0 && expires <= request->time)
		return plugin_set(result, CODE_EXPIRED, "expires is in the past");
	if (result->code == CODE_OK && expires >= 0)
		r = put_expiry(request, sshd, expires, result, &options);
	if (r < 0 || result->code != CODE_OK)
		return r;
	put_from(command, &options);
	if (options.size > 0) {
		buffer_append(&line, options.bytes, options.size);
		buffer_append(&line, " ", 1);
	}
	sshkey_append(&key, &line);
	if (*key.comment)
		buffer_append_format(&line, " %s", key.comment);
	buffer_append_format(&line, " " SSHKEY_MARK "%s", plugin_text(command, "keypair"));
	r = buffer_status(&line);
	if (r == 0)
		r = buffer_status(&options);
	if (r < 0)
		return r;
	struct key_text made = {.key = key, .line = buffer_steal(&line), .expires = expires};
	sshkey_fingerprint(key.blob, key.blob_size, made.fingerprint);
	key = (struct sshkey){0};
	*ret_text = made;
	return 0;
}
