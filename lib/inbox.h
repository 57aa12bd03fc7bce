/* SPDX-License-Identifier: Apache-2.0 */
/* Which names of /var/lib/latchkey/inbox are documents; for those who put them there, wake for them and take them. */
#pragma once

#include <stdbool.h>
#include <string.h>

#define INBOX "inbox"
#define INBOX_SUFFIX ".doc"
#define INBOX_NAMES_MAX 1024u /* a machine that was off for a year of daily documents */
#define INBOX_NAME_MAX 128u

/* No hidden file, for those are still being written. */
static inline bool inbox_is_document(const char *name)
{
	size_t size = strlen(name), suffix = strlen(INBOX_SUFFIX);
	return name[0] != '.' && size > suffix && size <= INBOX_NAME_MAX &&
	       strcmp(name + size - suffix, INBOX_SUFFIX) == 0;
}
