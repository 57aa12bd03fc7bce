/* SPDX-License-Identifier: Apache-2.0 */
/* A trust document whose signatures held: what is taken names signers within the limits, and a revoked key is refused.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/apply/trust.h"
#include "lib/sshsig.h"

#define ARMOUR SIGNED_TEXT_BEGIN "\nU1NIU0lH\n-----END SSH SIGNATURE-----\n"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	cleanup_buffer struct buffer text = {0};
	cleanup_trust struct trust trust = {0};

	buffer_append(&text, bytes, size);
	buffer_append_text(&text, "\n" ARMOUR);
	if (buffer_status(&text) < 0)
		return 0;
	int r = trust_add_document(&trust, text.bytes, text.size);
	if (r < 0 && r != -EBADMSG && r != -ENOMEM)
		abort();
	if (r < 0)
		return 0;
	if (trust.version < 1 || trust.signers.count > ALLOWED_SIGNERS_MAX)
		abort();
	for (size_t i = 0; i < trust.signers.count; i++) {
		const struct allowed_signer *signer = &trust.signers.entries[i], *found = NULL;
		char detail[DETAIL_MAX + 1];
		enum code code =
			trust_check(&trust, "vm-1", signer->blob, signer->blob_size, 1800000000, &found, detail);
		if ((code == CODE_OK) != (found != NULL))
			abort();
	}
	return 0;
}
