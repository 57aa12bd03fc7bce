/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sshd_process.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "lib/file.h"

#define PROCESS_FILE_MAX 65536u
#define PROCESSES_MAX 65536u
#define HANDLER_WAIT_MS 5000 /* an sshd reads its files and keys in some 10 ms; a loaded machine gets more */
#define HANDLER_STEP_MS 5
#define LISTENERS_MAX 256u /* more than the connections that sshd takes at once (MaxStartups) */

static int read_process_file(pid_t pid, const char *name, char **ret_text, size_t *ret_size)
{
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	cleanup_close int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0)
		return -errno;
	return file_read_descriptor(descriptor, PROCESS_FILE_MAX, ret_text, ret_size);
}

/* Letters of sshd's options that take an argument, in any version. */
static bool takes_argument(char letter)
{
	return strchr("bCcEfghkopu", letter) != NULL;
}

/* One that serves a single connection (-i, and -R of a listener's child) or only answers (-t -T -G -V) listens nowhere.
 */
static bool is_told_to_listen(const char *text, size_t size)
{
	bool is_argument = false;

	for (const char *at = text + strlen(text) + 1; at < text + size; at += strlen(at) + 1) {
		if (is_argument || *at != '-') {
			is_argument = false;
			continue;
		}
		for (const char *letter = at + 1; *letter && !is_argument; letter++) {
			if (strchr("iRtTGV", *letter))
				return false;
			if (!takes_argument(*letter))
				continue;
			is_argument = letter[1] == '\0';
			break;
		}
	}
	return true;
}

bool sshd_process_is_command_line(const char *text, size_t size)
{
	static const char *const programs[] = {"/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"};

	if (strncmp(text, "sshd: ", 6) == 0)
		return strstr(text, "[listener]") != NULL;
	/* Before 8.2 the listener has no title: its command line is what started it. This plugin is called sshd too. */
	for (unsigned i = 0; i < ELEMENTS(programs); i++) {
		if (strcmp(text, programs[i]) == 0)
			return is_told_to_listen(text, size);
	}
	return false;
}

static bool is_root(const char *status)
{
	const char *line = strstr(status, "\nUid:\t");
	return line && strncmp(line, "\nUid:\t0\t0\t0\t0\n", strlen("\nUid:\t0\t0\t0\t0\n")) == 0;
}

/* A container's sshd has a second number of its own here. A kernel without the line (before 4.1) has to be believed. */
static bool is_in_our_namespace(const char *status)
{
	const char *line = strstr(status, "\nNSpid:\t");

	return !line || line[strlen("\nNSpid:\t") + strspn(line + strlen("\nNSpid:\t"), "0123456789")] == '\n';
}

static pid_t parse_pid(const char *text)
{
	long pid = 0;

	if (!isdigit((unsigned char)*text))
		return -1;
	for (; isdigit((unsigned char)*text); text++) {
		pid = pid * 10 + (*text - '0');
		if (pid > 1 << 30)
			return -1;
	}
	return *text == '\0' || *text == '\n' ? (pid_t)pid : -1;
}

static pid_t find_parent(const char *status)
{
	const char *line = strstr(status, "\nPPid:\t");
	return line ? parse_pid(line + strlen("\nPPid:\t")) : -1;
}

static bool is_sshd(pid_t pid, pid_t *ret_parent)
{
	cleanup_free char *name = NULL, *status = NULL, *command = NULL;
	size_t size;

	/* The owner of /proc/PID is no proof, the uids in status are; exe cannot be read without more capabilities. */
	if (read_process_file(pid, "comm", &name, &size) < 0 || strcmp(name, "sshd\n") != 0 ||
		read_process_file(pid, "status", &status, &size) < 0 || !is_root(status) ||
		!is_in_our_namespace(status) || read_process_file(pid, "cmdline", &command, &size) < 0 ||
		!sshd_process_is_command_line(command, size))
		return false;
	*ret_parent = find_parent(status);
	return true;
}

