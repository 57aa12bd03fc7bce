/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was done, one JSON line per command and one per document, in history/current and history/previous, together at
 * most 1 MiB. It answers a repeated id, gives the floors of seq and time, and is what status shows. Where the disk
 * cannot be written, what was done at `runtime` is noted in /run/latchkey/history, which the next line on disk takes
 * along.
 */
#pragma once

#include "agent/apply/apply.h"

#define HISTORY_FILE_MAX (512u << 10)
/* One document's lines are never divided: 4,096 commands with the longest ids, details and actors. */
#define HISTORY_READ_MAX (16u << 20)

#define HISTORY_FILES 3u

struct history {
	char *texts[HISTORY_FILES]; /* previous, current, in /run: each newer than the one before */
	size_t sizes[HISTORY_FILES];
};

/*
 * What is there; missing files count as empty. Others that cannot be read are an error: without the history nobody
 * knows what was done already.
 */
int history_load(const struct apply *apply, struct history *ret_history) MUST_CHECK;
void history_free(struct history *history);
#define cleanup_history CLEANUP(history_free)
/* Fills the outcome of each command whose id has a final status; notes whose line would only be repeated. */
int history_answer(const struct history *history, struct document *document) MUST_CHECK;
/* What the history alone says of them. */
int history_floors(const struct history *history, struct floors *ret_floors) MUST_CHECK;
int history_read_floors(const struct apply *apply, struct floors *ret_floors) MUST_CHECK;
/* One line for the document and one per command that the history does not have; on disk when it returns. */
int history_append(const struct apply *apply, const struct document *document) MUST_CHECK;
/* The same in /run, for what is gone at reboot as well. */
int history_append_in_run(const struct apply *apply, const struct document *document) MUST_CHECK;
/* From here on the floors of seq and time are 0 again; what was done stays known. */
int history_reset_floors(const struct apply *apply) MUST_CHECK;
/* Lines were lost here: a document from before is not taken over, for nobody knows whether it was. */
void history_put_damaged(const struct apply *apply, struct buffer *lines);
/* The seq of the document that a command of that id came in, and the line's members; -ENOENT. */
int history_find(const struct history *history, const char *id, cJSON **ret_line) MUST_CHECK;
/* How many commands of the newest document still wait, and when a document was last found good; 0 when nobody knows. */
void history_progress(const struct apply *apply, int64_t *ret_pending, int64_t *ret_verified);
/* Walks lines from the newest to the oldest. */
void history_newest(const struct history *history, unsigned *ret_file, size_t *ret_end);
bool history_previous_line(
	const struct history *history, unsigned *file, size_t *end, const char **ret_line, size_t *ret_size);
