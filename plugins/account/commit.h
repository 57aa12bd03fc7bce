/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a batch: ledger and account files to disk, then what needs them to stand first, then who must hear of it.
 */
#pragma once

#include "plugins/account/batch.h"

/* Keeps a step for after the account files stand. Takes the home over. */
int commit_defer(struct batch *batch, struct deferred deferred) MUST_CHECK;
void commit_deferred_free(struct deferred *deferred);
/* visudo's word on the right of sudo that the facets give; the result has a code when it refuses. */
int commit_check_sudo(const struct batch *batch, const char *user, const struct facets *facets,
	struct plugin_result *result) MUST_CHECK;
/* The right of sudo that the facet's after gives or takes. */
int commit_defer_sudo(struct batch *batch, unsigned index, const struct facet *facet) MUST_CHECK;
/* From the facet home_directory, "UID:PATH". */
int commit_defer_home(struct batch *batch, unsigned index, const struct facet *facet) MUST_CHECK;
/* Writes everything; a failure becomes the code of every command that changes something. */
void commit_batch(struct batch *batch, struct plugin_result *results);
/* The code and detail for an errno, unless the result has a code already. */
void commit_report(struct plugin_result *result, int error, const char *what);
