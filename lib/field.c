/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/field.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_alphanumeric(char c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* First byte alphanumeric or in `first`, the rest alphanumeric or in `rest`, 1 to `limit` bytes. */
static bool matches(const char *text, const char *first, const char *rest, size_t limit)
{
	size_t size = strnlen(text, limit + 1);

	if (size == 0 || size > limit || !(is_alphanumeric(text[0]) || strchr(first, text[0])))
		return false;
	for (size_t i = 1; i < size; i++) {
		if (!is_alphanumeric(text[i]) && !strchr(rest, text[i]))
			return false;
	}
	return true;
}

bool field_is_user(const char *text)
{
	return matches(text, "_", "_.-", 32);
}

bool field_is_name(const char *text)
{
	if (!matches(text, "_", "_-", 32) || !(is_lower(text[0]) || text[0] == '_'))
		return false;
	for (const char *at = text; *at; at++) {
		if (*at >= 'A' && *at <= 'Z')
			return false;
	}
	return true;
}

bool field_is_label(const char *text)
{
	return matches(text, "", "._-", 64);
}

bool field_is_id(const char *text)
{
	return matches(text, "._-", "._-", 64);
}

bool field_is_instance(const char *text)
{
	return matches(text, "", "._:-", 128);
}

bool field_is_path(const char *text)
{
	size_t size = strnlen(text, FIELD_PATH_MAX + 1);

	if (size > FIELD_PATH_MAX || text[0] != '/' || !field_is_text(text, FIELD_PATH_MAX) || strchr(text, ':'))
		return false;
	for (const char *at = text; at;) {
		at++;
		size_t component = strcspn(at, "/");
		if ((component == 0 && size > 1) || (component == 1 && at[0] == '.') ||
			(component == 2 && at[0] == '.' && at[1] == '.'))
			return false;
		at = strchr(at, '/');
	}
	return true;
}

bool field_is_text(const char *text, size_t limit)
{
	size_t size = strnlen(text, limit + 1);

	if (size > limit)
		return false;
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c < 0x20 || c == 0x7f)
			return false;
		/* U+0080 to U+009F; a lone 0x80 to 0x9f cannot stand in the UTF-8 that the JSON reader let through. */
		if (c == 0xc2 && (unsigned char)text[i + 1] < 0xa0)
			return false;
	}
	return true;
}

bool field_is_cidr(const char *text)
{
	char address[INET6_ADDRSTRLEN];
	unsigned char bytes[16];
	size_t size = strcspn(text, "/");
	unsigned long prefix = 0;

	if (size >= sizeof(address))
		return false;
	memcpy(address, text, size);
	address[size] = '\0';
	bool four = inet_pton(AF_INET, address, bytes) == 1;
	if (!four && inet_pton(AF_INET6, address, bytes) != 1)
		return false;
	const char *at = text + size;
	if (*at == '\0')
		return true;
	at++;
	size_t digits = strspn(at, "0123456789");
	if (digits == 0 || digits > 3 || at[digits] != '\0' || (digits > 1 && at[0] == '0'))
		return false;
	for (; *at; at++)
		prefix = prefix * 10 + (unsigned long)(*at - '0');
	if (prefix > (four ? 32u : 128u))
		return false;
	/* sshd takes the whole line for none when an address stands there instead of a network. */
	for (unsigned long bit = prefix; bit < (four ? 32u : 128u); bit++) {
		if (bytes[bit / 8] & 0x80u >> bit % 8)
			return false;
	}
	return true;
}

static bool is_base64(const char *text, size_t limit)
{
	size_t size = strnlen(text, limit + 1);

	if (size > limit || size % 4 != 0)
		return false;
	size_t padding = 0;
	while (padding < 2 && padding < size && text[size - 1 - padding] == '=')
		padding++;
	for (size_t i = 0; i < size - padding; i++) {
		if (!is_alphanumeric(text[i]) && text[i] != '+' && text[i] != '/')
			return false;
	}
	return true;
}

static int parse_number(const char **at, int64_t *ret_number)
{
	int64_t number = 0;
	const char *start = *at;

	while (**at >= '0' && **at <= '9') {
		if (number > JSON_INTEGER_MAX / 10)
			return -EINVAL;
		number = number * 10 + (*(*at)++ - '0');
	}
	if (*at == start)
		return -EINVAL;
	*ret_number = number;
	return 0;
}

