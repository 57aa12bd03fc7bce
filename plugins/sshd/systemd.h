/* SPDX-License-Identifier: Apache-2.0 */
/* The service manager over D-Bus: which unit runs sshd, and making it reload or restart. See
 * org.freedesktop.systemd1(5). */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "lib/cleanup.h"

#define SYSTEMD_UNIT_NAME_MAX 32u

struct systemd_unit {
	char name[SYSTEMD_UNIT_NAME_MAX];
	pid_t main_pid; /* 0 when it has none */
	bool by_socket; /* an active socket unit holds its listening sockets */
};

/* True where systemd is the service manager. */
bool systemd_is_manager(void);
/*
 * The active unit that runs sshd: ssh.service, else sshd.service. -ESRCH when neither is active (stopped, or a socket
 * that has not been connected to yet); -EHOSTDOWN when the manager does not answer.
 */
int systemd_find(struct systemd_unit *ret_unit) MUST_CHECK;
/*
 * ReloadUnit or RestartUnit, and waits for its job. -EOPNOTSUPP: the unit cannot reload; -EBUSY: another job of it is
 * in the way; -ETIMEDOUT; -EIO: it failed. Never starts a unit that is not active.
 */
int systemd_reload(const struct systemd_unit *unit, bool restart) MUST_CHECK;
/* StartUnit, only for a unit that was active a moment ago and ended because of us. */
int systemd_start(const struct systemd_unit *unit) MUST_CHECK;
