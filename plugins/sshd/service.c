/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/sshd/service.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "plugins/sshd/probe.h"

#define WAIT_MS 5000 /* sshd opens its new sockets within 50 ms; a loaded machine gets a hundred times that */
#define STEP_MS 5

static void read_sockets(const struct sshd_effective *effective, struct service *service)
{
	if (sshd_sockets_read(1, effective, &service->sockets) < 0)
		service->sockets.count = 0;
}

void service_find(const struct sshd_effective *effective, struct service *ret_service)
{
	struct service service = {.process = {0, -1}};

	if (systemd_is_manager() && systemd_find(&service.unit) == 0) {
		service.running = service.by_systemd = true;
		if (sshd_process_open(service.unit.main_pid, &service.process) < 0)
			service.process = (struct sshd_process){0, -1};
	} else {
		int r = sshd_process_find(sshd_value(effective, "pidfile"), &service.process);
		service.running = r == 0;
		service.ambiguous = r == -ENOTUNIQ;
	}
	if (service.running)
		read_sockets(effective, &service);
	*ret_service = service;
}

void service_close(struct service *service)
{
	sshd_process_close(&service->process);
}

static bool is_alive(const struct service *service)
{
	struct systemd_unit unit;

	if (service->process.pid > 0)
		return sshd_process_is_alive(&service->process);
	return service->by_systemd && systemd_find(&unit) == 0;
}

/* The sockets that it has by then are the old ones. */
static int hang_up(struct service *service, const struct sshd_effective *effective)
{
	int r = sshd_process_await_handler(&service->process);
	if (r < 0)
		return r;
	read_sockets(effective, service);
	return sshd_process_hang_up(&service->process);
}

static int signal_it(struct service *service, const struct sshd_effective *effective, bool restart)
{
	int r = -EOPNOTSUPP;

	/* sshd 9.2 that got its socket from systemd dies of SIGHUP, for it binds anew. A restart keeps the socket and
	 * the sessions. */
	restart = restart || service->unit.by_socket;
	if (service->by_systemd)
		r = systemd_reload(&service->unit, restart);
	if (r == -EOPNOTSUPP && service->process.pid > 0)
		return hang_up(service, effective);
	if (r < 0 || !restart)
		return r;
	struct service now;
	r = systemd_find(&service->unit);
	if (r < 0)
		return r;
	sshd_process_close(&service->process);
	now = *service;
	if (sshd_process_open(service->unit.main_pid, &now.process) == 0)
		service->process = now.process;
	return 0;
}

static enum code check_health(
	const struct service *service, const struct sshd_effective *effective, char ret_detail[SSHD_DETAIL_MAX + 1])
{
	const struct timespec step = {0, STEP_MS * 1000000L};
	struct sshd_sockets now = {.count = 0};
	bool renewed = false;

	for (int waited = 0; waited < WAIT_MS && !renewed; waited += STEP_MS) {
		if (!is_alive(service))
			return CODE_LISTENER_GONE;
		if (sshd_sockets_read(1, effective, &now) == 0)
			renewed = service->unit.by_socket || sshd_sockets_have_new(&service->sockets, &now);
		if (!renewed)
			(void)nanosleep(&step, NULL);
	}
	probe_banner(&now, ret_detail);
	if (!is_alive(service))
		return CODE_LISTENER_GONE;
	if (!renewed)
		(void)snprintf(ret_detail, SSHD_DETAIL_MAX + 1, "unverified: sshd lives but opened no new sockets");
	return CODE_OK;
}

/* Whoever started it has to restart it: nothing says how, nor whether it would come back. */
static void describe_other(const struct service *service, char ret_detail[SSHD_DETAIL_MAX + 1])
{
	pid_t other;

	if (sshd_process_find_other(&service->process, SSHD_MAIN, &other) == 0)
		(void)snprintf(ret_detail, SSHD_DETAIL_MAX + 1,
			"unverified: another sshd (process %d) has to be restarted to read it", (int)other);
}

enum code service_reload(struct service *service, const struct sshd_effective *effective, bool restart,
	char ret_detail[SSHD_DETAIL_MAX + 1])
{
	*ret_detail = '\0';
	if (service->ambiguous) {
		(void)snprintf(ret_detail, SSHD_DETAIL_MAX + 1,
			"several sshd run, and no pid file says which is to read its configuration");
		return CODE_RELOAD_FAILED;
	}
	if (!service->running) {
		(void)snprintf(ret_detail, SSHD_DETAIL_MAX + 1,
			"sshd is not running; it reads its configuration when it starts");
		return CODE_OK;
	}
	int r = signal_it(service, effective, restart);
	if (r == -EBUSY)
		return CODE_SERVICE_BUSY;
	if (r == -ETIMEDOUT)
		return CODE_TIMEOUT;
	if (r < 0 && !is_alive(service))
		return CODE_LISTENER_GONE;
	if (r < 0) {
		(void)snprintf(ret_detail, SSHD_DETAIL_MAX + 1, "%s: %s",
			service->by_systemd ? service->unit.name : "sshd", strerror(-r));
		return CODE_RELOAD_FAILED;
	}
	enum code code = check_health(service, effective, ret_detail);
	if (code == CODE_OK && !*ret_detail && service->process.pid > 0)
		describe_other(service, ret_detail);
	return code;
}

bool service_bring_back(const struct service *service)
{
	return service->by_systemd && systemd_start(&service->unit) == 0;
}
