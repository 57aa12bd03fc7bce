/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sealed_password.h"

#include <errno.h>
#include <string.h>

/* The names and their quotes, and the longest instance, id and user, each byte escaped at most to six. */
#define PLAIN_MAX (6u * (SEALED_PASSWORD_MAX + 128u + 64u + 32u) + 64u)

static void put(struct secret *plain, const char *bytes, size_t size)
{
	memcpy(plain->bytes + plain->size, bytes, size);
	plain->size += size;
}

static void put_text(struct secret *plain, const char *text)
{
	put(plain, text, strlen(text));
}

static void put_quoted(struct secret *plain, const char *bytes, size_t size)
{
	put_text(plain, "\"");
	for (size_t i = 0; i < size; i++) {
		if (bytes[i] == '"' || bytes[i] == '\\')
			put_text(plain, "\\");
		put(plain, bytes + i, 1);
	}
	put_text(plain, "\"");
}

static bool is_writable(const char *text, size_t limit)
{
	size_t size = strnlen(text, limit + 1);
	if (size == 0 || size > limit)
		return false;
	for (const char *at = text; *at; at++) {
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			return false;
	}
	return true;
}

int sealed_password_build(const struct sealed_password_binding *binding, bool is_hash, const struct secret *value,
	struct secret *ret_plain)
{
	cleanup_secret struct secret plain = {0};

	if (value->size == 0 || value->size > SEALED_PASSWORD_MAX || !is_writable(binding->instance, 128) ||
		!is_writable(binding->id, 64) || !is_writable(binding->user, 32))
		return -EINVAL;
	for (size_t i = 0; i < value->size; i++) {
		if (value->bytes[i] < 0x20 || value->bytes[i] == 0x7f)
			return -EINVAL;
	}
	int r = secret_allocate(PLAIN_MAX, &plain);
	if (r < 0)
		return r;
	plain.size = 0;
	put_text(&plain, "{\"instance\":");
	put_quoted(&plain, binding->instance, strlen(binding->instance));
	put_text(&plain, ",\"id\":");
	put_quoted(&plain, binding->id, strlen(binding->id));
	put_text(&plain, ",\"user\":");
	put_quoted(&plain, binding->user, strlen(binding->user));
	put_text(&plain, is_hash ? ",\"hash\":" : ",\"password\":");
	put_quoted(&plain, (const char *)value->bytes, value->size);
	put_text(&plain, "}");
	*ret_plain = plain;
	plain = (struct secret){0};
	return 0;
}

struct reader {
	const unsigned char *at, *end;
};

