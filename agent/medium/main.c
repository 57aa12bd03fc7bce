/* SPDX-License-Identifier: Apache-2.0 */
/* latchkey-medium(8): copies the signed documents of a medium labelled LATCHKEY into the inbox. It verifies nothing. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/medium/file_system.h"
#include "lib/file.h"
#include "lib/inbox.h"
#include "lib/log.h"
#include "lib/paths.h"
#include "lib/program.h"
#include "lib/sandbox.h"

#define DEVICE "/dev/disk/by-label/LATCHKEY"
#define PLACE PATH_RUN "/medium"
#define AT_BOOT_MAX 600 /* seconds: who plugs something into a machine that runs for long has not booted it */
#define NAMES_MAX 1024u /* in the medium's first directory; with more it is somebody's stick, not ours */
#define DOCUMENTS_MAX 64u
#define DOCUMENT_MAX (1u << 20)
#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

static int usage(FILE *out, int code)
{
	(void)fputs("Usage: latchkey-medium [--at-boot]\n"
		    "       latchkey-medium --help | --version\n\n"
		    "Copies *.doc from the first directory of a medium (disk, partition, CD) whose file system is\n"
		    "labelled LATCHKEY to /var/lib/latchkey/inbox, where latchkeyd(8) takes them. Only iso9660, vfat\n"
		    "and ext4; mounted read-only where nobody else sees it.\n\n"
		    "  --at-boot   do nothing when the machine runs for more than ten minutes\n",
		out);
	return code;
}

static bool is_long_after_boot(void)
{
	struct timespec now;
	return clock_gettime(CLOCK_BOOTTIME, &now) == 0 && now.tv_sec > AT_BOOT_MAX;
}

/*
 * What is mounted is in nobody's sight and ends with this process. Before anything is opened: what was opened in a
 * namespace that is gone has no name any more that an AppArmor profile could know.
 */
static int leave_sight(void)
{
	return unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ? -errno : 0;
}

/* Only what was looked at is mounted: by the descriptor, whatever stands at the name by then. */
static int mount_medium(int device)
{
	cleanup_free unsigned char *head = malloc(FILE_SYSTEM_HEAD);
	cleanup_close int place = -1;
	char source[32];

	if (!head)
		return -ENOMEM;
	ssize_t size = pread(device, head, FILE_SYSTEM_HEAD, 0);
	if (size < 0)
		return -errno;
	const struct file_system *file_system = file_system_find(head, (size_t)size);
	if (!file_system) {
		log_error("the medium's file system is none of iso9660, vfat, ext4: not mounted");
		return -EMEDIUMTYPE;
	}
	int r = file_make_directory(AT_FDCWD, PLACE, 0700, &place);
	if (r < 0)
		return r;
	(void)snprintf(source, sizeof(source), "/proc/self/fd/%d", device);
	if (mount(source, PLACE, file_system->type, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		    file_system->options) < 0)
		return -errno;
	return 0;
}

/* Nothing more is mounted, and nothing written elsewhere. */
static int confine(void)
{
	const struct sandbox sandbox = {.families = {AF_UNIX},
		.family_count = 1,
		.confines_writes = true,
		.trees = {"/" PATH_STATE "/" INBOX, "/dev/null"},
		.tree_count = 2};

	return sandbox_enter(&sandbox);
}

static int copy(int from, const char *name, int inbox)
{
	const struct file_attributes attributes = {.mode = 0600, .uid = 0, .gid = 0, .like = -1};
	cleanup_free char *text = NULL;
	size_t size;

	int r = file_read(from, name, DOCUMENT_MAX, &text, &size);
	if (r == 0)
		r = file_create(inbox, name, text, size, &attributes);
	return r == -EEXIST ? 0 : r; /* it still waits from before */
}

static int copy_all(int inbox)
{
	cleanup_close int medium = -1;
	cleanup_names char **names = NULL;
	size_t count;
	unsigned copied = 0;

	int r = file_open_directory(AT_FDCWD, PLACE, &medium);
	if (r == 0)
		r = file_list(medium, ".", NAMES_MAX, &names, &count);
	if (r < 0) {
		log_error("the medium cannot be read: %s", strerror(-r));
		return r;
	}
	for (size_t i = 0; i < count; i++) {
		if (!inbox_is_document(names[i]))
			continue;
		if (strspn(names[i], NAME_CHARACTERS) != strlen(names[i]) || copied == DOCUMENTS_MAX) {
			log_warning("%s is left on the medium", names[i]);
			continue;
		}
		int failed = copy(medium, names[i], inbox);
		if (failed < 0) {
			log_error("%s cannot be copied from the medium: %s", names[i], strerror(-failed));
			r = failed;
			continue;
		}
		copied++;
	}
	log_notice("%u documents on the medium labelled LATCHKEY", copied);
	return r;
}

static int run(void)
{
	cleanup_close int device = -1, inbox = -1;
	struct stat status;

	if (stat(DEVICE, &status) < 0 && errno == ENOENT) {
		log_info("there is no medium labelled LATCHKEY");
		return 0;
	}
	int r = leave_sight();
	if (r < 0)
		return r;
	device = open(DEVICE, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (device < 0 || fstat(device, &status) < 0)
		return -errno;
	if (!S_ISBLK(status.st_mode))
		return -ENOTBLK;
	r = file_make_directory(AT_FDCWD, "/" PATH_STATE "/" INBOX, 0700, &inbox);
	if (r == 0)
		r = mount_medium(device);
	if (r == 0)
		r = confine();
	return r < 0 ? r : copy_all(inbox);
}

int main(int argc, char **argv)
{
	if (program_begin() < 0)
		return 70;
	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return usage(stdout, 0);
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		(void)printf("latchkey-medium %s\n", LATCHKEY_VERSION);
		return 0;
	}
	bool at_boot = argc == 2 && strcmp(argv[1], "--at-boot") == 0;
	if (argc > 2 || (argc == 2 && !at_boot))
		return usage(stderr, 64);
	if (at_boot && is_long_after_boot()) {
		log_notice("a medium labelled LATCHKEY came long after the boot: start latchkey-medium by hand to take "
			   "it");
		return 0;
	}
	int r = run();
	if (r < 0)
		log_error("the medium labelled LATCHKEY is not taken: %s", strerror(-r));
	return r < 0 ? 1 : 0;
}
