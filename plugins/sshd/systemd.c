/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/sshd/systemd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include <time.h>

#define MANAGER "org.freedesktop.systemd1"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define UNIT_PREFIX MANAGER_PATH "/unit"
#define CALL_TIMEOUT_US (5u * 1000 * 1000)
#define JOB_TIMEOUT_MS 10000 /* a reload is a few ms; a restart may wait for its stop */
#define JOB_STEP_MS 5

static void free_bus(sd_bus **bus)
{
	(void)sd_bus_flush_close_unref(*bus);
}

static void free_message(sd_bus_message **message)
{
	(void)sd_bus_message_unref(*message);
}

bool systemd_is_manager(void)
{
	struct stat status;
	return lstat("/run/systemd/system", &status) == 0 && S_ISDIR(status.st_mode);
}

/* The manager's own socket first, as systemctl does for root: it is there before the bus is. */
static int connect_manager(sd_bus **ret_bus)
{
	CLEANUP(free_bus) sd_bus *bus = NULL;

	int r = sd_bus_new(&bus);
	if (r >= 0)
		r = sd_bus_set_address(bus, "unix:path=/run/systemd/private");
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r < 0) {
		free_bus(&bus);
		bus = NULL;
		r = sd_bus_open_system(&bus);
	}
	if (r >= 0)
		r = sd_bus_set_method_call_timeout(bus, CALL_TIMEOUT_US);
	if (r < 0)
		return -EHOSTDOWN;
	*ret_bus = bus;
	bus = NULL;
	return 0;
}

static int get_text(sd_bus *bus, const char *path, const char *interface, const char *property, char **ret_text)
{
	return sd_bus_get_property_string(bus, MANAGER, path, interface, property, NULL, ret_text);
}

static void free_list(char ***list)
{
	for (char **at = *list; at && *at; at++)
		free(*at);
	free(*list);
}

/* True when the unit is started by a socket unit (Accept=no) that is active. */
static bool has_socket(sd_bus *bus, const char *path)
{
	CLEANUP(free_list) char **units = NULL;
	bool found = false;

	if (sd_bus_get_property_strv(bus, MANAGER, path, MANAGER ".Unit", "TriggeredBy", NULL, &units) < 0)
		return false;
	for (char **at = units; at && *at && !found; at++) {
		cleanup_free char *unit = NULL, *state = NULL;
		const char *ending = strrchr(*at, '.');
		if (!ending || strcmp(ending, ".socket") != 0 || sd_bus_path_encode(UNIT_PREFIX, *at, &unit) < 0)
			continue;
		found = get_text(bus, unit, MANAGER ".Unit", "ActiveState", &state) >= 0 &&
			strcmp(state, "active") == 0;
	}
	return found;
}

static int look_at(sd_bus *bus, const char *name, struct systemd_unit *ret_unit)
{
	cleanup_free char *path = NULL, *state = NULL;
	uint32_t pid = 0;

	int r = sd_bus_path_encode(UNIT_PREFIX, name, &path);
	if (r < 0)
		return r;
	r = get_text(bus, path, MANAGER ".Unit", "ActiveState", &state);
	if (r < 0)
		return r == -ETIMEDOUT || r == -ENOTCONN || r == -ECONNRESET ? -EHOSTDOWN : -ESRCH;
	if (strcmp(state, "active") != 0 && strcmp(state, "reloading") != 0)
		return -ESRCH;
	r = sd_bus_get_property_trivial(bus, MANAGER, path, MANAGER ".Service", "MainPID", NULL, 'u', &pid);
	if (r < 0)
		pid = 0;
	(void)snprintf(ret_unit->name, sizeof(ret_unit->name), "%s", name);
	ret_unit->main_pid = (pid_t)pid;
	ret_unit->by_socket = has_socket(bus, path);
	return 0;
}

int systemd_find(struct systemd_unit *ret_unit)
{
	static const char *const names[] = {"ssh.service", "sshd.service"};
	CLEANUP(free_bus) sd_bus *bus = NULL;

	int r = connect_manager(&bus);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < ELEMENTS(names); i++) {
		r = look_at(bus, names[i], ret_unit);
		if (r != -ESRCH)
			return r;
	}
	return -ESRCH;
}

