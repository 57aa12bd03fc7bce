/* SPDX-License-Identifier: Apache-2.0 */
/* The real ssh-keygen in a temporary directory of its own, for tests that must agree with it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

struct workshop {
	char path[64];
	int directory;
};

int workshop_open(void **state);  /* a cmocka group setup: *state is a struct workshop */
int workshop_close(void **state); /* and its teardown */
/* Runs ssh-keygen with these arguments (NULL-terminated) in the directory; true when it exits 0. */
bool workshop_run(const struct workshop *workshop, const char *const *arguments, const char *input, size_t input_size,
	struct buffer *output);
void workshop_write(const struct workshop *workshop, const char *name, const void *bytes, size_t size);
/* The file, NUL-terminated (free). */
char *workshop_read(const struct workshop *workshop, const char *name, size_t *ret_size);
