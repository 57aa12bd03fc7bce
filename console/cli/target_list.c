/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/target_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/field.h"
#include "lib/name_map.h"

static int add(struct target_list *list, struct name_map *seen, const char *name)
{
	if (name_map_get(seen, name) != NAME_MAP_NONE)
		return 0;
	if (list->count == TARGETS_MAX)
		return -E2BIG;
	if (list->count % 256 == 0) {
		char **more = reallocarray(list->names, list->count + 256, sizeof(*more));
		if (!more)
			return -ENOMEM;
		list->names = more;
	}
	list->names[list->count] = strdup(name);
	if (!list->names[list->count])
		return -ENOMEM;
	list->count++;
	return name_map_put(seen, list->names[list->count - 1], list->count - 1);
}

int target_list_parse(char *text, struct target_list *ret_list, unsigned *ret_line)
{
	cleanup_target_list struct target_list list = {0};
	cleanup_name_map struct name_map seen = {0};
	char *rest = text;

	for (unsigned line = 1; rest; line++) {
		char *name = strsep(&rest, "\n");
		name[strcspn(name, "#")] = '\0';
		name += strspn(name, " \t\r");
		size_t size = strcspn(name, " \t\r");
		bool alone = name[size + strspn(name + size, " \t\r")] == '\0';
		name[size] = '\0';
		if (size == 0)
			continue;
		int r = alone && field_is_instance(name) ? add(&list, &seen, name) : -EBADMSG;
		if (r < 0) {
			*ret_line = line;
			return r;
		}
	}
	*ret_list = list;
	list = (struct target_list){0};
	return 0;
}

void target_list_free(struct target_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->names[i]);
	free(list->names);
	*list = (struct target_list){0};
}

size_t target_list_remove(struct target_list *list, const struct target_list *other)
{
	cleanup_name_map struct name_map known = {0};
	size_t kept = 0, removed;

	for (size_t i = 0; i < other->count; i++) {
		if (name_map_put(&known, other->names[i], i) < 0)
			return 0; /* done once more, which does no harm */
	}
	for (size_t i = 0; i < list->count; i++) {
		if (name_map_get(&known, list->names[i]) == NAME_MAP_NONE)
			list->names[kept++] = list->names[i];
		else
			free(list->names[i]);
	}
	removed = list->count - kept;
	list->count = kept;
	return removed;
}

int target_list_share(const char *text, size_t total, size_t *ret_count)
{
	size_t digits = strspn(text, "0123456789"), number = 0;
	bool percent = strcmp(text + digits, "%") == 0;

	if (digits == 0 || digits > 6 || (text[digits] != '\0' && !percent))
		return -EINVAL;
	for (size_t i = 0; i < digits; i++)
		number = number * 10 + (size_t)(text[i] - '0');
	if (number == 0 || (percent && number > 100))
		return -EINVAL;
	if (percent)
		number = (total * number + 99) / 100;
	*ret_count = number > total ? total : number;
	return 0;
}
