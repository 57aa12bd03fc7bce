/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a key logs an account in: the files where sshd looks are read as that user (as sshd does), in a child that
 * sends back counts only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/sshd_config.h"
#include "lib/user_spawner.h"
#include "plugins/login/blocker.h"

#define KEYS_PATH_SHOWN_MAX 160u
#define KEYS_FILE_MAX (4u << 20) /* twenty thousand keys; sshd itself has no limit */

struct keys_question {
	int root;
	const char *root_path; /* "/" or the DIR of --root: what a canonical path begins with */
	const char *home;
	uid_t uid;
	const char *const *paths;    /* NULL-terminated, as seen from root */
	bool strict;                 /* StrictModes */
	const gid_t *private_groups; /* files of these groups may be group-writable */
	size_t private_count;
	int64_t now;
	const char *address;         /* of the stranger, or NULL for anybody */
	bool names;                  /* UseDNS: from may name hosts */
	const char *algorithms;      /* PubkeyAcceptedAlgorithms, or NULL when not known */
	unsigned rsa_bits;           /* RequiredRSASize */
	const char *const *revoked;  /* fingerprints, NULL-terminated */
	const char *const *excluded; /* fingerprints that do not count, NULL-terminated */
	const char *const *added;    /* lines that would come where one that does not count goes, NULL-terminated */
};

struct keys_answer {
	uint32_t files, missing, unreadable, unsafe, too_large;
	uint32_t keys;    /* lines that hold a key */
	uint32_t usable;  /* log in now */
	uint32_t lasting; /* … and have no expiry, and stand where they outlive a reboot */
	uint32_t expired, from, revoked, type_off, forced, excluded;
	char unsafe_path[KEYS_PATH_SHOWN_MAX]; /* the first one */
	uint32_t unsafe_mode, unsafe_owner;
};

/* Asks in a child of the user; the answer is waited for later. */
int keys_start(const struct user_spawner *spawner, const struct user_identity *identity,
	const struct keys_question *question, struct user_spawned *ret_child) MUST_CHECK;
/* 0, -ETIMEDOUT when the home does not answer, or another negative errno. What was started must be finished. */
int keys_finish(struct user_spawned *child, struct keys_answer *ret_answer) MUST_CHECK;
/* What the child does (user_task_function). */
int keys_serve(char *task, size_t size, int root, struct buffer *output);
/* What keeps the user from logging in by key; with `lasting` a key that expires counts as none. */
blocker_set keys_blockers(const struct keys_answer *answer, bool lasting);
