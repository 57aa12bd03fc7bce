/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify(3) for programs that link libc only. The environment is read before program_begin() clears it. */
#pragma once

#include <stdint.h>

struct notify {
	char socket[108];     /* "" : nobody wants to know */
	uint64_t watchdog_us; /* 0: no watchdog */
};

void notify_read_environment(struct notify *ret_notify);
/* "READY=1", "WATCHDOG=1", "STATUS=…"; best effort. */
void notify_send(const struct notify *notify, const char *state);
