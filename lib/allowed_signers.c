/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/allowed_signers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/base64.h"

static int refuse(char reason[ALLOWED_SIGNERS_REASON_MAX], const char *sentence)
{
	(void)snprintf(reason, ALLOWED_SIGNERS_REASON_MAX, "%s", sentence);
	return -EBADMSG;
}

/* One pattern without commas. Iterative with one backtrack point, so that its time is bounded by the product. */
static bool match_pattern(const char *pattern, size_t size, const char *text)
{
	size_t p = 0, star = SIZE_MAX;
	const char *resume = NULL;

	while (*text) {
		if (p < size && pattern[p] == '*') {
			star = p++;
			resume = text;
		} else if (p < size && (pattern[p] == '?' || pattern[p] == *text)) {
			p++;
			text++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (p < size && pattern[p] == '*')
		p++;
	return p == size;
}

bool allowed_signers_match(const char *patterns, const char *text)
{
	bool matched = false;

	for (const char *at = patterns;;) {
		size_t size = strcspn(at, ",");
		bool negated = size > 0 && *at == '!';
		if (match_pattern(at + negated, size - negated, text)) {
			if (negated)
				return false;
			matched = true;
		}
		if (at[size] == '\0')
			return matched;
		at += size + 1;
	}
}

static bool is_pattern_list(const char *text)
{
	for (const char *at = text;;) {
		size_t size = strcspn(at, ",");
		if (size == 0 || (size == 1 && *at == '!'))
			return false;
		for (size_t i = 0; i < size; i++) {
			/* what an instance id or a namespace may hold, and the pattern's own characters */
			if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:@-*?!", at[i]) ||
				(at[i] == '!' && i > 0))
				return false;
		}
		if (at[size] == '\0')
			return true;
		at += size + 1;
	}
}

static int two_digits(const char *text)
{
	return (text[0] - '0') * 10 + (text[1] - '0');
}

/* YYYYMMDDZ, YYYYMMDDHHMMZ or YYYYMMDDHHMMSSZ. */
static int parse_time(const char *text, int64_t *ret_time)
{
	size_t size = strlen(text);
	struct tm parts = {0};

	if ((size != 9 && size != 13 && size != 15) || text[size - 1] != 'Z' || strspn(text, "0123456789") != size - 1)
		return -EBADMSG;
	parts.tm_year = two_digits(text) * 100 + two_digits(text + 2) - 1900;
	parts.tm_mon = two_digits(text + 4) - 1;
	parts.tm_mday = two_digits(text + 6);
	if (size > 9) {
		parts.tm_hour = two_digits(text + 8);
		parts.tm_min = two_digits(text + 10);
	}
	if (size > 13)
		parts.tm_sec = two_digits(text + 12);
	struct tm given = parts;
	int64_t seconds = timegm(&parts);
	/* timegm corrects 31 February; a list of signers must not. */
	if (parts.tm_mon != given.tm_mon || parts.tm_mday != given.tm_mday || parts.tm_hour != given.tm_hour ||
		parts.tm_min != given.tm_min || parts.tm_sec != given.tm_sec || seconds <= 0)
		return -EBADMSG;
	*ret_time = seconds;
	return 0;
}

/* One `name="value"` off the front; the quotes are cut in place. */
static int take_option(char **at, char **ret_name, char **ret_value)
{
	char *name = *at;
	size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyz-");

	if (size == 0 || name[size] != '=' || name[size + 1] != '"')
		return -EBADMSG;
	char *value = name + size + 2;
	char *end = strchr(value, '"');
	if (!end || (end[1] != ',' && end[1] != '\0'))
		return -EBADMSG;
	name[size] = '\0';
	*at = end[1] == ',' ? end + 2 : end + 1;
	if (end[1] == ',' && **at == '\0')
		return -EBADMSG;
	*end = '\0';
	*ret_name = name;
	*ret_value = value;
	return 0;
}

static int parse_options(char *at, struct allowed_signer *signer, char reason[ALLOWED_SIGNERS_REASON_MAX])
{
	char *name, *value;

	while (*at) {
		if (take_option(&at, &name, &value) < 0)
			return refuse(
				reason, "options must be namespaces=\"…\", valid-after=\"…Z\", valid-before=\"…Z\"");
		if (strcmp(name, "namespaces") == 0 && !signer->namespaces) {
			if (!is_pattern_list(value))
				return refuse(reason, "namespaces is not a list of names");
			signer->namespaces = value;
		} else if (strcmp(name, "valid-after") == 0 && signer->valid_after == 0) {
			if (parse_time(value, &signer->valid_after) < 0)
				return refuse(reason, "valid-after must be YYYYMMDD[HHMM[SS]]Z, with the Z");
		} else if (strcmp(name, "valid-before") == 0 && signer->valid_before == INT64_MAX) {
			if (parse_time(value, &signer->valid_before) < 0)
				return refuse(reason, "valid-before must be YYYYMMDD[HHMM[SS]]Z, with the Z");
		} else {
			return refuse(reason, "an option is unknown or repeated");
		}
	}
	if (!signer->namespaces)
		return refuse(reason, "namespaces= is missing: such a key would be good for everything");
	if (signer->valid_before <= signer->valid_after)
		return refuse(reason, "valid-before is not after valid-after");
	return 0;
}

/* The next word, ended by a NUL in place; NULL at the end. */
static char *take_word(char **at)
{
	char *word = *at + strspn(*at, " \t");
	if (*word == '\0')
		return NULL;
	char *end = word + strcspn(word, " \t");
	*at = *end ? end + 1 : end;
	*end = '\0';
	return word;
}

static int parse_key(
	const char *type, const char *encoded, struct allowed_signer *signer, char reason[ALLOWED_SIGNERS_REASON_MAX])
{
	const char *inner;

	if (strcmp(type, "ssh-ed25519") != 0 && strcmp(type, "sk-ssh-ed25519@openssh.com") != 0)
		return refuse(reason, "the key type must be ssh-ed25519 or sk-ssh-ed25519@openssh.com");
	int r = base64_decode(encoded, strlen(encoded), &signer->blob, &signer->blob_size);
	if (r == -ENOMEM)
		return r;
	if (r < 0 || sshkey_check_blob(signer->blob, signer->blob_size, NULL, &inner, NULL) != CODE_OK ||
		strcmp(inner, type) != 0)
		return refuse(reason, "the key is damaged");
	sshkey_fingerprint(signer->blob, signer->blob_size, signer->fingerprint);
	return 0;
}

static bool is_name(const char *text)
{
	for (const char *at = text; *at; at++) {
		if (*at <= ' ' || *at > '~')
			return false;
	}
	return strlen(text) <= ALLOWED_SIGNER_NAME_MAX;
}

static void free_signer(struct allowed_signer *signer)
{
	free(signer->text);
	free(signer->blob);
	*signer = (struct allowed_signer){0};
}

static int parse_line(struct allowed_signer *signer, char reason[ALLOWED_SIGNERS_REASON_MAX])
{
	char *at = signer->text;

	signer->valid_before = INT64_MAX;
	char *principals = take_word(&at);
	char *options = take_word(&at);
	char *type = take_word(&at);
	char *encoded = take_word(&at);
	char *name = take_word(&at);
	if (!name || take_word(&at))
		return refuse(reason, "the line must be PRINCIPALS OPTIONS KEYTYPE BASE64 NAME, NAME one word");
	if (!is_pattern_list(principals))
		return refuse(reason, "the principals are not a list of patterns for instance ids");
	if (!is_name(name))
		return refuse(reason, "the name is not one printable word");
	signer->principals = principals;
	signer->name = name;
	int r = parse_options(options, signer, reason);
	if (r < 0)
		return r;
	return parse_key(type, encoded, signer, reason);
}

int allowed_signers_append(
	struct allowed_signers *signers, const char *line, size_t size, char ret_reason[ALLOWED_SIGNERS_REASON_MAX])
{
	struct allowed_signer signer = {0};
	int r;

	ret_reason[0] = '\0';
	if (signers->count == ALLOWED_SIGNERS_IN_FORCE_MAX) {
		(void)refuse(ret_reason, "more than 512 signers");
		return -E2BIG;
	}
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)line[i];
		if ((c < 0x20 && c != '\t') || c >= 0x7f)
			return refuse(ret_reason, "the line holds a byte that is not printable ASCII");
	}
	signer.text = strndup(line, size);
	if (!signer.text)
		return -ENOMEM;
	r = parse_line(&signer, ret_reason);
	for (size_t i = 0; r == 0 && i < signers->count; i++) {
		const struct allowed_signer *other = &signers->entries[i];
		if (other->blob_size == signer.blob_size && memcmp(other->blob, signer.blob, signer.blob_size) == 0)
			r = -EEXIST;
		else if (strcmp(other->name, signer.name) == 0)
			r = -ENOTUNIQ;
		if (r < 0)
			(void)refuse(ret_reason, "the name or the key stands on an earlier line");
	}
	if (r == 0) {
		struct allowed_signer *entries =
			reallocarray(signers->entries, signers->count + 1, sizeof(*signers->entries));
		if (entries) {
			signers->entries = entries;
			signers->entries[signers->count++] = signer;
			return 0;
		}
		r = -ENOMEM;
	}
	free_signer(&signer);
	return r;
}

