/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a key logs an account in, by the files where sshd looks: read with the caller's rights, judged by sshd's
 * rules. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/blocker.h"
#include "lib/cleanup.h"

#define KEY_FILES_PATH_MAX 160u
#define KEY_FILES_SIZE_MAX (4u << 20) /* twenty thousand keys; sshd itself has no limit */

struct key_files_question {
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
	const char *const
		*added; /* lines that would come where one that does not count goes, NULL-terminated; or NULL */
	const char *fingerprint; /* the one key that is asked about; NULL: any */
};

struct key_files_answer {
	uint32_t files, missing, unreadable, unsafe, too_large;
	uint32_t keys;    /* lines that hold a key */
	uint32_t seen;    /* … and are asked about; the numbers below are of these */
	uint32_t usable;  /* log in now */
	uint32_t lasting; /* … and have no expiry, and stand where they outlive a reboot */
	uint32_t expired, from, revoked, type_off, forced, excluded;
	char unsafe_path[KEY_FILES_PATH_MAX]; /* the first one */
	uint32_t unsafe_mode, unsafe_owner;
	uint32_t is_one; /* one fingerprint was asked about */
};

/* Looks into every file. 0, or -ENOMEM. */
int key_files_look(const struct key_files_question *question, struct key_files_answer *ret_answer) MUST_CHECK;
/* What keeps the user from logging in by key; with `lasting` a key that expires counts as none. */
blocker_set key_files_blockers(const struct key_files_answer *answer, bool lasting);
