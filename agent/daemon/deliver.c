/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/daemon/daemon.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/sys.h"

#define RESULTS_MAX 4096u

static bool parse_seq(const char *name, uint64_t *ret_seq)
{
	uint64_t seq = 0;

	if (*name == '\0' || strlen(name) > 16)
		return false;
	for (; *name; name++) {
		if (*name < '0' || *name > '9')
			return false;
		seq = seq * 10 + (uint64_t)(*name - '0');
	}
	*ret_seq = seq;
	return true;
}

/* The lowest seq that waits, its text and inode. */
static int read_next(int directory, uint64_t *ret_seq, ino_t *ret_inode, char **ret_text, size_t *ret_size)
{
	cleanup_names char **names = NULL;
	cleanup_close int descriptor = -1;
	const char *name = NULL;
	struct stat status;
	uint64_t seq, lowest = UINT64_MAX;
	size_t count;

	int r = file_list(directory, ".", RESULTS_MAX, &names, &count);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		if (parse_seq(names[i], &seq) && seq < lowest) {
			lowest = seq;
			name = names[i];
		}
	}
	if (!name)
		return -ENOENT;
	r = file_open(directory, name, &descriptor, &status);
	if (r < 0)
		return r;
	*ret_seq = lowest;
	*ret_inode = status.st_ino;
	return file_read_descriptor(descriptor, LINK_BODY_MAX, ret_text, ret_size);
}

void deliver_next(struct daemon *daemon)
{
	struct link_message message = {.type = LINK_RESULTS};
	cleanup_close int directory = -1;
	cleanup_free char *text = NULL;
	size_t size;

	if (!daemon->link_ready || !daemon->identified || daemon->result_in_flight ||
		daemon->results_at > daemon_now() || daemon->state < 0)
		return;
	daemon->results_at = 0;
	int r = file_open_directory(daemon->state, "results", &directory);
	if (r == 0)
		r = read_next(directory, &message.seq, &daemon->result_inode, &text, &size);
	if (r == -ENOENT)
		return;
	if (r == 0)
		r = link_send_body(daemon->link, &message, text, size);
	if (r < 0) {
		log_error("results cannot be sent: %s", strerror(-r));
		daemon->results_at = daemon_now() + RETRY_LAST_MS;
		return;
	}
	daemon->result_in_flight = true;
	daemon->result_seq = message.seq;
}

/* Removes the file only if it is still the one that was sent: a pending result may have become final meanwhile. */
static int remove_sent(const struct daemon *daemon)
{
	cleanup_close int directory = -1;
	struct stat status;
	char name[24];

	int r = file_open_directory(daemon->state, "results", &directory);
	if (r < 0)
		return r;
	(void)snprintf(name, sizeof(name), "%" PRIu64, daemon->result_seq);
	if (sys.fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return status.st_ino == daemon->result_inode ? file_remove(directory, name) : 0;
}

void deliver_done(struct daemon *daemon, uint64_t seq, uint32_t code)
{
	if (!daemon->result_in_flight || seq != daemon->result_seq)
		return;
	daemon->result_in_flight = false;
	if (code >= 200 && code < 300) {
		int r = remove_sent(daemon);
		daemon->results_delay = 0;
		if (r < 0 && r != -ENOENT) {
			log_error("delivered results cannot be removed: %s", strerror(-r));
			daemon->results_at = daemon_now() + RETRY_LAST_MS;
			return;
		}
		deliver_next(daemon);
		return;
	}
	int64_t delay = daemon->results_delay == 0 ? RETRY_FIRST_MS : daemon->results_delay * 2;
	daemon->results_delay = delay > RETRY_LAST_MS ? RETRY_LAST_MS : delay;
	daemon->results_at = daemon_now() + 1 + daemon_jitter(daemon->results_delay);
	log_info("results %" PRIu64 " not delivered (%u), tried again later", seq, code);
}
