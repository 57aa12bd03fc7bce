/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the view that latchkeyd handed over: the first line is the status, then one typed line each. */
#pragma once

#include "lib/json.h"

struct status_server;

#define VIEW_SIZE_MAX (32u << 20)

/* -ENOENT before the first view. */
int view_read_status(struct status_server *server, cJSON **ret_status) MUST_CHECK;
/* Each line of that type, in the view's order; the callback's non-zero return ends the walk. */
int view_walk(struct status_server *server, const char *type, int (*visit)(const cJSON *line, void *context),
	void *context) MUST_CHECK;
