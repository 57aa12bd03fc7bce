/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "lib/file.h"

enum cli_exit state_open(struct cli *cli, const char *path, bool create)
{
	struct stat status;

	cli->home = cli->lock = -1;
	cli->home_path = strdup(path);
	if (!cli->home_path)
		return CLI_LOCAL;
	int r = create ? file_make_directory(AT_FDCWD, path, 0700, &cli->home)
		       : file_open_directory(AT_FDCWD, path, &cli->home);
	if (r == -ENOENT) {
		complain("%s is not there yet: run latchkey init", path);
		return CLI_LOCAL;
	}
	if (r < 0) {
		complain("%s: %s%s", path, strerror(-r), r == -ELOOP ? " (no symbolic link may lie in this path)" : "");
		return CLI_LOCAL;
	}
	if (fstat(cli->home, &status) < 0 || status.st_uid != geteuid() || (status.st_mode & 077) != 0) {
		complain("%s must belong to you and be closed to others (chmod 700)", path);
		return CLI_LOCAL;
	}
	return state_lock(cli);
}

void state_close(struct cli *cli)
{
	state_unlock(cli);
	if (cli->home >= 0)
		(void)close(cli->home);
	cli->home = -1;
	free(steal_pointer(&cli->home_path));
	free(steal_pointer(&cli->settings.endpoint));
	free(steal_pointer(&cli->settings.signing_key));
	free(steal_pointer(&cli->settings.ca_file));
	free(steal_pointer(&cli->settings.actor));
}

enum cli_exit state_lock(struct cli *cli)
{
	cli->lock = openat(cli->home, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (cli->lock < 0) {
		complain("%s/lock: %s", cli->home_path, strerror(errno));
		return CLI_LOCAL;
	}
	if (flock(cli->lock, LOCK_EX | LOCK_NB) == 0)
		return CLI_OK;
	note("another latchkey is at work; waiting for it");
	while (flock(cli->lock, LOCK_EX) < 0) {
		if (errno != EINTR) {
			complain("%s/lock: %s", cli->home_path, strerror(errno));
			return CLI_LOCAL;
		}
	}
	return CLI_OK;
}

void state_unlock(struct cli *cli)
{
	if (cli->lock >= 0)
		(void)close(cli->lock);
	cli->lock = -1;
}

enum cli_exit state_write(struct cli *cli, const char *name, const void *bytes, size_t size, bool must_be_new)
{
	const struct file_attributes attributes = {.mode = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1, .like = -1};

	int r = must_be_new ? file_create(cli->home, name, bytes, size, &attributes)
			    : file_replace(cli->home, name, bytes, size, &attributes);
	if (r < 0) {
		complain("%s/%s: %s", cli->home_path, name, strerror(-r));
		return CLI_LOCAL;
	}
	return CLI_OK;
}

enum cli_exit state_load_json(struct cli *cli, const char *name, cJSON **ret_root)
{
	cleanup_free char *text = NULL;
	size_t size;

	int r = file_read(cli->home, name, STATE_FILE_MAX, &text, &size);
	if (r == -ENOENT) {
		*ret_root = cJSON_CreateObject();
		return *ret_root ? CLI_OK : CLI_LOCAL;
	}
	if (r == 0)
		r = json_parse_object(text, size, ret_root);
	if (r < 0) {
		complain("%s/%s: %s", cli->home_path, name, r == -EBADMSG ? "damaged" : strerror(-r));
		return CLI_LOCAL;
	}
	return CLI_OK;
}

enum cli_exit state_save_json(struct cli *cli, const char *name, const cJSON *root)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};

	json_put_value(&writer, NULL, root);
	buffer_append_text(&text, "\n");
	if (buffer_status(&text) < 0) {
		complain("out of memory");
		return CLI_LOCAL;
	}
	/* What could not be read again would be lost. */
	if (text.size > STATE_FILE_MAX) {
		complain("%s/%s is full (%u MiB): forget what is gone, or use another --home for the rest",
			cli->home_path, name, STATE_FILE_MAX >> 20);
		return CLI_LOCAL;
	}
	return state_write(cli, name, text.bytes, text.size, false);
}

