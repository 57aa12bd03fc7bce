/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/box_age.h"

#include <fcntl.h>
#include <string.h>

#include "lib/sys.h"

#define WEEK 604800
#define DAY 86400
#define CLOCK_SLACK 300 /* what documents are granted, too */

int64_t box_age_due(int identity, const char *name, int64_t now)
{
	struct stat status;

	if (sys.fstatat(identity, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return INT64_MAX;
	if (status.st_mtime > now + CLOCK_SLACK)
		return now;
	return (int64_t)status.st_mtime + (strcmp(name, BOX) == 0 ? WEEK : DAY);
}
