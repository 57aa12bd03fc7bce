/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <time.h>

#include "agent/apply/apply.h"
#include "agent/apply/damage.h"
#include "agent/apply/history.h"
#include "agent/apply/identity.h"
#include "agent/apply/journal.h"
#include "lib/account_files.h"
#include "lib/agent_config.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/log_event.h"
#include "lib/paths.h"
#include "lib/sys.h"

#define VERSION_FILE "version"
#define VERSION_SIZE_MAX 16u
#define STATE_VERSION "1\n" /* of what stands in /var/lib/latchkey; no file says the same */

#define LAST_GOOD "latchkey.conf"

/* The values that files set, as one file: what stays in force when an operator's edit does not parse. */
static void save_last_good(const struct apply *apply)
{
	cleanup_buffer struct buffer text = {0};
	cleanup_close int directory = -1;
	cleanup_free char *old = NULL;
	const char *section = "";
	size_t old_size = 0;

	for (size_t i = 0; i < agent_config_table.count; i++) {
		const struct config_key *key = &agent_config_table.keys[i];
		if (!apply->config.sources[i])
			continue;
		if (strcmp(section, key->section) != 0)
			buffer_append_format(&text, "[%s]\n", key->section);
		section = key->section;
		buffer_append_format(&text, "%s = %s\n", key->key, apply->config.values[i]);
	}
	if (buffer_status(&text) < 0 || apply->state_is_newer || apply_state_directory(apply, "trust", &directory) < 0)
		return;
	if (file_read(directory, LAST_GOOD, CONFIG_FILE_MAX, &old, &old_size) == 0 && old_size == text.size &&
		memcmp(old, text.bytes, text.size) == 0)
		return;
	int r = file_replace_simple(directory, LAST_GOOD, text.bytes, text.size, 0600);
	if (r < 0)
		log_warning("cannot keep the last good configuration: %s", strerror(-r));
}

/* latchkey-net reads it, who may not look into the state. It may hold a proxy's password. */
static void publish_last_good(const struct apply *apply, const char *text, size_t size)
{
	cleanup_account_table struct account_table passwd = {0};
	cleanup_account struct account account = {0};
	cleanup_free char *old = NULL;
	size_t old_size = 0;

	if (apply->run < 0 || (file_read(apply->run, NAME_LAST_GOOD, CONFIG_FILE_MAX, &old, &old_size) == 0 &&
				      old_size == size && memcmp(old, text, size) == 0))
		return;
	int r = account_table_read(apply->root, "etc/passwd", &passwd);
	if (r == 0)
		r = account_find(&passwd, AGENT_USER, &account);
	if (r == 0)
		r = file_replace(apply->run, NAME_LAST_GOOD, text, size,
			&(struct file_attributes){.mode = 0640, .uid = 0, .gid = account.gid, .like = -1});
	if (r < 0)
		log_warning("cannot give latchkey-net the last good configuration: %s", strerror(-r));
}

static int load_last_good(struct apply *apply)
{
	char error[CONFIG_ERROR_MAX];
	cleanup_close int directory = -1;
	cleanup_free char *text = NULL;
	size_t size = 0;

	int r = config_initialise(&agent_config_table, &apply->config);
	if (r < 0)
		return r;
	if (apply_state_directory(apply, "trust", &directory) < 0 ||
		file_read(directory, LAST_GOOD, CONFIG_FILE_MAX, &text, &size) < 0) {
		publish_last_good(apply, "", 0);
		return 0; /* there never was one: defaults, which trust nothing */
	}
	publish_last_good(apply, text, size);
	return config_parse(&apply->config, LAST_GOOD, text, size, error);
}

static int load_configuration(struct apply *apply)
{
	int r = agent_config_load(apply->root, &apply->config, apply->config_error);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		log_event(LOG_EVENT_CONFIGURATION_REFUSED, LOG_ERR, NULL,
			"latchkey.conf is refused, the last good one stays in force: %s", apply->config_error);
		r = load_last_good(apply);
		if (r < 0)
			return r;
	} else {
		if (apply->run >= 0)
			(void)!file_remove(apply->run, NAME_LAST_GOOD);
		if (apply->state >= 0)
			save_last_good(apply);
	}
	agent_config_set_log_level(&apply->config);
	r = policy_load(apply->root, &apply->policy);
	if (r < 0)
		return r;
	if (apply->policy.broken)
		log_event(LOG_EVENT_CONFIGURATION_REFUSED, LOG_ERR, NULL,
			"policy.conf is refused, nothing will be changed: %s", apply->policy.error);
	return 0;
}

/*
 * Whether a later version of this program has written the state. A number that cannot be read is damage, not a version:
 * it is written anew by the next redo.
 */
