/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/login/world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/file.h"
#include "lib/key_line.h"
#include "lib/krl.h"
#include "lib/sshd_open.h"
#include "lib/sshd_sockets.h"
#include "lib/sshkey.h"

#define REVOKED_FILE_MAX (4u << 20)
#define REVOKED_MAX 65536u /* as many as keys.revoke writes */

static bool exists(int root, const char *path)
{
	cleanup_close int descriptor = -1;
	return sshd_open_below(root, path, O_PATH, &descriptor) == 0;
}

static int read_tables(struct world *world)
{
	int r = account_table_read(world->root, "etc/passwd", &world->passwd);
	if (r < 0)
		return r;
	r = account_table_read(world->root, "etc/shadow", &world->shadow);
	if (r < 0 && r != -ENOENT)
		return r;
	world->has_shadow = r == 0;
	r = account_table_read(world->root, "etc/group", &world->group);
	if (r < 0 && r != -ENOENT)
		return r;
	r = account_members_read(&world->group, &world->members);
	if (r < 0)
		return r;
	r = account_table_read(world->root, "etc/shells", &world->shells);
	if (r < 0 && r != -ENOENT)
		return r;
	return login_definitions_read(world->root, &world->definitions);
}

int world_open(const struct plugin_request *request, const char *address, struct world *ret_world)
{
	cleanup_world struct world world = {.pam = {[PAM_NOLOGIN] = {.name = "pam_nologin.so"},
						    [PAM_SHELLS] = {.name = "pam_shells.so"},
						    [PAM_ACCESS] = {.name = "pam_access.so"},
						    [PAM_LIMITS] = {.name = "pam_limits.so"},
						    [PAM_FAILLOCK] = {.name = "pam_faillock.so"}},
		.spawner = &request->spawner,
		.root = request->root,
		.root_path = request->root_path,
		.is_host = request->is_host,
		.now = request->time,
		.address = address,
		.listening = -1};

	int r = read_tables(&world);
	if (r < 0)
		return r;
	world.sshd_error = sshd_open(world.root, world.is_host, request->state, &world.sshd, world.sshd_detail);
	if (world.sshd_error == -ENOMEM)
		return -ENOMEM;
	if (world.sshd && address)
		sshd_set_address(world.sshd, address);
	world.etc_nologin = exists(world.root, "/etc/nologin");
	world.run_nologin = world.is_host && exists(world.root, "/run/nologin");
	world.is_debian = exists(world.root, "/etc/debian_version");
	pam_find(world.root, world.pam, PAM_COUNT, &world.pam_rules);
	*ret_world = world;
	world = (struct world){0};
	return 0;
}

int world_read_numbers(struct world *world)
{
	if (world->primary.items)
		return 0;
	int r = account_numbers_read(&world->passwd, 3, &world->primary);
	return r < 0 ? r : account_numbers_read(&world->group, 2, &world->gids);
}

int world_index(struct world *world)
{
	if (world->passwd.index)
		return 0;
	int r = account_index_build(&world->shadow);
	if (r == 0)
		r = world_read_numbers(world);
	return r < 0 ? r : account_index_build(&world->passwd);
}

void world_close(struct world *world)
{
	account_table_free(&world->passwd);
	account_table_free(&world->shadow);
	account_table_free(&world->group);
	account_table_free(&world->shells);
	account_table_free(&world->members);
	account_numbers_free(&world->primary);
	account_numbers_free(&world->gids);
	sshd_close(world->sshd);
	free(world->revoked_path);
	file_names_free(&world->revoked);
	*world = (struct world){0};
}

bool world_is_listening(struct world *world, const struct sshd_effective *effective)
{
	struct sshd_sockets sockets;

	if (!world->is_host)
		return true;
	if (world->listening < 0) /* the ports are no user's: one look serves all */
		world->listening = sshd_sockets_read(1, effective, &sockets) < 0 || sockets.count > 0;
	return world->listening != 0;
}

bool world_bans_address(struct world *world, const struct sshd_effective *effective)
{
	if (!world->is_host || !world->address)
		return false;
	if (!world->ban_is_asked)
		ban_ask(world->address, effective, &world->ban);
	world->ban_is_asked = true;
	return world->ban.is_banned;
}

static int add_fingerprint(char ***list, size_t *count, const char *fingerprint)
{
	if (*count == REVOKED_MAX)
		return -E2BIG;
	char **more = reallocarray(*list, *count + 2, sizeof(*more));
	if (!more)
		return -ENOMEM;
	*list = more;
	more[*count + 1] = NULL;
	more[*count] = strdup(fingerprint);
	return more[(*count)++] ? 0 : -ENOMEM;
}

