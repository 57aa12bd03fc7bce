/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the login plugin: the guard before a closing command, and the proof after everything. */
#pragma once

#include "agent/apply/apply.h"

/* What would be gone: JSON array elements, as the guard adds them up over a batch. */
struct removal {
	struct buffer users;        /* "alice","bob" */
	struct buffer passwords;    /* users whose password no longer counts */
	struct buffer keys;         /* {"user":…,"fingerprint":…}: one user's key */
	struct buffer fingerprints; /* whoever holds them */
	struct buffer accounts;     /* {"user":…,"account":{…}}: as it would be */
	struct buffer lines;        /* {"user":…,"line":…}: a key that comes in place of one that goes */
	int password, key;          /* of sshd's methods: 1, 0, or -1: as it is */
	const char *root;           /* permit_root_login, or NULL: as it is */
};

/* Doors and accounts that are open on trial only: they may close by themselves, so nobody is counted on who needs them.
 */
struct trial {
	bool password, key, root;
	struct buffer users; /* as in struct removal */
};
void trial_free(struct trial *trial);
#define cleanup_trial CLEANUP(trial_free)

void removal_free(struct removal *removal);
#define cleanup_removal CLEANUP(removal_free)
/* Adds what the command takes away; 0, or 1 when it takes no login away. */
int removal_add(const struct command *command, struct removal *removal) MUST_CHECK;
int trial_find(const struct apply *apply, struct trial *ret_trial) MUST_CHECK;
/* The doors; the users are for the caller to begin with. */
void removal_add_trial(const struct trial *trial, struct removal *removal);
int removal_copy(const struct removal *from, struct removal *ret_to) MUST_CHECK;

/* OK and the answer; otherwise the code of the failure. */
enum code login_anyone(const struct apply *apply, const struct removal *removal, bool *ret_anyone);
/* OK and {"alice":{"key":…,"password":…}} for these users, owned by the caller (cJSON_Delete). */
enum code login_of_users(const struct apply *apply, const char *const *users, size_t count, cJSON **ret_login);
/* OK and {"state","version","settings":{…}}: what sshd is and does, owned by the caller. */
enum code login_about_sshd(const struct apply *apply, cJSON **ret_sshd);