static int wait_for_job(sd_bus *bus, const char *job)
{
	const struct timespec step = {0, JOB_STEP_MS * 1000000L};

	for (int waited = 0; waited < JOB_TIMEOUT_MS; waited += JOB_STEP_MS) {
		cleanup_free char *state = NULL;
		/* The job's object is gone once it has ended. */
		int r = get_text(bus, job, MANAGER ".Job", "State", &state);
		if (r == -ETIMEDOUT || r == -ENOTCONN || r == -ECONNRESET)
			return -EHOSTDOWN;
		if (r < 0)
			return 0;
		(void)nanosleep(&step, NULL);
	}
	return -ETIMEDOUT;
}

static int check_result(sd_bus *bus, const struct systemd_unit *unit, bool restart)
{
	cleanup_free char *path = NULL, *state = NULL, *result = NULL;

	int r = sd_bus_path_encode(UNIT_PREFIX, unit->name, &path);
	if (r < 0)
		return r;
	r = get_text(bus, path, MANAGER ".Unit", "ActiveState", &state);
	if (r < 0)
		return -EHOSTDOWN;
	if (strcmp(state, "active") != 0 && strcmp(state, "reloading") != 0)
		return -EIO;
	/* ReloadResult is younger than some systems that we serve; without it the listener decides. */
	r = get_text(bus, path, MANAGER ".Service", restart ? "Result" : "ReloadResult", &result);
	return r < 0 || strcmp(result, "success") == 0 ? 0 : -EIO;
}

/* While latchkeyd starts, sshd's jobs are ordered behind it, and latchkeyd is not ready before we are done: a job that
 * waited for that order would wait for us. */
static bool is_starting(sd_bus *bus)
{
	cleanup_free char *path = NULL, *state = NULL;

	return sd_bus_path_encode(UNIT_PREFIX, "latchkeyd.service", &path) >= 0 &&
	       get_text(bus, path, MANAGER ".Unit", "ActiveState", &state) >= 0 && strcmp(state, "activating") == 0;
}

static bool has_job(sd_bus *bus, const char *name)
{
	CLEANUP(free_message) sd_bus_message *reply = NULL;
	cleanup_free char *path = NULL;
	uint32_t job = 0;

	if (sd_bus_path_encode(UNIT_PREFIX, name, &path) < 0 ||
		sd_bus_get_property(bus, MANAGER, path, MANAGER ".Unit", "Job", NULL, &reply, "(uo)") < 0 ||
		sd_bus_message_enter_container(reply, 'r', "uo") < 0 || sd_bus_message_read_basic(reply, 'u', &job) < 0)
		return false;
	return job != 0;
}

static int run_job(sd_bus *bus, const char *method, const struct systemd_unit *unit)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	CLEANUP(free_message) sd_bus_message *reply = NULL;
	bool unordered = is_starting(bus);
	const char *job;

	/* A pending job of the unit, such as the stop of a shutdown, is never pushed aside: "fail" sees to that, the
	 * other does not. */
	if (unordered && has_job(bus, unit->name))
		return -EBUSY;
	int r = sd_bus_call_method(bus, MANAGER, MANAGER_PATH, MANAGER ".Manager", method, &error, &reply, "ss",
		unit->name, unordered ? "ignore-dependencies" : "fail");
	if (r < 0) {
		bool inapplicable = sd_bus_error_has_name(&error, MANAGER ".JobTypeNotApplicable") > 0;
		bool conflicting = sd_bus_error_has_name(&error, MANAGER ".TransactionIsDestructive") > 0 ||
				   sd_bus_error_has_name(&error, MANAGER ".TransactionJobsConflicting") > 0;
		sd_bus_error_free(&error);
		return inapplicable ? -EOPNOTSUPP : conflicting ? -EBUSY : r == -ETIMEDOUT ? -ETIMEDOUT : -EIO;
	}
	r = sd_bus_message_read(reply, "o", &job);
	if (r < 0)
		return -EIO;
	return wait_for_job(bus, job);
}

int systemd_reload(const struct systemd_unit *unit, bool restart)
{
	CLEANUP(free_bus) sd_bus *bus = NULL;
	struct systemd_unit now;

	int r = connect_manager(&bus);
	if (r == 0)
		r = look_at(bus, unit->name, &now);
	if (r == 0)
		r = run_job(bus, restart ? "RestartUnit" : "ReloadUnit", unit);
	return r < 0 ? r : check_result(bus, unit, restart);
}

int systemd_start(const struct systemd_unit *unit)
{
	CLEANUP(free_bus) sd_bus *bus = NULL;

	int r = connect_manager(&bus);
	return r < 0 ? r : run_job(bus, "StartUnit", unit);
}
