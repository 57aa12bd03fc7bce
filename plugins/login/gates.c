/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/login/gates.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/file.h"
#include "lib/pattern.h"
#include "lib/sshd_open.h"
#include "plugins/login/pam_rule.h"

#define RULES_MAX 65536u
#define RULES_FILES_MAX 256u
#define BLANKS_AND_COMMAS " \t,"
#define TALLY_MAX 65536u
#define TALLY_VALID 1u
#define SSHD_SIZE_MAX (16u << 20)
#define LIBWRAP "libwrap.so"

/* Which addresses a list names: with a known address it is none or all. */
enum cover {
	COVERS_NONE,
	COVERS_SOME,
	COVERS_ALL,
};

static enum cover cover_of(const char *word, const char *address)
{
	size_t size = strlen(word);

	if (strcmp(word, "ALL") == 0)
		return COVERS_ALL;
	/* A terminal, a service, LOCAL: nobody who comes to sshd. A host's short name is not looked up, so it is none.
	 */
	if (!strpbrk(word, ".:@/*?") || (*word == ':' && word[1] != ':') || strncmp(word, "pts/", 4) == 0)
		return COVERS_NONE;
	if (!address)
		return COVERS_SOME;
	if (size > 0 && (word[size - 1] == '.' || word[size - 1] == ':'))
		return strncmp(address, word, size) == 0 ? COVERS_ALL : COVERS_NONE;
	return pattern_list_matches_address(word, address) ? COVERS_ALL : COVERS_NONE;
}

/* LIST [EXCEPT LIST]…, of words that the separators divide. Changes the text. */
static enum cover cover_of_list(char *list, const char *separators, const char *address)
{
	enum cover cover = COVERS_NONE;
	char *word;

	while ((word = strsep(&list, separators)) != NULL) {
		if (*word == '\0')
			continue;
		if (strcmp(word, "EXCEPT") == 0) {
			enum cover rest = list ? cover_of_list(list, separators, address) : COVERS_NONE;
			return rest == COVERS_ALL                           ? COVERS_NONE
			       : rest == COVERS_SOME && cover == COVERS_ALL ? COVERS_SOME
									    : cover;
		}
		enum cover one = cover_of(word, address);
		cover = one > cover ? one : cover;
	}
	return cover;
}

/* The rules of a folder, NAME.conf each, in the order of their names. None where there is no folder. */
static int rules_list(const struct world *world, const char *folder, char ***ret_paths, size_t *ret_count)
{
	cleanup_names char **names = NULL;
	size_t count = 0, kept = 0;

	int r = file_list(world->root, folder + 1, RULES_FILES_MAX, &names, &count);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	for (size_t i = 0; i < count; i++) {
		char *name = names[i];
		size_t size = strlen(name);
		names[i] = NULL;
		if (size > 5 && strcmp(name + size - 5, ".conf") == 0 &&
			asprintf(&names[kept++], "%s/%s", folder, name) < 0) {
			names[--kept] = NULL;
			r = -ENOMEM;
		}
		free(name);
	}
	if (r < 0)
		return r;
	*ret_paths = steal_pointer(&names);
	*ret_count = kept;
	return 0;
}

/* How pam_access(8) was told to read its rules. */
struct access {
	char path[256];          /* "" for access.conf and what stands in access.d */
	char fields[8], list[8]; /* what divides them */
	bool plain_groups;       /* a name may be a group's without parentheses */
};

/* A name, (group), a group's plain name, NAME@HOST, ALL; a netgroup is not looked up. */
static bool names_person(const struct access *access, char *list, const struct person *person)
{
	const char *name = person->account.name;
	bool named = false;
	char *word;

	while ((word = strsep(&list, access->list)) != NULL) {
		size_t size = strlen(word);
		if (strcmp(word, "EXCEPT") == 0)
			return named && !(list && names_person(access, list, person));
		if (size > 2 && word[0] == '(' && word[size - 1] == ')')
			named = named || person_is_in_group(person, word + 1, size - 2);
		else if (size > 0 && word[0] != '@')
			named = named || strcmp(word, "ALL") == 0 || strcmp(word, name) == 0 ||
				(access->plain_groups && person_is_in_group(person, word, size));
	}
	return named;
}

