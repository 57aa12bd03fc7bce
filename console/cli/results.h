/* SPDX-License-Identifier: Apache-2.0 */
/* Results that an instance signed. One that its pinned key did not sign does not exist for us. */
#pragma once

#include "console/cli/pins.h"
#include "lib/json.h"

/* Where reading stands. */
struct results_cursor {
	int64_t after;    /* what has been read */
	char etag[128];   /* of the last answer, "" at first */
	unsigned strange; /* how many were not by the pinned key */
};

/* A verified payload; the visitor may not keep it. */
typedef void (*results_visitor)(void *context, const cJSON *payload);

/*
 * Reads everything after the cursor. With `wait` > 0 the endpoint may hold the request that long while there is nothing
 * new. CLI_ENDPOINT (said unless quiet); an unpinned instance has no results.
 */
enum cli_exit results_read(struct cli *cli, const struct pin *pin, struct results_cursor *cursor, int wait, bool quiet,
	results_visitor visitor, void *context);

/* True of a text about a document that was only a dry run: its ids do not count. */
bool results_are_dry(const cJSON *payload);
/* What became of commands: an object id → result, folded: a later one replaces a pending one, never a final one. */
bool results_merge(cJSON *outcomes, const cJSON *payload); /* of a dry run: nothing */
bool results_merge_dry(cJSON *outcomes, const cJSON *payload);
bool result_is_final(const cJSON *result);
bool result_is_good(const cJSON *result); /* done, or found done, or observed */
