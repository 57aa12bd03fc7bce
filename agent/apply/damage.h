/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State that is not as we write it: a line that is no JSON, a key of another size, a file that is not root's or no file
 * at all. It is set aside in quarantine/, what is whole in it goes on, and status says so until somebody takes it away.
 */
#pragma once

#include "agent/apply/apply.h"

/* quarantine/ holds one of each, and the inbox's refused documents: eight files. */
#define DAMAGE_JOURNAL "journal"
#define DAMAGE_HISTORY "history"
#define DAMAGE_KEY "key"
#define DAMAGE_LEDGER "ledger"

/* Moves what that name stands for out of the directory, into parent/quarantine/KEPT. */
int damage_set_aside(int parent, int directory, const char *name, const char *kept) MUST_CHECK;
/* Looks at history, keys and ledgers, under the lock and before they are read. Best effort: what stays is met later. */
void damage_repair(const struct apply *apply);
/* What was set aside and still lies there, for status; NULL when nothing does. */
const char *damage_kept(const struct apply *apply);
