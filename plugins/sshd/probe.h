/* SPDX-License-Identifier: Apache-2.0 */
/* One look at sshd's banner. */
#pragma once

#include "lib/sshd_config.h"
#include "lib/sshd_sockets.h"

/*
 * Connects once, sends one complete line and reads the banner. Empty ret_detail when it is sshd's; else why it could
 * not be verified, which any network peer can cause and which therefore proves nothing.
 */
void probe_banner(const struct sshd_sockets *sockets, char ret_detail[SSHD_DETAIL_MAX + 1]);
