/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/elsewhere.h"

#include <errno.h>
#include <string.h>

#include "lib/log.h"
#include "lib/name_service.h"

#define NUMBERS_SPARE 8u /* asked about beyond what the batch needs, for those that are taken */

void elsewhere_free(struct elsewhere *elsewhere)
{
	for (unsigned i = 0; i < elsewhere->group_count; i++)
		free(elsewhere->groups[i]);
	free(elsewhere->groups);
	free(elsewhere->group_known);
	free(elsewhere->users);
	free(elsewhere->uids.known);
	free(elsewhere->gids.known);
	*elsewhere = (struct elsewhere){0};
}

static bool stands_in(const struct account_table *table, const char *name)
{
	struct account_line line;
	return account_find_line(table, name, &line) != -ENOENT;
}

static int find_group(const struct elsewhere *elsewhere, const char *group)
{
	for (unsigned i = 0; i < elsewhere->group_count; i++) {
		if (strcmp(elsewhere->groups[i], group) == 0)
			return (int)i;
	}
	return -ENOENT;
}

static int add_group(struct elsewhere *elsewhere, const struct database *database, const char *group)
{
	if (stands_in(&database->files[DATABASE_GROUP].table, group) || find_group(elsewhere, group) >= 0)
		return 0;
	char **more = reallocarray(elsewhere->groups, elsewhere->group_count + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	elsewhere->groups = more;
	more[elsewhere->group_count] = strdup(group);
	if (!more[elsewhere->group_count])
		return -ENOMEM;
	elsewhere->group_count++;
	return 0;
}

/* The groups that the command may join or, for a new user, make. */
static int add_groups(
	struct elsewhere *elsewhere, const struct database *database, const struct plugin_command *command)
{
	const char *user = plugin_text(command, "user");
	const cJSON *groups, *group;

	if (strcmp(command->do_name, "user.ensure") != 0)
		return 0;
	int r = stands_in(&database->files[DATABASE_PASSWD].table, user) ? 0 : add_group(elsewhere, database, user);
	if (r < 0 || json_get_array(command->fields, "groups", &groups) < 0)
		return r;
	cJSON_ArrayForEach(group, groups)
	{
		if (r == 0 && cJSON_IsString(group))
			r = add_group(elsewhere, database, group->valuestring);
	}
	return r;
}

/* Nothing is known then; who needs to know says so. */
static int note_error(struct elsewhere *elsewhere, int error)
{
	if (error == -ENOMEM)
		return error;
	log_warning("name services: %s", strerror(-error));
	elsewhere->error = error;
	return 0;
}

int elsewhere_ask(
	const struct plugin_request *request, const struct database *database, struct elsewhere *ret_elsewhere)
{
	const struct account_table *passwd = &database->files[DATABASE_PASSWD].table;
	cleanup_elsewhere struct elsewhere elsewhere = {.users = calloc((size_t)request->count + 1, sizeof(bool))};
	cleanup_free const char **names = calloc((size_t)request->count + 1, sizeof(*names));
	cleanup_free unsigned *indices = calloc((size_t)request->count + 1, sizeof(*indices));
	unsigned count = 0;
	int r = 0;

	if (!elsewhere.users || !names || !indices)
		return -ENOMEM;
	/* The plan has asked a moment ago, which costs more than writing the account; after a crash that may be long
	 * ago. */
	bool ask = request->is_host && !(request->apply && !request->redo);
	for (unsigned i = 0; ask && r == 0 && i < request->count; i++) {
		const struct plugin_command *command = &request->commands[i];
		const char *user = plugin_text(command, "user");
		if (!user)
			continue;
		if (!stands_in(passwd, user)) {
			indices[count] = i;
			names[count++] = user;
		}
		r = add_groups(&elsewhere, database, command);
	}
	if (r < 0)
		return r;
	if (count > 0 || elsewhere.group_count > 0) {
		const struct name_service_question question = {.users = names,
			.user_count = count,
			.groups = (const char *const *)elsewhere.groups,
			.group_count = elsewhere.group_count};
		cleanup_free bool *known = calloc((size_t)count + elsewhere.group_count, sizeof(*known));
		elsewhere.group_known = calloc((size_t)elsewhere.group_count + 1, sizeof(bool));
		if (!known || !elsewhere.group_known)
			return -ENOMEM;
		r = name_service_ask(passwd, &question, known);
		r = r < 0 ? note_error(&elsewhere, r) : r;
		if (r < 0)
			return r;
		for (unsigned i = 0; i < count; i++)
			elsewhere.users[indices[i]] = known[i];
		for (unsigned i = 0; i < elsewhere.group_count; i++)
			elsewhere.group_known[i] = known[count + i];
	}
	*ret_elsewhere = elsewhere;
	elsewhere = (struct elsewhere){0};
	return 0;
}

int elsewhere_group(const struct elsewhere *elsewhere, const char *group, bool *ret_known)
{
	int index = find_group(elsewhere, group);

	*ret_known = index >= 0 && elsewhere->group_known[index];
	return index >= 0 ? elsewhere->error : 0;
}

static bool covers(const struct elsewhere_numbers *numbers, uint32_t number)
{
	return number >= numbers->from && number - numbers->from < numbers->count;
}

static void take(struct elsewhere_numbers *numbers, uint32_t from, unsigned count, bool *known)
{
	free(numbers->known);
	*numbers = (struct elsewhere_numbers){from, count, known};
}

/* Asks about the next so many uids and gids from there: a new account's two are mostly alike. */
static int ask_numbers(struct elsewhere *elsewhere, const struct plugin_request *request,
	const struct database *database, uint32_t from, bool users)
{
	unsigned count = request->count + NUMBERS_SPARE;
	cleanup_free uint32_t *numbers = calloc(count, sizeof(*numbers));
	cleanup_free bool *known = calloc((size_t)count * 2, sizeof(*known));
	bool *uids = calloc(count, sizeof(bool)), *gids = calloc(count, sizeof(bool));
	const struct name_service_question question = {
		.uids = numbers, .uid_count = users ? count : 0, .gids = numbers, .gid_count = count};

	int r = !numbers || !known || !uids || !gids ? -ENOMEM : 0;
	for (unsigned i = 0; r == 0 && i < count; i++)
		numbers[i] = from + i;
	if (r == 0)
		r = name_service_ask(&database->files[DATABASE_PASSWD].table, &question, known);
	if (r < 0) {
		free(uids);
		free(gids);
		if (r != -ENOMEM)
			elsewhere->error = r;
		return r;
	}
	if (users) {
		memcpy(uids, known, count * sizeof(bool));
		take(&elsewhere->uids, from, count, uids);
	} else {
		free(uids);
	}
	memcpy(gids, known + question.uid_count, count * sizeof(bool));
	take(&elsewhere->gids, from, count, gids);
	return 0;
}

static int is_known(struct elsewhere *elsewhere, const struct plugin_request *request, const struct database *database,
	bool users, uint32_t number, bool *ret_known)
{
	const struct elsewhere_numbers *numbers = users ? &elsewhere->uids : &elsewhere->gids;

	*ret_known = false;
	if (!request->is_host)
		return 0;
	if (elsewhere->error < 0)
		return elsewhere->error;
	int r = covers(numbers, number) ? 0 : ask_numbers(elsewhere, request, database, number, users);
	if (r == 0)
		*ret_known = numbers->known[number - numbers->from];
	return r;
}

int elsewhere_uid(struct elsewhere *elsewhere, const struct plugin_request *request, const struct database *database,
	uid_t uid, bool *ret_known)
{
	return is_known(elsewhere, request, database, true, uid, ret_known);
}

int elsewhere_gid(struct elsewhere *elsewhere, const struct plugin_request *request, const struct database *database,
	gid_t gid, bool *ret_known)
{
	return is_known(elsewhere, request, database, false, gid, ret_known);
}
