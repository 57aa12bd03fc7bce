/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/json.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* The linear check. Each function advances the cursor past what it accepts and returns false at the first violation. */
struct cursor {
	const unsigned char *at, *end;
	bool allow_null;
};

static void skip_white_space(struct cursor *cursor)
{
	while (cursor->at < cursor->end &&
		(*cursor->at == ' ' || *cursor->at == '\t' || *cursor->at == '\n' || *cursor->at == '\r'))
		cursor->at++;
}

static bool take(struct cursor *cursor, unsigned char byte)
{
	if (cursor->at == cursor->end || *cursor->at != byte)
		return false;
	cursor->at++;
	return true;
}

static bool take_word(struct cursor *cursor, const char *word)
{
	size_t size = strlen(word);
	if ((size_t)(cursor->end - cursor->at) < size || memcmp(cursor->at, word, size) != 0)
		return false;
	cursor->at += size;
	return true;
}

static bool take_hex4(struct cursor *cursor, unsigned *ret_unit)
{
	unsigned unit = 0;
	for (int i = 0; i < 4; i++) {
		if (cursor->at == cursor->end)
			return false;
		unsigned char c = *cursor->at++;
		unsigned digit;
		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (c >= 'a' && c <= 'f')
			digit = c - 'a' + 10u;
		else if (c >= 'A' && c <= 'F')
			digit = c - 'A' + 10u;
		else
			return false;
		unit = unit << 4 | digit;
	}
	*ret_unit = unit;
	return true;
}

static bool take_escape(struct cursor *cursor)
{
	if (cursor->at == cursor->end)
		return false;
	unsigned char c = *cursor->at++;
	if (c != 'u')
		return strchr("\"\\/bfnrt", c) != NULL && c != '\0';
	unsigned unit, low;
	if (!take_hex4(cursor, &unit) || unit == 0)
		return false;
	if (unit >= 0xdc00 && unit <= 0xdfff)
		return false;
	if (unit < 0xd800 || unit > 0xdbff)
		return true;
	return take(cursor, '\\') && take(cursor, 'u') && take_hex4(cursor, &low) && low >= 0xdc00 && low <= 0xdfff;
}

/* One well-formed UTF-8 sequence of more than one byte (Unicode 15, table 3-7). */
static bool take_utf8(struct cursor *cursor)
{
	const unsigned char *at = cursor->at;
	size_t left = (size_t)(cursor->end - at);
	size_t size;
	unsigned char low = 0x80, high = 0xbf;

	if (at[0] >= 0xc2 && at[0] <= 0xdf) {
		size = 2;
	} else if (at[0] >= 0xe0 && at[0] <= 0xef) {
		size = 3;
		low = at[0] == 0xe0 ? 0xa0 : 0x80;
		high = at[0] == 0xed ? 0x9f : 0xbf;
	} else if (at[0] >= 0xf0 && at[0] <= 0xf4) {
		size = 4;
		low = at[0] == 0xf0 ? 0x90 : 0x80;
		high = at[0] == 0xf4 ? 0x8f : 0xbf;
	} else {
		return false;
	}
	if (left < size || at[1] < low || at[1] > high)
		return false;
	for (size_t i = 2; i < size; i++) {
		if (at[i] < 0x80 || at[i] > 0xbf)
			return false;
	}
	cursor->at += size;
	return true;
}

bool json_is_utf8(const char *text)
{
	struct cursor cursor = {.at = (const unsigned char *)text, .end = (const unsigned char *)text + strlen(text)};

	while (cursor.at < cursor.end) {
		if (*cursor.at < 0x80)
			cursor.at++;
		else if (!take_utf8(&cursor))
			return false;
	}
	return true;
}

static bool take_string(struct cursor *cursor)
{
	if (!take(cursor, '"'))
		return false;
	while (cursor->at < cursor->end) {
		unsigned char c = *cursor->at;
		if (c == '"') {
			cursor->at++;
			return true;
		}
		if (c < 0x20)
			return false;
		if (c == '\\') {
			cursor->at++;
			if (!take_escape(cursor))
				return false;
		} else if (c < 0x80) {
			cursor->at++;
		} else if (!take_utf8(cursor)) {
			return false;
		}
	}
	return false;
}

static bool take_integer(struct cursor *cursor)
{
	bool negative = take(cursor, '-');
	const unsigned char *start = cursor->at;
	int64_t value = 0;

	while (cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9') {
		value = value * 10 + (*cursor->at++ - '0');
		if (value > JSON_INTEGER_MAX)
			return false;
	}
	size_t digits = (size_t)(cursor->at - start);
	if (digits == 0 || (digits > 1 && *start == '0') || (negative && value == 0))
		return false;
	return cursor->at == cursor->end || strchr(".eE", *cursor->at) == NULL || *cursor->at == '\0';
}

