/* SPDX-License-Identifier: Apache-2.0 */
/* An identity as an endpoint might offer it. */
#include <stdint.h>

#include "lib/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	cleanup_identity struct identity identity = {0};
	(void)!identity_read((const char *)bytes, size, &identity);
	return 0;
}
