/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/file.h"
#include "lib/paths.h"
#include "lib/sealed_password.h"
#include "lib/sys.h"
#include "plugins/account/account_state.h"
#include "plugins/account/hash.h"
#include "plugins/account/password_policy.h"

/* A box key: SEALED_KEY_SIZE raw bytes, root's and nobody else's, read straight into the secret. */
static int read_box(int identity, const char *name, struct secret *ret_key)
{
	cleanup_secret struct secret key = {0};
	cleanup_close int descriptor = -1;
	struct stat status;

	int r = file_open(identity, name, &descriptor, &status);
	if (r < 0)
		return r;
	if ((status.st_mode & 077) != 0 || status.st_size != SEALED_KEY_SIZE)
		return -EBADMSG;
	r = secret_allocate(SEALED_KEY_SIZE, &key);
	if (r < 0)
		return r;
	if (sys.read(descriptor, key.bytes, SEALED_KEY_SIZE) != (ssize_t)SEALED_KEY_SIZE)
		return -EBADMSG;
	*ret_key = key;
	key = (struct secret){0};
	return 0;
}

/* -EBADMSG when neither the key in use nor the one before it opens the text for exactly this command. */
static int unseal(const struct batch *batch, const struct plugin_command *command, const char *sealed,
	bool *ret_is_hash, struct secret *ret_value)
{
	static const char *const names[] = {"box", "box.previous"};
	const struct sealed_password_binding binding = {
		batch->request->instance, command->id, plugin_text(command, "user")};
	cleanup_close int identity = -1;

	int r = file_open_directory(batch->request->root, PATH_STATE "/identity", &identity);
	if (r < 0)
		return -EBADMSG;
	for (unsigned i = 0; i < ELEMENTS(names); i++) {
		cleanup_secret struct secret key = {0};

		r = read_box(identity, names[i], &key);
		if (r == 0)
			r = sealed_password_open(sealed, &key, &binding, ret_is_hash, ret_value);
		if (r == 0 || r == -ENOMEM)
			return r;
	}
	return -EBADMSG;
}

static void wipe_hash(char (*hash)[HASH_SIZE_MAX + 1])
{
	explicit_bzero(*hash, sizeof(*hash));
}

static int take_hash(const char *hash, struct plugin_result *result, char ret_hash[HASH_SIZE_MAX + 1])
{
	enum code code = hash_check(hash);

	if (code != CODE_OK)
		return plugin_set(result, code, "%s",
			code == CODE_HASH_COST          ? "one check of it would take too long"
			: code == CODE_HASH_UNSUPPORTED ? "a method that is weak or that this machine does not have"
							: "not a hash of crypt(5)");
	memcpy(ret_hash, hash, strlen(hash) + 1);
	return 0;
}

static int take_password(const struct batch *batch, const char *user, const struct secret *password,
	struct plugin_result *result, char ret_hash[HASH_SIZE_MAX + 1])
{
	const struct password_policy policy = {
		.minimum = plugin_setting_integer(batch->request, "min"),
		.maximum = plugin_setting_integer(batch->request, "max"),
		.classes = plugin_setting_integer(batch->request, "classes"),
	};
	const char *why = password_policy_check(&policy, password, user);

	if (why)
		return plugin_set(result, CODE_PASSWORD_WEAK, "%s", why);
	int r = hash_make(password, ret_hash);
	if (r == -E2BIG)
		return plugin_set(result, CODE_PASSWORD_WEAK, "it is longer than %u bytes", HASH_PASSWORD_MAX);
	return r;
}

