/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/name_service.h"

#include <errno.h>
#include <pwd.h>

#include "lib/paths.h"
#include "lib/user_child.h"

#define NOBODY 65534u

struct question {
	const char *const *names;
	unsigned count;
};

static int ask(void *context, struct buffer *output)
{
	const struct question *question = context;

	for (unsigned i = 0; i < question->count; i++) {
		struct passwd entry, *found = NULL;
		char bytes[65536];
		int error = getpwnam_r(question->names[i], &entry, bytes, sizeof(bytes), &found);
		/* An entry too large for the buffer is an entry. */
		buffer_append(output, found || error == ERANGE ? "1" : "0", 1);
	}
	return 0;
}

int name_service_known(const struct account_table *passwd, const char *const *names, unsigned count, bool *ret_known)
{
	cleanup_account struct account agent = {0};
	uid_t uid = NOBODY;
	gid_t gid = NOBODY;

	if (account_find(passwd, AGENT_USER, &agent) == 0) {
		uid = agent.uid;
		gid = agent.gid;
	}
	const struct user_identity identity = {uid, gid, &gid, 1};
	struct question question = {names, count};
	cleanup_buffer struct buffer output = {0};

	int r = user_child_run(&identity, NAME_SERVICE_TIMEOUT_MS, count, ask, &question, &output);
	if (r < 0)
		return r;
	if (output.size != count)
		return -ECHILD;
	for (unsigned i = 0; i < count; i++)
		ret_known[i] = output.bytes[i] == '1';
	return 0;
}
