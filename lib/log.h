/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line a message on standard error, with the syslog level in front as sd-daemon(3) describes ("<4>…"), so that
 * the service manager files it rightly. Bytes outside printable ASCII are escaped and the line is cut at LOG_LINE_MAX.
 * Library code does not log: whoever stops handling an error logs it once. Never pass a secret.
 */
#pragma once

#include <syslog.h>

#define LOG_LINE_MAX 512

/* Messages above this level (LOG_DEBUG is the highest) are dropped; LOG_INFO at start. */
void log_set_level(int level);
void log_message(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_message(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_message(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_message(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LOG_DEBUG, __VA_ARGS__)
