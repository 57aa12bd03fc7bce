/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys.sweep, which only latchkey-apply gives: looks whether one user's bound keys still stand where they were put. A
 * key that is gone or changed is noted in the ledger (drift = report) or put back (restore), SWEEP_RESTORES_MAX times
 * in SWEEP_WINDOW: then somebody wants it gone, and the ledger says `contested`. What has expired is taken away.
 */
#pragma once

#include "plugins/authorized-keys/ledger.h"
#include "plugins/authorized-keys/work.h"

#define SWEEP_RESTORES_MAX 3
#define SWEEP_WINDOW 86400 /* seconds */

/* After the look for all that is known (work_look_for_known): edits into the work, states into the ledger. */
int sweep_decide(const struct plugin_request *request, struct key_ledger *ledger, struct work *work) MUST_CHECK;
/* The account is gone: so are its entries, and its files in our own directories. */
void sweep_forget(const struct plugin_request *request, struct key_ledger *ledger, const char *user,
	struct plugin_result *result);
