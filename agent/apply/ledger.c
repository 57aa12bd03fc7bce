/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/ledger.h"

#include <errno.h>
#include <string.h>

#include "lib/file.h"

int ledger_walk(
	const struct apply *apply, const char *plugin, int (*visit)(const cJSON *line, void *context), void *context)
{
	cleanup_close int directory = -1;
	cleanup_free char *text = NULL;
	char path[64];
	size_t size;

	if (apply->state < 0)
		return 0;
	(void)snprintf(path, sizeof(path), "plugin/%s", plugin);
	int r = file_open_directory(apply->state, path, &directory);
	if (r == 0)
		r = file_read(directory, "ledger", LEDGER_SIZE_MAX, &text, &size);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (size_t offset = 0; offset < size;) {
		const char *newline = memchr(text + offset, '\n', size - offset);
		size_t length = newline ? (size_t)(newline - text) - offset : size - offset;
		cleanup_json cJSON *line = NULL;
		if (newline && json_parse_object(text + offset, length, &line) == 0) {
			r = visit(line, context);
			if (r != 0)
				return r < 0 ? r : 0;
		}
		offset += length + 1;
	}
	return 0;
}