/* The hash that the command asks for; the result has a code when there is none to write. */
static int find_hash(const struct batch *batch, const struct plugin_command *command, struct plugin_result *result,
	char ret_hash[HASH_SIZE_MAX + 1])
{
	const char *sealed = plugin_text(command, "sealed"), *clear = plugin_text(command, "hash");
	cleanup_secret struct secret value = {0};
	bool allowed = false, is_hash = false;

	if (sealed && clear)
		return plugin_set(result, CODE_CONFLICT, "sealed and hash in one command");
	if (!sealed && !clear)
		return plugin_set(result, CODE_FIELD_MISSING, "sealed");
	if (clear) {
		if (json_get_bool(batch->request->settings, "clear_hash", &allowed) < 0 || !allowed)
			return plugin_set(result, CODE_CLEAR_HASH, "[password] clear_hash = no");
		return take_hash(clear, result, ret_hash);
	}
	int r = unseal(batch, command, sealed, &is_hash, &value);
	if (r == -EBADMSG)
		return plugin_set(
			result, CODE_UNSEAL_FAILED, "not sealed to this instance's key for this command and user");
	if (r < 0)
		return r;
	return is_hash ? take_hash((const char *)value.bytes, result, ret_hash)
		       : take_password(batch, plugin_text(command, "user"), &value, result, ret_hash);
}

static int add_hash(struct batch *batch, const struct plugin_command *command, const char *hash, struct facets *facets)
{
	const char *user = plugin_text(command, "user");
	bool must_change = plugin_flag(command, "must_change", false);
	cleanup_wiped char *before = NULL, *after = NULL, *changed = NULL;
	char today[24] = "0";

	int r = account_state_read(batch, user, "hash", &before);
	if (r < 0)
		return r;
	/* user.lock holds until user.unlock: the new password waits behind its '!'. */
	if (asprintf(&after, "%s%s", batch_is_locked(batch, user) ? "!" : "", hash) < 0) {
		after = NULL;
		return -ENOMEM;
	}
	if (!must_change && strcmp(before, after) == 0)
		return 0;
	r = facets_add(facets, "hash", before, after);
	if (r == 0)
		r = account_state_read(batch, user, "changed", &changed);
	if (r < 0)
		return r;
	/* 0 makes login ask for a new one; any other day lets a maximum age count from now. */
	if (!must_change)
		(void)snprintf(today, sizeof(today), "%" PRIi64, batch->request->time / 86400);
	return facets_add(facets, "changed", changed, today);
}

int decide_password_set(struct batch *batch, unsigned index, struct plugin_result *result, struct facets *facets,
	struct json_writer *plan)
{
	const struct plugin_command *command = &batch->request->commands[index];
	cleanup_account struct account account = {0};
	CLEANUP(wipe_hash) char hash[HASH_SIZE_MAX + 1] = "";
	(void)plan;

	int r = batch_find_user(batch, index, result, &account);
	if (r == 0)
		r = batch_check_person(batch, &account, result);
	if (r == 0)
		r = find_hash(batch, command, result, hash);
	if (r < 0 || result->code != CODE_OK)
		return r;
	return add_hash(batch, command, hash, facets);
}

int decide_password_generate(struct batch *batch, unsigned index, struct plugin_result *result, struct facets *facets,
	struct json_writer *plan)
{
	const struct plugin_command *command = &batch->request->commands[index];
	const struct sealed_password_binding binding = {
		batch->request->instance, command->id, plugin_text(command, "user")};
	unsigned char public_key[SEALED_KEY_SIZE];
	cleanup_account struct account account = {0};
	CLEANUP(wipe_hash) char hash[HASH_SIZE_MAX + 1] = "";
	cleanup_secret struct secret password = {0};
	cleanup_free char *sealed = NULL;

	int r = batch_find_user(batch, index, result, &account);
	if (r == 0)
		r = batch_check_person(batch, &account, result);
	if (r < 0)
		return r;
	if (sealed_parse_public_key(plugin_text(command, "to"), public_key) < 0)
		return plugin_set(result, CODE_FIELD_INVALID, "to is no X25519 public key");
	r = password_generate((unsigned)plugin_integer(command, "length", 20), &password);
	if (r == 0)
		r = hash_make(&password, hash);
	if (r == 0)
		r = sealed_password_seal(&binding, false, &password, public_key, &sealed);
	if (r == -EINVAL)
		return plugin_set(result, CODE_FIELD_INVALID, "to is no X25519 public key");
	if (r < 0)
		return r;
	json_put_string(plan, "sealed", sealed);
	return add_hash(batch, command, hash, facets);
}
