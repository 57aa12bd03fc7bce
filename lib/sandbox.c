/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OUR_ARCHITECTURE AUDIT_ARCH_X86_64
#define FOREIGN_CALLS 0x40000000u /* x32's; the others have none */
#elif defined(__aarch64__)
#define OUR_ARCHITECTURE AUDIT_ARCH_AARCH64
#define FOREIGN_CALLS 0xffffffffu
#elif defined(__riscv) && __riscv_xlen == 64
#define OUR_ARCHITECTURE AUDIT_ARCH_RISCV64
#define FOREIGN_CALLS 0xffffffffu
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define OUR_ARCHITECTURE AUDIT_ARCH_PPC64LE
#define FOREIGN_CALLS 0xffffffffu
#else
#define OUR_ARCHITECTURE 0 /* no filter here; status says so */
#define FOREIGN_CALLS 0xffffffffu
#endif

/* The lower half: all of them are little-endian. */
#define ARGUMENT(n) ((unsigned)offsetof(struct seccomp_data, args[n]))

/* In a user namespace of its own a process has every capability again. */
#define NAMESPACES \
	(CLONE_NEWCGROUP | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUSER | CLONE_NEWUTS)
#define FILTER_MAX 256u /* the tables below and a few checks of arguments */
#define DENY(error) (SECCOMP_RET_ERRNO | ((error)&SECCOMP_RET_DATA))

struct filter {
	struct sock_filter code[FILTER_MAX];
	unsigned count;
};

static void put(struct filter *filter, unsigned code, unsigned value, unsigned if_true, unsigned if_false)
{
	if (filter->count < FILTER_MAX)
		filter->code[filter->count] = (struct sock_filter){
			(unsigned short)code, (unsigned char)if_true, (unsigned char)if_false, value};
	filter->count++;
}

static void load(struct filter *filter, unsigned offset)
{
	put(filter, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0);
}

static void answer(struct filter *filter, unsigned action)
{
	put(filter, BPF_RET | BPF_K, action, 0, 0);
}

static void load_call(struct filter *filter)
{
	load(filter, offsetof(struct seccomp_data, nr));
}

/* Calls of another architecture have other numbers: whoever makes one is at mischief. */
static void begin(struct filter *filter)
{
	load(filter, offsetof(struct seccomp_data, arch));
	put(filter, BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCHITECTURE, 1, 0);
	answer(filter, SECCOMP_RET_KILL_PROCESS);
	load_call(filter);
	put(filter, BPF_JMP | BPF_JGE | BPF_K, FOREIGN_CALLS, 0, 1);
	answer(filter, DENY(ENOSYS));
}

