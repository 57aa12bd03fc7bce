/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/blocker.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *code, *sentence, *fix, *guest;
} table[BLOCKER_COUNT] = {
#define X(name, code, sentence, fix, guest) [BLOCKER_##name] = {code, sentence, fix, guest},
	BLOCKER_TABLE(X)
#undef X
};

const char *blocker_code(enum blocker blocker)
{
	return table[blocker].code;
}

const char *blocker_sentence(enum blocker blocker)
{
	return table[blocker].sentence;
}

int blocker_from_code(const char *code, enum blocker *ret_blocker)
{
	for (unsigned i = 0; i < BLOCKER_COUNT; i++) {
		if (strcmp(table[i].code, code) == 0) {
			*ret_blocker = (enum blocker)i;
			return 0;
		}
	}
	return -ENOENT;
}

#define OR ", or " /* between what helps */
#define CONSOLE "latchkey "

static void fill(const char *pattern, size_t size, const struct blocker_names *names, struct buffer *out)
{
	const struct {
		const char *word, *name;
	} words[] = {{"INSTANCE", names->instance}, {"USER", names->user}, {"ADDRESS", names->address}};

	for (const char *end = pattern + size; pattern < end;) {
		const char *name = NULL;
		for (unsigned i = 0; i < ELEMENTS(words) && !name; i++) {
			if (!words[i].name || strncmp(pattern, words[i].word, strlen(words[i].word)) != 0)
				continue;
			name = words[i].name;
			pattern += strlen(words[i].word);
		}
		if (name)
			buffer_append_text(out, name);
		else
			buffer_append(out, pattern++, 1);
	}
}

void blocker_put_fix(enum blocker blocker, const struct blocker_names *names, struct buffer *out)
{
	fill(table[blocker].fix, strlen(table[blocker].fix), names, out);
}

void blocker_put_guest_command(enum blocker blocker, const struct blocker_names *names, struct buffer *out)
{
	fill(table[blocker].guest, strlen(table[blocker].guest), names, out);
}

/* The first of what helps that is the operator's to type, up to what is said of it. */
bool blocker_put_console_command(enum blocker blocker, const struct blocker_names *names, struct buffer *out)
{
	for (const char *at = table[blocker].fix; at; at = strstr(at, OR), at = at ? at + strlen(OR) : NULL) {
		if (strncmp(at, CONSOLE, strlen(CONSOLE)) != 0)
			continue;
		fill(at, strcspn(at, ","), names, out);
		return true;
	}
	return false;
}

void blocker_write(struct json_writer *writer, const char *key, blocker_set blockers)
{
	json_begin_object(writer, key);
	json_put_bool(writer, "can", blockers == 0);
	json_begin_array(writer, "blockers");
	for (unsigned i = 0; i < BLOCKER_COUNT; i++) {
		if (blockers & BLOCKER_BIT(i))
			json_put_string(writer, NULL, table[i].code);
	}
	json_end_array(writer);
	json_end_object(writer);
}
