/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/key_line.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "lib/base64.h"
#include "lib/pattern.h"

#define PORT_MAX 65535u
#define TUNNEL_MAX 0x7ffffffdu
#define ALPHANUMERIC "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/* Two of the flags cannot be negated with no-; the others have ="VALUE". */
static const char *const lone_flags[] = {"cert-authority", "restrict"};
static const char *const flags[] = {
	"agent-forwarding", "port-forwarding", "pty", "touch-required", "user-rc", "verify-required", "x11-forwarding"};
static const char *const valued[] = {
	"command", "environment", "expiry-time", "from", "permitlisten", "permitopen", "principals", "tunnel"};

static bool is_one_of(const char *const *names, size_t count, const char *name, size_t size)
{
	for (size_t i = 0; i < count; i++) {
		if (strlen(names[i]) == size && strncasecmp(names[i], name, size) == 0)
			return true;
	}
	return false;
}

/* Not strchr: a NUL is no blank. */
static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_number(const char *text, unsigned most)
{
	uint64_t number = 0;

	if (*text == '\0')
		return false;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return false;
		number = number > most ? number : number * 10 + (unsigned)(*text - '0');
	}
	return number <= most;
}

/* NAME=VALUE */
static bool is_environment(const char *value)
{
	size_t size = strspn(value, ALPHANUMERIC "_");

	return size > 0 && value[size] == '=';
}

/* HOST:PORT with a port or *; for permitlisten a port alone. A service's name is not looked up, so it is none. */
static bool is_permission(const char *value, bool port_alone)
{
	const char *bracket = *value == '[' ? strchr(value, ']') : NULL;

	if (*value == '[' && !bracket)
		return false;
	const char *colon = strpbrk(bracket ? bracket : value, ":/");
	if ((bracket && colon != bracket + 1) || (!colon && !port_alone))
		return false;
	const char *port = colon ? colon + 1 : value;
	return strcmp(port, "*") == 0 || (is_number(port, PORT_MAX) && strspn(port, "0") < strlen(port));
}

static bool take_digits(const char **at, unsigned count, int *ret_number)
{
	int number = 0;

	for (unsigned i = 0; i < count; i++, (*at)++) {
		if (!isdigit((unsigned char)**at))
			return false;
		number = number * 10 + (**at - '0');
	}
	*ret_number = number;
	return true;
}

int key_line_parse_time(const char *text, int64_t *ret_time)
{
	struct tm when = {.tm_isdst = -1};

	if (!take_digits(&text, 4, &when.tm_year) || !take_digits(&text, 2, &when.tm_mon) ||
		!take_digits(&text, 2, &when.tm_mday))
		return -EBADMSG;
	if (isdigit((unsigned char)*text) &&
		(!take_digits(&text, 2, &when.tm_hour) || !take_digits(&text, 2, &when.tm_min)))
		return -EBADMSG;
	if (isdigit((unsigned char)*text) && !take_digits(&text, 2, &when.tm_sec))
		return -EBADMSG;
	bool utc = *text == 'Z' || *text == 'z';
	if (text[utc] != '\0' || when.tm_year < 1970 || when.tm_mon < 1 || when.tm_mon > 12 || when.tm_mday < 1 ||
		when.tm_mday > 31 || when.tm_hour > 23 || when.tm_min > 59 || when.tm_sec > 60)
		return -EBADMSG;
	when.tm_year -= 1900;
	when.tm_mon -= 1;
	time_t time = utc ? timegm(&when) : mktime(&when);
	if (time < 0)
		return -EBADMSG;
	*ret_time = time;
	return 0;
}

/* The text between quotes, with \" as a quote. Moves past the closing one. */
static int take_value(const char **at, const char *end, char **ret_value)
{
	if (*at == end || **at != '"')
		return -EBADMSG;
	cleanup_free char *value = malloc((size_t)(end - *at) + 1);
	char *out = value;
	if (!value)
		return -ENOMEM;
	for ((*at)++; *at < end && **at != '"'; (*at)++) {
		if (**at == '\\' && *at + 1 < end && (*at)[1] == '"')
			(*at)++;
		*out++ = **at;
	}
	if (*at == end)
		return -EBADMSG;
	(*at)++;
	*out = '\0';
	*ret_value = steal_pointer(&value);
	return 0;
}

