/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/login/account.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/sshd_open.h"

#define DAY 86400
#define NUMBERS_FROM 4u /* groups; for fewer the files are searched in less time */

static int add_group_name(struct person *person, size_t *count, const char *name)
{
	char **more = reallocarray(person->group_names, *count + 2, sizeof(*more));

	if (!more)
		return -ENOMEM;
	person->group_names = more;
	more[*count + 1] = NULL;
	more[*count] = strdup(name);
	return more[(*count)++] ? 0 : -ENOMEM;
}

static int list_groups(const struct world *world, struct person *person)
{
	struct account_alike primary = {
		.table = &world->group, .numbers = &world->gids, .field = 2, .number = person->account.gid};
	struct account_line line;
	size_t offset = 0, count = 0;
	int r = 0;

	person->group_names = calloc(1, sizeof(*person->group_names));
	if (!person->group_names)
		return -ENOMEM;
	while (r == 0 && account_next_alike(&primary, &line)) {
		cleanup_group struct group_entry group = {0};
		if (group_parse(&line, &group) == 0)
			r = add_group_name(person, &count, group.name);
	}
	while (r == 0 && account_next_line(&world->members, &offset, &line)) {
		cleanup_group struct group_entry group = {0};
		r = group_parse(&line, &group);
		if (r == 0 && group.gid != person->account.gid && group_has_member(&group, person->account.name))
			r = add_group_name(person, &count, group.name);
		r = r == -EBADMSG ? 0 : r;
	}
	if (r < 0)
		return r;
	return account_groups(
		&world->members, person->account.name, person->account.gid, &person->groups, &person->group_count);
}

int person_find(const struct world *world, const char *user, struct person *ret_person)
{
	cleanup_person struct person person = {.shadow = {NULL, NULL, NULL, -1, -1, -1, -1, -1, -1}};

	int r = account_find(&world->passwd, user, &person.account);
	if (r < 0)
		return r;
	r = world->has_shadow ? shadow_find(&world->shadow, user, &person.shadow) : -ENOENT;
	if (r < 0 && r != -ENOENT && r != -EBADMSG)
		return r;
	bool promised = strcmp(person.account.password, "x") == 0 || strncmp(person.account.password, "##", 2) == 0;
	person.shadow_missing = promised && r < 0;
	person.hash = r == 0 ? person.shadow.hash : promised ? "*" : person.account.password;
	person.pam_hash = promised ? person.hash : person.account.password;
	r = list_groups(world, &person);
	if (r < 0)
		return r;
	*ret_person = person;
	person = (struct person){0};
	return 0;
}

static int exchange(const char **text, char **owned, const cJSON *account, const char *name)
{
	const char *value;

	if (json_get_string(account, name, &value) < 0)
		return 0;
	char *copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(*owned);
	*text = *owned = copy;
	return 0;
}

/* He keeps the gid for his files: what a group lets him read is not what it lets him in for. */
static void leave_group(struct person *person, const char *group)
{
	size_t kept = 0;

	for (size_t i = 0; person->group_names[i]; i++) {
		if (strcmp(person->group_names[i], group) == 0)
			free(person->group_names[i]);
		else
			person->group_names[kept++] = person->group_names[i];
	}
	person->group_names[kept] = NULL;
}

int person_change(struct person *person, const cJSON *account)
{
	const cJSON *left, *group;
	const char *expire;

	int r = exchange(&person->account.shell, &person->shell, account, "shell");
	if (r == 0)
		r = exchange(&person->account.home, &person->home, account, "home");
	if (r < 0)
		return r;
	if (json_get_string(account, "expire", &expire) == 0)
		person->shadow.expire = *expire ? 0 : -1; /* a date that is set is one that comes */
	if (json_get_array(account, "left", &left) < 0)
		return 0;
	cJSON_ArrayForEach(group, left)
	{
		if (cJSON_IsString(group))
			leave_group(person, group->valuestring);
	}
	return 0;
}

void person_free(struct person *person)
{
	account_free(&person->account);
	shadow_free(&person->shadow);
	free(person->groups);
	file_names_free(&person->group_names);
	free(person->shell);
	free(person->home);
	*person = (struct person){0};
}

static bool is_private(const struct person *person, const struct world *world, gid_t gid)
{
	struct account_alike primary = {.table = &world->passwd, .numbers = &world->primary, .field = 3, .number = gid};
	struct account_alike named = {.table = &world->group, .numbers = &world->gids, .field = 2, .number = gid};
	struct account_line line;

	while (account_next_alike(&primary, &line)) {
		cleanup_account struct account other = {0};
		if (account_parse(&line, &other) == 0 && other.uid != person->account.uid)
			return false;
	}
	while (account_next_alike(&named, &line)) {
		cleanup_group struct group_entry group = {0};
		if (group_parse(&line, &group) == 0 && *group.members &&
			strcmp(group.members, person->account.name) != 0)
			return false;
	}
	return true;
}

bool person_is_in_group(const struct person *person, const char *group, size_t size)
{
	for (char *const *name = person->group_names; name && *name; name++) {
		if (strlen(*name) == size && memcmp(*name, group, size) == 0)
			return true;
	}
	return false;
}

