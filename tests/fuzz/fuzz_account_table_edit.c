/* SPDX-License-Identifier: Apache-2.0 */
/* An account file of any bytes: what is added comes out again, and nothing else changes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/account/table_edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct account_table table = {.bytes = malloc(size + 1), .size = size};
	struct account_line field;
	struct table_edit edit;

	if (!table.bytes)
		return 0;
	memcpy(table.bytes, bytes, size);
	table.bytes[size] = '\0';
	table_edit_begin(&edit, &table);
	(void)!table_edit_set_field(&edit, "root", 3, 1, "x");
	(void)!table_edit_set_member(&edit, "dev", 4, 3, "bob", true);
	(void)!table_edit_set_member(&edit, "dev", 4, 3, "bob", false);
	(void)!table_edit_field(&edit, "bin", 7, 6, &field);
	size_t before = edit.table.size;
	char *copy = malloc(before + 1);
	if (!copy)
		abort();
	memcpy(copy, edit.table.bytes, before + 1);
	if (!memmem(copy, before, "victim", 6) && table_edit_add_line(&edit, "victim:x:y") == 0) {
		if (table_edit_set_field(&edit, "victim", 3, 2, "longer") < 0 ||
			table_edit_remove_line(&edit, "victim") < 0)
			abort();
		if (memcmp(edit.table.bytes, copy, before) != 0 || edit.table.size > before + 1)
			abort();
	}
	free(copy);
	table_edit_free(&edit);
	return 0;
}
