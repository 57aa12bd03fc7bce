/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secret bytes (plaintext passwords, private keys): a mapping of their own, locked, left out of cores and of forks,
 * wiped when released. No formatter takes the type; secret_bytes is for the one call that needs them.
 */
#pragma once

#include <stddef.h>

#include "lib/cleanup.h"

#define SECRET_SIZE_MAX 65536u /* the largest sealed box is 4 KiB */

struct secret {
	unsigned char *bytes;
	size_t size;     /* bytes in use */
	size_t capacity; /* of the mapping */
};

/* A zeroed secret that can hold `size` bytes, size set; -ENOMEM, -EFBIG. mlock is best effort (RLIMIT_MEMLOCK). */
int secret_allocate(size_t size, struct secret *ret_secret) MUST_CHECK;
void secret_free(struct secret *secret);
#define cleanup_secret CLEANUP(secret_free)
