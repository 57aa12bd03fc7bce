/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/keypairs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "console/cli/results.h"
#include "console/cli/state.h"
#include "lib/file.h"

#define DIRECTORY "keypairs"
#define SUFFIX ".pub"
#define BINDINGS "bindings"

static enum cli_exit open_directory(struct cli *cli, int *ret_directory)
{
	int r = file_make_directory(cli->home, DIRECTORY, 0700, ret_directory);
	if (r < 0) {
		complain("%s/" DIRECTORY ": %s", cli->home_path, strerror(-r));
		return CLI_LOCAL;
	}
	return CLI_OK;
}

static enum cli_exit file_name(const char *label, char name[80])
{
	if (!field_is_label(label)) {
		complain("%s: a key pair's name has 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit",
			label);
		return CLI_USAGE;
	}
	(void)snprintf(name, 80, "%s" SUFFIX, label);
	return CLI_OK;
}

enum cli_exit keypair_load(struct cli *cli, const char *label, struct sshkey *ret_key)
{
	cleanup_close int directory = -1;
	cleanup_free char *text = NULL;
	char name[80], detail[DETAIL_MAX + 1];
	size_t size;

	enum cli_exit r = file_name(label, name);
	if (r == CLI_OK)
		r = open_directory(cli, &directory);
	if (r != CLI_OK)
		return r;
	int error = file_read(directory, name, SSHKEY_LINE_MAX, &text, &size);
	if (error < 0) {
		complain("key pair %s: %s", label,
			error == -ENOENT ? "there is none of that name (latchkey keypair list)" : strerror(-error));
		return error == -ENOENT ? CLI_USAGE : CLI_LOCAL;
	}
	if (sshkey_parse(text, size, ret_key, detail) != CODE_OK) {
		complain("key pair %s: %s", label, detail);
		return CLI_LOCAL;
	}
	return CLI_OK;
}

enum cli_exit keypair_store(struct cli *cli, const char *label, const struct sshkey *key, bool replace)
{
	const struct file_attributes attributes = {.mode = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1, .like = -1};
	cleanup_close int directory = -1;
	cleanup_buffer struct buffer line = {0};
	char name[80];

	enum cli_exit r = file_name(label, name);
	if (r == CLI_OK)
		r = open_directory(cli, &directory);
	if (r != CLI_OK)
		return r;
	sshkey_append(key, &line);
	buffer_append_format(&line, "%s%s\n", *key->comment ? " " : "", key->comment);
	int error = buffer_status(&line);
	if (error == 0)
		error = replace ? file_replace(directory, name, line.bytes, line.size, &attributes)
				: file_create(directory, name, line.bytes, line.size, &attributes);
	if (error < 0) {
		complain("key pair %s: %s", label,
			error == -EEXIST ? "there is one of that name (--replace puts this key in its place)"
					 : strerror(-error));
		return error == -EEXIST ? CLI_USAGE : CLI_LOCAL;
	}
	return CLI_OK;
}

enum cli_exit keypair_delete(struct cli *cli, const char *label)
{
	cleanup_close int directory = -1;
	char name[80];

	enum cli_exit r = file_name(label, name);
	if (r == CLI_OK)
		r = open_directory(cli, &directory);
	if (r != CLI_OK)
		return r;
	int error = file_remove(directory, name);
	if (error < 0) {
		complain("key pair %s: %s", label, error == -ENOENT ? "there is none of that name" : strerror(-error));
		return error == -ENOENT ? CLI_USAGE : CLI_LOCAL;
	}
	return CLI_OK;
}

enum cli_exit keypair_labels(struct cli *cli, char ***ret_labels, size_t *ret_count)
{
	cleanup_close int directory = -1;
	char **names;
	size_t count, kept = 0;

	enum cli_exit r = open_directory(cli, &directory);
	if (r != CLI_OK)
		return r;
	int error = file_list(directory, ".", KEYPAIRS_MAX, &names, &count);
	if (error < 0) {
		complain("%s/" DIRECTORY ": %s", cli->home_path, strerror(-error));
		return CLI_LOCAL;
	}
	for (size_t i = 0; i < count; i++) {
		size_t size = strlen(names[i]);
		if (size > strlen(SUFFIX) && strcmp(names[i] + size - strlen(SUFFIX), SUFFIX) == 0 &&
			names[i][0] != '.') {
			names[i][size - strlen(SUFFIX)] = '\0';
			names[kept++] = names[i];
		} else {
			free(names[i]);
		}
	}
	names[kept] = NULL;
	*ret_labels = names;
	*ret_count = kept;
	return CLI_OK;
}

