/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/net/varlink.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	cleanup_varlink_call struct varlink_call call = {0};

	if (varlink_parse((const char *)bytes, size, &call) == 0 &&
		(strlen(call.interface) == 0 || strlen(call.member) == 0 || (call.more && call.oneway)))
		abort();
	return 0;
}
