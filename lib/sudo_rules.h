/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of sudoers(5) with all that they include, without those that this agent wrote itself. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"

/* Logical lines, each behind "FILE:LINE\t"; without sudo there are none. An include that is too deep is an error. */
int sudo_rules_read(int root, struct buffer *out) MUST_CHECK;
/* A number that is another when the rules have changed. */
uint32_t sudo_rules_stamp(const struct buffer *rules);
/* Joins the logical lines of one text; exposed for tests and fuzzing. */
int sudo_rules_join(const char *source, const char *text, size_t size, struct buffer *out) MUST_CHECK;
