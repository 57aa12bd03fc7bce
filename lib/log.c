/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int log_level = LOG_INFO;

void log_set_level(int level)
{
	log_level = level;
}

void log_message(int level, const char *format, ...)
{
	char text[LOG_LINE_MAX], line[4 * LOG_LINE_MAX + 8];
	int saved = errno;
	va_list arguments;

	if (level > log_level)
		return;
	va_start(arguments, format);
	int size = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (size < 0)
		return;
	size_t out = isatty(STDERR_FILENO) ? 0 : (size_t)snprintf(line, sizeof(line), "<%d>", level);
	for (const char *at = text; *at; at++) {
		unsigned char c = (unsigned char)*at;
		if (c >= 0x20 && c < 0x7f)
			line[out++] = (char)c;
		else
			out += (size_t)snprintf(line + out, 5, "\\x%02x", c);
	}
	line[out++] = '\n';
	(void)!write(STDERR_FILENO, line, out);
	errno = saved;
}