static int note_value(const char *name, size_t size, char *value, struct key_line *line)
{
	int64_t time;
#define IS(option) (strlen(option) == size && strncasecmp(option, name, size) == 0)

	if (IS("from")) {
		if (line->from || !pattern_list_is_good(value))
			return -EBADMSG;
		line->from = strdup(value);
		return line->from ? 0 : -ENOMEM;
	}
	if (IS("principals")) {
		if (line->has_principals)
			return -EBADMSG;
		line->has_principals = true;
	} else if (IS("command")) {
		if (line->has_command)
			return -EBADMSG;
		line->has_command = true;
	} else if (IS("expiry-time")) {
		if (key_line_parse_time(value, &time) < 0)
			return -EBADMSG;
		line->expiry = line->expires && line->expiry < time ? line->expiry : time;
		line->expires = true;
	}
	bool bad = (IS("environment") && !is_environment(value)) ||
		   (IS("permitopen") && !is_permission(value, false)) ||
		   (IS("permitlisten") && !is_permission(value, true)) ||
		   (IS("tunnel") && strcasecmp(value, "any") != 0 && !is_number(value, TUNNEL_MAX));
#undef IS
	return bad ? -EBADMSG : 0;
}

/* Options up to the first blank outside quotes. */
static int take_options(const char **at, const char *end, struct key_line *line)
{
	while (*at < end && !is_blank(**at)) {
		const char *name = *at;
		while (*at < end && (isalnum((unsigned char)**at) || **at == '-'))
			(*at)++;
		size_t size = (size_t)(*at - name);
		if (*at < end && **at == '=') {
			cleanup_free char *value = NULL;
			(*at)++;
			int r = is_one_of(valued, ELEMENTS(valued), name, size) ? take_value(at, end, &value)
										: -EBADMSG;
			if (r == 0)
				r = note_value(name, size, value, line);
			if (r < 0)
				return r;
		} else {
			size_t skip = size > 3 && strncasecmp(name, "no-", 3) == 0 ? 3 : 0;
			if (!is_one_of(flags, ELEMENTS(flags), name + skip, size - skip) &&
				!is_one_of(lone_flags, ELEMENTS(lone_flags), name, size))
				return -EBADMSG;
			if (size == 14 && strncasecmp(name, "cert-authority", size) == 0)
				line->is_authority = true;
		}
		if (*at < end && **at == ',')
			(*at)++;
		else if (*at < end && !is_blank(**at))
			return -EBADMSG;
	}
	return 0;
}

/* "TYPE BASE64 …"; the blob itself says which type it is, and both must agree. */
static int take_key(const char *at, const char *end, struct key_line *line)
{
	cleanup_free unsigned char *blob = NULL;
	const char *type;
	size_t blob_size;
	unsigned bits;

	const char *base64 = at;
	while (base64 < end && !is_blank(*base64))
		base64++;
	size_t type_size = (size_t)(base64 - at);
	while (base64 < end && is_blank(*base64))
		base64++;
	const char *last = base64;
	while (last < end && !is_blank(*last))
		last++;
	int r = base64_decode(base64, (size_t)(last - base64), &blob, &blob_size);
	if (r < 0)
		return r;
	if (sshkey_check_blob(blob, blob_size, NULL, &type, &bits) != CODE_OK)
		return -EBADMSG;
	if (!sshkey_is_named(at, type_size, type, strlen(type)))
		return -EBADMSG;
	line->type = type;
	line->bits = bits;
	sshkey_fingerprint(blob, blob_size, line->fingerprint);
	return 0;
}

int key_line_parse(const char *text, size_t size, struct key_line *ret_line)
{
	cleanup_key_line struct key_line line = {0};
	const char *end = text + size;

	while (end > text && (end[-1] == '\r' || end[-1] == '\n'))
		end--;
	while (text < end && is_blank(*text))
		text++;
	if (text == end || *text == '#')
		return -ENODATA;
	if (memchr(text, '\0', (size_t)(end - text)))
		return -EBADMSG;
	int r = take_key(text, end, &line);
	if (r == -EBADMSG) { /* no key at the start: options stand before it */
		r = take_options(&text, end, &line);
		while (r == 0 && text < end && is_blank(*text))
			text++;
		if (r == 0)
			r = take_key(text, end, &line);
	}
	if (r == 0 && line.has_principals && !line.is_authority)
		r = -EBADMSG;
	if (r < 0)
		return r;
	*ret_line = line;
	line.from = NULL;
	return 0;
}

void key_line_free(struct key_line *line)
{
	free(line->from);
	*line = (struct key_line){0};
}
