/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one engine: can this user log in, by key and by password, and what blocks whom. The guard, the `login` field of
 * every result and `diagnose` are three questions to it.
 */
#pragma once

#include <stdbool.h>

#include "lib/blocker.h"
#include "plugins/login/keys.h"
#include "plugins/login/server.h"
#include "plugins/login/world.h"

/* What is to be left out of account, as a closing command would leave it. All lists are arrays of the request. */
struct without {
	const cJSON *users;        /* cannot log in at all */
	const cJSON *passwords;    /* have no password */
	const cJSON *keys;         /* {"user","fingerprint"}: that key of that user */
	const cJSON *fingerprints; /* that key of anybody */
	const cJSON *accounts; /* {"user","account":{"shell","home","expire":text,"left":[GROUP]}}: as it would be */
	const cJSON *lines;    /* {"user","line"}: a key that comes where one goes */
	const cJSON *methods;  /* {"password":bool,"key":bool,"root":text}: the values that would be in force */
};

struct look {
	blocker_set key, password;
	bool can; /* by any way that AuthenticationMethods leaves, two methods together included */
	struct key_files_answer answer; /* zero when no file was looked at */
};

/* A look under way: the user's child reads his key files while others are asked. */
struct looking {
	const char *user;                       /* borrowed */
	const struct without *without;          /* borrowed */
	const struct sshd_effective *effective; /* the world's; NULL when sshd cannot be asked */
	struct look look;
	struct doors doors;
	bool leaves_group;        /* … and a Match asks for groups: what would be in force is not known */
	bool is_asked, asks_home; /* asks_home: the files are looked for below the home */
	struct user_spawned child;
};

/*
 * Looks at one user. `without` may be NULL: as it is. With it the question is the guard's: what is in force for good
 * counts, so a key that expires is none, and sshd being down or /run/nologin at boot is no blocker.
 * 0 or a negative errno when nothing can be said. What was started must be finished.
 */
int look_start(
	struct world *world, const char *user, const struct without *without, struct looking *ret_looking) MUST_CHECK;
int look_finish(struct looking *looking, struct look *ret_look) MUST_CHECK;
/* Both, one after the other. */
int look_at_user(
	struct world *world, const char *user, const struct without *without, struct look *ret_look) MUST_CHECK;
