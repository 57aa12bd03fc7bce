/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/name_service.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#ifdef __GLIBC__
#include <nss.h>
#endif
#include <pwd.h>
#include <stdint.h>
#include <string.h>

#include "lib/file.h"
#include "lib/paths.h"
#include "lib/user_child.h"

#define NOBODY 65534u
#define NSSWITCH_MAX 65536u
#define LISTED_FROM 32u  /* questions from which on systemd's few users are listed instead of asked for one by one */
#define LISTED_MAX 4096u /* more than that are asked for by name again */
#define USERDB "/run/systemd/userdb"

bool name_service_others(const char *text, size_t size, const char *database, char *ret_services, size_t services_size)
{
	const struct account_table table = {.bytes = (char *)(uintptr_t)text, .size = size};
	struct account_line line;
	size_t offset = 0, used = 0, name_size = strlen(database);
	bool found = false;

	while (account_next_line(&table, &offset, &line)) {
		char copy[256], *rest = copy;
		size_t blanks = strspn(line.start, " \t");

		if (line.size <= blanks + name_size + 1 || line.start[blanks + name_size] != ':' ||
			strncmp(line.start + blanks, database, name_size) != 0)
			continue;
		if (found || line.size >= sizeof(copy) || memchr(line.start, '[', line.size))
			return false;
		found = true;
		(void)snprintf(copy, sizeof(copy), "%.*s", (int)(line.size - blanks - name_size - 1),
			line.start + blanks + name_size + 1);
		copy[strcspn(copy, "#")] = '\0';
		while (rest) {
			const char *word = strsep(&rest, " \t\r");
			if (*word == '\0' || strcmp(word, "files") == 0)
				continue;
			int length = snprintf(ret_services + used, services_size - used, "%s%s", used ? " " : "", word);
			if (length < 0 || (size_t)length >= services_size - used)
				return false;
			used += (size_t)length;
		}
	}
	if (found && used == 0)
		*ret_services = '\0';
	return found;
}

enum answer { ASK_AS_SET_UP, ASK_OTHERS, ASK_NOBODY };

struct asking {
	const struct name_service_question *question;
	struct services {
		enum answer answer;
		char others[256];   /* for ASK_OTHERS */
		char unlisted[256]; /* of these what is asked by name when systemd's are listed */
		bool is_listed;
	} users, groups;
};

/*
 * A question by name to nss-systemd(8) is some seventy system calls, and it has no more to tell than its list, as long
 * as only systemd's own services stand behind it: another one may know names that it does not list.
 */
static bool systemd_lists_all(void)
{
	static const char *const known[] = {"io.systemd.DynamicUser", "io.systemd.Home", "io.systemd.Multiplexer",
		"io.systemd.NameServiceSwitch", "io.systemd.DropIn", "io.systemd.Machine"};
	cleanup_close int directory = -1;
	cleanup_names char **names = NULL;
	size_t count;

	int r = file_open_directory(AT_FDCWD, USERDB, &directory);
	if (r == 0)
		r = file_list(directory, ".", ELEMENTS(known) + 1, &names, &count);
	if (r < 0)
		return r == -ENOENT;
	for (size_t i = 0; i < count; i++) {
		bool found = false;
		for (size_t j = 0; j < ELEMENTS(known); j++)
			found = found || strcmp(names[i], known[j]) == 0;
		if (!found)
			return false;
	}
	return true;
}

/* Takes `systemd` out of the services that are asked by name. */
static void split_services(struct services *services)
{
	char copy[sizeof(services->others)], *rest = copy;
	size_t used = 0;

	memcpy(copy, services->others, sizeof(copy));
	while (rest) {
		const char *word = strsep(&rest, " ");
		if (strcmp(word, "systemd") == 0)
			services->is_listed = true;
		else if (*word)
			used += (size_t)snprintf(services->unlisted + used, sizeof(services->unlisted) - used, "%s%s",
				used ? " " : "", word);
	}
}

static void read_services(struct asking *asking, size_t count)
{
#ifdef __GLIBC__
	bool lists = count >= LISTED_FROM && systemd_lists_all();
	cleanup_close int etc = -1;
	cleanup_free char *text = NULL;
	size_t size;
	const struct {
		const char *database;
		struct services *services;
	} rows[] = {{"passwd", &asking->users}, {"group", &asking->groups}};

	if (file_open_directory(AT_FDCWD, "/etc", &etc) < 0 ||
		file_read(etc, "nsswitch.conf", NSSWITCH_MAX, &text, &size) < 0)
		return;
	for (unsigned i = 0; i < ELEMENTS(rows); i++) {
		struct services *services = rows[i].services;
		if (name_service_others(text, size, rows[i].database, services->others, sizeof(services->others)))
			services->answer = *services->others ? ASK_OTHERS : ASK_NOBODY;
		if (lists && services->answer == ASK_OTHERS)
			split_services(services);
	}
#else
	(void)asking;
	(void)count;
#endif
}

static int choose_services(const char *database, const char *services)
{
#ifdef __GLIBC__
	if (__nss_configure_lookup(database, services) < 0)
		return -errno;
#else
	(void)database;
	(void)services;
#endif
	return 0;
}

/* Marks what systemd lists; false when it is too long a list. */
static bool list_users(const struct name_service_question *question, bool *users, bool *uids, char *bytes, size_t size)
{
	struct passwd entry, *found = NULL;
	unsigned listed = 0;

	setpwent();
	while (listed < LISTED_MAX && getpwent_r(&entry, bytes, size, &found) == 0 && found) {
		listed++;
		for (unsigned i = 0; i < question->user_count; i++)
			users[i] = users[i] || strcmp(question->users[i], entry.pw_name) == 0;
		for (unsigned i = 0; i < question->uid_count; i++)
			uids[i] = uids[i] || question->uids[i] == entry.pw_uid;
	}
	endpwent();
	return listed < LISTED_MAX;
}