int allowed_signers_parse(const char *text, size_t size, struct allowed_signers *ret_signers, unsigned *ret_line,
	char ret_reason[ALLOWED_SIGNERS_REASON_MAX])
{
	cleanup_allowed_signers struct allowed_signers signers = {0};
	unsigned line = 0;

	*ret_line = 0;
	ret_reason[0] = '\0';
	if (size > ALLOWED_SIGNERS_SIZE_MAX)
		return refuse(ret_reason, "the file is larger than 64 KiB");
	for (size_t at = 0; at < size;) {
		const char *newline = memchr(text + at, '\n', size - at);
		size_t length = newline ? (size_t)(newline - text) - at : size - at;
		if (++line > ALLOWED_SIGNERS_MAX)
			return refuse(ret_reason, "the file has more than 256 lines");
		size_t first = at;
		while (first < at + length && (text[first] == ' ' || text[first] == '\t'))
			first++;
		if (first < at + length && text[first] != '#') {
			int r = allowed_signers_append(&signers, text + at, length, ret_reason);
			if (r == -ENOMEM)
				return r;
			if (r < 0) {
				*ret_line = line;
				return -EBADMSG;
			}
		}
		at += length + 1;
	}
	*ret_signers = signers;
	signers = (struct allowed_signers){0};
	return 0;
}

