/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/redact.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define INFORMATION_MAX 1024 /* bytes that are looked at for the @ of a URL's user: each = may begin one */

static bool is_run(char c)
{
	return isalnum((unsigned char)c) || c == '+' || c == '/' || c == '=' || c == '_';
}

static size_t run_size(const char *at, const char *end)
{
	const char *start = at;

	while (at < end && is_run(*at))
		at++;
	return (size_t)(at - start);
}

/* Base64 and hex have digits and mixed case, or are of one case and longer than any word. */
static bool is_random(const char *at, size_t size)
{
	size_t digits = 0, upper = 0, lower = 0, slashes = 0;

	for (size_t i = 0; i < size; i++) {
		digits += isdigit((unsigned char)at[i]) != 0;
		upper += isupper((unsigned char)at[i]) != 0;
		lower += islower((unsigned char)at[i]) != 0;
		slashes += at[i] == '/';
	}
	if (size >= REDACT_RUN && upper > 0 && lower > 0 && digits + slashes > 0)
		return true;
	return size >= 32 && digits > 2 && (slashes == 0 || upper > 0);
}

/* Base64 for URLs has - and _ for + and /; UUIDs and names with dashes are of one case. */
static size_t address_safe_size(const char *at, const char *end)
{
	size_t digits = 0, upper = 0, lower = 0;
	const char *start = at;

	for (; at < end && (isalnum((unsigned char)*at) || *at == '-' || *at == '_'); at++) {
		digits += isdigit((unsigned char)*at) != 0;
		upper += isupper((unsigned char)*at) != 0;
		lower += islower((unsigned char)*at) != 0;
	}
	return at - start >= (ptrdiff_t)REDACT_RUN && digits > 0 && upper > 2 && lower > 2 ? (size_t)(at - start) : 0;
}

static bool begins(const char *at, const char *end, const char *word)
{
	size_t size = strlen(word);
	return (size_t)(end - at) >= size && strncasecmp(at, word, size) == 0;
}

static bool is_first(const char *line, const char *at)
{
	while (line < at && strchr(" \t#;\"'", *line) && *line)
		line++;
	while (line < at && (is_run(*line) || *line == '-'))
		line++;
	return line == at;
}

/* db_password, adminPassword, X-Token: the word may end a longer one. */
static bool may_be_label(const char *line, const char *at)
{
	return at == line || !isalnum((unsigned char)at[-1]) ||
	       (isupper((unsigned char)*at) && islower((unsigned char)at[-1]));
}

/* The size of a word after which a secret stands, the separators included; 0 when there is none here. */
static size_t label_size(const char *at, const char *end)
{
	static const char *const words[] = {"password", "passwd", "passphrase", "pass", "pwd", "secret", "token",
		"enrol", "credential", "cookie", "authorization", "bearer", "apikey", "api_key"};

	for (unsigned i = 0; i < ELEMENTS(words); i++) {
		const char *rest = at + strlen(words[i]);
		bool said = strcmp(words[i], "bearer") == 0;
		if (!begins(at, end, words[i]))
			continue;
		while (rest < end && strchr(" \t\"':=\\", *rest) && *rest) {
			said = said || *rest == '=' || *rest == ':';
			rest++;
		}
		if (begins(rest, end, "bearer ") || begins(rest, end, "basic "))
			rest = (const char *)memchr(rest, ' ', (size_t)(end - rest)) + 1;
		if (said && rest < end && !strchr("{[,}", *rest) && rest > at + strlen(words[i]))
			return (size_t)(rest - at);
	}
	return 0;
}

/*
 * What stands behind a label: in quotes up to the closing one, as a line's own setting up to its end, else a word. A
 * quote that is no longer open ends it too: the text may be JSON.
 */
static size_t value_size(const char *at, const char *end, bool is_setting)
{
	const char *start = at;
	const char quote = strchr("\"'", at[-1]) ? at[-1] : '\0';

	while (at < end && *at && !strchr(quote ? (char[]){quote, '\0'} : is_setting ? "\"" : " \t\"'", *at))
		at += *at == '\\' && at + 1 < end ? 2 : 1;
	return (size_t)(at - start);
}

