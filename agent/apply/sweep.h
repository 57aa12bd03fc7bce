/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The look at what was bound: keys.sweep for every user of the keys plugin's ledger, and the list of revoked keys. When
 * it is due next stands as the name of a file in /var/lib/latchkey/sweep, which latchkeyd looks at, as it does at
 * revert/. Where nothing is managed there is none.
 */
#pragma once

#include "agent/apply/apply.h"

/* Sweeps every user. 0, or -EAGAIN when some could not be looked at for a reason that passes. */
int sweep_run(const struct apply *apply) MUST_CHECK;
/* At boot: sweeps when this is a clone, else brings only the list of revoked keys up to date. */
void sweep_at_boot(const struct apply *apply);
/* Only the list of revoked keys, where there is one. */
void sweep_revoked(const struct apply *apply);
/* Forgets what was bound to the accounts that the batch removed: whoever gets the name later gets none of it. */
void sweep_removed(const struct apply *apply, struct command *const *batch, size_t count);
/* Writes down when the next one is due; after one (`done`) a whole interval from now. */
void sweep_schedule(const struct apply *apply, bool done);
/* This disk is another machine's: its bindings are inherited, which the next sweep (at this boot) notes. */
int sweep_inherit(const struct apply *apply) MUST_CHECK;
