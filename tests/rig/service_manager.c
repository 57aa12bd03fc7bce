/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the rig, where no systemd can run: the few calls of org.freedesktop.systemd1 that the sshd plugin makes, on
 * /run/systemd/private, for one unit whose process is a real sshd. Speaks the same D-Bus through the same library.
 *
 * service_manager UNIT: the unit is active while /run/manager/pid names a process. /run/manager/log gets one line per
 * job; a file /run/manager/refuse holds the name of the D-Bus error to answer the next jobs with.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define CONNECTIONS_MAX 16u
#define DIRECTORY "/run/manager/"
#define MANAGER "org.freedesktop.systemd1"

struct manager {
	const char *unit;
	unsigned job_looks; /* how often the last job's object will still be found */
};

static long read_number(const char *path)
{
	char text[32] = "";
	cleanup_close int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	long number = 0;

	if (descriptor < 0 || read(descriptor, text, sizeof(text) - 1) <= 0)
		return 0;
	for (const char *at = text; *at >= '0' && *at <= '9'; at++)
		number = number * 10 + (*at - '0');
	return number;
}

static void write_text(const char *path, int flags, const char *text)
{
	cleanup_close int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
	if (descriptor >= 0)
		(void)!write(descriptor, text, strlen(text));
}

static pid_t running(void)
{
	pid_t pid = (pid_t)read_number(DIRECTORY "pid");

	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (pid <= 0)
		return 0;
	/* The test's own child stays a zombie until the test looks. */
	char path[64], text[256] = "";
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	cleanup_close int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0 || read(descriptor, text, sizeof(text) - 1) <= 0)
		return 0;
	return strstr(text, ") Z ") ? 0 : pid;
}

static void start(void)
{
	char text[32];
	pid_t pid = fork();

	if (pid == 0) {
		(void)execl("/usr/sbin/sshd", "/usr/sbin/sshd", "-D", (char *)NULL);
		_exit(127);
	}
	(void)snprintf(text, sizeof(text), "%d\n", (int)pid);
	write_text(DIRECTORY "pid", O_TRUNC, text);
}

static int on_job(sd_bus_message *message, void *context, sd_bus_error *error)
{
	struct manager *manager = context;
	const char *unit, *mode, *method = sd_bus_message_get_member(message);
	char line[128], refuse[128] = "";
	pid_t pid = running();

	int r = sd_bus_message_read(message, "ss", &unit, &mode);
	if (r < 0)
		return r;
	(void)snprintf(line, sizeof(line), "%s %s %s\n", method, unit, mode);
	write_text(DIRECTORY "log", O_APPEND, line);
	cleanup_close int descriptor = open(DIRECTORY "refuse", O_RDONLY | O_CLOEXEC);
	if (descriptor >= 0 && read(descriptor, refuse, sizeof(refuse) - 1) > 0)
		return sd_bus_error_setf(error, refuse, "refused by the test");
	if (strcmp(unit, manager->unit) != 0)
		return sd_bus_error_setf(error, MANAGER ".NoSuchUnit", "no such unit");
	if (strcmp(method, "ReloadUnit") == 0) {
		if (pid == 0)
			return sd_bus_error_setf(error, MANAGER ".JobTypeNotApplicable", "not active");
		(void)kill(pid, SIGHUP);
	} else {
		if (pid > 0 && strcmp(method, "RestartUnit") == 0) {
			(void)kill(pid, SIGTERM);
			while (running() > 0)
				(void)usleep(1000);
		}
		if (running() == 0)
			start();
	}
	manager->job_looks = 2;
	return sd_bus_reply_method_return(message, "o", "/org/freedesktop/systemd1/job/7");
}

static int on_property(sd_bus *bus, const char *path, const char *interface, const char *property,
	sd_bus_message *reply, void *context, sd_bus_error *error)
{
	struct manager *manager = context;
	char *name = NULL;

	(void)bus;
	(void)interface;
	(void)error;
	int r = sd_bus_path_decode(path, "/org/freedesktop/systemd1/unit", &name);
	bool is_ours = r > 0 && strcmp(name, manager->unit) == 0;
	free(name);
	pid_t pid = is_ours ? running() : 0;
	if (strcmp(property, "MainPID") == 0)
		return sd_bus_message_append(reply, "u", (uint32_t)pid);
	if (strcmp(property, "ActiveState") == 0)
		return sd_bus_message_append(reply, "s", pid > 0 ? "active" : "inactive");
	return sd_bus_message_append(reply, "s", strcmp(property, "State") == 0 ? "running" : "success");
}

