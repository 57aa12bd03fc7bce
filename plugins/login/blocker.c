/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/login/blocker.h"

static const struct {
	const char *code, *sentence, *fix;
} table[BLOCKER_COUNT] = {
#define X(name, code, sentence, fix) [BLOCKER_##name] = {code, sentence, fix},
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
