/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file of ours per user, /etc/sudoers.d/latchkey-USER, root's and 0440 from its first instant and checked by visudo
 * before the account is touched. includedir passes over names with a '.', so such a byte of a user's name is written
 * %2e.
 */
#pragma once

#include <stddef.h>

#include "lib/cleanup.h"

#define SUDOERS_WORD_MAX 16u

/* "none" when there is no file, "password" or "nopasswd", or "edited" when somebody changed it. */
int sudoers_read(int root, const char *user, char ret_word[SUDOERS_WORD_MAX]) MUST_CHECK;
/* -EBADMSG when visudo refuses what would be written for that word. Without visudo there is nothing to ask. */
int sudoers_check(const char *user, const char *word) MUST_CHECK;
/* "password" or "nopasswd" */
int sudoers_write(int root, const char *user, const char *word) MUST_CHECK;
/* Removes the file; its bytes, or NULL where there was none. */
int sudoers_take(int root, const char *user, char **ret_bytes, size_t *ret_size) MUST_CHECK;
/* Best effort. */
void sudoers_put_back(int root, const char *user, const char *bytes, size_t size);
