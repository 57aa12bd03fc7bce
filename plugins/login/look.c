/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/login/look.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>

#include "lib/file.h"
#include "lib/pattern.h"
#include "lib/sshd_ask.h"
#include "lib/sshd_open.h"
#include "plugins/login/account.h"
#include "plugins/login/gates.h"
#include "plugins/login/server.h"

#define RSA_BITS_DEFAULT 1024u /* RequiredRSASize of an sshd that does not print it */
#define EXCLUDED_MAX 8192u     /* 4,096 commands, each with a key of its own and of anybody */

static bool has_text(const cJSON *list, const char *text)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, list)
	{
		if (cJSON_IsString(item) && strcmp(item->valuestring, text) == 0)
			return true;
	}
	return false;
}

/* Another name of the same uid: their keys may well stand in one file. */
static bool is_same_uid(const struct world *world, const char *name, const struct account *account)
{
	cleanup_account struct account other = {0};

	return account_find(&world->passwd, name, &other) == 0 && other.uid == account->uid;
}

/* The lines that would come for this user. */
static int list_added(const struct without *without, const char *user, const char ***ret_list)
{
	const cJSON *all = without ? without->lines : NULL, *item;
	size_t count = 0, most = (size_t)cJSON_GetArraySize(all);
	cleanup_free const char **list = calloc((most < EXCLUDED_MAX ? most : EXCLUDED_MAX) + 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	cJSON_ArrayForEach(item, all)
	{
		const char *of, *line;
		if (count < EXCLUDED_MAX && json_get_string(item, "user", &of) == 0 && strcmp(of, user) == 0 &&
			json_get_string(item, "line", &line) == 0 && *line)
			list[count++] = line;
	}
	*ret_list = steal_pointer(&list);
	return 0;
}

/* The account as the commands that are asked about would leave it. */
static int foresee(const struct without *without, struct person *person)
{
	const cJSON *item, *account;
	const char *of;
	int r = 0;

	if (!without)
		return 0;
	cJSON_ArrayForEach(item, without->accounts)
	{
		if (r == 0 && json_get_string(item, "user", &of) == 0 && strcmp(of, person->account.name) == 0 &&
			json_get_object(item, "account", &account) == 0)
			r = person_change(person, account);
	}
	return r;
}

static size_t count_groups(const struct person *person)
{
	size_t count = 0;

	while (person->group_names && person->group_names[count])
		count++;
	return count;
}

static bool matches_groups(const struct sshd_scan *scan)
{
	for (size_t i = 0; i < scan->count; i++) {
		const struct sshd_setting *setting = &scan->settings[i];
		if (strcmp(setting->keyword, "match") != 0)
			continue;
		for (unsigned j = 0; j < setting->count; j++) {
			/* "Group NAME", and "Group=NAME" of newer versions */
			if (strncasecmp(setting->arguments[j], "group", strlen("group")) == 0 &&
				(setting->arguments[j][5] == '\0' || setting->arguments[j][5] == '='))
				return true;
		}
	}
	return false;
}

/* The fingerprints that do not count for this user. */
static int list_excluded(
	const struct world *world, const struct without *without, const struct account *account, const char ***ret_list)
{
	const cJSON *everywhere = without ? without->fingerprints : NULL, *own = without ? without->keys : NULL, *item;
	size_t most = (size_t)cJSON_GetArraySize(everywhere) + (size_t)cJSON_GetArraySize(own), count = 0;
	cleanup_free const char **list = calloc((most < EXCLUDED_MAX ? most : EXCLUDED_MAX) + 1, sizeof(*list));
	bool shared = own && account_count_uid(&world->passwd, account->uid) > 1;

	if (!list)
		return -ENOMEM;
	cJSON_ArrayForEach(item, everywhere)
	{
		if (count == EXCLUDED_MAX)
			return -E2BIG;
		if (cJSON_IsString(item))
			list[count++] = item->valuestring;
	}
	cJSON_ArrayForEach(item, own)
	{
		const char *of, *fingerprint;
		if (json_get_string(item, "user", &of) < 0 || json_get_string(item, "fingerprint", &fingerprint) < 0)
			continue;
		if (strcmp(of, account->name) != 0 && !(shared && is_same_uid(world, of, account)))
			continue;
		if (count == EXCLUDED_MAX)
			return -E2BIG; /* rather no answer than one that forgets a key */
		list[count++] = fingerprint;
	}
	*ret_list = steal_pointer(&list);
	return 0;
}

static unsigned required_bits(const struct sshd_effective *effective)
{
	const char *value = sshd_value(effective, "requiredrsasize");
	unsigned bits = 0;

	for (; value && *value >= '0' && *value <= '9' && bits < 100000; value++)
		bits = bits * 10 + (unsigned)(*value - '0');
	return bits ? bits : RSA_BITS_DEFAULT;
}

static const char *accepted_algorithms(const struct sshd_effective *effective)
{
	const char *value = sshd_value(effective, "pubkeyacceptedalgorithms");
	return value ? value : sshd_value(effective, "pubkeyacceptedkeytypes"); /* its name before 8.5 */
}

static int ask_for_keys(struct world *world, const struct person *person, struct looking *looking)
{
	const struct sshd_effective *effective = looking->effective;
	cleanup_names char **paths = NULL;
	cleanup_free const char **excluded = NULL, **added = NULL;
	const char *revoked = sshd_value(effective, "revokedkeys"), *home = person->account.home;
	cleanup_free gid_t *private_groups = NULL;
	size_t count, private_count = 0;

	int r = sshd_keys_files(world->sshd, effective, &person->account, &paths, &count);
	if (r == -EINVAL || r == -ENAMETOOLONG) {
		looking->look.key |= BLOCKER_BIT(BLOCKER_KEYS_FILE_NONE);
		return 0;
	}
	if (r == 0)
		r = world_read_revoked(world, revoked ? revoked : "none");
	if (r == 0)
		r = list_excluded(world, looking->without, &person->account, &excluded);
	if (r == 0)
		r = list_added(looking->without, person->account.name, &added);
	if (r == 0 && world->is_debian) /* its sshd lets a group of which the user is the only member write */
		r = person_private_groups(person, world, &private_groups, &private_count);
	if (r < 0)
		return r;
	if (world->revoked_unreadable)
		looking->look.key |= BLOCKER_BIT(BLOCKER_REVOKED_KEYS_MISSING);
	/* A list that is not looked into may name every key: unknown, not a way in. */
	if (looking->without && world->revoked_unknown)
		looking->look.key |= BLOCKER_BIT(BLOCKER_KEY_REVOKED);
	const struct user_identity identity = {
		person->account.uid, person->account.gid, person->groups, person->group_count};
	const struct key_files_question question = {.root = world->root,
		.root_path = world->root_path,
		.home = person->account.home,
		.uid = person->account.uid,
		.paths = (const char *const *)paths,
		.strict = sshd_is_yes(effective, "strictmodes"),
		.private_groups = private_groups,
		.private_count = private_count,
		.now = world->now,
		.address = world->address,
		.names = sshd_is_yes(effective, "usedns"),
		.algorithms = accepted_algorithms(effective),
		.rsa_bits = required_bits(effective),
		.revoked = (const char *const *)world->revoked,
		.excluded = excluded,
		.added = added,
		.fingerprint = world->fingerprint};
	for (char **path = paths; *path; path++)
		looking->asks_home = looking->asks_home || strncmp(*path, home, strlen(home)) == 0;
	r = keys_start(world->spawner, &identity, &question, &looking->child);
	looking->is_asked = r == 0;
	return r;
}

/* A session that is shut in needs its shell in there; as a way to mend the machine it never counts. */
static int look_at_chroot(const struct world *world, const struct person *person,
	const struct sshd_effective *effective, bool guarding, blocker_set *ret_set)
{
	const char *directory = sshd_value(effective, "chrootdirectory");
	const char *shell = *person->account.shell ? person->account.shell : "/bin/sh";
	cleanup_buffer struct buffer inside = {0};
	cleanup_close int descriptor = -1;
	cleanup_free char *path = NULL;

	*ret_set = 0;
	if (!directory || strcasecmp(directory, "none") == 0)
		return 0;
	int r = sshd_expand(directory, &person->account, &path);
	if (r == -ENOMEM)
		return r;
	if (r == 0) {
		buffer_append_format(&inside, "%s%s", path, shell);
		r = buffer_status(&inside);
	}
	if (r == -ENOMEM)
		return r;
	if (r < 0 || guarding || sshd_open_below(world->root, inside.bytes, O_PATH, &descriptor) < 0)
		*ret_set = BLOCKER_BIT(BLOCKER_CHROOT);
	return 0;
}

static blocker_set sshd_blocker(int error)
{
	switch (error) {
	case -ENOENT:
		return BLOCKER_BIT(BLOCKER_SSHD_MISSING);
	case -EBADMSG:
	case -EINVAL:
		return BLOCKER_BIT(BLOCKER_SSHD_INVALID);
	default:
		return BLOCKER_BIT(BLOCKER_SSHD_UNKNOWN);
	}
}

static void blocked_both(struct look *look, blocker_set set)
{
	look->key |= set;
	look->password |= set;
}

/* The doors, judged one by one; the keys are asked for. */
static int begin(struct world *world, const struct person *person, struct looking *looking)
{
	const struct sshd_effective *effective = looking->effective;
	const struct without *without = looking->without;
	struct look *look = &looking->look;
	bool lost_password = without && has_text(without->passwords, person->account.name);
	blocker_set shut_in, gates;

	server_doors(effective, sshd_get_scan(world->sshd), without ? without->methods : NULL, &looking->doors);
	person_blockers(person, world, looking->doors.use_pam, without != NULL, &look->key, &look->password);
	blocked_both(look, server_user_blockers(person, effective, world->address));
	const char *agent = sshd_value(effective, "hostkeyagent");
	if (world->is_host && (!agent || strcasecmp(agent, "none") == 0) && !world_has_host_key(world))
		blocked_both(look, BLOCKER_BIT(BLOCKER_HOST_KEY_MISSING));
	if (!without && !world_is_listening(world, effective))
		blocked_both(look, BLOCKER_BIT(BLOCKER_SSHD_NOT_RUNNING));
	if (!without && world_bans_address(world, effective)) /* it passes by itself, too */
		blocked_both(look, BLOCKER_BIT(BLOCKER_ADDRESS_BANNED));
	if (person->account.uid == 0)
		server_root_blockers(looking->doors.root, &look->key, &look->password);
	look->key |= person_change_blockers(person, world, looking->doors.use_pam);
	look->password |= lost_password ? BLOCKER_BIT(BLOCKER_NO_PASSWORD)
					: person_password_blockers(
						  person, looking->doors.use_pam, looking->doors.empty_passwords);
	int r = look_at_chroot(world, person, effective, without != NULL, &shut_in);
	if (r < 0)
		return r;
	blocked_both(look, shut_in);
	r = gates_blockers(world, person, looking->doors.use_pam, without != NULL, &look->key, &look->password);
	if (r < 0)
		return r;
	/* It passes by itself: nobody is taken for locked out for good. */
	r = without ? 0 : gates_password_blockers(world, person, looking->doors.use_pam, &gates);
	if (r < 0)
		return r;
	look->password |= without ? 0 : gates;
	return ask_for_keys(world, person, looking);
}

/* Where no OpenSSH server is installed the guard counts who has a password, for a console or another server. */
static void look_at_console(const struct world *world, const struct person *person, struct looking *looking)
{
	struct look *look = &looking->look;

	person_blockers(person, world, true, true, &look->key, &look->password);
	look->key |= BLOCKER_BIT(BLOCKER_SSHD_MISSING);
	look->password |= has_text(looking->without->passwords, person->account.name)
				  ? BLOCKER_BIT(BLOCKER_NO_PASSWORD)
				  : person_password_blockers(person, true, false);
	look->can = look->password == 0;
}

int look_start(struct world *world, const char *user, const struct without *without, struct looking *ret_looking)
{
	cleanup_person struct person person = {0};
	struct looking *looking = ret_looking;
	char detail[SSHD_DETAIL_MAX + 1];

	*looking = (struct looking){.user = user, .without = without};
	int r = person_find(world, user, &person);
	if (r == -ENOENT || r == -ENOTUNIQ || r == -EBADMSG) {
		blocked_both(&looking->look, BLOCKER_BIT(BLOCKER_NO_SUCH_USER));
		return 0;
	}
	size_t groups = count_groups(&person);
	if (r == 0)
		r = foresee(without, &person);
	if (r < 0)
		return r;
	looking->leaves_group =
		count_groups(&person) != groups && world->sshd && matches_groups(sshd_get_scan(world->sshd));
	r = world->sshd ? sshd_get_effective(world->sshd, user, &looking->effective, detail) : world->sshd_error;
	if (r == -ENOMEM)
		return r;
	if (r == 0)
		return begin(world, &person, looking);
	looking->effective = NULL;
	if (without && world->is_host && !sshd_ask_program()) {
		look_at_console(world, &person, looking);
		return 0;
	}
	blocked_both(&looking->look,
		r == -EAGAIN && !world_has_host_key(world) ? BLOCKER_BIT(BLOCKER_HOST_KEY_MISSING) : sshd_blocker(r));
	person_blockers(&person, world, true, without != NULL, &looking->look.key, &looking->look.password);
	return 0;
}

/* What AuthenticationMethods makes of the doors. */
static void judge_doors(const struct looking *looking, struct look *look)
{
	const struct doors *doors = &looking->doors;
	struct ways ways = {.key = doors->key && look->key == 0,
		.keys = looking->without ? look->answer.lasting : look->answer.usable,
		.password = doors->password && look->password == 0,
		.keyboard = doors->keyboard && look->password == 0};

	look->can = server_methods_leave_a_way(looking->effective, &ways);
	if (!doors->key)
		look->key |= BLOCKER_BIT(BLOCKER_PUBKEY_AUTH_OFF);
	if (!doors->password && !doors->keyboard)
		look->password |= BLOCKER_BIT(BLOCKER_PASSWORD_AUTH_OFF);
	server_methods_blockers(looking->effective, doors, &look->key, &look->password);
}

static bool is_named(const struct sshd_effective *effective, const char *keyword)
{
	const char *value = sshd_value(effective, keyword);
	return value && *value && strcasecmp(value, "none") != 0;
}

/* Where sshd asks others for keys too, that no file has one says little. For the guard it is no way in either way. */
static void doubt_keys(const struct looking *looking, blocker_set *key)
{
	const blocker_set none = BLOCKER_BIT(BLOCKER_KEYS_FILE_NONE) | BLOCKER_BIT(BLOCKER_KEYS_FILE_MISSING) |
				 BLOCKER_BIT(BLOCKER_NO_KEY) | BLOCKER_BIT(BLOCKER_KEY_NOT_PRESENT);

	if (!(*key & none) || !(is_named(looking->effective, "authorizedkeyscommand") ||
				      is_named(looking->effective, "trustedusercakeys")))
		return;
	*key = (*key & ~none) | BLOCKER_BIT(BLOCKER_KEYS_ELSEWHERE);
}

int look_finish(struct looking *looking, struct look *ret_look)
{
	const struct without *without = looking->without;
	struct look *look = &looking->look;

	if (looking->is_asked) {
		int r = keys_finish(&looking->child, &look->answer);
		looking->is_asked = false;
		if (r < 0 && r != -ETIMEDOUT)
			return r;
		look->key |=
			r < 0 ? BLOCKER_BIT(BLOCKER_HOME_TIMEOUT) : key_files_blockers(&look->answer, without != NULL);
		if (r < 0 && looking->asks_home) /* the session begins there, whatever opened it */
			look->password |= BLOCKER_BIT(BLOCKER_HOME_TIMEOUT);
		doubt_keys(looking, &look->key);
	}
	if (looking->effective)
		judge_doors(looking, look);
	if (without && (looking->leaves_group || has_text(without->users, looking->user)))
		look->can = false;
	*ret_look = *look;
	return 0;
}

int look_at_user(struct world *world, const char *user, const struct without *without, struct look *ret_look)
{
	struct looking looking;

	int r = look_start(world, user, without, &looking);
	return r < 0 ? r : look_finish(&looking, ret_look);
}