static void each(struct filter *filter, const int *calls, size_t count, unsigned action)
{
	for (size_t i = 0; i < count; i++) {
		put(filter, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
		answer(filter, action);
	}
}

/* The call is allowed only where argument & mask == value. */
static void only_if(
	struct filter *filter, int call, unsigned argument, unsigned mask, unsigned value, unsigned otherwise)
{
	put(filter, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 5);
	load(filter, ARGUMENT(argument));
	put(filter, BPF_ALU | BPF_AND | BPF_K, mask, 0, 0);
	put(filter, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
	answer(filter, SECCOMP_RET_ALLOW);
	answer(filter, otherwise);
}

/* The flags of clone3 are in memory, where no filter sees them: the C library then takes clone. */
static void without_clone3(struct filter *filter)
{
#ifdef SYS_clone3
	put(filter, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1);
	answer(filter, DENY(ENOSYS));
#else
	(void)filter;
#endif
}

static void only_families(struct filter *filter, const int *families, unsigned count)
{
	put(filter, BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 2 * count + 2);
	load(filter, ARGUMENT(0));
	for (unsigned i = 0; i < count; i++) {
		put(filter, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)families[i], 0, 1);
		answer(filter, SECCOMP_RET_ALLOW);
	}
	answer(filter, DENY(EAFNOSUPPORT));
}

static int install(const struct filter *filter)
{
	const struct sock_fprog program = {
		(unsigned short)filter->count, (struct sock_filter *)(uintptr_t)filter->code};

	if (filter->count > FILTER_MAX)
		return -E2BIG;
	if (OUR_ARCHITECTURE == 0 || prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0)
		return 0;
	/* Not seccomp(2), which a service manager's own filter may leave out. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0)
		return -errno;
	return 0;
}

/* What no program of ours and none that they start has to do with; by number, for old headers know less. */
static const int never[] = {
	SYS_acct,
	SYS_add_key,
	SYS_adjtimex,
	SYS_bpf,
	SYS_chroot,
	SYS_clock_adjtime,
	SYS_clock_settime,
	SYS_delete_module,
	SYS_fanotify_init,
	SYS_finit_module,
	SYS_init_module,
#ifdef SYS_kexec_file_load
	SYS_kexec_file_load,
#endif
	SYS_kexec_load,
	SYS_keyctl,
	SYS_lookup_dcookie,
	SYS_mknodat,
	SYS_mount,
	SYS_move_pages,
	SYS_name_to_handle_at,
	SYS_open_by_handle_at,
	SYS_perf_event_open,
	SYS_personality,
	SYS_pivot_root,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_ptrace,
	SYS_quotactl,
	SYS_reboot,
	SYS_request_key,
	SYS_setdomainname,
	SYS_sethostname,
	SYS_setns,
	SYS_settimeofday,
	SYS_swapoff,
	SYS_swapon,
	SYS_syslog,
	SYS_umount2,
	SYS_unshare,
	SYS_userfaultfd,
	SYS_vhangup,
#ifdef SYS_mount_setattr
	SYS_mount_setattr,
#endif
#ifdef SYS_pidfd_getfd
	SYS_pidfd_getfd,
#endif
#ifdef SYS_fsopen
	SYS_fsopen,
	SYS_fsmount,
	SYS_fsconfig,
	SYS_fspick,
	SYS_move_mount,
	SYS_open_tree,
#endif
#ifdef SYS_io_uring_setup
	SYS_io_uring_setup,
#endif
#ifdef SYS_iopl
	SYS_iopl,
	SYS_ioperm,
	SYS_modify_ldt,
	SYS_mknod,
#endif
};

/* The loop of latchkey-net: descriptors, time, memory, sockets that exist or are of the families below. */
static const int network[] = {
	SYS_accept4,
	SYS_bind,
	SYS_brk,
	SYS_clock_getres,
	SYS_clock_gettime,
	SYS_clock_nanosleep,
	SYS_close,
	SYS_connect,
	SYS_dup,
	SYS_dup3,
	SYS_epoll_create1,
	SYS_epoll_ctl,
	SYS_epoll_pwait,
	SYS_eventfd2,
	SYS_exit,
	SYS_exit_group,
	SYS_fcntl,
	SYS_fstat,
	SYS_ftruncate,
	SYS_futex,
	SYS_getegid,
	SYS_geteuid,
	SYS_getgid,
	SYS_getpeername,
	SYS_getpid,
	SYS_getppid,
	SYS_getrandom,
	SYS_getsockname,
	SYS_getsockopt,
	SYS_gettid,
	SYS_gettimeofday,
	SYS_getuid,
	SYS_ioctl,
	SYS_listen,
	SYS_lseek,
	SYS_madvise,
	SYS_memfd_create,
	SYS_mremap,
	SYS_munmap,
	SYS_nanosleep,
	SYS_pipe2,
	SYS_ppoll,
	SYS_pread64,
	SYS_pselect6,
	SYS_pwrite64,
	SYS_read,
	SYS_readv,
	SYS_recvfrom,
	SYS_recvmmsg,
	SYS_recvmsg,
	SYS_restart_syscall,
	SYS_rt_sigaction,
	SYS_rt_sigprocmask,
	SYS_rt_sigreturn,
	SYS_rt_sigtimedwait,
	SYS_sched_yield,
	SYS_sendmmsg,
	SYS_sendmsg,
	SYS_sendto,
	SYS_set_robust_list,
	SYS_setsockopt,
	SYS_shutdown,
	SYS_sigaltstack,
	SYS_signalfd4,
	SYS_socketpair,
	SYS_sysinfo,
	SYS_tgkill,
	SYS_timerfd_create,
	SYS_timerfd_gettime,
	SYS_timerfd_settime,
	SYS_uname,
	SYS_write,
	SYS_writev,
#ifdef SYS_epoll_wait
	SYS_epoll_wait,
	SYS_poll,
	SYS_select,
	SYS_time,
#endif
#ifdef SYS_epoll_pwait2
	SYS_epoll_pwait2,
#endif
#ifdef SYS_newfstatat
	SYS_newfstatat,
#endif
#ifdef SYS_rseq
	SYS_rseq,
#endif
#ifdef SYS_membarrier
	SYS_membarrier,
#endif
};
static const int opening[] = {
	SYS_getdents64,
	SYS_readlinkat,
	SYS_prlimit64,
	SYS_sched_getaffinity,
	SYS_statx,
#ifdef SYS_readlink
	SYS_readlink,
	SYS_stat,
	SYS_lstat,
#endif
};

static const int watching[] = {SYS_inotify_add_watch, SYS_inotify_rm_watch};

int sandbox_enter_network(enum sandbox_network needs)
{
	static const int families[] = {AF_UNIX, AF_INET, AF_INET6};
	const unsigned no = DENY(EPERM);
	struct filter filter = {.count = 0};

	begin(&filter);
	each(&filter, network, ELEMENTS(network), SECCOMP_RET_ALLOW);
	only_families(&filter, families, needs == SANDBOX_FILES ? 1 : ELEMENTS(families));
	load_call(&filter);
	only_if(&filter, SYS_mmap, 2, 4 /* PROT_EXEC */, 0, no);
	load_call(&filter);
	only_if(&filter, SYS_mprotect, 2, 4, 0, no);
	load_call(&filter);
	if (needs != SANDBOX_SOCKETS) {
		only_if(&filter, SYS_openat, 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY, no);
		load_call(&filter);
	}
	if (needs == SANDBOX_FILES)
		each(&filter, watching, ELEMENTS(watching), SECCOMP_RET_ALLOW);
	if (needs == SANDBOX_NAMES) {
		each(&filter, opening, ELEMENTS(opening), SECCOMP_RET_ALLOW);
		only_if(&filter, SYS_clone, 0, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM, no);
		load_call(&filter);
		without_clone3(&filter);
	}
	answer(&filter, no);
	return install(&filter);
}

/* Where the tree is not there yet, it may be made: its parent may be given a directory, and that is all. */
static int allow_tree(int ruleset, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = {rights, -1};
	char parent[256];
	struct stat status;
	cleanup_close int tree = open(path, O_PATH | O_CLOEXEC);

	if (tree < 0) {
		const char *slash = strrchr(path, '/');
		if (!slash || slash == path || (size_t)(slash - path) >= sizeof(parent))
			return 0;
		memcpy(parent, path, (size_t)(slash - path));
		parent[slash - path] = '\0';
		tree = open(parent, O_PATH | O_CLOEXEC);
		rule.allowed_access = LANDLOCK_ACCESS_FS_MAKE_DIR;
	}
	if (tree < 0)
		return 0;
	if (fstat(tree, &status) < 0)
		return -errno;
	if (!S_ISDIR(status.st_mode))
		rule.allowed_access &= LANDLOCK_ACCESS_FS_WRITE_FILE | 1u << 14;
	rule.parent_fd = tree;
	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 ? -errno : 0;
}

/* Landlock's rights that change something; those this kernel does not know are taken off. */
static int confine_writes(const struct sandbox *sandbox)
{
	struct landlock_ruleset_attr attributes = {
		.handled_access_fs = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
				     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
				     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
				     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
				     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM};
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (version < 1)
		return 0;
	/* By number: REFER came with version 2, TRUNCATE with 3, and the headers may be older than the kernel. */
	if (version >= 2)
		attributes.handled_access_fs |= 1u << 13;
	if (version >= 3)
		attributes.handled_access_fs |= 1u << 14;
	cleanup_close int ruleset =
		(int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes.handled_access_fs), 0);
	if (ruleset < 0)
		return -errno;
	for (unsigned i = 0; i < sandbox->tree_count; i++) {
		int r = allow_tree(ruleset, sandbox->trees[i], attributes.handled_access_fs);
		if (r < 0)
			return r;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return -errno;
	return 0;
}

int sandbox_enter(const struct sandbox *sandbox)
{
	struct filter filter = {.count = 0};

	if (sandbox->confines_writes) {
		int r = confine_writes(sandbox);
		if (r < 0)
			return r;
	}
	begin(&filter);
	each(&filter, never, ELEMENTS(never), DENY(EPERM));
	without_clone3(&filter);
	only_if(&filter, SYS_clone, 0, NAMESPACES, 0, DENY(EPERM));
	load_call(&filter);
	only_families(&filter, sandbox->families, sandbox->family_count);
	answer(&filter, SECCOMP_RET_ALLOW);
	return install(&filter);
}

int sandbox_enter_root(void)
{
	static const struct sandbox sandbox = {
		.families = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}, .family_count = SANDBOX_FAMILIES_MAX};

	return sandbox_enter(&sandbox);
}

const char *sandbox_missing(void)
{
	bool filters = OUR_ARCHITECTURE != 0 && prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
	bool landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;

	if (filters && landlock)
		return NULL;
	return filters    ? "this kernel has no Landlock: capabilities alone confine where the plugins write"
	       : landlock ? "there are no seccomp filters here: programs may make any system call"
			  : "there are neither seccomp filters nor Landlock here: capabilities alone confine the "
			    "programs";
}
