/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sshd that runs: finding its process without a service manager, watching it through a pidfd, and one look at its
 * banner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/cleanup.h"
#include "lib/sshd_config.h"
#include "lib/sshd_sockets.h"

struct listener {
	pid_t pid;
	int process; /* pidfd; -1 where the kernel has none (before 5.3) */
};

/* The process as sshd's pid file names it, else the only listening sshd there is. -ESRCH when none runs. */
int listener_find(const struct sshd_effective *effective, struct listener *ret_listener) MUST_CHECK;
/* The process with that id, if it is a listening sshd of root. -ESRCH otherwise. */
int listener_open(pid_t pid, struct listener *ret_listener) MUST_CHECK;
void listener_close(struct listener *listener);
#define cleanup_listener CLEANUP(listener_close)
/* SIGHUP: sshd reads its configuration again, keeping its process id and its sessions. */
int listener_hang_up(const struct listener *listener) MUST_CHECK;
bool listener_is_alive(const struct listener *listener);

/*
 * Connects once, sends one complete line and reads the banner. Empty ret_detail when it is sshd's; else why it could
 * not be verified, which any network peer can cause and which therefore proves nothing.
 */
void listener_probe(const struct sshd_sockets *sockets, char ret_detail[SSHD_DETAIL_MAX + 1]);

/* Whether the command line is a listening sshd's: its program's path, or its title with [listener]. */
bool listener_is_command_line(const char *text);
