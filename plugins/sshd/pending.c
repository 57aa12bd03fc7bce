/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/sshd/pending.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/sshd_open.h"

#define PID_FILE "/run/sshd.pid" /* sshd's default */

static bool is_later(const struct sshd_file *file, const struct timespec *loaded)
{
	return !file->missing && (file->changed_s > loaded->tv_sec ||
					 (file->changed_s == loaded->tv_sec && file->changed_ns > loaded->tv_nsec));
}

/* The keywords of one file, each once. */
static void add_keywords(const struct sshd_scan *scan, unsigned file, struct buffer *out)
{
	unsigned count = 0;

	for (size_t i = 0; i < scan->count; i++) {
		bool repeated = false;
		if (scan->settings[i].file != file)
			continue;
		for (size_t j = 0; j < i && !repeated; j++)
			repeated = scan->settings[j].file == file &&
				   strcmp(scan->settings[j].keyword, scan->settings[i].keyword) == 0;
		if (!repeated)
			buffer_append_format(out, "%s%s", count++ ? " " : ": ", scan->settings[i].keyword);
	}
}

static bool find_loaded(int root, const struct sshd_scan *scan, struct timespec *ret_loaded)
{
	const struct sshd_setting *setting = sshd_scan_global(scan, "pidfile");
	const char *path = setting && setting->count > 0 ? setting->arguments[0] : PID_FILE;
	cleanup_close int descriptor = -1;
	struct stat status;

	if (sshd_open_below(root, path, O_PATH, &descriptor) < 0 || fstat(descriptor, &status) < 0)
		return false;
	*ret_loaded = status.st_mtim;
	return true;
}

void pending_describe(int root, char ret_text[PENDING_SIZE])
{
	cleanup_sshd_scan struct sshd_scan scan = {0};
	cleanup_buffer struct buffer text = {0};
	char detail[SSHD_SCAN_DETAIL_MAX + 1];
	const struct sshd_file *directory = NULL;
	struct timespec loaded;

	*ret_text = '\0';
	if (sshd_scan_read(root, NULL, &scan, detail) < 0 || !find_loaded(root, &scan, &loaded))
		return;
	for (size_t i = 0; i < scan.file_count; i++) {
		const struct sshd_file *file = &scan.files[i];
		if (!is_later(file, &loaded) || strcmp(file->path, SSHD_DROP_IN) == 0)
			continue;
		if (file->is_directory) {
			directory = directory ? directory : file;
			continue;
		}
		buffer_append_format(&text, "%s%s", text.size ? ", " : "", file->path);
		add_keywords(&scan, (unsigned)i, &text);
	}
	/* A file that is new shows itself; one that has gone only leaves its directory's time. */
	if (text.size == 0 && directory)
		buffer_append_format(&text, "a file gone from %s", directory->path);
	if (buffer_status(&text) == 0 && text.size > 0)
		(void)snprintf(ret_text, PENDING_SIZE, "also in force now: %.100s", text.bytes);
}
