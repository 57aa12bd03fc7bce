/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a journal that only waits for a `not_before` goes on: /run/latchkey/later/DEADLINE-SEQ, a name without content,
 * which latchkeyd looks at as it does at revert/. DEADLINE-SEQ+ says that something of journal SEQ is also tried again
 * with growing distance. A reboot forgets them; the boot redo writes them anew.
 */
#pragma once

#include "agent/apply/apply.h"

/* Before the document is run: whatever ends the run early leaves a journal that is tried again. */
void later_forget(const struct apply *apply, const struct document *document);
/* After it, where its journal stays. Best effort: without the name it is tried again as everything else is. */
void later_note(const struct apply *apply, const struct document *document);
/* Names whose journal is gone (set aside as damaged) wake nobody. */
void later_sweep(const struct apply *apply);