static int parse_revoked(const char *bytes, size_t size, char ***ret_list)
{
	cleanup_names char **list = calloc(1, sizeof(*list));
	size_t count = 0;
	int r = list ? 0 : -ENOMEM;

	for (size_t offset = 0; r == 0 && offset < size;) {
		const char *newline = memchr(bytes + offset, '\n', size - offset);
		size_t length = newline ? (size_t)(newline - bytes) - offset : size - offset;
		cleanup_key_line struct key_line line = {0};
		int parsed = length <= KEY_LINE_MAX ? key_line_parse(bytes + offset, length, &line) : -EBADMSG;
		if (parsed == 0)
			r = add_fingerprint(&list, &count, line.fingerprint);
		else if (parsed == -ENOMEM)
			r = parsed;
		offset += length + 1;
	}
	if (r < 0)
		return r;
	*ret_list = steal_pointer(&list);
	return 0;
}

struct revoked_list {
	char **names;
	size_t count;
	bool unknown;
};

static int visit_revoked(enum krl_kind kind, unsigned section, const struct ssh_slice *value, void *context)
{
	char fingerprint[SSHKEY_FINGERPRINT_SIZE];
	struct revoked_list *list = context;
	(void)section;

	if (kind == KRL_SHA256)
		sshkey_fingerprint_of_digest(value->bytes, fingerprint);
	else if (kind == KRL_KEY)
		sshkey_fingerprint(value->bytes, value->size, fingerprint);
	list->unknown = list->unknown || kind == KRL_SHA1; /* which no fingerprint of ours can be compared with */
	return kind == KRL_SHA256 || kind == KRL_KEY ? add_fingerprint(&list->names, &list->count, fingerprint) : 0;
}

/* *ret_unknown: it may name keys that nobody here can tell. */
static int parse_krl(const char *bytes, size_t size, char ***ret_list, bool *ret_unknown)
{
	struct revoked_list list = {calloc(1, sizeof(char *)), 0, false};
	int r = list.names ? krl_walk(bytes, size, visit_revoked, &list) : -ENOMEM;

	if (r == -EBADMSG) { /* a list signed in the old way, or one that sshd would not read */
		list.unknown = true;
		r = 0;
	}
	if (r < 0) {
		file_names_free(&list.names);
		return r;
	}
	*ret_list = list.names;
	*ret_unknown = list.unknown;
	return 0;
}

int world_read_revoked(struct world *world, const char *path)
{
	cleanup_free char *bytes = NULL;
	size_t size = 0;

	if (world->revoked_path && strcmp(world->revoked_path, path) == 0)
		return 0;
	free(world->revoked_path);
	file_names_free(&world->revoked);
	world->revoked_unreadable = world->revoked_unknown = false;
	world->revoked_path = strdup(path);
	if (!world->revoked_path)
		return -ENOMEM;
	if (strcasecmp(path, "none") == 0)
		return 0;
	int r = sshd_read_below(world->root, path, REVOKED_FILE_MAX, &bytes, &size);
	if (r == -ENOMEM)
		return r;
	world->revoked_unreadable = r < 0 && r != -EFBIG;
	world->revoked_unknown = r == -EFBIG;
	if (r < 0)
		return 0;
	r = krl_is_one(bytes, size) ? parse_krl(bytes, size, &world->revoked, &world->revoked_unknown)
				    : parse_revoked(bytes, size, &world->revoked);
	if (r == -E2BIG) {
		world->revoked_unknown = true;
		r = 0;
	}
	return r;
}

bool world_lists_shell(const struct world *world, const char *shell)
{
	struct account_line line;
	size_t offset = 0, size = strlen(shell);

	while (account_next_line(&world->shells, &offset, &line)) {
		if (line.size == size && memcmp(line.start, shell, size) == 0)
			return true;
	}
	return false;
}

int world_read(const struct world *world, const char *path, size_t limit, char **ret_text)
{
	size_t size;
	return sshd_read_below(world->root, path, limit, ret_text, &size);
}

bool world_has_host_key(const struct world *world)
{
	static const char *const defaults[] = {
		"/etc/ssh/ssh_host_rsa_key", "/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_ed25519_key"};
	const struct sshd_scan *scan = world->sshd ? sshd_get_scan(world->sshd) : NULL;
	bool named = false;

	for (size_t i = 0; scan && i < scan->count; i++) {
		const struct sshd_setting *setting = &scan->settings[i];
		if (setting->match >= 0 || strcmp(setting->keyword, "hostkey") != 0 || setting->count == 0)
			continue;
		named = true;
		if (exists(world->root, setting->arguments[0]))
			return true;
	}
	for (unsigned i = 0; !named && i < ELEMENTS(defaults); i++) {
		if (exists(world->root, defaults[i]))
			return true;
	}
	return false;
}
