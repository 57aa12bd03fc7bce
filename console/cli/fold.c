/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/fold.h"

#include <errno.h>
#include <string.h>

enum fact { FACT_NONE, FACT_ACCOUNT, FACT_PASSWORD, FACT_LOCK, FACT_KEY, FACT_SSHD, FACT_ACCESS, FACT_LOOK };

static enum fact fact_of(const char *name)
{
	static const struct {
		const char *name;
		enum fact fact;
	} facts[] = {
		{"user.ensure", FACT_ACCOUNT},
		{"user.remove", FACT_ACCOUNT},
		{"password.set", FACT_PASSWORD},
		{"password.generate", FACT_PASSWORD},
		{"password.remove", FACT_PASSWORD},
		{"user.lock", FACT_LOCK},
		{"user.unlock", FACT_LOCK},
		{"keys.bind", FACT_KEY},
		{"keys.replace", FACT_KEY},
		{"keys.unbind", FACT_KEY},
		{"sshd.set", FACT_SSHD},
		{"access.restore", FACT_ACCESS},
		{"diagnose", FACT_LOOK},
	};
	for (size_t i = 0; i < ELEMENTS(facts); i++) {
		if (strcmp(facts[i].name, name) == 0)
			return facts[i].fact;
	}
	return FACT_NONE;
}

static const char *text_of(const cJSON *command, const char *name)
{
	const char *text = "";
	(void)!json_get_string(command, name, &text);
	return text;
}

bool fold_same_fact(const cJSON *one, const cJSON *other)
{
	static const char *const settings[] = {"pubkey_auth", "password_auth", "permit_root_login"};
	enum fact fact = fact_of(text_of(one, "do"));

	if (fact == FACT_NONE || fact != fact_of(text_of(other, "do")))
		return false;
	if (fact == FACT_SSHD) {
		for (size_t i = 0; i < ELEMENTS(settings); i++) {
			if (json_member(one, settings[i]) && json_member(other, settings[i]))
				return true;
		}
		return false;
	}
	if (strcmp(text_of(one, "user"), text_of(other, "user")) != 0)
		return false;
	return fact != FACT_KEY || strcmp(text_of(one, "keypair"), text_of(other, "keypair")) == 0;
}

static int keep(const cJSON *command, int64_t until, const char *actor, cJSON *commands)
{
	cleanup_json cJSON *copy = cJSON_Duplicate(command, true);

	if (!copy)
		return -ENOMEM;
	if (!json_member(copy, "until") && !cJSON_AddNumberToObject(copy, "until", (double)until))
		return -ENOMEM;
	if (!json_member(copy, "actor") && *actor && !cJSON_AddStringToObject(copy, "actor", actor))
		return -ENOMEM;
	if (!cJSON_AddItemToArray(commands, copy))
		return -ENOMEM;
	copy = NULL;
	return 0;
}

/* False for a command that a dry run only asked about. */
static bool is_real(const cJSON *payload, const char *id)
{
	const cJSON *carried, *other;
	bool dry = false;

	if (json_get_bool(payload, "dry_run", &dry) < 0 || !dry)
		return true;
	if (json_get_array(payload, FOLD_CARRIED, &carried) < 0)
		return false;
	cJSON_ArrayForEach(other, carried)
	{
		if (cJSON_IsString(other) && strcmp(other->valuestring, id) == 0)
			return true;
	}
	return false;
}

int fold_pending(const cJSON *payload, int64_t now, const cJSON *closed, const cJSON *added, cJSON *commands,
	fold_visitor visitor, void *context, int64_t *ret_latest)
{
	const char *actor = text_of(payload, "actor");
	const cJSON *pending, *command;
	int64_t expires, latest = 0;

	int r = json_get_array(payload, "commands", &pending);
	if (r == 0)
		r = json_get_integer(payload, "expires", &expires);
	if (r < 0)
		return -EBADMSG;
	cJSON_ArrayForEach(command, pending)
	{
		enum fold_verdict verdict = FOLD_KEPT;
		int64_t until = expires;
		const char *id;
		if (json_get_string(command, "id", &id) < 0)
			return -EBADMSG;
		r = json_get_integer(command, "until", &until);
		if (r < 0 && r != -ENOENT)
			return r;
		if (until > expires)
			until = expires;
		if (!is_real(payload, id))
			verdict = FOLD_DRY;
		else if (json_member(closed, id))
			verdict = FOLD_CLOSED;
		else if (until <= now)
			verdict = FOLD_EXPIRED;
		else if (added && (strcmp(id, text_of(added, "id")) == 0 || fold_same_fact(command, added)))
			verdict = FOLD_SUPERSEDED;
		visitor(context, command, verdict);
		if (verdict != FOLD_KEPT)
			continue;
		r = keep(command, until, actor, commands);
		if (r < 0)
			return r;
		if (until > latest)
			latest = until;
	}
	*ret_latest = latest;
	return 0;
}