static bool take_value(struct cursor *cursor, unsigned depth);

/* Members of an object or elements of an array, after the opening bracket. */
static bool take_list(struct cursor *cursor, unsigned char close, unsigned depth)
{
	skip_white_space(cursor);
	if (take(cursor, close))
		return true;
	for (;;) {
		skip_white_space(cursor);
		if (close == '}') {
			if (!take_string(cursor))
				return false;
			skip_white_space(cursor);
			if (!take(cursor, ':'))
				return false;
		}
		if (!take_value(cursor, depth))
			return false;
		if (take(cursor, close))
			return true;
		if (!take(cursor, ','))
			return false;
	}
}

static bool take_value(struct cursor *cursor, unsigned depth)
{
	bool good;

	skip_white_space(cursor);
	if (cursor->at == cursor->end)
		return false;
	switch (*cursor->at) {
	case '{':
	case '[': {
		unsigned char close = *cursor->at == '{' ? '}' : ']';
		cursor->at++;
		good = depth < JSON_DEPTH_MAX && take_list(cursor, close, depth + 1);
		break;
	}
	case '"':
		good = take_string(cursor);
		break;
	case 't':
		good = take_word(cursor, "true");
		break;
	case 'f':
		good = take_word(cursor, "false");
		break;
	case 'n':
		good = cursor->allow_null && take_word(cursor, "null");
		break;
	default:
		good = take_integer(cursor);
	}
	skip_white_space(cursor);
	return good;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* -EBADMSG when two members of one object have the same name once escapes are resolved. */
static int check_duplicates(const cJSON *node)
{
	size_t count = 0;
	const cJSON *child;
	int r;

	cJSON_ArrayForEach(child, node)
	{
		count++;
		r = check_duplicates(child);
		if (r < 0)
			return r;
	}
	if (!cJSON_IsObject(node) || count < 2)
		return 0;
	cleanup_free const char **names = calloc(count, sizeof(*names));
	if (!names)
		return -ENOMEM;
	size_t i = 0;
	cJSON_ArrayForEach(child, node)
	{
		names[i++] = child->string;
	}
	qsort(names, count, sizeof(*names), compare_names);
	for (i = 1; i < count; i++) {
		if (strcmp(names[i - 1], names[i]) == 0)
			return -EBADMSG;
	}
	return 0;
}

static int parse(const char *text, size_t size, bool allow_null, cJSON **ret_root)
{
	struct cursor cursor = {(const unsigned char *)text, (const unsigned char *)text + size, allow_null};
	if (!take_value(&cursor, 0) || cursor.at != cursor.end)
		return -EBADMSG;
	cleanup_json cJSON *root = cJSON_ParseWithLength(text, size);
	if (!root)
		return -ENOMEM; /* the text is good, so only memory can be missing */
	int r = check_duplicates(root);
	if (r < 0)
		return r;
	*ret_root = steal_pointer(&root);
	return 0;
}

int json_parse(const char *text, size_t size, cJSON **ret_root)
{
	return parse(text, size, false, ret_root);
}

static int parse_object(const char *text, size_t size, bool allow_null, cJSON **ret_root)
{
	cleanup_json cJSON *root = NULL;
	int r = parse(text, size, allow_null, &root);
	if (r < 0)
		return r;
	if (!cJSON_IsObject(root))
		return -EBADMSG;
	*ret_root = steal_pointer(&root);
	return 0;
}

int json_parse_object(const char *text, size_t size, cJSON **ret_root)
{
	return parse_object(text, size, false, ret_root);
}

int json_parse_object_with_null(const char *text, size_t size, cJSON **ret_root)
{
	return parse_object(text, size, true, ret_root);
}

const cJSON *json_member(const cJSON *object, const char *name)
{
	return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, name) : NULL;
}

int json_get_string(const cJSON *object, const char *name, const char **ret_text)
{
	const cJSON *member = json_member(object, name);
	if (!member)
		return -ENOENT;
	if (!cJSON_IsString(member))
		return -EBADMSG;
	*ret_text = member->valuestring;
	return 0;
}

int64_t json_integer_of(const cJSON *node)
{
	return (int64_t)node->valuedouble;
}

int json_get_integer(const cJSON *object, const char *name, int64_t *ret_integer)
{
	const cJSON *member = json_member(object, name);
	if (!member)
		return -ENOENT;
	if (!cJSON_IsNumber(member))
		return -EBADMSG;
	*ret_integer = json_integer_of(member);
	return 0;
}

