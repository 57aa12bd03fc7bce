/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which file system a medium has, by its first bytes. The kernel's code for it will read what a stranger wrote, so it
 * is one of three that are in every kernel's everyday use, and is named to mount(2): none is guessed.
 */
#pragma once

#include <stddef.h>

#define FILE_SYSTEM_HEAD 36864u /* up to and with the first volume descriptor of ISO 9660 */

struct file_system {
	const char *type, *options; /* for mount(2) */
};

/* NULL for anything else. */
const struct file_system *file_system_find(const unsigned char *head, size_t size);
