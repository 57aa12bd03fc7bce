/* SPDX-License-Identifier: Apache-2.0 */
/* A list of signers: refused with a reason, or every entry complete. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/allowed_signers.h"
#include "lib/sshsig.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	cleanup_allowed_signers struct allowed_signers signers = {0};
	char reason[ALLOWED_SIGNERS_REASON_MAX];
	const struct allowed_signer *signer;
	unsigned line;

	if (allowed_signers_parse((const char *)bytes, size, &signers, &line, reason) < 0)
		return 0;
	for (size_t i = 0; i < signers.count; i++) {
		const struct allowed_signer *entry = &signers.entries[i];
		if (!entry->name || !entry->principals || !entry->namespaces || !entry->blob)
			abort();
		(void)allowed_signers_check(
			&signers, "i-1", SSHSIG_DOCUMENT, entry->blob, entry->blob_size, 1, &signer);
	}
	return 0;
}
