/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /var/lib/latchkey/inbox/NAME.doc: signed documents for a machine without an endpoint, in order of name. A file is
 * gone only once its document was taken over or finally refused; what was refused stands in quarantine/ then, the
 * newest INBOX_KEPT of them. Regular files of root that nobody else may write, with one link, of at most 1 MiB.
 */
#pragma once

#include "agent/apply/apply.h"

#define INBOX_KEPT 4u

/*
 * The first file's name and text (free both). -ENOENT when there is none; -EBADMSG for one that is not as it must be,
 * which is set aside; another error is worth another try.
 */
int inbox_next(const struct apply *apply, char **ret_name, char **ret_text, size_t *ret_size) MUST_CHECK;
/* Taken over, or done before. */
int inbox_remove(const struct apply *apply, const char *name) MUST_CHECK;
/* Refused: into quarantine/. */
int inbox_set_aside(const struct apply *apply, const char *name) MUST_CHECK;