int json_get_bool(const cJSON *object, const char *name, bool *ret_bool)
{
	const cJSON *member = json_member(object, name);
	if (!member)
		return -ENOENT;
	if (!cJSON_IsBool(member))
		return -EBADMSG;
	*ret_bool = cJSON_IsTrue(member);
	return 0;
}

int json_get_array(const cJSON *object, const char *name, const cJSON **ret_array)
{
	const cJSON *member = json_member(object, name);
	if (!member)
		return -ENOENT;
	if (!cJSON_IsArray(member))
		return -EBADMSG;
	*ret_array = member;
	return 0;
}

int json_get_object(const cJSON *object, const char *name, const cJSON **ret_object)
{
	const cJSON *member = json_member(object, name);
	if (!member)
		return -ENOENT;
	if (!cJSON_IsObject(member))
		return -EBADMSG;
	*ret_object = member;
	return 0;
}

int json_only_members(const cJSON *object, const char *const *names, const char **ret_unknown)
{
	const cJSON *member;
	cJSON_ArrayForEach(member, object)
	{
		const char *const *name = names;
		while (*name && strcmp(*name, member->string) != 0)
			name++;
		if (!*name) {
			if (ret_unknown)
				*ret_unknown = member->string;
			return -EBADMSG;
		}
	}
	return 0;
}

static void put_text(struct json_writer *writer, const char *text)
{
	const char *run = text;

	buffer_append(writer->out, "\"", 1);
	for (const char *at = text; *at; at++) {
		unsigned char c = (unsigned char)*at;
		/* U+0080 to U+009F move a terminal as ESC does. */
		bool is_c1 = c == 0xc2 && (unsigned char)at[1] >= 0x80 && (unsigned char)at[1] < 0xa0;
		if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f && !is_c1)
			continue;
		buffer_append(writer->out, run, (size_t)(at - run));
		if (is_c1)
			c = (unsigned char)*++at;
		run = at + 1;
		if (c == '"' || c == '\\')
			buffer_append_format(writer->out, "\\%c", c);
		else if (c == '\n')
			buffer_append_text(writer->out, "\\n");
		else
			buffer_append_format(writer->out, "\\u%04x", c);
	}
	buffer_append_text(writer->out, run);
	buffer_append(writer->out, "\"", 1);
}

static void put_key(struct json_writer *writer, const char *key)
{
	if (writer->comma)
		buffer_append(writer->out, ",", 1);
	writer->comma = true;
	if (key) {
		put_text(writer, key);
		buffer_append(writer->out, ":", 1);
	}
}

void json_begin_object(struct json_writer *writer, const char *key)
{
	put_key(writer, key);
	buffer_append(writer->out, "{", 1);
	writer->comma = false;
}

void json_end_object(struct json_writer *writer)
{
	buffer_append(writer->out, "}", 1);
	writer->comma = true;
}

void json_begin_array(struct json_writer *writer, const char *key)
{
	put_key(writer, key);
	buffer_append(writer->out, "[", 1);
	writer->comma = false;
}

void json_end_array(struct json_writer *writer)
{
	buffer_append(writer->out, "]", 1);
	writer->comma = true;
}

void json_put_string(struct json_writer *writer, const char *key, const char *text)
{
	put_key(writer, key);
	put_text(writer, text);
}

void json_put_integer(struct json_writer *writer, const char *key, int64_t integer)
{
	put_key(writer, key);
	buffer_append_format(writer->out, "%" PRIi64, integer);
}

void json_put_bool(struct json_writer *writer, const char *key, bool value)
{
	put_key(writer, key);
	buffer_append_text(writer->out, value ? "true" : "false");
}

void json_put_raw(struct json_writer *writer, const char *key, const char *json)
{
	put_key(writer, key);
	buffer_append_text(writer->out, json);
}

void json_put_value(struct json_writer *writer, const char *key, const cJSON *value)
{
	const cJSON *child;

	if (cJSON_IsObject(value) || cJSON_IsArray(value)) {
		bool object = cJSON_IsObject(value);
		if (object)
			json_begin_object(writer, key);
		else
			json_begin_array(writer, key);
		cJSON_ArrayForEach(child, value)
		{
			json_put_value(writer, object ? child->string : NULL, child);
		}
		if (object)
			json_end_object(writer);
		else
			json_end_array(writer);
	} else if (cJSON_IsString(value)) {
		json_put_string(writer, key, value->valuestring);
	} else if (cJSON_IsNumber(value)) {
		json_put_integer(writer, key, json_integer_of(value));
	} else {
		json_put_bool(writer, key, cJSON_IsTrue(value));
	}
}
