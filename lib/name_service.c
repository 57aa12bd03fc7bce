/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/name_service.h"

#include <errno.h>
#include <fcntl.h>
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

struct question {
	const char *const *names;
	unsigned count;
	const uid_t *uids;
	unsigned uid_count;
	const char *services; /* NULL: as the system is set up */
};

bool name_service_others(const char *text, size_t size, char *ret_services, size_t services_size)
{
	const struct account_table table = {.bytes = (char *)(uintptr_t)text, .size = size};
	struct account_line line;
	size_t offset = 0, used = 0;
	bool found = false;

	while (account_next_line(&table, &offset, &line)) {
		char copy[256], *rest = copy;
		size_t blanks = strspn(line.start, " \t");

		if (line.size <= blanks + 7 || strncmp(line.start + blanks, "passwd:", 7) != 0)
			continue;
		if (found || line.size >= sizeof(copy) || memchr(line.start, '[', line.size))
			return false;
		found = true;
		(void)snprintf(copy, sizeof(copy), "%.*s", (int)(line.size - blanks - 7), line.start + blanks + 7);
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

static bool read_others(char *services, size_t size)
{
	cleanup_close int etc = -1;
	cleanup_free char *text = NULL;
	size_t text_size;

	return file_open_directory(AT_FDCWD, "/etc", &etc) == 0 &&
	       file_read(etc, "nsswitch.conf", NSSWITCH_MAX, &text, &text_size) == 0 &&
	       name_service_others(text, text_size, services, size);
}

static int ask(void *context, struct buffer *output)
{
	const struct question *question = context;
	struct passwd entry, *found;
	char bytes[65536];

#ifdef __GLIBC__
	if (question->services && __nss_configure_lookup("passwd", question->services) < 0)
		return -errno;
#endif
	for (unsigned i = 0; i < question->count; i++) {
		found = NULL;
		int error = getpwnam_r(question->names[i], &entry, bytes, sizeof(bytes), &found);
		/* An entry too large for the buffer is an entry. */
		buffer_append(output, found || error == ERANGE ? "1" : "0", 1);
	}
	for (unsigned i = 0; i < question->uid_count; i++) {
		found = NULL;
		int error = getpwuid_r(question->uids[i], &entry, bytes, sizeof(bytes), &found);
		buffer_append(output, found || error == ERANGE ? "1" : "0", 1);
	}
	return 0;
}

int name_service_ask(const struct account_table *passwd, const char *const *names, unsigned count, bool *ret_known,
	const uid_t *uids, unsigned uid_count, bool *ret_uid_known)
{
	cleanup_account struct account agent = {0};
	uid_t uid = NOBODY;
	gid_t gid = NOBODY;
	char services[256];

	if (account_find(passwd, AGENT_USER, &agent) == 0) {
		uid = agent.uid;
		gid = agent.gid;
	}
	const struct user_identity identity = {uid, gid, &gid, 1};
	struct question question = {names, count, uids, uid_count, NULL};
	cleanup_buffer struct buffer output = {0};

	for (unsigned i = 0; i < count; i++)
		ret_known[i] = false;
	for (unsigned i = 0; i < uid_count; i++)
		ret_uid_known[i] = false;
#ifdef __GLIBC__
	if (read_others(services, sizeof(services))) {
		if (*services == '\0')
			return 0; /* nobody else is to be asked */
		question.services = services;
	}
#else
	(void)services;
	(void)read_others;
#endif
	int r = user_child_run(&identity, NAME_SERVICE_TIMEOUT_MS, (size_t)count + uid_count, ask, &question, &output);
	if (r < 0)
		return r;
	if (output.size != (size_t)count + uid_count)
		return -ECHILD;
	for (unsigned i = 0; i < count; i++)
		ret_known[i] = output.bytes[i] == '1';
	for (unsigned i = 0; i < uid_count; i++)
		ret_uid_known[i] = output.bytes[count + i] == '1';
	return 0;
}

int name_service_known(const struct account_table *passwd, const char *const *names, unsigned count, bool *ret_known)
{
	return name_service_ask(passwd, names, count, ret_known, NULL, 0, NULL);
}
