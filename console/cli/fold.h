/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The newest document is the whole truth of what is pending, so a change carries on what still pends. Pure: what goes
 * in has been verified; what comes out is signed. See latchkey-protocol(7).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/json.h"

/*
 * A document with `dry_run` is carried out by nobody; what pends beside it stands in it too, so that it is not lost
 * from the document, and this member names its ids. Instances ignore x- members.
 */
#define FOLD_CARRIED "x-carried"

enum fold_verdict {
	FOLD_KEPT,
	FOLD_CLOSED, /* a signed result is final */
	FOLD_EXPIRED,
	FOLD_DRY,        /* it was a dry run */
	FOLD_SUPERSEDED, /* the new command sets the same fact: both would be refused as a conflict; or is the same one,
			    put before without an answer */
};

typedef void (*fold_visitor)(void *context, const cJSON *command, enum fold_verdict verdict);

/*
 * Appends to `commands` a copy of each command of the payload that still pends, with `until` and `actor` made explicit,
 * so that nothing lives longer, or passes for somebody else's, than it was signed. `closed` has a member per closed id;
 * `added` is the new command, or NULL. The latest `until` kept is returned. -ENOMEM, -EBADMSG.
 */
int fold_pending(const cJSON *payload, int64_t now, const cJSON *closed, const cJSON *added, cJSON *commands,
	fold_visitor visitor, void *context, int64_t *ret_latest) MUST_CHECK;
/* True when both commands set the same fact of the same user or of sshd. */
bool fold_same_fact(const cJSON *one, const cJSON *other);