/* The first rule that names the person and where he comes from: 1 lets in, -1 keeps out; 0 when there is none. */
static int access_verdict(
	const struct access *access, const struct world *world, const struct person *person, char *text)
{
	for (char *line; (line = strsep(&text, "\n")) != NULL;) {
		char *permission, *users, *origins;
		line += strspn(line, " \t");
		if (*line == '#' || *line == '\0')
			continue;
		permission = strsep(&line, access->fields);
		users = strsep(&line, access->fields);
		origins = line;
		if (!users || !origins || !names_person(access, users, person))
			continue;
		enum cover cover = cover_of_list(origins, access->list, world->address);
		if (strchr(permission, '+') && cover != COVERS_NONE)
			return 1;
		if (strchr(permission, '-') && cover == COVERS_ALL)
			return -1;
	}
	return 0;
}

/* One file's verdict; one that cannot be read says nothing. -ENOMEM. */
static int access_file(const struct access *access, const struct world *world, const struct person *person,
	const char *path, int *ret_verdict)
{
	cleanup_free char *rules = NULL;

	int r = world_read(world, path, RULES_MAX, &rules);
	*ret_verdict = r == 0 ? access_verdict(access, world, person, rules) : 0;
	return r == -ENOMEM ? r : 0;
}

static int access_denies(const struct world *world, const struct person *person, bool *ret_denied)
{
	const struct pam_module *module = &world->pam[PAM_ACCESS];
	struct access access = {.fields = ":", .list = BLANKS_AND_COMMAS, .plain_groups = true};
	cleanup_names char **names = NULL;
	size_t count = 0;
	int verdict;

	access.plain_groups = !pam_has_argument(module, "nodefgroup");
	(void)pam_get_option(module, "fieldsep", access.fields, sizeof(access.fields));
	(void)pam_get_option(module, "listsep", access.list, sizeof(access.list));
	bool own_file = pam_get_option(module, "accessfile", access.path, sizeof(access.path));
	int r = access_file(&access, world, person, own_file ? access.path : "/etc/security/access.conf", &verdict);
	if (r == 0 && verdict == 0 && !own_file)
		r = rules_list(world, "/etc/security/access.d", &names, &count);
	for (size_t i = 0; r == 0 && verdict == 0 && i < count; i++)
		r = access_file(&access, world, person, names[i], &verdict);
	*ret_denied = verdict < 0;
	return r;
}

/* The most particular line decides; none but the one with his name is for root. */
enum rank {
	RANK_NONE,
	RANK_DEFAULT,
	RANK_EVERYBODY, /* all together, and a group's members together */
	RANK_MEMBERS,
	RANK_GROUP,
	RANK_USER,
};

/* FIRST:LAST; without FIRST exactly LAST, without LAST all from FIRST on. False for what is no range. */
static bool parse_range(const char *text, uint64_t *ret_first, uint64_t *ret_last)
{
	uint64_t numbers[2] = {0, UINT64_MAX};
	const char *colon = strchr(text, ':');

	if (!colon || strspn(text, "0123456789:") != strlen(text) || strchr(colon + 1, ':') || strlen(text) > 24)
		return false;
	for (unsigned i = 0; i < 2; i++) {
		const char *at = i == 0 ? text : colon + 1;
		if (!isdigit((unsigned char)*at))
			continue;
		for (numbers[i] = 0; isdigit((unsigned char)*at); at++)
			numbers[i] = numbers[i] * 10 + (uint64_t)(*at - '0');
	}
	*ret_first = colon == text ? numbers[1] : numbers[0];
	*ret_last = numbers[1];
	return true;
}

/* A group's name, or a range of ids: an exact one is looked for among all his groups, any other holds his first one. */
static bool has_group(const struct person *person, const char *group)
{
	uint64_t first, last;

	if (!parse_range(group, &first, &last))
		return person_is_in_group(person, group, strlen(group));
	for (size_t i = 0; first == last && i < person->group_count; i++) {
		if (person->groups[i] == first)
			return true;
	}
	return person->account.gid >= first && person->account.gid <= last;
}