void allowed_signers_remove(struct allowed_signers *signers, size_t index)
{
	free_signer(&signers->entries[index]);
	signers->count--;
	memmove(&signers->entries[index], &signers->entries[index + 1],
		(signers->count - index) * sizeof(*signers->entries));
}

void allowed_signers_free(struct allowed_signers *signers)
{
	for (size_t i = 0; i < signers->count; i++)
		free_signer(&signers->entries[i]);
	free(signers->entries);
	*signers = (struct allowed_signers){0};
}

enum code allowed_signers_check(const struct allowed_signers *signers, const char *instance, const char *name_space,
	const unsigned char *key, size_t key_size, int64_t now, const struct allowed_signer **ret_signer)
{
	if (signers->count == 0)
		return CODE_NO_SIGNERS;
	for (size_t i = 0; i < signers->count; i++) {
		const struct allowed_signer *signer = &signers->entries[i];
		if (signer->blob_size != key_size || memcmp(signer->blob, key, key_size) != 0)
			continue;
		if (!allowed_signers_match(signer->principals, instance) ||
			!allowed_signers_match(signer->namespaces, name_space))
			return CODE_SIGNER_UNKNOWN;
		if (now < signer->valid_after || now > signer->valid_before)
			return CODE_SIGNER_EXPIRED;
		*ret_signer = signer;
		return CODE_OK;
	}
	return CODE_SIGNER_UNKNOWN;
}
