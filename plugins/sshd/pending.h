/* SPDX-License-Identifier: Apache-2.0 */
/* What somebody saved and did not have sshd read: our reload puts that in force too, so the result says so. */
#pragma once

#include "lib/sshd_config.h"

#define PENDING_SIZE 121u /* of the 200 bytes of a detail */

/*
 * To be asked before anything of ours is written. sshd writes its pid file each time it reads its configuration; what
 * was changed after that is pending. "" when nothing is, or when it cannot be told (no pid file).
 */
void pending_describe(int root, char ret_text[PENDING_SIZE]);
