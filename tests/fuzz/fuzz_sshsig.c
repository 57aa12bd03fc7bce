/* SPDX-License-Identifier: Apache-2.0 */
/* An armoured signature: parsing is bounded, and nothing that was not really signed verifies. */
#include <stdint.h>

#include "lib/sshsig.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	cleanup_sshsig struct sshsig signature = {0};

	if (sshsig_parse((const char *)bytes, size, &signature) == CODE_OK)
		(void)sshsig_verify(&signature, SSHSIG_DOCUMENT, "x\n", 2);
	return 0;
}
