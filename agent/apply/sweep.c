/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/apply/sweep.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "agent/apply/ledger.h"
#include "agent/apply/plugin_call.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/sys.h"

#define PLUGIN "authorized-keys"
#define FOLDER "sweep"
#define INHERITS "inherits"       /* in the plugin's state: its ledger is another machine's */
#define REVOKED "revoked"         /* there, too: something was revoked once */
#define USERS_MAX 65536u          /* of one ledger */
#define BATCH_MAX 256u            /* users of one call: their homes share the plugin's deadline */
#define JITTER_PART 10            /* a tenth of the interval: the clones of one image do not all look at once */
#define DEADLINES_MAX 64u         /* names in the folder; there is one */
#define SWEEP_DISTANCE_MAX 604800 /* as the configuration's own maximum */

struct users {
	char **names;
	size_t count, capacity;
};

static void users_free(struct users *users)
{
	for (size_t i = 0; i < users->count; i++)
		free(users->names[i]);
	free(users->names);
}

static int visit_user(const cJSON *line, void *context)
{
	struct users *users = context;
	const char *user;

	if (json_get_string(line, "user", &user) < 0 || users->count == USERS_MAX)
		return 0;
	if (users->count == users->capacity) {
		size_t capacity = users->capacity * 2 + 64;
		char **more = reallocarray(users->names, capacity, sizeof(*more));
		if (!more)
			return -ENOMEM;
		users->names = more;
		users->capacity = capacity;
	}
	users->names[users->count] = strdup(user);
	return users->names[users->count++] ? 0 : -ENOMEM;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_users(const struct apply *apply, struct users *users)
{
	size_t kept = 0;

	int r = ledger_walk(apply, PLUGIN, visit_user, users);
	if (r < 0)
		return r;
	if (users->count > 0)
		qsort(users->names, users->count, sizeof(*users->names), compare_names);
	for (size_t i = 0; i < users->count; i++) {
		if (kept > 0 && strcmp(users->names[kept - 1], users->names[i]) == 0)
			free(users->names[i]);
		else
			users->names[kept++] = users->names[i];
	}
	users->count = kept;
	return 0;
}

static bool has_mark(const struct apply *apply, const char *name)
{
	cleanup_close int directory = -1;
	struct stat status;

	return apply->state >= 0 && file_open_directory(apply->state, "plugin/" PLUGIN, &directory) == 0 &&
	       sys.fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

int sweep_inherit(const struct apply *apply)
{
	cleanup_close int directory = -1;
	uint64_t random;
	char mark[17];

	/* What is bound from now on carries it, and is not inherited, however long this takes. */
	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	(void)snprintf(mark, sizeof(mark), "%016llx", (unsigned long long)random);
	int r = apply_state_directory(apply, "plugin/" PLUGIN, &directory);
	return r < 0 ? r : file_replace_simple(directory, INHERITS, mark, strlen(mark), 0600);
}

static void forget_mark(const struct apply *apply)
{
	cleanup_close int directory = -1;

	if (file_open_directory(apply->state, "plugin/" PLUGIN, &directory) == 0)
		(void)!file_remove(directory, INHERITS);
}

/* A NULL user is the list of revoked keys. */
static cJSON *make_command(const struct apply *apply, const char *user, bool inherits, const char *id)
{
	cleanup_json cJSON *node = cJSON_CreateObject();
	bool remove = strcmp(config_text(&apply->policy.config, "keys", "inherited"), "remove") == 0;

	if (!node || !cJSON_AddStringToObject(node, "id", id) || !cJSON_AddStringToObject(node, "do", "keys.sweep") ||
		!cJSON_AddStringToObject(node, "drift", config_text(&apply->config, "keys", "drift")) ||
		!cJSON_AddBoolToObject(node, "inherits", inherits) ||
		!cJSON_AddBoolToObject(node, "remove_inherited", inherits && remove) ||
		(user && !cJSON_AddStringToObject(node, "user", user)))
		return NULL;
	return steal_pointer(&node);
}

static int sweep_batch(const struct apply *apply, char *const *users, size_t count, bool inherits)
{
	cleanup_free struct command *commands = calloc(count + 1, sizeof(*commands));
	cleanup_free char(*ids)[32] = calloc(count + 1, sizeof(*ids));
	int result = 0;

	if (!commands || !ids)
		return -ENOMEM;
	for (size_t i = 0; result == 0 && i < count; i++) {
		(void)snprintf(ids[i], sizeof(ids[i]), "sweep%zu", i);
		commands[i].id = ids[i];
		commands[i].do_name = "keys.sweep";
		commands[i].user = users[i];
		commands[i].node = make_command(apply, users[i], inherits, ids[i]);
		result = commands[i].node ? 0 : -ENOMEM;
	}
	int r = result == 0 ? plugin_run_internal(apply, commands, count) : result;
	if (r < 0) {
		log_warning("the bound keys could not be looked at: %s", strerror(-r));
		result = -EAGAIN;
	}
	for (size_t i = 0; i < count; i++) {
		struct command *command = &commands[i];
		const struct outcome *outcome = &command->outcome;

		if (outcome->known && (outcome->code != CODE_OK || *outcome->detail))
			log_notice("keys of %s: %s%s%s", users[i] ? users[i] : "everybody", code_name(outcome->code),
				*outcome->detail ? ": " : "", outcome->detail);
		if (outcome->known && code_is_retried(outcome->code))
			result = -EAGAIN;
		cJSON_Delete((cJSON *)(uintptr_t)command->node);
		free(command->plan);
		outcome_free(&command->outcome);
	}
	return result;
}

int sweep_run(const struct apply *apply)
{
	CLEANUP(users_free) struct users users = {0};
	bool inherits = has_mark(apply, INHERITS);
	char *const everybody[] = {NULL};
	int result = 0;

	if (policy_mode(&apply->policy) != POLICY_ENFORCE || apply->state < 0 || !apply->is_host)
		return 0;
	int r = list_users(apply, &users);
	if (r < 0)
		return r;
	if (has_mark(apply, REVOKED))
		result = sweep_batch(apply, everybody, 1, false);
	for (size_t at = 0; at < users.count; at += BATCH_MAX) {
		size_t count = users.count - at < BATCH_MAX ? users.count - at : BATCH_MAX;
		r = sweep_batch(apply, users.names + at, count, inherits);
		result = r < 0 ? r : result;
	}
	if (inherits && result == 0)
		forget_mark(apply);
	return result;
}

void sweep_revoked(const struct apply *apply)
{
	char *const everybody[] = {NULL};

	if (apply->is_host && policy_mode(&apply->policy) == POLICY_ENFORCE && has_mark(apply, REVOKED))
		(void)sweep_batch(apply, everybody, 1, false);
}

void sweep_removed(const struct apply *apply, struct command *const *batch, size_t count)
{
	char *names[BATCH_MAX];
	size_t kept = 0;

	for (size_t i = 0; apply->is_host && apply->state >= 0 && i < count; i++) {
		if (strcmp(batch[i]->do_name, "user.remove") == 0 && batch[i]->outcome.code == CODE_OK)
			names[kept++] = (char *)(uintptr_t)batch[i]->user;
		if (kept == BATCH_MAX || (i + 1 == count && kept > 0)) {
			(void)sweep_batch(apply, names, kept, false);
			kept = 0;
		}
	}
}

/* The number that the name begins with; 0 for another name. */
static int64_t deadline_of(const char *name)
{
	int64_t deadline = 0;

	for (const char *at = name; *at >= '0' && *at <= '9' && at - name < 16; at++)
		deadline = deadline * 10 + (*at - '0');
	return deadline;
}

/* The folder and the deadline in it (0: none). */
static int read_schedule(const struct apply *apply, int *ret_directory, char ***ret_names, int64_t *ret_deadline)
{
	size_t count;

	int r = apply_state_directory(apply, FOLDER, ret_directory);
	if (r == 0)
		r = file_list(*ret_directory, ".", DEADLINES_MAX, ret_names, &count);
	if (r < 0)
		return r;
	*ret_deadline = 0;
	for (size_t i = 0; i < count; i++) {
		int64_t deadline = deadline_of((*ret_names)[i]);
		if (deadline > 0 && (*ret_deadline == 0 || deadline < *ret_deadline))
			*ret_deadline = deadline;
	}
	return 0;
}

void sweep_at_boot(const struct apply *apply)
{
	/* sshd waits for this: only what must not wait for latchkeyd's timer. A home that hangs would cost its time. */
	if (has_mark(apply, INHERITS))
		sweep_schedule(apply, sweep_run(apply) == 0);
	else
		sweep_revoked(apply);
}

struct next {
	int64_t clock, expires;
	bool any;
};

static int visit_entry(const cJSON *line, void *context)
{
	struct next *next = context;
	int64_t expires;

	next->any = true;
	if (json_get_integer(line, "expires", &expires) == 0 && expires > next->clock &&
		(next->expires == 0 || expires < next->expires))
		next->expires = expires;
	return 0;
}

static int64_t interval(const struct apply *apply)
{
	int64_t most = config_integer(&apply->config, "keys", "sweep");
	uint32_t random = 0;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
		random = UINT32_MAX / 2;
	return most - (int64_t)((uint64_t)most / JITTER_PART * random / UINT32_MAX);
}

void sweep_schedule(const struct apply *apply, bool done)
{
	bool by_agent = strcmp(config_text(&apply->policy.config, "keys", "expiry"), "agent") == 0;
	bool ignore = strcmp(config_text(&apply->config, "keys", "drift"), "ignore") == 0;
	struct next next = {.clock = apply->clock};
	cleanup_names char **names = NULL;
	cleanup_close int directory = -1;
	int64_t deadline = 0;
	char name[24] = "";

	if (!apply->is_host || apply->state < 0 || read_schedule(apply, &directory, &names, &deadline) < 0 ||
		ledger_walk(apply, PLUGIN, visit_entry, &next) < 0)
		return;
	bool revoked = has_mark(apply, REVOKED);
	/* A deadline that a clock which was wrong for a while has left behind is none. */
	if (done || deadline > apply->clock + SWEEP_DISTANCE_MAX || (deadline > 0 && ignore && !revoked))
		deadline = 0;
	if (deadline == 0 && ((next.any && !ignore) || revoked))
		deadline = apply->clock + interval(apply);
	/* Where sshd does not end a key's time, we do. */
	if (by_agent && next.expires > 0 && (deadline == 0 || next.expires < deadline))
		deadline = next.expires;
	if (deadline > 0)
		(void)snprintf(name, sizeof(name), "%lld", (long long)deadline);
	bool stands = false;
	for (char *const *at = names; *at; at++)
		stands = stands || strcmp(*at, name) == 0;
	int r = *name && !stands ? file_replace_simple(directory, name, "", 0, 0600) : 0;
	for (char *const *at = names; r == 0 && *at; at++) {
		if (strcmp(*at, name) != 0)
			r = file_remove(directory, *at);
	}
	if (r < 0)
		log_warning("when the bound keys are looked at next cannot be written down: %s", strerror(-r));
}
