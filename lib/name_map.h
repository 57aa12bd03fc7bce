/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers by name, for lists of thousands of users that are asked for one by one. Names are copied. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/cleanup.h"

#define NAME_MAP_NONE SIZE_MAX

struct name_map {
	struct name_map_slot *slots;
	size_t mask, used;
};

/* Puts the number in place of the one that the name had, which cannot fail. -ENOMEM for a new name. */
int name_map_put(struct name_map *map, const char *name, size_t number) MUST_CHECK;
/* NAME_MAP_NONE when there is none. */
size_t name_map_get(const struct name_map *map, const char *name);
void name_map_free(struct name_map *map);
#define cleanup_name_map CLEANUP(name_map_free)
