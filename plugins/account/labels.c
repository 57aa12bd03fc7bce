/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/labels.h"

#include <errno.h>
#include <string.h>

#include "lib/attributes.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/process.h"

#define RESTORECON "/usr/sbin/restorecon"
#define RESTORECON_TIMEOUT_MS 10000u /* it reads the policy's patterns once, about 50 ms */

void labels_restore(const char *const *paths, unsigned count)
{
	const char *argv[LABELS_PATHS_MAX + 5] = {"restorecon", "-F", "-R", "--"};
	const struct process process = {.path = RESTORECON,
		.argv = argv,
		.working_directory = -1,
		.input = "",
		.output_limit = 65536,
		.timeout_ms = RESTORECON_TIMEOUT_MS,
		.capabilities = PROCESS_CAPABILITIES_KEEP};
	cleanup_process_result struct process_result result = {0};

	if (count == 0 || count > LABELS_PATHS_MAX || !label_is_in_force())
		return;
	for (unsigned i = 0; i < count; i++)
		argv[4 + i] = paths[i];
	int r = process_run(&process, &result);
	if (r < 0 || !process_exited(&result, 0))
		log_warning("the labels of %u new homes, the first is %s, could not be set: %s", count, paths[0],
			r < 0 ? strerror(-r) : "restorecon failed");
}

void labels_ask_for_relabelling(int root, int etc)
{
	static const char *const files[] = {"passwd", "shadow", "group", "gshadow", "subuid", "subgid"};
	const struct file_attributes attributes = {.mode = 0644, .uid = 0, .gid = 0, .like = -1};
	struct label label;
	bool lost = false;

	label_read(etc, &label);
	if (label.size == 0)
		return;
	for (unsigned i = 0; i < ELEMENTS(files); i++) {
		cleanup_close int descriptor = -1;
		if (file_open(etc, files[i], &descriptor, NULL) < 0)
			continue;
		label_read(descriptor, &label);
		lost = lost || label.size == 0;
	}
	int r = lost ? file_create(root, ".autorelabel", "", 0, &attributes) : 0;
	if (r < 0 && r != -EEXIST)
		log_warning("the account files have lost their SELinux labels, and /.autorelabel cannot be made: %s",
			strerror(-r));
}
