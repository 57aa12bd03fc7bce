/* SPDX-License-Identifier: Apache-2.0 */
/* When the keys that passwords are sealed to have served their time. A file's own time says when the key came. */
#pragma once

#include <stdint.h>

#define BOX "box"
#define BOX_PREVIOUS "box.previous"

/*
 * The time (Unix seconds) at which that key of the directory identity/ is due; INT64_MAX where there is none. A file
 * from the future (a clock that was set back) is due at once: its real age cannot be known.
 */
int64_t box_age_due(int identity, const char *name, int64_t now);
