/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/pattern.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define PART_MAX 256u /* a longer pattern matches no name and no address */

bool pattern_matches(const char *text, const char *pattern)
{
	const char *star = NULL, *resume = NULL;

	while (*text) {
		if (*pattern == '*') {
			star = pattern++;
			resume = text;
		} else if (*pattern == '?' || *pattern == *text) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star + 1;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

static int parse_address(const char *text, unsigned char address[16])
{
	if (inet_pton(AF_INET, text, address) == 1)
		return 4;
	return inet_pton(AF_INET6, text, address) == 1 ? 16 : 0;
}

/* ADDRESS/BITS; false for what is no network. */
static bool is_in_network(const char *address, char *network)
{
	unsigned char a[16], b[16];
	unsigned bits = 0;
	char *slash = strchr(network, '/');

	if (!slash)
		return false;
	*slash++ = '\0';
	int size = parse_address(address, a);
	if (size == 0 || parse_address(network, b) != size || !isdigit((unsigned char)*slash))
		return false;
	for (; isdigit((unsigned char)*slash) && bits < 1000; slash++)
		bits = bits * 10 + (unsigned)(*slash - '0');
	if (*slash || bits > (unsigned)size * 8)
		return false;
	if (memcmp(a, b, bits / 8) != 0)
		return false;
	unsigned rest = bits % 8;
	return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0;
}

bool pattern_list_is_good(const char *list)
{
	for (;;) {
		char part[PART_MAX];
		unsigned char bytes[16];
		size_t size = strcspn(list, ",");
		bool negated = size > 0 && *list == '!';

		if (size == negated)
			return false;
		if (size < sizeof(part)) {
			(void)snprintf(part, sizeof(part), "%.*s", (int)(size - negated), list + negated);
			char *slash = strchr(part, '/');
			unsigned bits = 0;
			const char *digit = slash ? slash + 1 : "";
			for (; isdigit((unsigned char)*digit) && bits < 1000; digit++)
				bits = bits * 10 + (unsigned)(*digit - '0');
			bool is_network = slash && digit > slash + 1 && *digit == '\0' && bits <= 128;
			if (slash)
				*slash = '\0';
			unsigned most = is_network ? 8 * (unsigned)parse_address(part, bytes) : 0;
			if (most > 0 && bits > most)
				return false;
			for (; bits < most; bits++) {
				if (bytes[bits / 8] & 0x80u >> bits % 8)
					return false;
			}
		}
		if (list[size] == '\0')
			return true;
		list += size + 1;
	}
}

bool pattern_list_matches_address(const char *list, const char *address)
{
	bool matched = false;

	while (*list) {
		char part[PART_MAX], network[PART_MAX];
		size_t size = strcspn(list, ",");
		bool negated = *list == '!';
		if (size < sizeof(part)) {
			(void)snprintf(part, sizeof(part), "%.*s", (int)(size - negated), list + negated);
			(void)snprintf(network, sizeof(network), "%s", part);
			for (char *at = part; *at; at++)
				*at = (char)tolower((unsigned char)*at);
			if (pattern_matches(address, part) || is_in_network(address, network)) {
				if (negated)
					return false;
				matched = true;
			}
		}
		list += size + (list[size] == ',');
	}
	return matched;
}

bool pattern_matches_user(const char *user, const char *address, const char *pattern, bool denies)
{
	char name[PART_MAX];
	const char *at = strrchr(pattern, '@');

	if (!at)
		return pattern_matches(user, pattern);
	if ((size_t)(at - pattern) >= sizeof(name))
		return false;
	(void)snprintf(name, sizeof(name), "%.*s", (int)(at - pattern), pattern);
	if (!pattern_matches(user, name))
		return false;
	return address ? pattern_list_matches_address(at + 1, address) : !denies;
}

bool pattern_list_leaves_some_address(const char *list, bool names)
{
	bool four = true, six = true, some = false;

	while (*list) {
		size_t size = strcspn(list, ",");
		bool negated = *list == '!';
		const char *part = list + negated;
		size_t length = size - negated;
		bool everything = length > 0 && strspn(part, "*") >= length;
		if (negated && (everything || (length == 9 && strncmp(part, "0.0.0.0/0", length) == 0)))
			four = false;
		if (negated && (everything || (length == 4 && strncmp(part, "::/0", length) == 0)))
			six = false;
		if (!negated && length > 0 && (names || strspn(part, "0123456789abcdefABCDEF.:/*?") >= length))
			some = true;
		list += size + (list[size] == ',');
	}
	return some && (four || six);
}
