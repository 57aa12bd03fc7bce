/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/new_homes.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "lib/account_files.h"
#include "lib/log.h"
#include "plugins/account/home.h"
#include "plugins/account/labels.h"

void new_homes_free(struct new_homes *homes)
{
	for (unsigned i = 0; i < homes->count; i++) {
		free(homes->items[i].user);
		free(homes->items[i].path);
	}
	free(homes->items);
	*homes = (struct new_homes){0};
}

int new_homes_add(struct new_homes *homes, const char *user, const char *path, uid_t uid)
{
	struct new_home *more = reallocarray(homes->items, homes->count + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	homes->items = more;
	struct new_home home = {strdup(user), strdup(path), uid};
	if (!home.user || !home.path) {
		free(home.user);
		free(home.path);
		return -ENOMEM;
	}
	more[homes->count++] = home;
	return 0;
}

void new_homes_label(const struct new_homes *homes, bool is_host)
{
	const char *paths[LABELS_PATHS_MAX];
	unsigned count = 0;

	for (unsigned i = 0; is_host && i < homes->count; i++) {
		paths[count++] = homes->items[i].path;
		if (count < LABELS_PATHS_MAX && i + 1 < homes->count)
			continue;
		labels_restore(paths, count);
		count = 0;
	}
}

void new_homes_take_back(const struct new_homes *homes, int root, const struct account_table *passwd)
{
	for (unsigned i = 0; i < homes->count; i++) {
		const struct new_home *home = &homes->items[i];
		struct account_line line;

		if (passwd && account_find_line(passwd, home->user, &line) != -ENOENT)
			continue;
		int r = home_delete(root, home->path, home->uid, INT64_MAX, NULL);
		if (r < 0)
			log_warning("the new home %s of %s, who was not made, stays: %s", home->path, home->user,
				strerror(-r));
	}
}