/* Every unit has an object, as the manager loads units on demand; a job has one until it has ended. */
static int find_unit(
	sd_bus *bus, const char *path, const char *interface, void *context, void **ret_found, sd_bus_error *error)
{
	(void)bus;
	(void)path;
	(void)interface;
	(void)error;
	*ret_found = context;
	return 1;
}

static int find_job(
	sd_bus *bus, const char *path, const char *interface, void *context, void **ret_found, sd_bus_error *error)
{
	struct manager *manager = context;

	(void)bus;
	(void)path;
	(void)interface;
	(void)error;
	if (manager->job_looks == 0)
		return 0;
	manager->job_looks--;
	*ret_found = context;
	return 1;
}

static const sd_bus_vtable manager_table[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("ReloadUnit", "ss", "o", on_job, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("RestartUnit", "ss", "o", on_job, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("StartUnit", "ss", "o", on_job, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

static const sd_bus_vtable unit_table[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("ActiveState", "s", on_property, 0, 0),
	SD_BUS_VTABLE_END,
};

static const sd_bus_vtable service_table[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("MainPID", "u", on_property, 0, 0),
	SD_BUS_PROPERTY("Result", "s", on_property, 0, 0),
	SD_BUS_PROPERTY("ReloadResult", "s", on_property, 0, 0),
	SD_BUS_VTABLE_END,
};

static const sd_bus_vtable job_table[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("State", "s", on_property, 0, 0),
	SD_BUS_VTABLE_END,
};

static int serve(int descriptor, struct manager *manager, sd_bus **ret_bus)
{
	sd_bus *bus = NULL;
	sd_id128_t id;

	int r = sd_id128_randomize(&id);
	if (r >= 0)
		r = sd_bus_new(&bus);
	if (r >= 0)
		r = sd_bus_set_fd(bus, descriptor, descriptor);
	if (r >= 0)
		r = sd_bus_set_server(bus, 1, id);
	if (r >= 0)
		r = sd_bus_add_object_vtable(
			bus, NULL, "/org/freedesktop/systemd1", MANAGER ".Manager", manager_table, manager);
	if (r >= 0)
		r = sd_bus_add_fallback_vtable(
			bus, NULL, "/org/freedesktop/systemd1/unit", MANAGER ".Unit", unit_table, find_unit, manager);
	if (r >= 0)
		r = sd_bus_add_fallback_vtable(bus, NULL, "/org/freedesktop/systemd1/unit", MANAGER ".Service",
			service_table, find_unit, manager);
	if (r >= 0)
		r = sd_bus_add_fallback_vtable(
			bus, NULL, "/org/freedesktop/systemd1/job", MANAGER ".Job", job_table, find_job, manager);
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r < 0) {
		(void)sd_bus_unref(bus);
		return r;
	}
	*ret_bus = bus;
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/private"};
	struct manager manager = {argc > 1 ? argv[1] : "ssh.service", 0};
	sd_bus *buses[CONNECTIONS_MAX] = {0};

	(void)unlink(address.sun_path);
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listening < 0 || bind(listening, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(listening, 8) < 0)
		return 1;
	for (;;) {
		struct pollfd polled[CONNECTIONS_MAX + 1] = {{listening, POLLIN, 0}};
		nfds_t count = 1;
		for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
			if (buses[i])
				polled[count++] = (struct pollfd){sd_bus_get_fd(buses[i]), POLLIN, 0};
		}
		if (poll(polled, count, 100) < 0 && errno != EINTR)
			return 1;
		for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
			int r = 1;
			while (buses[i] && r > 0)
				r = sd_bus_process(buses[i], NULL);
			if (r < 0) {
				(void)sd_bus_flush_close_unref(buses[i]);
				buses[i] = NULL;
			}
		}
		if (!(polled[0].revents & POLLIN))
			continue;
		int descriptor = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		for (unsigned i = 0; descriptor >= 0 && i < CONNECTIONS_MAX; i++) {
			if (buses[i])
				continue;
			if (serve(descriptor, &manager, &buses[i]) < 0)
				(void)close(descriptor);
			descriptor = -1;
		}
	}
}
