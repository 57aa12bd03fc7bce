/* SPDX-License-Identifier: Apache-2.0 */
/* Files that the caller names. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/cleanup.h"

/* The file, or standard input for "-", with a NUL behind it (free). An exit code, explained when not 0. */
int input_read(const char *name, size_t limit, char **ret_bytes, size_t *ret_size) MUST_CHECK;
/* Asks on the terminal; false, explained, where there is none. */
bool input_confirm(const char *question) MUST_CHECK;
/* "192.0.2.1", "2001:db8::1"; usage is explained when it is none. */
bool input_is_address(const char *text);
