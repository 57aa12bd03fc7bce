/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/sudoers.h"

#include <errno.h>
#include <string.h>

#include "lib/file.h"
#include "lib/log.h"
#include "lib/process.h"

#define SUDOERS_FILE_MAX 4096u /* ours has two lines */
#define VISUDO_TIMEOUT_MS 5000u
#define NAME_SIZE 128u

static void file_name(const char *user, char ret_name[NAME_SIZE])
{
	size_t used = (size_t)snprintf(ret_name, NAME_SIZE, "latchkey-");

	for (; *user && used + 4 < NAME_SIZE; user++) {
		if (*user == '.') {
			memcpy(ret_name + used, "%2e", 3);
			used += 3;
		} else {
			ret_name[used++] = *user;
		}
	}
	ret_name[used] = '\0';
}

static int content(const char *user, const char *word, struct buffer *text)
{
	buffer_append_format(
		text, "# Written by latchkey for this user; the next command with sudo writes it again.\n");
	buffer_append_format(text, "%s ALL=(ALL:ALL) %sALL\n", user, strcmp(word, "nopasswd") == 0 ? "NOPASSWD: " : "");
	return buffer_status(text);
}

int sudoers_read(int root, const char *user, char ret_word[SUDOERS_WORD_MAX])
{
	static const char *const words[] = {"password", "nopasswd"};
	cleanup_close int directory = -1;
	cleanup_free char *bytes = NULL;
	char name[NAME_SIZE];
	size_t size;

	file_name(user, name);
	int r = file_open_directory(root, "etc/sudoers.d", &directory);
	if (r == 0)
		r = file_read(directory, name, SUDOERS_FILE_MAX, &bytes, &size);
	if (r == -ENOENT) {
		(void)snprintf(ret_word, SUDOERS_WORD_MAX, "none");
		return 0;
	}
	if (r < 0)
		return r;
	(void)snprintf(ret_word, SUDOERS_WORD_MAX, "edited");
	for (unsigned i = 0; i < ELEMENTS(words); i++) {
		cleanup_buffer struct buffer text = {0};

		r = content(user, words[i], &text);
		if (r < 0)
			return r;
		if (text.size == size && memcmp(text.bytes, bytes, size) == 0)
			(void)snprintf(ret_word, SUDOERS_WORD_MAX, "%s", words[i]);
	}
	return 0;
}

int sudoers_check(const char *user, const char *word)
{
	const char *const argv[] = {"visudo", "-c", "-q", "-f", "-", NULL};
	cleanup_process_result struct process_result result = {0};
	cleanup_buffer struct buffer text = {0};

	int r = strcmp(word, "none") == 0 ? 0 : content(user, word, &text);
	if (r < 0 || text.size == 0)
		return r;
	const struct process process = {.path = "/usr/sbin/visudo",
		.argv = argv,
		.working_directory = -1,
		.input = text.bytes,
		.input_size = text.size,
		.output_limit = 65536,
		.timeout_ms = VISUDO_TIMEOUT_MS,
		.capabilities = PROCESS_CAPABILITIES_KEEP};
	r = process_run(&process, &result);
	if (r == -ENOENT)
		return 0; /* no sudo here: the two lines above are all there is to check */
	if (r < 0)
		return r;
	return process_exited(&result, 0) ? 0 : -EBADMSG;
}

static int write_file(int root, const char *user, const char *bytes, size_t size)
{
	const struct file_attributes attributes = {.mode = 0440, .uid = 0, .gid = 0, .like = -1};
	cleanup_close int directory = -1;
	char name[NAME_SIZE];

	file_name(user, name);
	int r = file_make_directory(root, "etc/sudoers.d", 0750, &directory);
	return r < 0 ? r : file_replace(directory, name, bytes, size, &attributes);
}

int sudoers_write(int root, const char *user, const char *word)
{
	cleanup_buffer struct buffer text = {0};

	int r = content(user, word, &text);
	return r < 0 ? r : write_file(root, user, text.bytes, text.size);
}

int sudoers_take(int root, const char *user, char **ret_bytes, size_t *ret_size)
{
	cleanup_close int directory = -1;
	cleanup_free char *bytes = NULL;
	char name[NAME_SIZE];
	size_t size = 0;

	file_name(user, name);
	int r = file_open_directory(root, "etc/sudoers.d", &directory);
	if (r == 0)
		r = file_read(directory, name, SUDOERS_FILE_MAX, &bytes, &size);
	if (r == 0)
		r = file_remove(directory, name);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	*ret_bytes = steal_pointer(&bytes);
	*ret_size = size;
	return 0;
}

void sudoers_put_back(int root, const char *user, const char *bytes, size_t size)
{
	int r = write_file(root, user, bytes, size);
	if (r < 0)
		log_warning("the right of sudo of %s could not be given back: %s", user, strerror(-r));
}
