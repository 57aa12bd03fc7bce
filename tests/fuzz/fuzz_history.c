/* SPDX-License-Identifier: Apache-2.0 */
/* The history as a bad disk left it: lines are walked to their end, and only final ones answer a command. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/apply/history.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char text[4096];
	struct command commands[] = {{.id = "a"}, {.id = "b"}};
	struct document document = {.commands = commands, .count = ELEMENTS(commands)};
	struct history history = {0};
	cleanup_json cJSON *found = NULL;
	struct floors floors;
	size_t end, length, lines = 0;
	const char *line;
	unsigned file;

	if (size == 0 || size > sizeof(text))
		return 0;
	/* previous and current, divided where the first byte says */
	memcpy(text, bytes, size);
	size_t divide = bytes[0] % size;
	history.texts[0] = text;
	history.sizes[0] = divide;
	history.texts[1] = text + divide;
	history.sizes[1] = size - divide;
	history_newest(&history, &file, &end);
	while (history_previous_line(&history, &file, &end, &line, &length)) {
		if (line < text || line + length >= text + size || line[length] != '\n')
			abort();
		if (++lines > size)
			abort();
	}
	if (history_answer(&history, &document) < 0)
		return 0;
	for (size_t i = 0; i < ELEMENTS(commands); i++) {
		if (commands[i].outcome.known && !commands[i].outcome.from_history)
			abort();
		outcome_free(&commands[i].outcome);
	}
	if (history_find(&history, "a", &found) == 0 && strcmp(json_member(found, "id")->valuestring, "a") != 0)
		abort();
	if (history_floors(&history, &floors) == 0 && strlen(floors.digest) >= DIGEST_SIZE)
		abort();
	return 0;
}
