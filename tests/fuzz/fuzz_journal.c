/* SPDX-License-Identifier: Apache-2.0 */
/* What a crash or a bad disk left of a journal: read up to a whole line, with outcomes for its own document's commands.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/apply/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct apply apply;
	cleanup_document struct document document = {0};
	int64_t end = -1;

	if (!apply.manifests.roots[0] && manifest_set_load(&apply.manifests) < 0)
		abort();
	int r = journal_read(&apply, (const char *)bytes, size, &document, &end);
	if (r < 0 && r != -EBADMSG && r != -ENOMEM)
		abort();
	if (r < 0)
		return 0;
	if (end < 1 || (size_t)end > size || bytes[end - 1] != '\n' || memchr(bytes + end, '\n', size - (size_t)end))
		abort();
	for (size_t i = 0; i < document.count; i++) {
		const struct command *command = &document.commands[i];
		if (command->outcome.known && code_is_retried(command->outcome.code))
			abort();
		if (command->redo && !command->plan)
			abort();
	}
	return 0;
}
