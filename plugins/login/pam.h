/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a module stands in sshd's PAM stack (pam.conf(5)). A key passes the account and session stacks only; a password
 * passes auth before.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/blocker.h"

struct pam_module {
	const char *name;   /* "pam_access.so" */
	bool for_all;       /* whoever comes in is asked */
	bool for_passwords; /* whoever comes in by password is asked */
	char line[256];     /* the first that names it */
};

#define PAM_RULES_MAX 16u

/* A line that may refuse, by another module than those and those that refuse nobody for good. */
struct pam_rule {
	char line[256];
	bool for_passwords; /* only who comes by password is asked */
	bool surely;        /* is asked: no line before it may jump over it, or end the stack in good */
};

struct pam_rules {
	struct pam_rule rules[PAM_RULES_MAX];
	unsigned count;
	bool more; /* than are held, or longer ones */
};

/* Fills in the modules, whose names are given, and the other rules, from the files of sshd's stack below root. */
void pam_find(int root, struct pam_module *modules, size_t count, struct pam_rules *ret_rules);
/* The value of NAME=VALUE among the module's arguments; false when there is none, or it is too long. */
bool pam_get_option(const struct pam_module *module, const char *name, char *ret_value, size_t size);
bool pam_has_argument(const struct pam_module *module, const char *argument);
/* Adds a refusal by that module to whom it meets. */
void pam_refuses(const struct pam_module *module, enum blocker blocker, blocker_set *key, blocker_set *password);