static enum cli_exit take_setting(const cJSON *root, const char *name, bool required, char **ret_text)
{
	const char *text;

	int r = json_get_string(root, name, &text);
	if (r == -ENOENT && !required)
		return CLI_OK;
	if (r < 0) {
		complain("config: %s is missing: run latchkey init", name);
		return CLI_LOCAL;
	}
	*ret_text = strdup(text);
	return *ret_text ? CLI_OK : CLI_LOCAL;
}

enum cli_exit state_load_settings(struct cli *cli)
{
	cleanup_json cJSON *root = NULL;

	enum cli_exit r = state_load_json(cli, "config", &root);
	if (r == CLI_OK)
		r = take_setting(root, "endpoint", true, &cli->settings.endpoint);
	if (r == CLI_OK)
		r = take_setting(root, "signing_key", true, &cli->settings.signing_key);
	if (r == CLI_OK)
		r = take_setting(root, "ca_file", false, &cli->settings.ca_file);
	if (r == CLI_OK)
		r = take_setting(root, "actor", false, &cli->settings.actor);
	return r;
}

enum cli_exit state_save_settings(struct cli *cli)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};

	json_begin_object(&writer, NULL);
	json_put_string(&writer, "endpoint", cli->settings.endpoint);
	json_put_string(&writer, "signing_key", cli->settings.signing_key);
	if (cli->settings.ca_file)
		json_put_string(&writer, "ca_file", cli->settings.ca_file);
	if (cli->settings.actor)
		json_put_string(&writer, "actor", cli->settings.actor);
	json_end_object(&writer);
	buffer_append_text(&text, "\n");
	if (buffer_status(&text) < 0)
		return CLI_LOCAL;
	return state_write(cli, "config", text.bytes, text.size, false);
}

enum cli_exit state_load_token(struct cli *cli, char **ret_token)
{
	size_t size;

	int r = file_read(cli->home, "token", STATE_TOKEN_MAX, ret_token, &size);
	if (r < 0) {
		complain("%s/token: %s", cli->home_path, strerror(-r));
		return CLI_LOCAL;
	}
	(*ret_token)[strcspn(*ret_token, "\r\n")] = '\0';
	return CLI_OK;
}

enum cli_exit state_save_token(struct cli *cli, const char *token)
{
	return state_write(cli, "token", token, strlen(token), false);
}

enum cli_exit state_load_signers(struct cli *cli, struct allowed_signers *ret_signers)
{
	cleanup_free char *text = NULL;
	char reason[ALLOWED_SIGNERS_REASON_MAX];
	unsigned line;
	size_t size;

	int r = file_read(cli->home, "allowed_signers", ALLOWED_SIGNERS_SIZE_MAX, &text, &size);
	if (r < 0) {
		complain("%s/allowed_signers: %s", cli->home_path, strerror(-r));
		return CLI_LOCAL;
	}
	r = allowed_signers_parse(text, size, ret_signers, &line, reason);
	if (r < 0) {
		complain("%s/allowed_signers:%u: %s", cli->home_path, line, r == -ENOMEM ? "out of memory" : reason);
		return CLI_LOCAL;
	}
	return CLI_OK;
}

enum cli_exit state_add_sent(struct cli *cli, const char *id, const char *words)
{
	cleanup_json cJSON *root = NULL;

	enum cli_exit r = state_load_json(cli, STATE_SENT, &root);
	if (r != CLI_OK)
		return r;
	for (int count = cJSON_GetArraySize(root); count >= STATE_SENT_MAX; count--)
		cJSON_Delete(cJSON_DetachItemFromArray(root, 0));
	if (!cJSON_AddStringToObject(root, id, words)) {
		complain("out of memory");
		return CLI_LOCAL;
	}
	return state_save_json(cli, STATE_SENT, root);
}
