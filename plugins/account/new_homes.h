/* SPDX-License-Identifier: Apache-2.0 */
/* The homes that this very pass has built: what they need before an account names them, and what is left of failures.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "lib/cleanup.h"

struct account_table;

struct new_homes {
	struct new_home {
		char *user, *path;
		uid_t uid;
	} * items;
	unsigned count;
};

void new_homes_free(struct new_homes *homes);
/* -ENOMEM */
int new_homes_add(struct new_homes *homes, const char *user, const char *path, uid_t uid) MUST_CHECK;
/* Their SELinux labels, on the host. */
void new_homes_label(const struct new_homes *homes, bool is_host);
/* Deletes those whose user has no line in passwd (NULL: all of them): nobody has been in them yet. Best effort. */
void new_homes_take_back(const struct new_homes *homes, int root, const struct account_table *passwd);
