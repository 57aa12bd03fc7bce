/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sshd that listens, found without a service manager, held by a pidfd; and the options it was started with, which
 * decide what is in force as much as its files do.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "lib/cleanup.h"

#define SSHD_PROCESS_OPTIONS_MAX 32u /* a unit file's ExecStart has two or three */

struct sshd_process {
	pid_t pid;      /* 0: none */
	int descriptor; /* pidfd; -1 where the kernel has none (before 5.3) */
};

/*
 * The process that the pid file names, else the only listening sshd there is. -ESRCH when none runs, -ENOTUNIQ when
 * several do.
 */
int sshd_process_find(const char *pid_file, struct sshd_process *ret_process) MUST_CHECK;
/* One more that listens, and reads the same main file. -ESRCH when there is none. */
int sshd_process_find_other(const struct sshd_process *process, const char *main_path, pid_t *ret_pid) MUST_CHECK;
/* The process with that id, if it is a listening sshd of root. -ESRCH otherwise. */
int sshd_process_open(pid_t pid, struct sshd_process *ret_process) MUST_CHECK;
void sshd_process_close(struct sshd_process *process);
#define cleanup_sshd_process CLEANUP(sshd_process_close)
/* Waits until it would not die of SIGHUP, as it does while it starts. -EBUSY after some seconds; -ESRCH when it ends.
 */
int sshd_process_await_handler(const struct sshd_process *process) MUST_CHECK;
/* SIGHUP: sshd reads its configuration again, keeping its process id and its sessions. */
int sshd_process_hang_up(const struct sshd_process *process) MUST_CHECK;
bool sshd_process_is_alive(const struct sshd_process *process);
/*
 * Those of its options that decide about its configuration (-4 -6 -f -o -p), each with its argument attached, as
 * sshd -T takes them. NULL-terminated; free with file_names_free.
 */
int sshd_process_options(const struct sshd_process *process, char ***ret_options) MUST_CHECK;
/* Whether an sshd with these options reads that main file: -f names another. */
bool sshd_process_reads(char *const *options, const char *main_path);
/* The same from its arguments, NULL-terminated, without the program. -E2BIG. */
int sshd_process_parse_options(char *const *words, char ***ret_options) MUST_CHECK;
/* Whether the command line, its words ended by NUL, is a listening sshd's: as it was started, or its title. */
bool sshd_process_is_command_line(const char *text, size_t size);
