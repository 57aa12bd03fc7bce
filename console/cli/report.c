/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/report.h"

#include <string.h>

#include "lib/field.h"
#include "lib/sshsig.h"

#define TEXT_MAX 256u /* bytes of any text in it */

static const char *const names[REPORT_MARKS] = {"time", "seq", "generation", "trust", "floor"};

const char *report_mark_name(enum report_mark mark)
{
	return names[mark];
}

/* All texts below are for a terminal; depth is bounded by lib/json. */
static bool is_printable(const cJSON *node)
{
	const cJSON *child;

	if (cJSON_IsString(node) && !field_is_text(node->valuestring, TEXT_MAX))
		return false;
	if (node->string && !field_is_text(node->string, TEXT_MAX))
		return false;
	cJSON_ArrayForEach(child, node)
	{
		if (!is_printable(child))
			return false;
	}
	return true;
}

static bool has_texts(const cJSON *list, const char *const *members)
{
	const cJSON *item;
	const char *text;

	cJSON_ArrayForEach(item, list)
	{
		for (unsigned i = 0; members[i]; i++) {
			if (json_get_string(item, members[i], &text) < 0)
				return false;
		}
	}
	return true;
}

static bool has_switches(const cJSON *list, const char *const *members)
{
	const cJSON *item;
	bool value;

	cJSON_ArrayForEach(item, list)
	{
		for (unsigned i = 0; members[i]; i++) {
			if (json_get_bool(item, members[i], &value) < 0)
				return false;
		}
	}
	return true;
}

/* A later agent may say more, and sshd is left out where the instance could not look. */
static bool is_whole(const cJSON *payload, const char *instance, struct report_marks *ret_marks)
{
	static const char *const texts[] = {"agent", "mode", "policy"}, *const counts[] = {"user_count", "key_count"},
				 *const drifts[] = {"missing", "foreign", "inherited"},
				 *const of_user[] = {"user", NULL}, *const ways[] = {"key", "password", NULL},
				 *const of_key[] = {"user", "keypair", "fingerprint", "state", NULL},
				 *const of_sshd[] = {"state", "version"};
	const cJSON *users, *keys, *problems, *drift, *sshd = NULL, *settings, *node;
	int64_t number;
	const char *text;

	if (json_get_integer(payload, "v", &number) < 0 || number != 1 ||
		json_get_string(payload, "instance", &text) < 0 || strcmp(text, instance) != 0 ||
		!is_printable(payload) || json_get_array(payload, "users", &users) < 0 ||
		json_get_array(payload, "keys", &keys) < 0 || json_get_array(payload, "problems", &problems) < 0 ||
		json_get_object(payload, "drift", &drift) < 0)
		return false;
	for (unsigned i = 0; i < ELEMENTS(texts); i++) {
		if (json_get_string(payload, texts[i], &text) < 0)
			return false;
	}
	for (unsigned i = 0; i < ELEMENTS(counts); i++) {
		if (json_get_integer(payload, counts[i], &number) < 0)
			return false;
	}
	for (unsigned i = 0; i < ELEMENTS(drifts); i++) {
		if (json_get_integer(drift, drifts[i], &number) < 0)
			return false;
	}
	for (unsigned i = 0; i < REPORT_MARKS; i++) {
		if (json_get_integer(payload, names[i], &ret_marks->values[i]) < 0)
			return false;
	}
	cJSON_ArrayForEach(node, problems)
	{
		if (!cJSON_IsString(node))
			return false;
	}
	if (json_member(payload, "sshd")) {
		if (json_get_object(payload, "sshd", &sshd) < 0 || json_get_object(sshd, "settings", &settings) < 0)
			return false;
		for (unsigned i = 0; i < ELEMENTS(of_sshd); i++) {
			if (json_get_string(sshd, of_sshd[i], &text) < 0)
				return false;
		}
		cJSON_ArrayForEach(node, settings)
		{
			if (!cJSON_IsString(node))
				return false;
		}
	}
	return has_texts(users, of_user) && has_switches(users, ways) && has_texts(keys, of_key);
}

enum code report_read(
	const char *text, const char *instance, const unsigned char *key, size_t key_size, struct report *ret_report)
{
	cleanup_json cJSON *payload = NULL;
	struct report_marks marks;
	struct signed_text parts;

	enum code code = sshsig_verify_text(text, strlen(text), SSHSIG_REPORT, key, key_size, &parts);
	if (code != CODE_OK)
		return code;
	if (json_parse_object(parts.payload.text, parts.payload.size, &payload) < 0 ||
		!is_whole(payload, instance, &marks))
		return CODE_MALFORMED;
	*ret_report = (struct report){.payload = steal_pointer(&payload), .marks = marks};
	return CODE_OK;
}

void report_free(struct report *report)
{
	cJSON_Delete(report->payload);
	*report = (struct report){0};
}

void report_marks_raise(struct report_marks *marks, const struct report_marks *by)
{
	for (unsigned i = 0; i < REPORT_MARKS; i++) {
		if (by->values[i] > marks->values[i])
			marks->values[i] = by->values[i];
	}
}

unsigned report_marks_lower(const struct report_marks *before, const struct report_marks *now)
{
	unsigned lower = 0;

	for (unsigned i = 0; i < REPORT_MARKS; i++) {
		if (now->values[i] < before->values[i])
			lower |= 1u << i;
	}
	return lower;
}