static bool is(const cJSON *entry, const char *name, const char *text)
{
	const char *value;
	return json_get_string(entry, name, &value) == 0 && strcmp(value, text) == 0;
}

static enum cli_exit out_of_memory(void)
{
	complain("out of memory");
	return CLI_LOCAL;
}

static bool set_text(cJSON *entry, const char *name, const char *text)
{
	cJSON_DeleteItemFromObjectCaseSensitive(entry, name);
	return cJSON_AddStringToObject(entry, name, text) != NULL;
}

/* Its bind went well: no later one's failure ends it. */
static void set_bound(cJSON *entry)
{
	cJSON_DeleteItemFromObjectCaseSensitive(entry, "command");
}

static bool renew(cJSON *entry, const char *command, const cJSON *outcomes)
{
	const char *old;

	cJSON_DeleteItemFromObjectCaseSensitive(entry, "unbind");
	if (json_get_string(entry, "command", &old) < 0)
		return true;
	const cJSON *result = json_member(outcomes, old);
	if (!result || !result_is_final(result) || !result_is_good(result))
		return set_text(entry, "command", command);
	set_bound(entry);
	return true;
}

enum cli_exit binding_add(struct cli *cli, const char *label, const char *instance, const char *user,
	const char *command, const cJSON *outcomes)
{
	cleanup_json cJSON *root = NULL;
	cJSON *entry;

	enum cli_exit r = state_load_json(cli, BINDINGS, &root);
	if (r != CLI_OK)
		return r;
	cJSON *list = cJSON_GetObjectItemCaseSensitive(root, label);
	if (!list)
		list = cJSON_AddArrayToObject(root, label);
	if (!list)
		return out_of_memory();
	cJSON_ArrayForEach(entry, list)
	{
		if (is(entry, "instance", instance) && is(entry, "user", user))
			return renew(entry, command, outcomes) ? state_save_json(cli, BINDINGS, root) : out_of_memory();
	}
	entry = cJSON_CreateObject();
	if (!entry || !cJSON_AddItemToArray(list, entry)) {
		cJSON_Delete(entry);
		return out_of_memory();
	}
	if (!set_text(entry, "instance", instance) || !set_text(entry, "user", user) ||
		!set_text(entry, "command", command))
		return out_of_memory();
	return state_save_json(cli, BINDINGS, root);
}

enum cli_exit binding_end(
	struct cli *cli, const char *label, const char *instance, const char *user, const char *command)
{
	cleanup_json cJSON *root = NULL;
	cJSON *list, *entry;

	enum cli_exit r = state_load_json(cli, BINDINGS, &root);
	if (r != CLI_OK)
		return r;
	cJSON_ArrayForEach(list, root)
	{
		if (label && strcmp(list->string, label) != 0)
			continue;
		cJSON_ArrayForEach(entry, list)
		{
			if (is(entry, "instance", instance) && is(entry, "user", user) &&
				!set_text(entry, "unbind", command))
				return out_of_memory();
		}
	}
	return state_save_json(cli, BINDINGS, root);
}

enum cli_exit binding_settle(struct cli *cli, const char *instance, const char *command, bool good)
{
	cleanup_json cJSON *root = NULL;
	bool changed = false;
	cJSON *list;

	enum cli_exit r = state_load_json(cli, BINDINGS, &root);
	if (r != CLI_OK)
		return r;
	cJSON_ArrayForEach(list, root)
	{
		cJSON *next;
		for (cJSON *entry = list->child; entry; entry = next) {
			next = entry->next;
			if (!is(entry, "instance", instance))
				continue;
			bool ended = is(entry, "unbind", command);
			if (ended && !good) {
				cJSON_DeleteItemFromObjectCaseSensitive(entry, "unbind");
				changed = true;
			} else if (ended || (!good && is(entry, "command", command))) {
				cJSON_Delete(cJSON_DetachItemViaPointer(list, entry));
				changed = true;
			} else if (is(entry, "command", command)) {
				set_bound(entry);
				changed = true;
			}
		}
	}
	return changed ? state_save_json(cli, BINDINGS, root) : CLI_OK;
}

enum cli_exit binding_list(struct cli *cli, const char *label, cJSON **ret_bindings)
{
	cleanup_json cJSON *root = NULL;

	enum cli_exit r = state_load_json(cli, BINDINGS, &root);
	if (r != CLI_OK)
		return r;
	cJSON *list = cJSON_DetachItemFromObjectCaseSensitive(root, label);
	*ret_bindings = list ? list : cJSON_CreateArray();
	return *ret_bindings ? CLI_OK : out_of_memory();
}
