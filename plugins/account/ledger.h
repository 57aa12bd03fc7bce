/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this agent itself put on the machine's accounts: JSON lines in the plugin's state directory, in the shape of the
 * status interface's User, with what is needed to take it back. An entry of a removed account stays, marked gone, so
 * that its uid is not given out again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/cleanup.h"
#include "lib/name_map.h"

#define LEDGER_SIZE_MAX (8u << 20) /* some 60,000 entries */
#define LEDGER_GROUPS_MAX 64u

struct ledger_entry {
	char user[33];
	uid_t uid;
	bool created, gone, locked, inherited;
	char sudo[16];          /* none, password, nopasswd */
	char expire_before[16]; /* while locked: the shadow field that user.lock replaced */
	char *home;             /* of one that is gone: what was to be deleted with it, or NULL */
	char **groups;          /* those that we gave */
	unsigned group_count;
};

struct ledger {
	struct ledger_entry *entries;
	unsigned count, capacity;
	struct name_map living, created; /* the first living and the last created entry of each user */
	bool changed;
	char *old; /* as read, to put back when the account files could not be written */
	size_t old_size;
};

/* state may be -1: empty. A damaged line is passed over. -EFBIG over the limit. */
int ledger_read(int state, struct ledger *ret_ledger) MUST_CHECK;
void ledger_free(struct ledger *ledger);
#define cleanup_ledger CLEANUP(ledger_free)
/* The newest entry of the user that we created, gone or not, or NULL. */
const struct ledger_entry *ledger_find_created(const struct ledger *ledger, const char *user);
/* The newest entry of the user that is gone, or NULL. */
struct ledger_entry *ledger_find_gone(const struct ledger *ledger, const char *user);
/* The living entry of the user, or NULL. */
struct ledger_entry *ledger_find(const struct ledger *ledger, const char *user);
/* The same, made when missing; -ENOMEM. */
int ledger_get(struct ledger *ledger, const char *user, uid_t uid, struct ledger_entry **ret_entry) MUST_CHECK;
int ledger_set_created(struct ledger *ledger, struct ledger_entry *entry, uid_t uid) MUST_CHECK;
bool ledger_has_group(const struct ledger_entry *entry, const char *group);
int ledger_set_group(struct ledger *ledger, struct ledger_entry *entry, const char *group, bool present) MUST_CHECK;
int ledger_write(int state, struct ledger *ledger) MUST_CHECK;
/* Puts back what ledger_read found; best effort. */
void ledger_restore(int state, const struct ledger *ledger);
