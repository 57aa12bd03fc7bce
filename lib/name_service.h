/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking name services (LDAP, SSSD, systemd) whether they know a name. Their modules may hang or crash, so they run in
 * a child as another user with a deadline. See nsswitch.conf(5).
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "lib/account_files.h"
#include "lib/cleanup.h"

#define NAME_SERVICE_TIMEOUT_MS 3000u /* what one unreachable directory costs a whole batch */

/* What is asked about; any list may be empty. The caller has looked in the files already. */
struct name_service_question {
	const char *const *users;
	const uid_t *uids;
	const char *const *groups;
	const gid_t *gids;
	unsigned user_count, uid_count, group_count, gid_count;
};

/*
 * For each whether getpwnam, getpwuid, getgrnam or getgrgid finds it, in the order of the question's lists. The child
 * becomes the agent's own user as passwd has it, else nobody. -ETIMEDOUT when no answer came in time, -ECHILD when a
 * module crashed.
 */
int name_service_ask(
	const struct account_table *passwd, const struct name_service_question *question, bool *ret_known) MUST_CHECK;
/* The same for users' names alone. */
int name_service_known(
	const struct account_table *passwd, const char *const *names, unsigned count, bool *ret_known) MUST_CHECK;
/*
 * The services of a line of nsswitch.conf(5), say `passwd`, but `files`, which reads a whole file for each name that is
 * not in it. False where that would change what is asked: an action in brackets, a line too long, no such line.
 */
bool name_service_others(const char *text, size_t size, const char *database, char *ret_services, size_t services_size);