static enum rank rank_of(const struct person *person, const char *domain)
{
	uint64_t first, last;

	if (strcmp(domain, person->account.name) == 0)
		return RANK_USER;
	if (person->account.uid == 0)
		return RANK_NONE;
	if (*domain == '@')
		return has_group(person, domain + 1) ? RANK_GROUP : RANK_NONE;
	if (strcmp(domain, "%") == 0)
		return RANK_EVERYBODY;
	if (*domain == '%')
		return has_group(person, domain + 1) ? RANK_MEMBERS : RANK_NONE;
	if (parse_range(domain, &first, &last))
		return person->account.uid >= first && person->account.uid <= last ? RANK_USER : RANK_NONE;
	return strcmp(domain, "*") == 0 ? RANK_DEFAULT : RANK_NONE;
}

static void read_limits(const struct person *person, char *text, enum rank *best, bool *none_allowed)
{
	for (char *line; (line = strsep(&text, "\n")) != NULL;) {
		char *words[4] = {0};
		line[strcspn(line, "#")] = '\0';
		for (unsigned i = 0; i < ELEMENTS(words) && line;) {
			words[i] = strsep(&line, " \t");
			i += *words[i] != '\0';
		}
		if (!words[3] || (strcmp(words[2], "maxlogins") != 0 && strcmp(words[2], "maxsyslogins") != 0))
			continue;
		enum rank rank = rank_of(person, words[0]);
		if (rank == RANK_NONE || rank < *best)
			continue;
		*best = rank;
		*none_allowed = strcmp(words[3], "0") == 0;
	}
}

static int limits_file(
	const struct world *world, const struct person *person, const char *path, enum rank *best, bool *none_allowed)
{
	cleanup_free char *text = NULL;

	int r = world_read(world, path, RULES_MAX, &text);
	if (r == 0)
		read_limits(person, text, best, none_allowed);
	return r == -ENOMEM ? r : 0;
}

static int limits_deny(const struct world *world, const struct person *person, bool *ret_denied)
{
	cleanup_names char **names = NULL;
	enum rank best = RANK_NONE;
	size_t count = 0;
	char path[256];

	*ret_denied = false;
	bool own_file = pam_get_option(&world->pam[PAM_LIMITS], "conf", path, sizeof(path));
	int r = limits_file(world, person, own_file ? path : "/etc/security/limits.conf", &best, ret_denied);
	if (r == 0 && !own_file)
		r = rules_list(world, "/etc/security/limits.d", &names, &count);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = limits_file(world, person, names[i], &best, ret_denied);
	return r;
}

/* One of hosts.allow and hosts.deny: 1 allowed, -1 denied, 0 not named. */
static int hosts_verdict(char *text, const char *address, int verdict)
{
	/* A backslash before the newline goes on. */
	for (char *at = text; (at = strstr(at, "\\\n")) != NULL; at += 2)
		memset(at, ' ', 2);
	for (char *line; (line = strsep(&text, "\n")) != NULL;) {
		line[strcspn(line, "#")] = '\0';
		char *daemons = strsep(&line, ":"), *clients = strsep(&line, ":"), *word;
		bool named = false;
		int says = verdict;
		if (!clients)
			continue;
		while ((word = strsep(&daemons, " \t,")) != NULL) {
			if (strcmp(word, "EXCEPT") == 0)
				break;
			named = named || strcmp(word, "ALL") == 0 || strcmp(word, "sshd") == 0;
		}
		if (line && strcasestr(line, "deny"))
			says = -1;
		else if (line && strcasestr(line, "allow"))
			says = 1;
		enum cover cover = named ? cover_of_list(clients, BLANKS_AND_COMMAS, address) : COVERS_NONE;
		if ((says > 0 && cover != COVERS_NONE) || (says < 0 && cover == COVERS_ALL))
			return says;
	}
	return 0;
}

