/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/location.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "lib/field.h"
#include "lib/file.h"

#define PATH_LENGTH_MAX 1024u

void locations_free(struct locations *locations)
{
	for (unsigned i = 0; i < locations->count; i++)
		free(locations->places[i].path);
	locations->count = 0;
}

/* The home's length when the path lies below it, else 0. */
static size_t below_home(const struct account *account, const char *path)
{
	size_t size = strlen(account->home);

	while (size > 0 && account->home[size - 1] == '/')
		size--;
	return size > 0 && strncmp(path, account->home, size) == 0 && path[size] == '/' ? size : 0;
}

int locations_add(struct locations *locations, const struct account *account, const char *path, unsigned *ret_index)
{
	for (unsigned i = 0; i < locations->count; i++) {
		if (strcmp(locations->places[i].path, path) == 0) {
			*ret_index = i;
			return 0;
		}
	}
	if (locations->count == KEY_PLACES_MAX || *path != '/' || strlen(path) > PATH_LENGTH_MAX ||
		path[strlen(path) - 1] == '/' || !json_is_utf8(path) || !field_is_text(path, PATH_LENGTH_MAX))
		return -EINVAL;
	struct key_place *place = &locations->places[locations->count];
	*place = (struct key_place){.path = strdup(path), .home_size = below_home(account, path)};
	if (!place->path)
		return -ENOMEM;
	place->root_owned = place->home_size == 0 || account->uid == 0;
	locations->read_by_sshd[locations->count] = false;
	*ret_index = locations->count++;
	return 0;
}

static bool is_ours(const char *path)
{
	return strncmp(path, LOCATION_SYSTEM "/", strlen(LOCATION_SYSTEM "/")) == 0 ||
	       strncmp(path, LOCATION_RUNTIME "/", strlen(LOCATION_RUNTIME "/")) == 0;
}

static int add_pattern(
	struct sharers *sharers, const struct account *account, const char *pattern, struct locations *locations)
{
	cleanup_free char *path = NULL;
	char sharer[SHARERS_NAME_MAX];
	unsigned index;

	if (strcmp(pattern, "none") == 0)
		return 0;
	int r = sshd_expand(pattern, account, &path);
	if (r == 0)
		r = locations_add(locations, account, path, &index);
	if (r == -EINVAL)
		return 0; /* a token or path that sshd itself would not find a key by */
	if (r < 0)
		return r;
	locations->read_by_sshd[index] = true;
	if (locations->home >= 0 || is_ours(path))
		return 0;
	r = sharers_find(sharers, account, pattern, path, sharer);
	if (r < 0)
		return r;
	if (*sharer) {
		locations->home_code = CODE_SHARED_FILE;
		(void)snprintf(
			locations->home_detail, sizeof(locations->home_detail), "%.120s also serves %s", path, sharer);
		return 0;
	}
	locations->home = (int)index;
	return 0;
}

static int find_patterns(struct sshd *sshd, const struct account *account, struct locations *locations,
	char ***ret_patterns, size_t *ret_count)
{
	const struct sshd_effective *effective;
	char detail[SSHD_DETAIL_MAX + 1] = "";

	if (!sshd)
		return -ENOENT;
	int r = sshd_get_effective(sshd, account->name, &effective, detail);
	if (r == -ENOMEM || r == -ENOENT)
		return r;
	if (r < 0) {
		/* A configuration that somebody broke must not keep a key out: what its files say is the next best. */
		(void)snprintf(locations->note, sizeof(locations->note), "sshd cannot be asked (%.120s)", detail);
		r = sshd_get_scanned(sshd, &effective);
	}
	if (r < 0)
		return r;
	const char *command = sshd_value(effective, "authorizedkeyscommand");
	locations->has_command = command && strcasecmp(command, "none") != 0;
	return sshd_keys_patterns(sshd, effective, ret_patterns, ret_count);
}

static int add_own(const char *directory, const struct account *account, struct locations *locations, int *ret_index)
{
	char path[PATH_LENGTH_MAX];
	unsigned index;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, account->name);
	int r = locations_add(locations, account, path, &index);
	*ret_index = r == 0 ? (int)index : -1;
	return r;
}

int locations_find(const struct plugin_request *request, struct sshd *sshd, struct sharers *sharers,
	const struct account *account, struct locations *ret_locations)
{
	static const char *const built_in[] = {".ssh/authorized_keys", ".ssh/authorized_keys2"};
	struct locations locations = {.home = -1, .home_code = CODE_KEYS_FILE_NONE, .system = -1, .runtime = -1};
	cleanup_names char **patterns = NULL;
	size_t count = 0;
	(void)request;

	(void)snprintf(locations.home_detail, sizeof(locations.home_detail), "AuthorizedKeysFile names no file of his");
	int r = find_patterns(sshd, account, &locations, &patterns, &count);
	if (r == -ENOENT) {
		(void)snprintf(locations.note, sizeof(locations.note), "no sshd is installed here");
		r = 0;
		for (unsigned i = 0; r == 0 && i < ELEMENTS(built_in); i++)
			r = add_pattern(sharers, account, built_in[i], &locations);
	}
	for (size_t i = 0; r == 0 && i < count; i++)
		r = add_pattern(sharers, account, patterns[i], &locations);
	if (r == 0)
		r = add_own(LOCATION_SYSTEM, account, &locations, &locations.system);
	if (r == 0)
		r = add_own(LOCATION_RUNTIME, account, &locations, &locations.runtime);
	if (r < 0) {
		locations_free(&locations);
		return r;
	}
	*ret_locations = locations;
	return 0;
}
