/* SPDX-License-Identifier: Apache-2.0 */
/* Results that an instance signed. One that its pinned key did not sign does not exist for us. */
#pragma once

#include "console/cli/pins.h"
#include "lib/json.h"

/* Where reading stands. */
struct results_cursor {
	int64_t after;              /* what has been read */
	char etag[128];             /* of the last answer, "" at first */
	unsigned verified, strange; /* how many were by the pinned key, and were not */
	bool refused;               /* the endpoint does not let us read */
};

/* A verified payload; the visitor may not keep it. */
typedef void (*results_visitor)(void *context, const cJSON *payload);

/* Reads everything after the cursor; an unpinned instance has no results. CLI_ENDPOINT is said. */
enum cli_exit results_read(
	struct cli *cli, const struct pin *pin, struct results_cursor *cursor, results_visitor visitor, void *context);
/*
 * One turn of waiting, of up to `wait` seconds and a second at least while there is nothing new. An endpoint that is
 * gone for once is no error, and one that refuses us is.
 */
enum cli_exit results_wait(struct cli *cli, const struct pin *pin, struct results_cursor *cursor, int wait,
	results_visitor visitor, void *context);

/* True of a text about a document that was only a dry run: its ids do not count. */
bool results_are_dry(const cJSON *payload);
/* What became of commands: an object id → result, folded: a later one replaces a pending one, never a final one. */
bool results_merge(cJSON *outcomes, const cJSON *payload); /* of a dry run: nothing */
bool results_merge_dry(cJSON *outcomes, const cJSON *payload);
bool result_is_final(const cJSON *result);
bool result_is_good(const cJSON *result); /* done, or found done, or observed */
