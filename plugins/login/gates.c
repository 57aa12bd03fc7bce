/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/login/gates.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/file.h"
#include "lib/pattern.h"
#include "lib/sshd_open.h"

#define RULES_MAX 65536u
#define LIMITS_FILES_MAX 256u
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
	if (!address)
		return COVERS_SOME;
	if (size > 0 && (word[size - 1] == '.' || word[size - 1] == ':'))
		return strncmp(address, word, size) == 0 ? COVERS_ALL : COVERS_NONE;
	return pattern_list_matches_address(word, address) ? COVERS_ALL : COVERS_NONE;
}

/* LIST [EXCEPT LIST]…, of words that blanks and commas divide. Changes the text. */
static enum cover cover_of_list(char *list, const char *address)
{
	enum cover cover = COVERS_NONE;
	char *word;

	while ((word = strsep(&list, " \t,")) != NULL) {
		if (*word == '\0')
			continue;
		if (strcmp(word, "EXCEPT") == 0) {
			enum cover rest = list ? cover_of_list(list, address) : COVERS_NONE;
			return rest == COVERS_ALL                           ? COVERS_NONE
			       : rest == COVERS_SOME && cover == COVERS_ALL ? COVERS_SOME
									    : cover;
		}
		enum cover one = cover_of(word, address);
		cover = one > cover ? one : cover;
	}
	return cover;
}

static bool is_in_group(const struct person *person, const char *group, size_t size)
{
	for (char *const *name = person->group_names; name && *name; name++) {
		if (strlen(*name) == size && strncmp(*name, group, size) == 0)
			return true;
	}
	return false;
}

/* access.conf: a name, (group), a group's plain name, NAME@HOST, ALL; a netgroup is not looked up. */
static bool names_person(char *list, const struct person *person)
{
	const char *name = person->account.name;
	bool named = false;
	char *word;

	while ((word = strsep(&list, " \t,")) != NULL) {
		size_t size = strlen(word);
		if (strcmp(word, "EXCEPT") == 0)
			return named && !(list && names_person(list, person));
		if (size > 2 && word[0] == '(' && word[size - 1] == ')')
			named = named || is_in_group(person, word + 1, size - 2);
		else if (size > 0 && word[0] != '@')
			named = named || strcmp(word, "ALL") == 0 || strcmp(word, name) == 0 ||
				is_in_group(person, word, size);
	}
	return named;
}

static bool access_denies(const struct world *world, const struct person *person, char *text)
{
	for (char *line; (line = strsep(&text, "\n")) != NULL;) {
		char *permission, *users, *origins;
		line += strspn(line, " \t");
		if (*line == '#' || *line == '\0')
			continue;
		permission = strsep(&line, ":");
		users = strsep(&line, ":");
		origins = line;
		if (!users || !origins || !names_person(users, person))
			continue;
		enum cover cover = cover_of_list(origins, world->address);
		if (strchr(permission, '+') && cover != COVERS_NONE)
			return false;
		if (strchr(permission, '-') && cover == COVERS_ALL)
			return true;
	}
	return false;
}

/* The most particular line decides: the user's own, then one of his groups', then everybody's (never for root). */
enum rank {
	RANK_NONE,
	RANK_ALL,
	RANK_GROUP,
	RANK_USER,
};

static enum rank rank_of(const struct person *person, const char *domain)
{
	if (strcmp(domain, person->account.name) == 0)
		return RANK_USER;
	if (person->account.uid == 0)
		return RANK_NONE;
	if (*domain == '@')
		return is_in_group(person, domain + 1, strlen(domain + 1)) ? RANK_GROUP : RANK_NONE;
	return strcmp(domain, "*") == 0 ? RANK_ALL : RANK_NONE;
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

static int limits_deny(const struct world *world, const struct person *person, bool *ret_denied)
{
	cleanup_names char **names = NULL;
	cleanup_free char *main_text = NULL;
	enum rank best = RANK_NONE;
	size_t count = 0;

	*ret_denied = false;
	int r = world_read(world, "/etc/security/limits.conf", RULES_MAX, &main_text);
	if (r == -ENOMEM)
		return r;
	if (r == 0)
		read_limits(person, main_text, &best, ret_denied);
	r = file_list(world->root, "etc/security/limits.d", LIMITS_FILES_MAX, &names, &count);
	if (r == -ENOMEM)
		return r;
	for (size_t i = 0; r == 0 && i < count; i++) {
		cleanup_free char *text = NULL;
		char path[300];
		size_t size = strlen(names[i]);
		if (size < 5 || size > 200 || strcmp(names[i] + size - 5, ".conf") != 0)
			continue;
		(void)snprintf(path, sizeof(path), "/etc/security/limits.d/%s", names[i]);
		int read = world_read(world, path, RULES_MAX, &text);
		if (read == -ENOMEM)
			return read;
		if (read == 0)
			read_limits(person, text, &best, ret_denied);
	}
	return 0;
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
		enum cover cover = named ? cover_of_list(clients, address) : COVERS_NONE;
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

int gates_blockers(const struct world *world, const struct person *person, bool use_pam, blocker_set *ret_set)
{
	cleanup_free char *rules = NULL;
	bool denied = false;
	int r = 0;

	*ret_set = 0;
	if (use_pam && world->pam_access) {
		r = world_read(world, "/etc/security/access.conf", RULES_MAX, &rules);
		if (r == 0 && access_denies(world, person, rules))
			*ret_set |= BLOCKER_BIT(BLOCKER_PAM_ACCESS);
	}
	if (r != -ENOMEM && use_pam && world->pam_limits) {
		r = limits_deny(world, person, &denied);
		if (r == 0 && denied)
			*ret_set |= BLOCKER_BIT(BLOCKER_LOGIN_LIMIT);
	}
	if (r == -ENOMEM)
		return r;
	r = hosts_deny(world, &denied);
	if (r == 0 && denied)
		*ret_set |= BLOCKER_BIT(BLOCKER_HOSTS_DENY);
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
	char arguments[sizeof(world->pam_faillock)];

	if (world_read(world, "/etc/security/faillock.conf", RULES_MAX, &text) == 0) {
		char *rest = text;
		for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
			line[strcspn(line, "#")] = '\0';
			faillock_option(&faillock, line + strspn(line, " \t"));
		}
	}
	memcpy(arguments, world->pam_faillock, sizeof(arguments));
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
	if (!use_pam || !*world->pam_faillock)
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
