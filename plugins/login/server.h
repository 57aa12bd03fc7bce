/* SPDX-License-Identifier: Apache-2.0 */
/* What sshd's values in force say about one user. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/blocker.h"
#include "lib/sshd_config.h"
#include "plugins/login/account.h"

struct doors {
	bool key, password, keyboard; /* keyboard: only with PAM behind it is it a password */
	bool use_pam, empty_passwords;
	const char *root; /* PermitRootLogin */
};

/* Ways that are free of every other blocker. */
struct ways {
	bool key, password, keyboard;
	uint32_t keys; /* how many */
};

/* The doors as they are, or as `methods` says they would be (may be NULL). */
void server_doors(const struct sshd_effective *effective, const struct sshd_scan *scan, const cJSON *methods,
	struct doors *ret_doors);
/* AllowUsers and its like, ForceCommand. */
blocker_set server_user_blockers(
	const struct person *person, const struct sshd_effective *effective, const char *address);
void server_root_blockers(const char *permit_root_login, blocker_set *key, blocker_set *password);
/* Adds authentication_methods where one method alone is not enough. */
void server_methods_blockers(
	const struct sshd_effective *effective, const struct doors *doors, blocker_set *key, blocker_set *password);
/* Whether one of the alternatives can be gone through. */
bool server_methods_leave_a_way(const struct sshd_effective *effective, const struct ways *ways);