static bool is_wrapped(const struct world *world)
{
	static const char *const programs[] = {"/usr/sbin/sshd", "/usr/lib/openssh/sshd-session"};

	for (unsigned i = 0; i < ELEMENTS(programs); i++) {
		cleanup_close int descriptor = -1;
		cleanup_free char *bytes = NULL;
		size_t size = 0;
		if (sshd_open_below(world->root, programs[i], O_RDONLY | O_NONBLOCK | O_NOCTTY, &descriptor) == 0 &&
			file_read_descriptor(descriptor, SSHD_SIZE_MAX, &bytes, &size) == 0 &&
			memmem(bytes, size, LIBWRAP, strlen(LIBWRAP)))
			return true;
	}
	return false;
}

static int hosts_deny(const struct world *world, bool *ret_denied)
{
	static const struct {
		const char *path;
		int verdict;
	} files[] = {{"/etc/hosts.allow", 1}, {"/etc/hosts.deny", -1}};

	*ret_denied = false;
	for (unsigned i = 0; i < ELEMENTS(files); i++) {
		cleanup_free char *text = NULL;
		int r = world_read(world, files[i].path, RULES_MAX, &text);
		if (r == -ENOMEM)
			return r;
		int verdict = r == 0 ? hosts_verdict(text, world->address, files[i].verdict) : 0;
		if (verdict != 0) {
			*ret_denied = verdict < 0 && is_wrapped(world);
			return 0;
		}
	}
	return 0;
}

static int rules_blockers(
	const struct world *world, const struct person *person, bool for_good, blocker_set *key, blocker_set *password)
{
	const struct pam_rules *rules = &world->pam_rules;
	const blocker_set bit = BLOCKER_BIT(BLOCKER_PAM_RULE);

	for (unsigned i = 0; i < rules->count; i++) {
		const struct pam_rule *rule = &rules->rules[i];
		enum pam_verdict verdict;
		int r = pam_rule_verdict(world, person, rule->line, &verdict);
		if (r < 0)
			return r;
		if (verdict == PAM_LETS_IN || (!for_good && (verdict == PAM_UNKNOWN || !rule->surely)))
			continue;
		*key |= rule->for_passwords ? 0 : bit;
		*password |= bit;
	}
	if (rules->more && for_good) {
		*key |= bit;
		*password |= bit;
	}
	return 0;
}

int gates_blockers(const struct world *world, const struct person *person, bool use_pam, bool for_good,
	blocker_set *key, blocker_set *password)
{
	static const struct {
		unsigned module;
		enum blocker blocker;
		int (*denies)(const struct world *world, const struct person *person, bool *ret_denied);
	} modules[] = {{PAM_ACCESS, BLOCKER_PAM_ACCESS, access_denies}, {PAM_LIMITS, BLOCKER_LOGIN_LIMIT, limits_deny}};
	bool denied = false;
	int r = 0;

	for (unsigned i = 0; r == 0 && use_pam && i < ELEMENTS(modules); i++) {
		const struct pam_module *module = &world->pam[modules[i].module];
		if (!module->for_all && !module->for_passwords)
			continue;
		r = modules[i].denies(world, person, &denied);
		if (r == 0 && denied)
			pam_refuses(module, modules[i].blocker, key, password);
	}
	if (r == 0 && use_pam)
		r = rules_blockers(world, person, for_good, key, password);
	if (r == 0)
		r = hosts_deny(world, &denied);
	if (r == 0 && denied) {
		*key |= BLOCKER_BIT(BLOCKER_HOSTS_DENY);
		*password |= BLOCKER_BIT(BLOCKER_HOSTS_DENY);
	}
	return r;
}

/* As faillock.conf(5) has it, in a file or as the module's arguments. */
struct faillock {
	int64_t deny, interval, unlock, root_unlock;
	bool even_root;
	char directory[128];
};

