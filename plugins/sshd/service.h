/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The running sshd, whoever started it, made to read its configuration again. A stopped one is never started: it reads
 * the files when somebody starts it. Nothing is ever executed that could start an sshd under this plugin's cut
 * capabilities; without systemd it is SIGHUP to the listener, which is also what every init script's reload does.
 */
#pragma once

#include <stdbool.h>

#include "lib/code.h"
#include "lib/sshd_process.h"
#include "lib/sshd_sockets.h"
#include "plugins/sshd/systemd.h"

struct service {
	bool running;
	bool ambiguous; /* several run, and nothing says which is the machine's */
	bool by_systemd;
	struct systemd_unit unit;
	struct sshd_process process; /* pid 0: the process could not be told */
	struct sshd_sockets sockets;
};

/* What runs now. A manager that does not answer is no error here: the process is then looked for. */
void service_find(const struct sshd_effective *effective, struct service *ret_service);
void service_close(struct service *service);
#define cleanup_service CLEANUP(service_close)
/*
 * Reload or restart, then health: the process lives, has new listening sockets and shows its banner. CODE_OK, with
 * ret_detail set when something could not be verified; CODE_RELOAD_FAILED, CODE_SERVICE_BUSY or CODE_TIMEOUT: the old
 * configuration is still in force; CODE_LISTENER_GONE: sshd has ended. Not running: CODE_OK and the detail says so.
 */
enum code service_reload(struct service *service, const struct sshd_effective *effective, bool restart,
	char ret_detail[SSHD_DETAIL_MAX + 1]);
/* After LISTENER_GONE, with the old files back: has the manager start the unit that was running. */
bool service_bring_back(const struct service *service);
