/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For json_agreement.py: texts on standard input, each after its size in a line; for each a line that says whether the
 * strict reader takes it, and what it read, written again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lib/json.h"

#define TEXT_MAX (1u << 20)

int main(void)
{
	char *text = malloc(TEXT_MAX + 1), line[32];

	if (!text)
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		char *end;
		unsigned long size = strtoul(line, &end, 10);
		if (*end != '\n' || size > TEXT_MAX || fread(text, 1, size, stdin) != size)
			break;
		cleanup_json cJSON *root = NULL;
		cleanup_buffer struct buffer out = {0};
		/* An exact copy on the heap: a byte read behind its end is seen by the sanitizer. */
		char *exact = malloc(size ? size : 1);
		if (!exact)
			break;
		for (unsigned long i = 0; i < size; i++)
			exact[i] = text[i];
		int r = json_parse(exact, size, &root);
		free(exact);
		if (r < 0) {
			(void)puts("no");
			continue;
		}
		struct json_writer writer = {&out, false};
		json_put_value(&writer, NULL, root);
		if (buffer_status(&out) < 0)
			break;
		(void)printf("yes %s\n", out.bytes);
	}
	free(text);
	return ferror(stdin) || !feof(stdin);
}
