/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/log_event.h"

static int log_level = LOG_INFO;

void log_set_level(int level)
{
	log_level = level;
}

/* Printable ASCII as it is, all else as \xNN: no newline, so neither a second line nor another field. */
static size_t escape(const char *text, char *line)
{
	size_t out = 0;

	for (const char *at = text; *at; at++) {
		unsigned char c = (unsigned char)*at;
		if (c >= 0x20 && c < 0x7f)
			line[out++] = (char)c;
		else
			out += (size_t)snprintf(line + out, 5, "\\x%02x", c);
	}
	line[out] = '\0';
	return out;
}

static void write_line(int level, const char *text)
{
	char line[4 * LOG_LINE_MAX + 8];

	size_t out = isatty(STDERR_FILENO) ? 0 : (size_t)snprintf(line, sizeof(line), "<%d>", level);
	out += escape(text, line + out);
	line[out++] = '\n';
	(void)!write(STDERR_FILENO, line, out);
}

/* The service manager connected it there (systemd.exec(5), StandardError=journal). */
static bool is_journal(int descriptor)
{
	struct sockaddr_un peer = {0};
	socklen_t size = sizeof(peer) - 1;

	return getpeername(descriptor, (struct sockaddr *)&peer, &size) == 0 && peer.sun_family == AF_UNIX &&
	       strcmp(peer.sun_path, "/run/systemd/journal/stdout") == 0;
}

/* See systemd.journal-fields(7) and its native protocol. False: nobody took it. */
static bool send_entry(enum log_event event, int level, const char *subject, const char *text)
{
	static const char *const ids[LOG_EVENTS] = {
#define X(name, id) [LOG_EVENT_##name] = (id),
		LOG_EVENT_TABLE(X)
#undef X
	};
	const struct sockaddr_un journal = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
	char message[4 * LOG_LINE_MAX + 1], about[4 * LOG_LINE_MAX + 1], cut[LOG_LINE_MAX], entry[9 * LOG_LINE_MAX];

	if (!is_journal(STDERR_FILENO))
		return false;
	(void)snprintf(cut, sizeof(cut), "%s", subject ? subject : "");
	(void)escape(text, message);
	(void)escape(cut, about);
	int size = snprintf(entry, sizeof(entry),
		"MESSAGE=%s\nMESSAGE_ID=%s\nPRIORITY=%d\nSYSLOG_IDENTIFIER=%s\n%s%s%s", message, ids[event], level,
		program_invocation_short_name, *about ? "LATCHKEY_SUBJECT=" : "", about, *about ? "\n" : "");
	int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (descriptor < 0 || size < 0)
		return false;
	ssize_t sent = sendto(descriptor, entry, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT,
		(const struct sockaddr *)&journal, sizeof(journal));
	(void)close(descriptor);
	return sent == size;
}

/* An event goes to the journal with its MESSAGE_ID where that can be; NULL: a plain line. */
static void put(const enum log_event *event, int level, const char *subject, const char *format, va_list arguments)
	__attribute__((format(printf, 4, 0)));

static void put(const enum log_event *event, int level, const char *subject, const char *format, va_list arguments)
{
	char text[LOG_LINE_MAX];
	int saved = errno;

	if (level > log_level)
		return;
	int size = vsnprintf(text, sizeof(text), format, arguments);
	if (size >= 0 && !(event && send_entry(*event, level, subject, text)))
		write_line(level, text);
	errno = saved;
}

void log_message(int level, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	put(NULL, level, NULL, format, arguments);
	va_end(arguments);
}

void log_event(enum log_event event, int level, const char *subject, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	put(&event, level, subject, format, arguments);
	va_end(arguments);
}
