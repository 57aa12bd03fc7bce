/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file of ours per user, /etc/sudoers.d/latchkey-USER, root's and 0440 from its first instant and checked by visudo
 * before it has its name. includedir passes over names with a '.', so such a byte of a user's name is written %2e.
 */
#pragma once

#include <stdbool.h>

#include "lib/cleanup.h"

#define SUDOERS_WORD_MAX 16u

/* "none" when there is no file, "password" or "nopasswd", or "edited" when somebody changed it. */
int sudoers_read(int root, const char *user, char ret_word[SUDOERS_WORD_MAX]) MUST_CHECK;
/* "none" removes the file. -EBADMSG when visudo refuses it. Only on the host itself is visudo run. */
int sudoers_write(int root, bool is_host, const char *user, const char *word) MUST_CHECK;
