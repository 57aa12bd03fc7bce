/* SPDX-License-Identifier: Apache-2.0 */
/* P109: no text, however odd, makes a key say what no whole line of it says. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const struct config_key keys[] = {
	{"users", "root", CONFIG_YES_NO, NULL, "no", "", false},
	{"users", "allow", CONFIG_LIST, NULL, "*", "", false},
	{"password", "min", CONFIG_INTEGER, "1:128", "8", "", false},
	{"policy", "mode", CONFIG_CHOICE, "enforce|observe|off", "enforce", "", false},
	{"signer", "commands", CONFIG_LIST, NULL, NULL, "", true},
};

/* True when some whole line is `root`, blanks, `=`, blanks, `yes`, blanks. */
static int has_line(const char *text, size_t size)
{
	for (size_t start = 0; start < size;) {
		const char *newline = memchr(text + start, '\n', size - start);
		size_t end = newline ? (size_t)(newline - text) : size, at = start;
		if (end - at >= 4 && memcmp(text + at, "root", 4) == 0) {
			at += 4;
			while (at < end && (text[at] == ' ' || text[at] == '\t'))
				at++;
			if (at < end && text[at] == '=')
				at++;
			while (at < end && (text[at] == ' ' || text[at] == '\t'))
				at++;
			if (end - at >= 3 && memcmp(text + at, "yes", 3) == 0)
				return 1;
		}
		start = end + 1;
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const struct config_table table = {keys, ELEMENTS(keys)};
	cleanup_config struct config config = {0};
	char error[CONFIG_ERROR_MAX];

	if (config_initialise(&table, &config) < 0)
		return 0;
	if (config_parse(&config, "fuzz", (const char *)bytes, size, error) < 0)
		return 0;
	if (config_yes(&config, "users", "root") && !has_line((const char *)bytes, size))
		abort();
	return 0;
}
