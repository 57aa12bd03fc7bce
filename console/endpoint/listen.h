/* SPDX-License-Identifier: Apache-2.0 */
/* The listening socket: ADDR:PORT with a literal address ([::1]:8470), so that no resolver decides where we listen. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/cleanup.h"

#define LISTEN_TEXT_SIZE 64u

/* 0 with the socket, where it really listens, and whether that is loopback; -EINVAL for a bad text. */
int listen_open(const char *address, int *ret_socket, char ret_text[LISTEN_TEXT_SIZE], bool *ret_loopback) MUST_CHECK;