static bool list_groups(
	const struct name_service_question *question, bool *groups, bool *gids, char *bytes, size_t size)
{
	struct group entry, *found = NULL;
	unsigned listed = 0;

	setgrent();
	while (listed < LISTED_MAX && getgrent_r(&entry, bytes, size, &found) == 0 && found) {
		listed++;
		for (unsigned i = 0; i < question->group_count; i++)
			groups[i] = groups[i] || strcmp(question->groups[i], entry.gr_name) == 0;
		for (unsigned i = 0; i < question->gid_count; i++)
			gids[i] = gids[i] || question->gids[i] == entry.gr_gid;
	}
	endgrent();
	return listed < LISTED_MAX;
}

/* An entry too large for the buffer is an entry. */
static bool is_entry(const void *found, int error)
{
	return found != NULL || error == ERANGE;
}

/* Which services answer by name from now on; false: none. */
static bool choose_by_name(const char *database, const struct services *services, bool listed, int *ret)
{
	const char *others = listed ? services->unlisted : services->others;

	*ret = 0;
	if (services->answer == ASK_NOBODY || (services->answer == ASK_OTHERS && *others == '\0'))
		return false;
	if (services->answer == ASK_OTHERS)
		*ret = choose_services(database, others);
	return *ret == 0;
}

static int ask_for_users(const struct asking *asking, bool *known, char *bytes, size_t size)
{
	const struct name_service_question *question = asking->question;
	bool *users = known, *uids = known + question->user_count, listed = false;
	struct passwd entry, *found = NULL;
	int r = 0;

	if (asking->users.is_listed) {
		r = choose_services("passwd", "systemd");
		listed = r == 0 && list_users(question, users, uids, bytes, size);
	}
	if (r < 0 || !choose_by_name("passwd", &asking->users, listed, &r))
		return r;
	for (unsigned i = 0; i < question->user_count; i++) {
		int error = getpwnam_r(question->users[i], &entry, bytes, size, &found);
		users[i] = users[i] || is_entry(found, error);
	}
	for (unsigned i = 0; i < question->uid_count; i++) {
		int error = getpwuid_r(question->uids[i], &entry, bytes, size, &found);
		uids[i] = uids[i] || is_entry(found, error);
	}
	return 0;
}

static int ask_for_groups(const struct asking *asking, bool *known, char *bytes, size_t size)
{
	const struct name_service_question *question = asking->question;
	bool *groups = known, *gids = known + question->group_count, listed = false;
	struct group entry, *found = NULL;
	int r = 0;

	if (asking->groups.is_listed) {
		r = choose_services("group", "systemd");
		listed = r == 0 && list_groups(question, groups, gids, bytes, size);
	}
	if (r < 0 || !choose_by_name("group", &asking->groups, listed, &r))
		return r;
	for (unsigned i = 0; i < question->group_count; i++) {
		int error = getgrnam_r(question->groups[i], &entry, bytes, size, &found);
		groups[i] = groups[i] || is_entry(found, error);
	}
	for (unsigned i = 0; i < question->gid_count; i++) {
		int error = getgrgid_r(question->gids[i], &entry, bytes, size, &found);
		gids[i] = gids[i] || is_entry(found, error);
	}
	return 0;
}

static int ask(void *context, struct buffer *output)
{
	const struct asking *asking = context;
	const struct name_service_question *question = asking->question;
	size_t users = (size_t)question->user_count + question->uid_count;
	size_t count = users + question->group_count + question->gid_count;
	char bytes[65536];
	cleanup_free bool *known = calloc(count + 1, sizeof(*known));

	int r = known ? ask_for_users(asking, known, bytes, sizeof(bytes)) : -ENOMEM;
	if (r == 0)
		r = ask_for_groups(asking, known + users, bytes, sizeof(bytes));
	for (size_t i = 0; r == 0 && i < count; i++)
		buffer_append(output, known[i] ? "1" : "0", 1);
	return r;
}

int name_service_ask(const struct account_table *passwd, const struct name_service_question *question, bool *ret_known)
{
	size_t users = (size_t)question->user_count + question->uid_count;
	size_t count = users + question->group_count + question->gid_count;
	struct asking asking = {.question = question};
	cleanup_account struct account agent = {0};
	uid_t uid = NOBODY;
	gid_t gid = NOBODY;

	for (size_t i = 0; i < count; i++)
		ret_known[i] = false;
	read_services(&asking, count);
	if ((users == 0 || asking.users.answer == ASK_NOBODY) && (count == users || asking.groups.answer == ASK_NOBODY))
		return 0; /* nobody else is to be asked */
	if (account_find(passwd, AGENT_USER, &agent) == 0) {
		uid = agent.uid;
		gid = agent.gid;
	}
	const struct user_identity identity = {uid, gid, &gid, 1};
	cleanup_buffer struct buffer output = {0};
	int r = user_child_run(&identity, NAME_SERVICE_TIMEOUT_MS, count, ask, &asking, &output);
	if (r < 0)
		return r;
	if (output.size != count)
		return -ECHILD;
	for (size_t i = 0; i < count; i++)
		ret_known[i] = output.bytes[i] == '1';
	return 0;
}

int name_service_known(const struct account_table *passwd, const char *const *names, unsigned count, bool *ret_known)
{
	const struct name_service_question question = {.users = names, .user_count = count};
	return name_service_ask(passwd, &question, ret_known);
}
