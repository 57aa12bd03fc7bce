/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may sign for which instance: a strict subset of ssh-keygen's allowed_signers (ssh-keygen(1), ALLOWED SIGNERS),
 * one signer a line: PRINCIPALS OPTIONS KEYTYPE BASE64 NAME. PRINCIPALS are patterns matched against the instance id,
 * namespaces= is required, valid-after= and valid-before= end in Z, NAME is one word; names and keys are unique. Any
 * other line refuses the whole file. The same grammar serves trust_roots and the trust document's `signers`.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/code.h"
#include "lib/sshkey.h"

#define ALLOWED_SIGNERS_SIZE_MAX 65536u
#define ALLOWED_SIGNERS_MAX 256u          /* lines of a file; signers of a trust document */
#define ALLOWED_SIGNERS_IN_FORCE_MAX 512u /* of both together */
#define ALLOWED_SIGNER_NAME_MAX 128u
#define ALLOWED_SIGNERS_REASON_MAX 160u

struct allowed_signer {
	char *text; /* owned; the texts below point into it */
	const char *principals, *namespaces, *name;
	int64_t valid_after, valid_before; /* Unix seconds, both inclusive; 0 and INT64_MAX when not given */
	unsigned char *blob;               /* owned */
	size_t blob_size;
	char fingerprint[SSHKEY_FINGERPRINT_SIZE];
};

struct allowed_signers {
	struct allowed_signer *entries;
	size_t count;
};

/*
 * 0 and the list; -EBADMSG with the line number (0: the file as a whole) and a reason; -ENOMEM. A file of comments and
 * blank lines is an empty list.
 */
int allowed_signers_parse(const char *text, size_t size, struct allowed_signers *ret_signers, unsigned *ret_line,
	char ret_reason[ALLOWED_SIGNERS_REASON_MAX]) MUST_CHECK;
/* Adds one line: 0; -EEXIST when its key is in the list, -ENOTUNIQ when its name is with another; -EBADMSG; -ENOMEM;
 * -E2BIG. */
int allowed_signers_append(struct allowed_signers *signers, const char *line, size_t size,
	char ret_reason[ALLOWED_SIGNERS_REASON_MAX]) MUST_CHECK;
void allowed_signers_remove(struct allowed_signers *signers, size_t index);
void allowed_signers_free(struct allowed_signers *signers);
#define cleanup_allowed_signers CLEANUP(allowed_signers_free)

/*
 * OK and the entry when this key may sign in this namespace for this instance at this time; NO_SIGNERS for an empty
 * list; SIGNER_UNKNOWN; SIGNER_EXPIRED outside of valid-after … valid-before.
 */
enum code allowed_signers_check(const struct allowed_signers *signers, const char *instance, const char *name_space,
	const unsigned char *key, size_t key_size, int64_t now, const struct allowed_signer **ret_signer);
/* ssh-keygen's pattern list: comma-separated, * and ?, ! negates; a match of a negated pattern wins. */
bool allowed_signers_match(const char *patterns, const char *text);