static void skip_blanks(struct reader *reader)
{
	while (reader->at < reader->end &&
		(*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\n' || *reader->at == '\r'))
		reader->at++;
}

static bool take(struct reader *reader, unsigned char byte)
{
	skip_blanks(reader);
	if (reader->at == reader->end || *reader->at != byte)
		return false;
	reader->at++;
	return true;
}

static bool take_hex4(struct reader *reader, unsigned *ret_unit)
{
	unsigned unit = 0;

	if (reader->end - reader->at < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		unsigned char c = *reader->at++;
		if (c >= '0' && c <= '9')
			unit = unit << 4 | (c - (unsigned)'0');
		else if (c >= 'a' && c <= 'f')
			unit = unit << 4 | (c - (unsigned)'a' + 10);
		else if (c >= 'A' && c <= 'F')
			unit = unit << 4 | (c - (unsigned)'A' + 10);
		else
			return false;
	}
	*ret_unit = unit;
	return true;
}

/* After "\u": appends the character as UTF-8. NUL and lone surrogates are refused. */
static bool take_unicode(struct reader *reader, struct secret *text)
{
	unsigned unit, low;

	if (!take_hex4(reader, &unit) || unit == 0 || (unit >= 0xdc00 && unit <= 0xdfff))
		return false;
	if (unit >= 0xd800 && unit <= 0xdbff) {
		if (reader->end - reader->at < 2 || reader->at[0] != '\\' || reader->at[1] != 'u')
			return false;
		reader->at += 2;
		if (!take_hex4(reader, &low) || low < 0xdc00 || low > 0xdfff)
			return false;
		unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
	}
	unsigned char *out = text->bytes + text->size;
	if (unit < 0x80) {
		out[0] = (unsigned char)unit;
		text->size += 1;
	} else if (unit < 0x800) {
		out[0] = (unsigned char)(0xc0 | unit >> 6);
		out[1] = (unsigned char)(0x80 | (unit & 0x3f));
		text->size += 2;
	} else if (unit < 0x10000) {
		out[0] = (unsigned char)(0xe0 | unit >> 12);
		out[1] = (unsigned char)(0x80 | (unit >> 6 & 0x3f));
		out[2] = (unsigned char)(0x80 | (unit & 0x3f));
		text->size += 3;
	} else {
		out[0] = (unsigned char)(0xf0 | unit >> 18);
		out[1] = (unsigned char)(0x80 | (unit >> 12 & 0x3f));
		out[2] = (unsigned char)(0x80 | (unit >> 6 & 0x3f));
		out[3] = (unsigned char)(0x80 | (unit & 0x3f));
		text->size += 4;
	}
	return true;
}

/* One string into `text`, which is as large as the whole input: a string never grows when its escapes are resolved. */
static bool take_string(struct reader *reader, struct secret *text)
{
	static const char escapes[] = "\"\\/bfnrt";
	static const char meanings[] = "\"\\/\b\f\n\r\t";

	text->size = 0;
	if (!take(reader, '"'))
		return false;
	while (reader->at < reader->end) {
		unsigned char c = *reader->at++;
		if (c == '"') {
			text->bytes[text->size] = '\0';
			return true;
		}
		if (c < 0x20)
			return false;
		if (c != '\\') {
			text->bytes[text->size++] = c;
			continue;
		}
		if (reader->at == reader->end)
			return false;
		c = *reader->at++;
		if (c == 'u') {
			if (!take_unicode(reader, text))
				return false;
			continue;
		}
		const char *escape = c ? strchr(escapes, c) : NULL;
		if (!escape)
			return false;
		text->bytes[text->size++] = (unsigned char)meanings[escape - escapes];
	}
	return false;
}

static bool is_text(const struct secret *text, const char *expected)
{
	return text->size == strlen(expected) && memcmp(text->bytes, expected, text->size) == 0;
}

enum member { INSTANCE = 1, ID = 2, USER = 4, VALUE = 8 };

static bool take_member(struct reader *reader, const struct sealed_password_binding *binding, struct secret *name,
	struct secret *text, unsigned *seen, bool *is_hash)
{
	enum member member;
	const char *expected = NULL;

	if (!take_string(reader, name) || !take(reader, ':') || !take_string(reader, text))
		return false;
	if (is_text(name, "instance")) {
		member = INSTANCE;
		expected = binding->instance;
	} else if (is_text(name, "id")) {
		member = ID;
		expected = binding->id;
	} else if (is_text(name, "user")) {
		member = USER;
		expected = binding->user;
	} else if (is_text(name, "password") || is_text(name, "hash")) {
		member = VALUE;
		*is_hash = is_text(name, "hash");
	} else {
		return false;
	}
	if ((*seen & member) != 0 || (expected && !is_text(text, expected)))
		return false;
	*seen |= member;
	return true;
}

int sealed_password_read(const struct secret *plain, const struct sealed_password_binding *binding, bool *ret_is_hash,
	struct secret *ret_value)
{
	cleanup_secret struct secret name = {0}, text = {0}, value = {0};
	struct reader reader = {plain->bytes, plain->bytes + plain->size};
	unsigned seen = 0;
	bool is_hash = false;

	int r = secret_allocate(plain->size, &name);
	if (r == 0)
		r = secret_allocate(plain->size, &text);
	if (r == 0)
		r = secret_allocate(SEALED_PASSWORD_MAX, &value);
	if (r < 0)
		return r;
	if (!take(&reader, '{'))
		return -EBADMSG;
	do {
		bool had_value = (seen & VALUE) != 0;
		if (!take_member(&reader, binding, &name, &text, &seen, &is_hash))
			return -EBADMSG;
		if (!had_value && (seen & VALUE) != 0) {
			if (text.size == 0 || text.size > SEALED_PASSWORD_MAX)
				return -EBADMSG;
			memcpy(value.bytes, text.bytes, text.size);
			value.bytes[text.size] = '\0';
			value.size = text.size;
		}
	} while (take(&reader, ','));
	if (!take(&reader, '}') || seen != (INSTANCE | ID | USER | VALUE))
		return -EBADMSG;
	skip_blanks(&reader);
	if (reader.at != reader.end)
		return -EBADMSG;
	*ret_is_hash = is_hash;
	*ret_value = value;
	value = (struct secret){0};
	return 0;
}

int sealed_password_seal(const struct sealed_password_binding *binding, bool is_hash, const struct secret *value,
	const unsigned char public_key[SEALED_KEY_SIZE], char **ret_text)
{
	cleanup_secret struct secret plain = {0};

	int r = sealed_password_build(binding, is_hash, value, &plain);
	if (r < 0)
		return r;
	return sealed_seal(&plain, public_key, ret_text);
}

int sealed_password_open(const char *text, const struct secret *key, const struct sealed_password_binding *binding,
	bool *ret_is_hash, struct secret *ret_value)
{
	cleanup_secret struct secret plain = {0};

	int r = sealed_open(text, key, &plain);
	if (r < 0)
		return r;
	return sealed_password_read(&plain, binding, ret_is_hash, ret_value);
}