static bool is_newer_state(const struct apply *apply)
{
	cleanup_free char *text = NULL;
	size_t size;

	if (apply->state < 0 || file_read(apply->state, VERSION_FILE, VERSION_SIZE_MAX, &text, &size) < 0)
		return false;
	size_t digits = strspn(text, "0123456789");
	bool whole = digits > 0 && digits + 1 == size && text[digits] == '\n' && text[0] != '0';
	return whole && (digits > 1 || text[0] > STATE_VERSION[0]);
}

int apply_open(struct apply *apply, const char *root_path)
{
	struct timespec clock;

	*apply = (struct apply){.root_path = root_path, .root = -1, .state = -1, .run = -1, .lock = -1};
	apply->is_host = strcmp(root_path, "/") == 0;
	apply->root = open(root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (apply->root < 0) {
		int error = errno;
		log_error("cannot open %s: %s", root_path, strerror(error));
		return -error;
	}
	int r = manifest_set_load(&apply->manifests);
	if (r < 0)
		return r;
	r = file_make_directory(apply->root, PATH_STATE, 0700, &apply->state);
	if (r < 0) {
		log_error("cannot open the state in /%s: %s", PATH_STATE, strerror(-r));
		apply->state = -1;
	}
	if (apply->is_host) {
		r = file_make_directory(apply->root, &PATH_RUN[1], 0755, &apply->run);
		if (r < 0) {
			log_error("cannot open %s: %s", PATH_RUN, strerror(-r));
			return r;
		}
	}
	apply->state_is_newer = is_newer_state(apply);
	r = load_configuration(apply);
	if (r < 0)
		return r;
	(void)clock_gettime(CLOCK_REALTIME, &clock);
	apply->clock = clock.tv_sec;
	(void)clock_gettime(CLOCK_BOOTTIME, &clock);
	apply->boot_time = clock.tv_sec;
	return 0;
}

int apply_keep_version(const struct apply *apply)
{
	cleanup_free char *text = NULL;
	size_t size;

	if (apply->state < 0 || apply->state_is_newer)
		return 0;
	int r = file_read(apply->state, VERSION_FILE, VERSION_SIZE_MAX, &text, &size);
	if (r == 0 && strcmp(text, STATE_VERSION) == 0)
		return 0;
	return file_replace_simple(apply->state, VERSION_FILE, STATE_VERSION, strlen(STATE_VERSION), 0600);
}

/* Everything that must not move while we look at it is read under the lock. */
int apply_lock(struct apply *apply, bool repair)
{
	int parent = apply->state >= 0 ? apply->state : apply->run;

	if (parent < 0)
		return -EROFS;
	apply->lock = sys.openat(parent, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (apply->lock < 0 && errno == EROFS && apply->run >= 0)
		apply->lock = sys.openat(apply->run, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (apply->lock < 0)
		return -errno;
	while (flock(apply->lock, LOCK_EX) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	if (repair)
		damage_repair(apply);
	int r = apply->state_is_newer ? 0 : identity_open(apply);
	if (r < 0)
		return r;
	apply->history_unreadable = history_read_floors(apply, &apply->floors) < 0;
	int64_t floor = LATCHKEY_BUILD_TIME;
	if (apply->floors.issued > floor)
		floor = apply->floors.issued;
	apply->clock_wrong = apply->clock < floor;
	apply->now = apply->clock_wrong ? floor : apply->clock;
	return 0;
}

int apply_state_directory(const struct apply *apply, const char *name, int *ret_directory)
{
	if (apply->state < 0)
		return -EROFS;
	return file_make_directory(apply->state, name, 0700, ret_directory);
}

const char *apply_state_problem(const struct apply *apply, const char **ret_detail)
{
	struct statvfs status;

	if (apply->state < 0) {
		*ret_detail = "/var/lib/latchkey cannot be opened or written";
		return "state_unusable";
	}
	if (apply->state_is_newer) {
		*ret_detail =
			"a later version has written /var/lib/latchkey: nothing is begun until it is installed again";
		return "state_newer";
	}
	if (fstatvfs(apply->state, &status) < 0)
		return NULL;
	if (status.f_flag & ST_RDONLY) {
		*ret_detail =
			"the disk under /var/lib/latchkey is read-only: nothing is begun but keys.bind at runtime";
		return "read_only";
	}
	if ((uint64_t)status.f_bavail * status.f_frsize < JOURNAL_SPARE_SIZE) {
		*ret_detail = "the disk under /var/lib/latchkey is full";
		return "no_space";
	}
	return NULL;
}

void apply_close(struct apply *apply)
{
	const int descriptors[] = {apply->root, apply->state, apply->run, apply->lock};

	for (unsigned i = 0; i < ELEMENTS(descriptors); i++) {
		if (descriptors[i] >= 0)
			(void)close(descriptors[i]);
	}
	account_table_free(&apply->passwd);
	cJSON_Delete(apply->logins);
	manifest_set_free(&apply->manifests);
	config_free(&apply->config);
	policy_free(&apply->policy);
}
