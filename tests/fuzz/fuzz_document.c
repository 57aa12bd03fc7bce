/* SPDX-License-Identifier: Apache-2.0 */
/* The payload of a signed text: whatever is taken has an id, a name and a time for every command. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "agent/apply/apply.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct apply apply;
	struct document document = {0};

	if (!apply.manifests.roots[0] && manifest_set_load(&apply.manifests) < 0)
		abort();
	if (document_read_journalled(&apply, (const char *)bytes, size, &document) < 0)
		return 0;
	if (document.seq < 1 || document.expires < document.issued || document.count > DOCUMENT_COMMANDS_MAX)
		abort();
	for (size_t i = 0; i < document.count; i++) {
		const struct command *command = &document.commands[i];
		if (!command->id || !command->do_name || command->until > document.expires ||
			(!command->times_invalid && command->not_before > 0 && command->not_before >= command->until) ||
			(command->row && command->row->stage == 0))
			abort();
	}
	document_free(&document);
	return 0;
}
