/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confirm_within: revert/DEADLINE-SEQ-ID holds the apply request that takes the step back, written before the step is
 * applied; a marker BOOTTIME-DEADLINE-SEQ-ID in /run/latchkey/revert says that this boot made it, and when by
 * CLOCK_BOOTTIME its time is over: a clock that is set changes nothing. That passed, or no marker (= rebooted): the
 * step is undone. Where there is no /run (another root), the deadline counts. sshd.confirm deletes both.
 */
#pragma once

#include "agent/apply/apply.h"

#define RESTORE_MARK "+" /* access.restore's steps are ID+FIELD: no document's id has a plus */
#define RESTORE_ID_SIZE 128u

/* Whether anything is on trial: asked once where each of many commands would look. True when that cannot be read. */
bool revert_any(const struct apply *apply);
bool revert_is_pending(const struct apply *apply, const char *id);
/* Before the step is applied. An entry of the same id stays as it is. */
int revert_prepare(const struct apply *apply, const struct document *document, struct command *command,
	const struct resolved_account *account, int64_t within) MUST_CHECK;
/* The seq that the entry of that id, or the first of its steps, belongs to; -ENOENT. */
int revert_find(const struct apply *apply, const char *id, int64_t *ret_seq) MUST_CHECK;
/* The step was not applied, or was confirmed: its entry goes, and those of its steps. The seq, or -ENOENT. */
int revert_remove(const struct apply *apply, const char *id, int64_t *ret_seq) MUST_CHECK;
/* Undoes the steps of that id at once. What cannot be undone now is when its time has come. */
int revert_now(const struct apply *apply, const char *id) MUST_CHECK;
/* Calls visit for the command of each step on trial. Its non-zero return ends the walk and is returned. */
int revert_walk(const struct apply *apply, int (*visit)(const char *id, const cJSON *command, void *context),
	void *context) MUST_CHECK;
/* Sets aside what is no stored step, or it would keep every other from being judged. At boot, before anything is done.
 */
void revert_repair(const struct apply *apply);
/* This disk is another machine's: its steps are due, and nobody here has asked for them, so they are not reported. */
int revert_inherit(const struct apply *apply) MUST_CHECK;
/* Undoes what is due. 0, or -EAGAIN when something has to be tried again. */
int revert_run_due(struct apply *apply) MUST_CHECK;
