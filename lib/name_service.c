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
		char others[256]; /* for ASK_OTHERS */
	} users, groups;
};

static void read_services(struct asking *asking)
{
#ifdef __GLIBC__
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
	}
#else
	(void)asking;
#endif
}

static int choose_services(const char *database, const struct services *services)
{
#ifdef __GLIBC__
	if (services->answer == ASK_OTHERS && __nss_configure_lookup(database, services->others) < 0)
		return -errno;
#else
	(void)database;
	(void)services;
#endif
	return 0;
}

/* An entry too large for the buffer is an entry. */
static void answer(struct buffer *output, bool found, int error)
{
	buffer_append(output, found || error == ERANGE ? "1" : "0", 1);
}

static void ask_for_users(const struct asking *asking, struct buffer *output, char *bytes, size_t size)
{
	const struct name_service_question *question = asking->question;
	bool ask = asking->users.answer != ASK_NOBODY;
	struct passwd entry, *found = NULL;

	for (unsigned i = 0; i < question->user_count; i++) {
		int error = ask ? getpwnam_r(question->users[i], &entry, bytes, size, &found) : 0;
		answer(output, found != NULL, error);
	}
	for (unsigned i = 0; i < question->uid_count; i++) {
		int error = ask ? getpwuid_r(question->uids[i], &entry, bytes, size, &found) : 0;
		answer(output, found != NULL, error);
	}
}

static void ask_for_groups(const struct asking *asking, struct buffer *output, char *bytes, size_t size)
{
	const struct name_service_question *question = asking->question;
	bool ask = asking->groups.answer != ASK_NOBODY;
	struct group entry, *found = NULL;

	for (unsigned i = 0; i < question->group_count; i++) {
		int error = ask ? getgrnam_r(question->groups[i], &entry, bytes, size, &found) : 0;
		answer(output, found != NULL, error);
	}
	for (unsigned i = 0; i < question->gid_count; i++) {
		int error = ask ? getgrgid_r(question->gids[i], &entry, bytes, size, &found) : 0;
		answer(output, found != NULL, error);
	}
}

static int ask(void *context, struct buffer *output)
{
	const struct asking *asking = context;
	char bytes[65536];

	int r = choose_services("passwd", &asking->users);
	if (r == 0)
		r = choose_services("group", &asking->groups);
	if (r < 0)
		return r;
	ask_for_users(asking, output, bytes, sizeof(bytes));
	ask_for_groups(asking, output, bytes, sizeof(bytes));
	return 0;
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
	read_services(&asking);
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
