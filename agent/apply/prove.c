/* SPDX-License-Identifier: Apache-2.0 */
/* Fourth step: the login plugin looks as a stranger would, so that every result says who can now log in. */
#include "agent/apply/apply.h"
#include "agent/apply/login_check.h"
#include "lib/log.h"
#include "lib/name_map.h"

#define PROVED_USERS_MAX 4096u /* what login.check takes */

/* The users touched by this document's commands, each once. */
static size_t list_users(const struct document *document, const char **users)
{
	cleanup_name_map struct name_map listed = {0};
	size_t count = 0;

	for (size_t i = 0; i < document->count; i++) {
		const struct outcome *outcome = &document->commands[i].outcome;
		for (unsigned j = 0; j < outcome->user_count && !outcome->from_history; j++) {
			const char *user = outcome->users[j];
			if (count == PROVED_USERS_MAX || name_map_get(&listed, user) != NAME_MAP_NONE ||
				name_map_put(&listed, user, count) < 0)
				continue;
			users[count++] = user;
		}
	}
	return count;
}

static void put_login(const struct name_map *logins, struct outcome *outcome)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};
	unsigned count = 0;

	json_begin_object(&writer, NULL);
	for (unsigned i = 0; i < outcome->user_count; i++) {
		size_t login = name_map_get(logins, outcome->users[i]);
		if (login == NAME_MAP_NONE)
			continue;
		json_put_value(&writer, outcome->users[i], (const cJSON *)login);
		count++;
	}
	json_end_object(&writer);
	if (count > 0)
		outcome->login = buffer_steal(&text);
}

void prove_document(struct apply *apply, struct document *document)
{
	cleanup_free const char **users = calloc(PROVED_USERS_MAX, sizeof(*users));
	cleanup_name_map struct name_map logins = {0}; /* the members of apply->logins, as their addresses */
	const cJSON *login;

	if (!users)
		return;
	size_t count = list_users(document, users);
	if (count == 0)
		return;
	enum code code = login_of_users(apply, users, count, &apply->logins);
	if (code != CODE_OK) {
		log_warning("who can log in now could not be found out: %s", code_name(code));
		return;
	}
	cJSON_ArrayForEach(login, apply->logins)
	{
		if (name_map_put(&logins, login->string, (size_t)login) < 0)
			return;
	}
	for (size_t i = 0; i < document->count; i++) {
		if (!document->commands[i].outcome.from_history)
			put_login(&logins, &document->commands[i].outcome);
	}
}