/* "$6$…" up to what can follow it in a line of shadow(5), in JSON or in a log. */
static size_t hash_size(const char *at, const char *end)
{
	const char *start = at++;
	size_t id = 0;

	while (at < end && id < 12 && (isalnum((unsigned char)*at) || *at == '-')) {
		at++;
		id++;
	}
	if (id == 0 || at == end || *at != '$')
		return 0;
	while (at < end && !strchr(" \t:\"',;", *at) && *at)
		at++;
	return (size_t)(at - start);
}

static size_t known_size(const char *at, const char *end, const char *const *secrets)
{
	for (; secrets && *secrets; secrets++) {
		size_t size = strlen(*secrets);
		if (size > 3 && (size_t)(end - at) >= size && memcmp(at, *secrets, size) == 0)
			return size;
	}
	return 0;
}

/* "user:password@" behind "://" or at the beginning of a word, without its last @; 0 when there is none. */
static size_t user_information(const char *at, const char *end, bool needs_colon)
{
	const char *start = at, *last = NULL;
	bool colon = !needs_colon;

	for (; at < end && at - start < INFORMATION_MAX && !strchr(" \t\"'", *at) && *at; at++) {
		if (needs_colon && begins(at, end, "://"))
			return 0;
		colon = colon || *at == ':';
		if (*at == '@' && colon)
			last = at;
	}
	return last ? (size_t)(last - start) : 0;
}

static size_t query_size(const char *at, const char *end)
{
	const char *start = at;

	while (at < end && !strchr(" \t\"'", *at) && *at)
		at++;
	return (size_t)(at - start);
}

static void put(char c, struct buffer *out)
{
	if ((c >= 0x20 && c < 0x7f) || c == '\t')
		buffer_append(out, &c, 1);
	else
		buffer_append_format(out, "\\x%02x", (unsigned)(unsigned char)c);
}

static void redact_line(const char *line, const char *end, const char *const *secrets, struct buffer *out)
{
	bool in_address = false;

	for (const char *at = line; at < end;) {
		bool starts = at == line || !is_run(at[-1]), word = at == line || strchr(" \t\"'=", at[-1]);
		size_t size = known_size(at, end, secrets), label = may_be_label(line, at) ? label_size(at, end) : 0;
		bool is_fingerprint = at - line >= 7 && memcmp(at - 7, "SHA256:", 7) == 0;
		if (size == 0 && label > 0) {
			bool is_setting = is_first(line, at + strcspn(at, " \t\"':=\\"));
			for (size_t i = 0; i < label; i++)
				put(at[i], out);
			at += label;
			size = value_size(at, end, is_setting);
		}
		if (size == 0 && *at == '$')
			size = hash_size(at, end);
		if (size == 0 && at - line >= 3 && memcmp(at - 3, "://", 3) == 0) {
			size = user_information(at, end, false);
			in_address = true;
		}
		if (size == 0 && word && !in_address)
			size = user_information(at, end, true);
		if (size == 0 && in_address && *at == '?')
			size = query_size(at, end);
		in_address = in_address && !strchr(" \t\"'", *at);
		size_t run = size == 0 && starts ? run_size(at, end) : 0;
		if (run > 0 && is_random(at, run) && !(is_fingerprint && run <= 43))
			size = run;
		if (size == 0 && run > 0 && !is_fingerprint && (at == line || at[-1] != '-'))
			size = address_safe_size(at, end);
		if (size > 0) {
			buffer_append_text(out, REDACT_MARK);
			at += size;
			continue;
		}
		for (size_t i = 0; i < (run > 0 && is_fingerprint ? run : 1); i++)
			put(*at++, out);
	}
}

static bool holds(const char *line, size_t size, const char *words)
{
	return memmem(line, size, words, strlen(words)) != NULL;
}

void redact(const char *text, size_t size, const char *const *secrets, struct buffer *out)
{
	bool in_block = false;

	for (size_t offset = 0; offset < size;) {
		const char *line = text + offset;
		const char *newline = memchr(line, '\n', size - offset);
		size_t length = newline ? (size_t)(newline - line) : size - offset;
		bool begin = holds(line, length, "-----BEGIN "), end = holds(line, length, "-----END ");

		if (begin || in_block) {
			if (begin)
				buffer_append_text(out, REDACT_MARK "\n");
		} else {
			redact_line(line, line + length, secrets, out);
			buffer_append_text(out, "\n");
		}
		in_block = (in_block || begin) && !end;
		offset += length + 1;
	}
}
