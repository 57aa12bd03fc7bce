/* SPDX-License-Identifier: Apache-2.0 */
/* What was in a seal: read in bounds, or refused. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sealed_password.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const struct sealed_password_binding binding = {"i", "c", "u"};
	cleanup_secret struct secret plain = {0}, value = {0};
	bool is_hash;

	if (size > 4096 || secret_allocate(size, &plain) < 0)
		return 0;
	if (size > 0)
		memcpy(plain.bytes, bytes, size);
	if (sealed_password_read(&plain, &binding, &is_hash, &value) == 0 &&
		(value.size == 0 || value.size > SEALED_PASSWORD_MAX || value.bytes[value.size] != 0))
		abort();
	return 0;
}
