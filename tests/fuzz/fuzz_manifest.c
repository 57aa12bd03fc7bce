/* SPDX-License-Identifier: Apache-2.0 */
/* A command against its manifest: what is accepted has fields of the row alone, and is accepted again, defaults and
 * all. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static bool is_known(const struct manifest_command *row, const char *name)
{
	static const char *const common[] = {"id", "do", "not_before", "until", "actor"};

	for (size_t i = 0; i < ELEMENTS(common); i++) {
		if (strcmp(common[i], name) == 0)
			return true;
	}
	for (unsigned i = 0; i < row->field_count; i++) {
		if (strcmp(row->fields[i].name, name) == 0)
			return true;
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct manifest_set set;
	cleanup_json cJSON *command = NULL;
	char detail[DETAIL_MAX + 1] = "";
	const char *name;
	const cJSON *member;

	if (!set.roots[0] && manifest_set_load(&set) < 0)
		abort();
	if (json_parse_object((const char *)bytes, size, &command) < 0 || json_get_string(command, "do", &name) < 0)
		return 0;
	const struct manifest_command *row = manifest_find(&set, name);
	if (!row)
		return 0;
	enum code code = manifest_check(row, command, detail);
	if (strlen(detail) > DETAIL_MAX)
		abort();
	if (code != CODE_OK)
		return 0;
	cJSON_ArrayForEach(member, command)
	{
		if (!is_known(row, member->string))
			abort();
	}
	if (manifest_check(row, command, detail) != CODE_OK)
		abort();
	return 0;
}
