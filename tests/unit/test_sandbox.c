/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/sandbox.h"
#include "tests/unit/unit.h"

/* What a child inside the sandbox found, by its exit status: 0 or the number of the first step that went wrong. */
static int inside(int (*steps)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(steps());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static bool refused(long result, int error)
{
	return result < 0 && errno == error;
}

static int without_files(void)
{
	char *const arguments[] = {(char *)(uintptr_t) "/bin/true", NULL};
	char byte = 0;
	int ends[2];

	if (sandbox_enter_network(SANDBOX_SOCKETS) < 0)
		return 1;
	if (!refused(open("/etc/passwd", O_RDONLY), EPERM))
		return 2;
	if (!refused(execve("/bin/true", arguments, NULL), EPERM))
		return 3;
	if (!refused(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), EAFNOSUPPORT))
		return 4;
	if (!refused(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL), EPERM))
		return 5;
	if (!refused(kill(getppid(), 0), EPERM) || !refused(unlinkat(AT_FDCWD, "/tmp/none", 0), EPERM))
		return 6;
	if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		return 7;
	/* Nor what was written before. */
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED || mprotect(page, 4096, PROT_READ) < 0 ||
		!refused(mprotect(page, 4096, PROT_READ | PROT_EXEC), EPERM))
		return 9;
	/* What it is there for still works. */
	int descriptor = socket(AF_INET, SOCK_STREAM, 0);
	if (descriptor < 0 || close(descriptor) < 0 || pipe2(ends, O_CLOEXEC) < 0 || write(ends[1], "x", 1) != 1 ||
		read(ends[0], &byte, 1) != 1)
		return 8;
	free(malloc(1u << 20));
	return 0;
}

static void P9_the_network_half_opens_and_starts_nothing(void **state)
{
	(void)state;
	assert_int_equal(inside(without_files), 0);
}

static int with_files(void)
{
	if (sandbox_enter_network(SANDBOX_NAMES) < 0)
		return 1;
	if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0)
		return 2;
	if (!refused(open("/tmp", O_RDWR | O_TMPFILE, 0600), EPERM) || !refused(open("/dev/null", O_WRONLY), EPERM))
		return 3;
	if (!refused(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL), EPERM))
		return 4;
	return 0;
}

static void P9_for_a_name_it_reads_files_and_writes_none(void **state)
{
	(void)state;
	assert_int_equal(inside(with_files), 0);
}

static int with_a_directory(void)
{
	int notices = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (notices < 0 || sandbox_enter_network(SANDBOX_FILES) < 0)
		return 1;
	if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 || inotify_add_watch(notices, "/tmp", IN_MOVED_TO) < 0)
		return 2;
	if (!refused(open("/dev/null", O_WRONLY), EPERM) || !refused(open("/tmp", O_RDWR | O_TMPFILE, 0600), EPERM))
		return 3;
	if (!refused(socket(AF_INET, SOCK_STREAM, 0), EAFNOSUPPORT) ||
		!refused(socket(AF_INET6, SOCK_DGRAM, 0), EAFNOSUPPORT))
		return 4;
	if (!refused(syscall(SYS_clone, CLONE_THREAD | CLONE_VM | CLONE_SIGHAND, NULL, NULL, NULL, NULL), EPERM))
		return 5;
	return 0;
}

static void P9_with_an_endpoint_of_files_it_reads_them_and_has_no_internet(void **state)
{
	(void)state;
	assert_int_equal(inside(with_a_directory), 0);
}

static char tree[] = "/tmp/test-sandbox-XXXXXX";

static int of_a_plugin(void)
{
	const struct sandbox sandbox = {.families = {AF_UNIX},
		.family_count = 1,
		.confines_writes = true,
		.trees = {tree, "/dev/null", "/nonexistent"},
		.tree_count = 3};
	char path[64];

	if (sandbox_enter(&sandbox) < 0)
		return 1;
	if (!refused(unshare(CLONE_NEWUSER), EPERM) || !refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL), EPERM))
		return 2;
	if (!refused(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL), EPERM) ||
		!refused(syscall(SYS_clone3, NULL, 0), ENOSYS) ||
		!refused(syscall(SYS_kexec_file_load, -1, -1, 0, NULL, 0), EPERM))
		return 8;
	if (!refused(socket(AF_INET, SOCK_STREAM, 0), EAFNOSUPPORT) || socket(AF_UNIX, SOCK_STREAM, 0) < 0)
		return 3;
	(void)snprintf(path, sizeof(path), "%s/inside", tree);
	if (open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) < 0 || unlink(path) < 0)
		return 4;
	if (open("/dev/null", O_WRONLY | O_CLOEXEC) < 0 || open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0)
		return 5;
	if (sandbox_missing())
		return 0; /* a kernel without Landlock: what is below is not promised there, and status says so */
	(void)snprintf(path, sizeof(path), "%s-outside", tree);
	if (!refused(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), EACCES))
		return 6;
	if (!refused(mkdir(path, 0700), EACCES) || !refused(rmdir(tree), EACCES))
		return 7;
	return 0;
}

static void P107_a_plugin_writes_only_where_its_manifest_says(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(tree));
	int outcome = inside(of_a_plugin);
	(void)rmdir(tree);
	assert_int_equal(outcome, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P9_the_network_half_opens_and_starts_nothing),
		cmocka_unit_test(P9_for_a_name_it_reads_files_and_writes_none),
		cmocka_unit_test(P9_with_an_endpoint_of_files_it_reads_them_and_has_no_internet),
		cmocka_unit_test(P107_a_plugin_writes_only_where_its_manifest_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
