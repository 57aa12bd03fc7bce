/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sshd that runs: finding its process without a service manager, watching it through a pidfd, its listening sockets
 * in /proc/net, and one look at its banner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/cleanup.h"
#include "lib/sshd_config.h"

#define LISTENER_SOCKETS_MAX 64u /* ports times addresses; more are not looked at */

struct listener {
	pid_t pid;
	int process; /* pidfd; -1 where the kernel has none (before 5.3) */
};

struct listener_socket {
	uint64_t inode;
	uint16_t port;
	bool is_six;
	uint8_t address[16]; /* 4 bytes of it when not is_six */
};

struct listener_sockets {
	struct listener_socket sockets[LISTENER_SOCKETS_MAX];
	unsigned count;
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

/* The listening sockets on the ports in force. */
int listener_get_sockets(const struct sshd_effective *effective, struct listener_sockets *ret_sockets) MUST_CHECK;
/* True when one of `now` is not among `before`: sshd opens new ones when it reads its configuration again. */
bool listener_has_new(const struct listener_sockets *before, const struct listener_sockets *now);
/*
 * Connects once, sends one complete line and reads the banner. Empty ret_detail when it is sshd's; else why it could
 * not be verified, which any network peer can cause and which therefore proves nothing.
 */
void listener_probe(const struct listener_sockets *sockets, char ret_detail[SSHD_DETAIL_MAX + 1]);

/* Reads /proc/net/tcp or tcp6 (its text) for listening sockets on one port. Adds to the list. */
void listener_parse_table(const char *text, bool is_six, uint16_t port, struct listener_sockets *sockets);
/* Whether the command line is a listening sshd's: its program's path, or its title with [listener]. */
bool listener_is_command_line(const char *text);
