/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which keys this agent put where: JSON lines in the plugin's state directory in the shape of the status interface's
 * Key, with the path. It is for people to look at and for cleaning up; whether a line is ours, its own mark says.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/name_map.h"

#define KEY_LEDGER_MAX (8u << 20)  /* some 30,000 keys */
#define KEY_LEDGER_FULL (6u << 20) /* no further key is bound: the rest is for what sweeps note of those that are */

#define KEY_MARK "inherits" /* this file: what was bound before it was made is another machine's */
#define KEY_MARK_SIZE 17u

struct key_entry {
	char *user, *keypair, *fingerprint, *signer, *command, *location, *path, *state, *line;
	int64_t bound, expires;        /* expires -1: never */
	bool made;                     /* the file was not there before us */
	int64_t restored, restored_at; /* how often keys.sweep has put it back since then */
	bool contested;                /* too often */
	int64_t uid;                   /* of the account that it was bound to; -1: not noted */
	char mark[KEY_MARK_SIZE];      /* the ledger's, when it was bound */
	bool gone;                     /* to be removed from the ledger; never written */
	unsigned next;                 /* of the same user, or KEY_LEDGER_END */
};

struct key_ledger {
	struct key_entry *entries;
	unsigned count;
	size_t size;              /* as it was read */
	char mark[KEY_MARK_SIZE]; /* of this machine, while the bindings of another are being told apart; or "" */
	struct name_map first;    /* of each user's entries */
	bool changed;
};
#define KEY_LEDGER_END UINT32_MAX

/* state may be -1: empty. A damaged line is passed over. */
int key_ledger_read(int state, struct key_ledger *ret_ledger) MUST_CHECK;
void key_ledger_free(struct key_ledger *ledger);
#define cleanup_key_ledger CLEANUP(key_ledger_free)
/* The user's first entry; the others follow by `next`. */
unsigned key_ledger_first(const struct key_ledger *ledger, const char *user);
/* True when the file at that path was made by us for that user. */
bool key_ledger_made(const struct key_ledger *ledger, const char *user, const char *path);
/* Puts the entry in the place of the one with the same user, keypair and path; copies the texts. */
int key_ledger_put(struct key_ledger *ledger, const struct key_entry *entry) MUST_CHECK;
/* The entry, or NULL. */
struct key_entry *key_ledger_find(
	const struct key_ledger *ledger, const char *user, const char *keypair, const char *path);
void key_ledger_remove(struct key_ledger *ledger, const char *user, const char *keypair, const char *path);
/* About what the entry of a line adds to the file. */
size_t key_ledger_weight(const char *user, const char *path, const char *line);
/* Nothing when nothing changed. -EFBIG, and the old one stands, over KEY_LEDGER_MAX unless it has become smaller. */
int key_ledger_write(int state, const struct key_ledger *ledger) MUST_CHECK;
