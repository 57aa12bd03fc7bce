/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/login/guard.h"

#include <errno.h>
#include <string.h>

#define GUARD_INDEX_FROM 4u /* candidates; for fewer reading the lines is as fast */

static int is_way_in(struct world *world, const char *user, const struct without *without, bool *ret_can)
{
	struct look look;

	int r = look_at_user(world, user, without, &look);
	if (r < 0)
		return r;
	*ret_can = look.can;
	return 0;
}

int guard_anyone(struct world *world, const struct without *without, bool *ret_anyone)
{
	struct account_line line;
	unsigned candidates = 0;
	size_t offset = 0;
	bool can = false;

	int r = is_way_in(world, "root", without, &can);
	while (r == 0 && !can && candidates < GUARD_CANDIDATES_MAX &&
		account_next_line(&world->passwd, &offset, &line)) {
		cleanup_account struct account account = {0};
		uint32_t uid;
		if (account_line_number(&line, 2, &uid) &&
			(uid < world->definitions.uid_min || uid > world->definitions.uid_max))
			continue; /* nearly all of 100,000 lines may be such: no copy of each */
		r = account_parse(&line, &account);
		if (r == -EBADMSG) {
			r = 0;
			continue;
		}
		if (r < 0 || account.uid < world->definitions.uid_min || account.uid > world->definitions.uid_max ||
			strcmp(account.name, "root") == 0)
			continue;
		if (++candidates == GUARD_INDEX_FROM)
			r = world_index(world);
		if (r == 0)
			r = is_way_in(world, account.name, without, &can);
	}
	if (r < 0)
		return r;
	*ret_anyone = can;
	return 0;
}