int person_private_groups(const struct person *person, struct world *world, gid_t **ret_groups, size_t *ret_count)
{
	int r = person->group_count >= NUMBERS_FROM ? world_read_numbers(world) : 0;
	if (r < 0)
		return r;
	gid_t *groups = calloc(person->group_count + 1, sizeof(*groups));
	size_t count = 0;

	if (!groups)
		return -ENOMEM;
	for (size_t i = 0; i < person->group_count; i++) {
		if (is_private(person, world, person->groups[i]))
			groups[count++] = person->groups[i];
	}
	*ret_groups = groups;
	*ret_count = count;
	return 0;
}

/* PAM ends an account on its day, sshd alone the day after; PAM also ends one whose password has been stale too long.
 */
static bool is_expired(const struct shadow_entry *shadow, int64_t today, bool use_pam)
{
	if (shadow->expire >= 0 && (use_pam ? today >= shadow->expire : today > shadow->expire))
		return true;
	return use_pam && shadow->last_change > 0 && shadow->maximum_age >= 0 && shadow->inactive >= 0 &&
	       today - shadow->last_change > shadow->maximum_age + shadow->inactive;
}

static bool is_nologin(const char *shell)
{
	const char *name = strrchr(shell, '/');
	return account_shell_is_nologin(shell) || strcmp(name ? name + 1 : shell, "git-shell") == 0;
}

static blocker_set shell_blockers(const char *shell, const struct world *world)
{
	cleanup_close int descriptor = -1;
	struct stat status;

	if (is_nologin(shell))
		return BLOCKER_BIT(BLOCKER_SHELL_NOLOGIN);
	if (*shell != '/' || sshd_open_below(world->root, shell, O_PATH, &descriptor) < 0 ||
		fstat(descriptor, &status) < 0 || !S_ISREG(status.st_mode) || (status.st_mode & 0111) == 0)
		return BLOCKER_BIT(BLOCKER_SHELL_MISSING);
	return 0;
}

void person_blockers(const struct person *person, const struct world *world, bool use_pam, bool for_good,
	blocker_set *key, blocker_set *password)
{
	const char *shell = *person->account.shell ? person->account.shell : "/bin/sh";
	blocker_set set = shell_blockers(shell, world);

	if (use_pam && !(set & BLOCKER_BIT(BLOCKER_SHELL_NOLOGIN)) && !world_lists_shell(world, shell))
		pam_refuses(&world->pam[PAM_SHELLS], BLOCKER_SHELL_UNLISTED, key, password);
	/* For good nobody counts whose account will end, as no key does that expires. */
	if (is_expired(&person->shadow, world->now / DAY, use_pam) || (for_good && person->shadow.expire >= 0))
		set |= BLOCKER_BIT(BLOCKER_EXPIRED);
	if (use_pam && person->shadow_missing)
		set |= BLOCKER_BIT(BLOCKER_SHADOW_MISSING);
	/* Without PAM sshd itself takes ! for a locked account, and refuses keys too. */
	if (!use_pam && *person->hash == '!')
		set |= BLOCKER_BIT(BLOCKER_LOCKED_HASH);
	if (person->account.uid != 0 && world->etc_nologin)
		set |= BLOCKER_BIT(BLOCKER_NOLOGIN_FILE);
	if (person->account.uid != 0 && world->run_nologin && use_pam && !for_good)
		pam_refuses(&world->pam[PAM_NOLOGIN], BLOCKER_NOLOGIN_FILE, key, password);
	*key |= set;
	*password |= set;
}

/* crypt(5): $ID$…, _ of BSDi, or the 13 characters of DES. Anything else matches no password. */
static bool is_hash(const char *hash)
{
	static const char alphabet[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	static const char *const methods[] = {
		"1", "2a", "2b", "2x", "2y", "3", "5", "6", "7", "gy", "md5", "sha1", "sm3", "sm3y", "y"};
	size_t size = strlen(hash);

	if (*hash == '_')
		return size == 20 && strspn(hash + 1, alphabet) == 19;
	if (*hash != '$')
		return size == 13 && strspn(hash, alphabet) == 13;
	size_t length = strcspn(hash + 1, "$,");
	for (unsigned i = 0; i < ELEMENTS(methods); i++) {
		/* After the method come a salt and at least 22 characters of digest. */
		if (strlen(methods[i]) == length && strncmp(methods[i], hash + 1, length) == 0)
			return size > length + 24;
	}
	return false;
}

blocker_set person_password_blockers(const struct person *person, bool use_pam, bool empty_allowed)
{
	const char *hash = use_pam ? person->pam_hash : person->hash;

	if (use_pam && person->shadow_missing)
		return 0; /* that is said, and what helps sets one */
	if (*hash == '\0')
		return empty_allowed ? 0 : BLOCKER_BIT(BLOCKER_NO_PASSWORD);
	if (*hash == '!' && is_hash(hash + strspn(hash, "!")))
		return BLOCKER_BIT(BLOCKER_LOCKED_HASH);
	return is_hash(hash) ? 0 : BLOCKER_BIT(BLOCKER_NO_PASSWORD);
}

blocker_set person_change_blockers(const struct person *person, const struct world *world, bool use_pam)
{
	const struct shadow_entry *shadow = &person->shadow;
	bool due = shadow->last_change == 0 || (shadow->last_change > 0 && shadow->maximum_age >= 0 &&
						       world->now / DAY - shadow->last_change > shadow->maximum_age);

	return due && !is_hash(use_pam ? person->pam_hash : person->hash) ? BLOCKER_BIT(BLOCKER_MUST_CHANGE) : 0;
}
