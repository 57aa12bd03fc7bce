/* SPDX-License-Identifier: Apache-2.0 */
/* What the strict reader takes, it writes again so that it takes it again, with the same result. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	cleanup_json cJSON *first = NULL, *second = NULL;
	cleanup_buffer struct buffer once = {0}, twice = {0};
	struct json_writer once_writer = {&once, false}, twice_writer = {&twice, false};

	if (json_parse((const char *)bytes, size, &first) < 0)
		return 0;
	json_put_value(&once_writer, NULL, first);
	if (buffer_status(&once) < 0)
		return 0;
	if (json_parse(once.bytes, once.size, &second) < 0)
		abort();
	json_put_value(&twice_writer, NULL, second);
	if (buffer_status(&twice) < 0)
		return 0;
	if (once.size != twice.size || memcmp(once.bytes, twice.bytes, once.size) != 0)
		abort();
	return 0;
}
