/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the view that latchkeyd handed over: the first line is the status, then one typed line each. Where the lines
 * are and whose is noted once a view, so that nobody's question costs more than his own lines.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/json.h"

#define VIEW_SIZE_MAX (32u << 20)
#define VIEW_NOBODY UINT32_MAX

enum view_type { VIEW_COMMAND, VIEW_USER, VIEW_KEY, VIEW_TYPES };

struct view_line {
	uint32_t offset, size, uid; /* uid: VIEW_NOBODY where it has none */
	enum view_type type;
};

struct view {
	int descriptor; /* -1 before the first one */
	size_t status_size;
	struct view_line *lines;
	size_t count, counts[VIEW_TYPES];
};

/* Takes the descriptor over, also on failure; then there is no view. */
int view_take(struct view *view, int descriptor) MUST_CHECK;
void view_free(struct view *view);
/* -ENOENT before the first view. */
int view_read_status(const struct view *view, cJSON **ret_status) MUST_CHECK;
/* Each line of that type that the uid may see (0: all), in the view's order; the callback's non-zero return ends the
 * walk. */
int view_walk(const struct view *view, enum view_type type, uid_t uid, int (*visit)(const cJSON *line, void *context),
	void *context) MUST_CHECK;
