/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listening TCP sockets from the kernel's sock_diag(7): it walks the listeners alone, where reading /proc/net/tcp
 * walks every bucket of a table that has half a million on a big machine.
 */
#pragma once

#include "lib/sshd_sockets.h"

/* Adds those of one family (is_six or not) on one of the ports. Negative errno where the kernel has it not, or says so.
 */
int sshd_diag_read(bool is_six, const uint16_t *ports, unsigned port_count, struct sshd_sockets *sockets) MUST_CHECK;
