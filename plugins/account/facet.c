/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/facet.h"

#include <errno.h>
#include <string.h>

static void wipe(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

int facets_add(struct facets *facets, const char *name, const char *before, const char *after)
{
	if (strcmp(before, after) == 0)
		return 0;
	if (facets->count == FACETS_MAX)
		return -E2BIG;
	if (strlen(before) > FACET_VALUE_MAX || strlen(after) > FACET_VALUE_MAX)
		return -EMSGSIZE;
	struct facet facet = {strdup(name), strdup(before), strdup(after)};
	if (!facet.name || !facet.before || !facet.after) {
		free(facet.name);
		wipe(facet.before);
		wipe(facet.after);
		return -ENOMEM;
	}
	facets->items[facets->count++] = facet;
	return 0;
}

void facets_free(struct facets *facets)
{
	for (unsigned i = 0; i < facets->count; i++) {
		free(facets->items[i].name);
		wipe(facets->items[i].before);
		wipe(facets->items[i].after);
	}
	facets->count = 0;
}

const struct facet *facets_find(const struct facets *facets, const char *name)
{
	for (unsigned i = 0; i < facets->count; i++) {
		if (strcmp(facets->items[i].name, name) == 0)
			return &facets->items[i];
	}
	return NULL;
}

const char *facets_after(const struct facets *facets, const char *name, const char *fallback)
{
	const struct facet *facet = facets_find(facets, name);
	return facet ? facet->after : fallback;
}

void facets_write(const struct facets *facets, struct json_writer *writer)
{
	json_begin_object(writer, "facets");
	for (unsigned i = 0; i < facets->count; i++) {
		json_begin_array(writer, facets->items[i].name);
		json_put_string(writer, NULL, facets->items[i].before);
		json_put_string(writer, NULL, facets->items[i].after);
		json_end_array(writer);
	}
	json_end_object(writer);
}

int facets_read(const cJSON *plan, bool exchange, struct facets *ret_facets)
{
	const cJSON *object, *pair;
	int r;

	if (json_get_object(plan, "facets", &object) < 0)
		return -EBADMSG;
	cJSON_ArrayForEach(pair, object)
	{
		const cJSON *before = cJSON_GetArrayItem(pair, exchange ? 1 : 0);
		const cJSON *after = cJSON_GetArrayItem(pair, exchange ? 0 : 1);

		if (!cJSON_IsArray(pair) || cJSON_GetArraySize(pair) != 2 || !cJSON_IsString(before) ||
			!cJSON_IsString(after))
			return -EBADMSG;
		r = facets_add(ret_facets, pair->string, before->valuestring, after->valuestring);
		if (r < 0)
			return r;
	}
	return 0;
}

bool facets_write_account(const struct facets *facets, struct json_writer *writer)
{
	static const char *const names[] = {"shell", "home", "expire"};
	bool any = false;

	json_begin_object(writer, "account");
	for (unsigned i = 0; i < ELEMENTS(names); i++) {
		const char *after = facets_after(facets, names[i], NULL);
		if (after)
			json_put_string(writer, names[i], after);
		any = any || after;
	}
	json_begin_array(writer, "left");
	for (unsigned i = 0; i < facets->count; i++) {
		const struct facet *facet = &facets->items[i];
		if (strncmp(facet->name, "group.", strlen("group.")) != 0 || strcmp(facet->after, "out") != 0)
			continue;
		json_put_string(writer, NULL, facet->name + strlen("group."));
		any = true;
	}
	json_end_array(writer);
	json_end_object(writer);
	return any;
}