static int open_process(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

int sshd_process_open(pid_t pid, struct sshd_process *ret_process)
{
	pid_t parent;

	if (pid <= 1)
		return -ESRCH;
	cleanup_close int descriptor = open_process(pid);
	if (descriptor < 0 && errno == ESRCH)
		return -ESRCH;
	if (!is_sshd(pid, &parent)) /* looked at after it is held, so it cannot be another by now */
		return -ESRCH;
	*ret_process = (struct sshd_process){pid, steal_descriptor(&descriptor)};
	return 0;
}

void sshd_process_close(struct sshd_process *process)
{
	if (process->descriptor > 0)
		(void)close(process->descriptor);
	*process = (struct sshd_process){0, -1};
}

static int find_by_file(const char *path, struct sshd_process *ret_process)
{
	cleanup_free char *text = NULL;
	size_t size;
	cleanup_close int descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (descriptor < 0)
		return -ESRCH;
	int r = file_read_descriptor(descriptor, 64, &text, &size);
	return r < 0 ? -ESRCH : sshd_process_open(parse_pid(text), ret_process);
}

/* Those that say they listen. Whom one has just forked for a connection says so too for a moment, but is its child. */
static int list_listeners(pid_t listeners[LISTENERS_MAX], size_t *ret_count)
{
	struct {
		pid_t pid, parent;
	} found[LISTENERS_MAX];
	cleanup_names char **names = NULL;
	size_t count, found_count = 0, kept = 0;

	int r = file_list(-1, "/proc", PROCESSES_MAX, &names, &count);
	if (r < 0)
		return -ESRCH;
	for (size_t i = 0; i < count; i++) {
		pid_t pid = parse_pid(names[i]), parent;
		if (pid <= 1 || !is_sshd(pid, &parent))
			continue;
		if (found_count == LISTENERS_MAX)
			return -ESRCH;
		found[found_count].pid = pid;
		found[found_count++].parent = parent;
	}
	for (size_t i = 0; i < found_count; i++) {
		bool is_child = false;
		for (size_t j = 0; j < found_count; j++)
			is_child = is_child || found[j].pid == found[i].parent;
		if (!is_child)
			listeners[kept++] = found[i].pid;
	}
	*ret_count = kept;
	return 0;
}

/* No pid file: the only one. Two of them (a second sshd on another port) cannot be told apart. */
static int find_by_name(struct sshd_process *ret_process)
{
	pid_t listeners[LISTENERS_MAX];
	size_t count;

	int r = list_listeners(listeners, &count);
	if (r < 0 || count == 0)
		return -ESRCH;
	return count > 1 ? -ENOTUNIQ : sshd_process_open(listeners[0], ret_process);
}

int sshd_process_find(const char *pid_file, struct sshd_process *ret_process)
{
	if (pid_file && *pid_file == '/' && find_by_file(pid_file, ret_process) == 0)
		return 0;
	return find_by_name(ret_process);
}

/* SIGHUP ends a program that has not said what to do then, as an sshd that is only starting has not. */
static bool catches_hang_up(pid_t pid)
{
	cleanup_free char *status = NULL;
	size_t size;
	const char *line = read_process_file(pid, "status", &status, &size) == 0 ? strstr(status, "\nSigCgt:\t") : NULL;

	if (!line)
		return false;
	line += strlen("\nSigCgt:\t");
	size_t digits = strspn(line, "0123456789abcdef");
	return digits > 0 && strchr("13579bdf", line[digits - 1]); /* the lowest bit is signal 1 */
}

int sshd_process_await_handler(const struct sshd_process *process)
{
	const struct timespec step = {0, HANDLER_STEP_MS * 1000000L};

	for (int waited = 0; !catches_hang_up(process->pid); waited += HANDLER_STEP_MS) {
		if (!sshd_process_is_alive(process))
			return -ESRCH;
		if (waited >= HANDLER_WAIT_MS)
			return -EBUSY;
		(void)nanosleep(&step, NULL);
	}
	return 0;
}

int sshd_process_hang_up(const struct sshd_process *process)
{
	long r = process->descriptor >= 0 ? syscall(SYS_pidfd_send_signal, process->descriptor, SIGHUP, NULL, 0)
					  : kill(process->pid, SIGHUP);
	return r < 0 ? -errno : 0;
}

bool sshd_process_is_alive(const struct sshd_process *process)
{
	struct pollfd polled = {process->descriptor, POLLIN, 0};
	pid_t parent;

	if (process->descriptor < 0)
		return kill(process->pid, 0) == 0 && is_sshd(process->pid, &parent);
	return poll(&polled, 1, 0) == 0;
}

static int keep(char ***options, size_t *count, char letter, const char *argument)
{
	char **more = reallocarray(*options, *count + 2, sizeof(*more));
	if (!more)
		return -ENOMEM;
	*options = more;
	more[*count] = more[*count + 1] = NULL;
	if (asprintf(&more[*count], "-%c%s", letter, argument) < 0) {
		more[*count] = NULL;
		return -ENOMEM;
	}
	(*count)++;
	return 0;
}

int sshd_process_parse_options(char *const *words, char ***ret_options)
{
	cleanup_names char **options = calloc(1, sizeof(*options));
	size_t count = 0;
	int r = options ? 0 : -ENOMEM;

	for (; r == 0 && *words && **words == '-' && (*words)[1]; words++) {
		for (const char *at = *words + 1; r == 0 && *at; at++) {
			cleanup_free char *joined = NULL;
			bool wanted = strchr("46fop", *at) != NULL;
			if (wanted && count == SSHD_PROCESS_OPTIONS_MAX)
				return -E2BIG;
			if (!takes_argument(*at)) {
				r = wanted ? keep(&options, &count, *at, "") : 0;
				continue;
			}
			char letter = *at;
			const char *argument = at[1] ? at + 1 : words[1] ? *++words : "";
			/* A title has lost the border of -o "Keyword value". */
			if (letter == 'o' && !strchr(argument, '=') && !strchr(argument, ' ') && words[1] &&
				*words[1] != '-') {
				if (asprintf(&joined, "%s %s", argument, *++words) < 0)
					return -ENOMEM;
				argument = joined;
			}
			r = wanted ? keep(&options, &count, letter, argument) : 0;
			break;
		}
	}
	if (r < 0)
		return r;
	*ret_options = steal_pointer(&options);
	return 0;
}

/* The title is "sshd: PROGRAM ARGUMENTS [listener] …" with blanks between; an older sshd has its argv as it was. */
int sshd_process_options(const struct sshd_process *process, char ***ret_options)
{
	static const char prefix[] = "sshd: ";
	cleanup_free char *text = NULL;
	cleanup_free char **words = NULL;
	size_t size, count = 0;

	int r = read_process_file(process->pid, "cmdline", &text, &size);
	if (r < 0)
		return r;
	words = calloc(size + 2, sizeof(*words));
	if (!words)
		return -ENOMEM;
	bool titled = strncmp(text, prefix, sizeof(prefix) - 1) == 0;
	char *end = text + size, *at = text;
	if (titled) {
		char *listener = strstr(text, " [listener]");
		end = listener ? listener : text + strlen(text);
		*end = '\0';
		at += sizeof(prefix) - 1;
	}
	while (at < end) {
		size_t length = titled ? strcspn(at, " ") : strlen(at);
		at[length] = '\0';
		if (length > 0 || !titled)
			words[count++] = at;
		at += length + 1;
	}
	return sshd_process_parse_options(count > 0 ? words + 1 : words, ret_options);
}

bool sshd_process_reads(char *const *options, const char *main_path)
{
	for (; options && *options; options++) {
		if (strncmp(*options, "-f", 2) == 0 && strcmp(*options + 2, main_path) != 0)
			return false;
	}
	return true;
}

int sshd_process_find_other(const struct sshd_process *process, const char *main_path, pid_t *ret_pid)
{
	pid_t listeners[LISTENERS_MAX];
	size_t count;

	int r = list_listeners(listeners, &count);
	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct sshd_process other = {listeners[i], -1};
		cleanup_names char **options = NULL;
		if (other.pid == process->pid || sshd_process_options(&other, &options) < 0 ||
			!sshd_process_reads(options, main_path))
			continue;
		*ret_pid = other.pid;
		return 0;
	}
	return -ESRCH;
}