static void faillock_option(struct faillock *faillock, const char *word)
{
	const struct {
		const char *name;
		int64_t *value;
	} numbers[] = {{"deny", &faillock->deny}, {"fail_interval", &faillock->interval},
		{"unlock_time", &faillock->unlock}, {"root_unlock_time", &faillock->root_unlock}};
	size_t size = strcspn(word, " \t=");
	const char *value = word + size + strspn(word + size, " \t=");

	if (size == strlen("even_deny_root") && strncmp(word, "even_deny_root", size) == 0)
		faillock->even_root = true;
	if (size == 3 && strncmp(word, "dir", 3) == 0)
		(void)snprintf(
			faillock->directory, sizeof(faillock->directory), "%.*s", (int)strcspn(value, " \t"), value);
	for (unsigned i = 0; i < ELEMENTS(numbers); i++) {
		if (strlen(numbers[i].name) != size || strncmp(word, numbers[i].name, size) != 0)
			continue;
		if (strncmp(value, "never", 5) == 0)
			*numbers[i].value = 0;
		else if (*value >= '0' && *value <= '9') {
			int64_t number = 0;
			for (; *value >= '0' && *value <= '9' && number < INT32_MAX; value++)
				number = number * 10 + (*value - '0');
			*numbers[i].value = number;
		}
	}
}

static void faillock_read(const struct world *world, struct faillock *ret_faillock)
{
	struct faillock faillock = {3, 900, 600, -1, false, "/var/run/faillock"};
	cleanup_free char *text = NULL;
	char arguments[sizeof(world->pam[PAM_FAILLOCK].line)];

	if (world_read(world, "/etc/security/faillock.conf", RULES_MAX, &text) == 0) {
		char *rest = text;
		for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
			line[strcspn(line, "#")] = '\0';
			faillock_option(&faillock, line + strspn(line, " \t"));
		}
	}
	memcpy(arguments, world->pam[PAM_FAILLOCK].line, sizeof(arguments));
	char *rest = arguments;
	for (char *word; (word = strsep(&rest, " \t")) != NULL;)
		faillock_option(&faillock, word);
	if (faillock.root_unlock < 0)
		faillock.root_unlock = faillock.unlock;
	*ret_faillock = faillock;
}

/* One of the records that pam_faillock(8) keeps of a user, as it writes them. */
struct tally {
	char source[52];
	uint16_t reserved, status;
	uint64_t time;
};

static bool tally_locks(const struct faillock *faillock, const char *bytes, size_t size, bool root, int64_t now)
{
	int64_t latest = 0, failures = 0, unlock = root ? faillock->root_unlock : faillock->unlock;

	for (unsigned pass = 0; pass < 2; pass++) {
		for (size_t at = 0; at + sizeof(struct tally) <= size; at += sizeof(struct tally)) {
			struct tally tally;
			memcpy(&tally, bytes + at, sizeof(tally));
			if (!(tally.status & TALLY_VALID) || tally.time > INT64_MAX)
				continue;
			int64_t time = (int64_t)tally.time;
			if (pass == 0)
				latest = time > latest ? time : latest;
			else
				failures += latest - time < faillock->interval;
		}
	}
	return faillock->deny > 0 && failures >= faillock->deny && !(unlock > 0 && latest + unlock < now);
}

int gates_password_blockers(const struct world *world, const struct person *person, bool use_pam, blocker_set *ret_set)
{
	cleanup_close int descriptor = -1;
	cleanup_free char *bytes = NULL;
	struct faillock faillock;
	bool root = person->account.uid == 0;
	char path[256];
	size_t size;

	*ret_set = 0;
	if (!use_pam || !world->pam[PAM_FAILLOCK].for_passwords)
		return 0;
	faillock_read(world, &faillock);
	if (root && !faillock.even_root)
		return 0;
	(void)snprintf(path, sizeof(path), "%s/%.64s", faillock.directory, person->account.name);
	if (sshd_open_below(world->root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, &descriptor) < 0)
		return 0;
	int r = file_read_descriptor(descriptor, TALLY_MAX, &bytes, &size);
	if (r == 0 && tally_locks(&faillock, bytes, size, root, world->now))
		*ret_set = BLOCKER_BIT(BLOCKER_FAILLOCK);
	return r == -ENOMEM ? r : 0;
}
