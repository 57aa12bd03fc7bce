/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/name_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 64u

struct name_map_slot {
	char *name; /* NULL: free */
	size_t number;
};

static size_t hash(const char *name)
{
	uint64_t value = UINT64_C(14695981039346656037); /* FNV-1a */

	for (; *name; name++)
		value = (value ^ (unsigned char)*name) * UINT64_C(1099511628211);
	return (size_t)(value ^ (value >> 32));
}

/* The slot of the name, or the free one where it belongs; at least one is always free. */
static struct name_map_slot *find(struct name_map_slot *slots, size_t mask, const char *name)
{
	size_t at = hash(name) & mask;

	while (slots[at].name && strcmp(slots[at].name, name) != 0)
		at = (at + 1) & mask;
	return &slots[at];
}

static int grow(struct name_map *map)
{
	size_t count = map->slots ? 2 * (map->mask + 1) : SLOTS_MIN;
	struct name_map_slot *slots = calloc(count, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; map->slots && i <= map->mask; i++) {
		if (map->slots[i].name)
			*find(slots, count - 1, map->slots[i].name) = map->slots[i];
	}
	free(map->slots);
	map->slots = slots;
	map->mask = count - 1;
	return 0;
}

int name_map_put(struct name_map *map, const char *name, size_t number)
{
	struct name_map_slot *slot = map->slots ? find(map->slots, map->mask, name) : NULL;

	if (slot && slot->name) {
		slot->number = number;
		return 0;
	}
	char *copy = strdup(name);
	int r = !copy ? -ENOMEM : !map->slots || 2 * map->used > map->mask ? grow(map) : 0;
	if (r < 0) {
		free(copy);
		return r;
	}
	*find(map->slots, map->mask, name) = (struct name_map_slot){copy, number};
	map->used++;
	return 0;
}

size_t name_map_get(const struct name_map *map, const char *name)
{
	if (!map->slots)
		return NAME_MAP_NONE;
	const struct name_map_slot *slot = find(map->slots, map->mask, name);
	return slot->name ? slot->number : NAME_MAP_NONE;
}

void name_map_free(struct name_map *map)
{
	for (size_t i = 0; map->slots && i <= map->mask; i++)
		free(map->slots[i].name);
	free(map->slots);
	*map = (struct name_map){0};
}