int field_parse_type(const char *declaration, struct field_type *ret_type)
{
	static const struct {
		const char *name;
		enum field_kind kind;
		unsigned numbers;
	} kinds[] = {
		{"user", FIELD_USER, 0},
		{"name", FIELD_NAME, 0},
		{"label", FIELD_LABEL, 0},
		{"text", FIELD_TEXT, 1},
		{"column", FIELD_COLUMN, 1},
		{"path", FIELD_PATH, 0},
		{"int", FIELD_INT, 2},
		{"bool", FIELD_BOOL, 0},
		{"time", FIELD_TIME, 0},
		{"enum", FIELD_ENUM, 0},
		{"key", FIELD_KEY, 0},
		{"base64", FIELD_BASE64, 1},
		{"names", FIELD_NAMES, 1},
		{"cidrs", FIELD_CIDRS, 1},
		{"id", FIELD_ID, 0},
		{"object", FIELD_OBJECT, 0},
	};
	struct field_type type = {0};
	size_t name_size = strcspn(declaration, ":!=");
	const char *at = declaration + name_size;
	unsigned i, numbers;
	int r;

	for (i = 0; i < ELEMENTS(kinds); i++) {
		if (strlen(kinds[i].name) == name_size && strncmp(kinds[i].name, declaration, name_size) == 0)
			break;
	}
	if (i == ELEMENTS(kinds))
		return -EINVAL;
	type.kind = kinds[i].kind;
	numbers = kinds[i].numbers;
	/* "base64:44!" says one number; a text's upper limit is its only one */
	if (numbers >= 1 && *at != ':')
		return -EINVAL;
	if (numbers == 2) {
		at++;
		r = parse_number(&at, &type.low);
		if (r < 0)
			return r;
		if (*at != ':')
			return -EINVAL;
	}
	if (numbers >= 1) {
		at++;
		r = parse_number(&at, &type.high);
		if (r < 0)
			return r;
	}
	if (type.kind == FIELD_ENUM) {
		if (*at != ':')
			return -EINVAL;
		at++;
		type.choices = at;
		type.choices_size = strcspn(at, "!=");
		at += type.choices_size;
	}
	if (*at == '!') {
		type.required = true;
		at++;
	} else if (*at == '=') {
		type.default_text = at + 1;
		at += strlen(at);
	}
	if (*at != '\0')
		return -EINVAL;
	*ret_type = type;
	return 0;
}

static bool is_choice(const struct field_type *type, const char *text)
{
	size_t size = strlen(text);
	const char *end = type->choices + type->choices_size;

	for (const char *at = type->choices; at < end;) {
		const char *bar = memchr(at, '|', (size_t)(end - at));
		size_t choice = (size_t)((bar ? bar : end) - at);
		if (choice == size && memcmp(at, text, size) == 0)
			return true;
		if (!bar)
			return false;
		at = bar + 1;
	}
	return false;
}

static bool check_elements(const struct field_type *type, const cJSON *array)
{
	int64_t count = 0;
	const cJSON *element;

	cJSON_ArrayForEach(element, array)
	{
		if (++count > type->high || !cJSON_IsString(element))
			return false;
		if (type->kind == FIELD_NAMES ? !field_is_user(element->valuestring)
					      : !field_is_cidr(element->valuestring))
			return false;
	}
	return true;
}

enum code field_check(const struct field_type *type, const cJSON *value)
{
	const char *text = cJSON_IsString(value) ? value->valuestring : NULL;
	int64_t number = cJSON_IsNumber(value) ? json_integer_of(value) : -1;

	switch (type->kind) {
	case FIELD_USER:
		return !text ? CODE_FIELD_INVALID : field_is_user(text) ? CODE_OK : CODE_NAME_INVALID;
	case FIELD_NAME:
		return !text ? CODE_FIELD_INVALID : field_is_name(text) ? CODE_OK : CODE_NAME_INVALID;
	case FIELD_LABEL:
		return !text ? CODE_FIELD_INVALID : field_is_label(text) ? CODE_OK : CODE_NAME_INVALID;
	case FIELD_TEXT:
		return text && field_is_text(text, (size_t)type->high) ? CODE_OK : CODE_FIELD_INVALID;
	case FIELD_COLUMN:
		return text && field_is_text(text, (size_t)type->high) && !strchr(text, ':') ? CODE_OK
											     : CODE_FIELD_INVALID;
	case FIELD_PATH:
		return text && field_is_path(text) ? CODE_OK : CODE_FIELD_INVALID;
	case FIELD_INT:
		return cJSON_IsNumber(value) && number >= type->low && number <= type->high ? CODE_OK
											    : CODE_FIELD_INVALID;
	case FIELD_BOOL:
		return cJSON_IsBool(value) ? CODE_OK : CODE_FIELD_INVALID;
	case FIELD_TIME:
		return number >= 0 ? CODE_OK : CODE_FIELD_INVALID;
	case FIELD_ENUM:
		return text && is_choice(type, text) ? CODE_OK : CODE_FIELD_INVALID;
	case FIELD_KEY:
		/* What kind of key it is, and what a pasted private key or other format is called, the plugin says. */
		return text && strnlen(text, FIELD_KEY_MAX + 1) <= FIELD_KEY_MAX ? CODE_OK : CODE_FIELD_INVALID;
	case FIELD_BASE64:
		return text && is_base64(text, (size_t)type->high) ? CODE_OK : CODE_FIELD_INVALID;
	case FIELD_NAMES:
	case FIELD_CIDRS:
		return cJSON_IsArray(value) && check_elements(type, value) ? CODE_OK : CODE_FIELD_INVALID;
	case FIELD_ID:
		return text && field_is_id(text) ? CODE_OK : CODE_FIELD_INVALID;
	case FIELD_OBJECT:
		return cJSON_IsObject(value) ? CODE_OK : CODE_FIELD_INVALID;
	}
	return CODE_FIELD_INVALID;
}
