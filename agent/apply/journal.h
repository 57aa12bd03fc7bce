/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a command happen once across crashes. journal/SEQ exists exactly while there is work to redo: append-only
 * JSON lines, each on disk before the step it announces. It starts as the renamed spare, 2 MiB of preallocated zeros,
 * so that a full disk does not stop a key, and ends at its first NUL byte; a last line without newline is a torn write.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/apply/apply.h"

#define JOURNAL_SPARE_SIZE (2 << 20)
#define JOURNAL_SIZE_MAX (96u << 20) /* 4,096 commands with plans of 16 KiB, and the document */

struct journal {
	int directory; /* the journal/ it stands in */
	int descriptor;
	char name[24];
	int64_t seq, end;
};

/* Takes a document over: from here on it will be finished. -ENOSPC, -EROFS, … when it cannot be written. */
int journal_begin(const struct apply *apply, const struct document *document, struct journal *ret_journal) MUST_CHECK;
/*
 * Opens the oldest journal above `after` that a crash left and reads its document and outcomes; -ENOENT when there is
 * none, -EBADMSG for a damaged one, which is set aside.
 */
int journal_resume(const struct apply *apply, int64_t after, struct journal *ret_journal,
	struct document *ret_document) MUST_CHECK;
/*
 * What the journal's text says, up to its first NUL byte: the document, with plans and outcomes, and where the last
 * whole line ends. -EBADMSG when a line is not as we write it; the document may be half filled then.
 */
int journal_read(const struct apply *apply, const char *bytes, size_t size, struct document *document,
	int64_t *ret_end) MUST_CHECK;
/* The batch's plans, on disk before apply is called. */
int journal_plan(
	struct journal *journal, unsigned stage, const char *plugin, struct command **batch, size_t count) MUST_CHECK;
int journal_applied(
	struct journal *journal, unsigned stage, const char *plugin, struct command **batch, size_t count) MUST_CHECK;
/* The work is done: the journal goes. */
int journal_finish(struct journal *journal) MUST_CHECK;
void journal_close(struct journal *journal);
#define cleanup_journal CLEANUP(journal_close)
/* Makes a new spare where there is none; best effort. */
void journal_prepare_spare(const struct apply *apply);
/* Raises the floors to the newest journal's document. */
void journal_raise_floors(const struct apply *apply, struct floors *floors);
/* The highest seq of journal/, 0 without one. */
int64_t journal_newest(const struct apply *apply);
