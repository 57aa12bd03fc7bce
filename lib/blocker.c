/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/blocker.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *code, *sentence, *fix, *guest, *console;
} table[BLOCKER_COUNT] = {
#define X(name, code, sentence, fix, guest, console) [BLOCKER_##name] = {code, sentence, fix, guest, console},
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

const char *blocker_fix(enum blocker blocker)
{
	return table[blocker].fix;
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

static void fill(const char *pattern, const char *user, const char *instance, struct buffer *out)
{
	while (*pattern) {
		size_t plain = strcspn(pattern, "{");
		const char *end = strchr(pattern, '}');
		buffer_append(out, pattern, plain);
		pattern += plain;
		if (*pattern == '\0' || !end)
			return;
		buffer_append_text(out, strncmp(pattern, "{user}", 6) == 0 ? user : instance);
		pattern = end + 1;
	}
}

void blocker_put_guest_command(enum blocker blocker, const char *user, struct buffer *out)
{
	fill(table[blocker].guest, user, "INSTANCE", out);
}

bool blocker_put_console_command(enum blocker blocker, const char *user, const char *instance, struct buffer *out)
{
	if (!table[blocker].console)
		return false;
	buffer_append_text(out, "latchkey ");
	fill(table[blocker].console, user, instance ? instance : "INSTANCE", out);
	return true;
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
