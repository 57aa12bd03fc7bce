/* SPDX-License-Identifier: Apache-2.0 */
/* The listening sockets on sshd's ports, from /proc/PID/net/tcp and tcp6 (proc(5)); whoever holds them: sshd or a
 * socket unit. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/cleanup.h"
#include "lib/sshd_config.h"

#define SSHD_SOCKETS_MAX 64u /* ports times addresses; more are not looked at */

struct sshd_socket {
	uint64_t inode;
	uint16_t port;
	bool is_six;
	uint8_t address[16]; /* 4 bytes of it when not is_six */
};

struct sshd_sockets {
	struct sshd_socket sockets[SSHD_SOCKETS_MAX];
	unsigned count;
};

/* The ports in force, each once; how many there are. */
unsigned sshd_sockets_ports(const struct sshd_effective *effective, uint16_t ret_ports[SSHD_SOCKETS_MAX]);
/*
 * The listening sockets on the ports in force, in the network of that process: of 1 it is the machine's, which is not
 * ours where the unit has a network of its own.
 */
int sshd_sockets_read(
	pid_t process, const struct sshd_effective *effective, struct sshd_sockets *ret_sockets) MUST_CHECK;
/* True when one of `now` is not among `before`: sshd opens new ones when it reads its configuration again. */
bool sshd_sockets_have_new(const struct sshd_sockets *before, const struct sshd_sockets *now);
/* Reads /proc/net/tcp or tcp6 (its text) for listening sockets on one port. Adds to the list. */
void sshd_sockets_parse(const char *text, bool is_six, uint16_t port, struct sshd_sockets *sockets);
