/* SPDX-License-Identifier: Apache-2.0 */
/* latchctl seal: what made this machine one instance goes, so that an image of it comes up as many. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "agent/ctl/ctl.h"
#include "agent/ctl/input.h"
#include "agent/ctl/output.h"
#include "agent/ctl/plugin_ask.h"
#include "lib/agent_config.h"
#include "lib/file.h"
#include "lib/paths.h"
#include "lib/sys.h"

#define ENTRIES_MAX (1u << 20) /* of one directory of ours */
#define DEPTH_MAX 8u
#define LEDGER_MAX (16u << 20)
#define PROCESSES_MAX (4u << 20) /* pid_max's own limit */

/* The identity goes first: what a crash leaves behind can then be nobody's. */
static const struct place {
	const char *directory, *name, *what;
	bool overwrite;
} places[] = {
	{"/" PATH_STATE, "identity", "the identity: its signing key, its box keys", true},
	{"/" PATH_CONFIGURATION, "enrol", "the enrol secret", true},
	{"/" PATH_STATE, "journal", "commands that are under way", false},
	{"/" PATH_STATE, "results", "results that were not delivered", false},
	{"/" PATH_STATE, "history", "what was done, by whom", false},
	{"/" PATH_STATE, "inbox", "documents that were not taken yet", false},
	{"/" PATH_STATE, "revert", "steps that wait for their confirmation", false},
	{"/" PATH_STATE, "trust", "the trust document, its version, the last good configuration", false},
	{"/" PATH_STATE, "plugin", "the ledgers", false},
	{"/" PATH_STATE, "quarantine", "what was set aside", true},
	{PATH_RUN, "view", "the view", false},
	{PATH_RUN, "status.json", "the status", false},
	{PATH_RUN, "journal", "commands that are under way, without a disk", false},
	{PATH_RUN, "later", "when commands under way are due", false},
	{PATH_RUN, "revert", "markers of the steps that wait", false},
	{PATH_RUN, "results", "results that were not delivered, without a disk", false},
	{PATH_RUN, "history", "what was done, without a disk", false},
	{PATH_RUN, "report", "the report that was not delivered", false},
	{PATH_RUN, "authorized_keys", "keys that would not have outlived a reboot", false},
};

static const char *const stays[] = {
	"accounts, groups and rights of sudo that were made, and passwords that were set",
	"settings of sshd (/etc/ssh/sshd_config.d/00-latchkey.conf) and revoked keys",
	"/etc/latchkey: latchkey.conf, policy.conf, allowed_signers",
	"every key that a person added by hand",
	"sshd's host keys and /etc/machine-id, which are the image builder's to remove",
};

static int trouble(const char *what, int r)
{
	(void)fprintf(stderr, "latchctl: %s: %s\n", what, strerror(-r));
	return EXIT_TROUBLE;
}

/* By the program itself: a pid file may be stale, and a socket answers nobody but latchkey-net. */
static int is_running(bool *ret_running)
{
	static const char *const programs[] = {"/latchkeyd", "/latchkey-net", "/latchkey-apply"};
	cleanup_names char **names = NULL;
	cleanup_close int proc = -1;
	size_t count;

	*ret_running = false;
	int r = file_open_directory(AT_FDCWD, "/proc", &proc);
	if (r == 0)
		r = file_list(proc, ".", PROCESSES_MAX, &names, &count);
	for (size_t i = 0; r == 0 && i < count; i++) {
		char link[64], path[512];
		if (strspn(names[i], "0123456789") != strlen(names[i]) || strlen(names[i]) > 20)
			continue;
		(void)snprintf(link, sizeof(link), "%s/exe", names[i]);
		ssize_t n = readlinkat(proc, link, path, sizeof(path) - 1);
		if (n < 0)
			continue; /* gone, or the kernel's */
		path[n] = '\0';
		path[strcspn(path, " ")] = '\0'; /* " (deleted)" */
		const char *name = strrchr(path, '/');
		for (unsigned j = 0; name && j < ELEMENTS(programs); j++)
			*ret_running = *ret_running || strcmp(name, programs[j]) == 0;
	}
	return r;
}

static int overwrite(int directory, const char *name, off_t size)
{
	cleanup_close int descriptor = sys.openat(directory, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0);
	static const char zeros[4096];

	if (descriptor < 0)
		return -errno;
	for (off_t at = 0; at < size; at += (off_t)sizeof(zeros)) {
		size_t part = size - at < (off_t)sizeof(zeros) ? (size_t)(size - at) : sizeof(zeros);
		int r = file_write_all(descriptor, zeros, part);
		if (r < 0)
			return r;
	}
	return sys.fsync(descriptor) < 0 ? -errno : 0;
}

/* 0 also when it is not there. Links are removed, never followed. */
static int remove_tree(int directory, const char *name, bool zero, unsigned depth)
{
	struct stat status;

	if (sys.fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (depth == DEPTH_MAX)
		return -ELOOP;
	if (S_ISDIR(status.st_mode)) {
		cleanup_names char **names = NULL;
		cleanup_close int inside = -1;
		size_t count;
		int r = file_open_directory(directory, name, &inside);
		if (r == 0)
			r = file_list(inside, ".", ENTRIES_MAX, &names, &count);
		for (size_t i = 0; r == 0 && i < count; i++)
			r = remove_tree(inside, names[i], zero, depth + 1);
		if (r < 0)
			return r;
		return sys.unlinkat(directory, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
	}
	if (zero && S_ISREG(status.st_mode)) {
		int r = overwrite(directory, name, status.st_size);
		if (r < 0)
			return r;
	}
	return sys.unlinkat(directory, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static bool stands(const struct place *place)
{
	cleanup_close int directory = -1;
	struct stat status;

	return file_open_directory(AT_FDCWD, place->directory, &directory) == 0 &&
	       sys.fstatat(directory, place->name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

static int remove_place(const struct place *place)
{
	cleanup_close int directory = -1;

	int r = file_open_directory(AT_FDCWD, place->directory, &directory);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = remove_tree(directory, place->name, place->overwrite, 0);
	if (r == 0 && sys.fsync(directory) < 0 && errno != EINVAL)
		r = -errno;
	return r;
}

/* Whatever else is in the state: a later agent may keep more there than this table knows. The lock stays, it is held.
 */
static int remove_the_rest(void)
{
	cleanup_names char **names = NULL;
	cleanup_close int directory = -1;
	size_t count;

	int r = file_open_directory(AT_FDCWD, "/" PATH_STATE, &directory);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = file_list(directory, ".", ENTRIES_MAX, &names, &count);
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (strcmp(names[i], "lock") != 0)
			r = remove_tree(directory, names[i], false, 0);
	}
	if (r == 0 && sys.fsync(directory) < 0)
		r = -errno;
	return r;
}

/* The authorized-keys plugin takes its own line out, as keys.unbind does; nobody is asked who could then log in. */
static int unbind(const char *user, const char *keypair)
{
	cleanup_buffer struct buffer command = {0}, whole = {0};
	cleanup_json cJSON *planned = NULL, *applied = NULL;
	const cJSON *result, *plan = NULL;
	const char *code = "", *detail = "";
	bool changes = false;
	struct json_writer writer = {&command, false}, second = {&whole, false};

	json_put_string(&writer, "id", "seal");
	json_put_string(&writer, "do", "keys.unbind");
	json_put_string(&writer, "user", user);
	json_put_string(&writer, "keypair", keypair);
	json_put_bool(&writer, "end_sessions", false);
	json_put_bool(&writer, "accept_lockout", true);
	if (buffer_status(&command) < 0)
		return EXIT_TROUBLE;
	buffer_append_format(&whole, "{%s}", command.bytes);
	if (buffer_status(&whole) < 0)
		return EXIT_TROUBLE;
	int exit_code = plugin_ask("authorized-keys", false, whole.bytes, &planned, &result);
	if (exit_code != EXIT_OK)
		return exit_code;
	(void)!json_get_string(result, "code", &code);
	(void)!json_get_string(result, "detail", &detail);
	if (strcmp(code, "ok") == 0 && json_get_bool(result, "changes", &changes) == 0 && changes &&
		json_get_object(result, "plan", &plan) == 0) {
		whole.size = 0;
		buffer_append_format(&whole, "{%s", command.bytes);
		second.comma = true;
		json_put_value(&second, "plan", plan);
		buffer_append_text(&whole, "}");
		if (buffer_status(&whole) < 0)
			return EXIT_TROUBLE;
		exit_code = plugin_ask("authorized-keys", true, whole.bytes, &applied, &result);
		if (exit_code != EXIT_OK)
			return exit_code;
		(void)!json_get_string(result, "code", &code);
		(void)!json_get_string(result, "detail", &detail);
	}
	if (strcmp(code, "ok") != 0 && strcmp(code, "no_such_user") != 0) {
		char cell[OUTPUT_CELL_MAX];
		(void)fprintf(stderr, "latchctl: the key %s of %s is still bound: ", keypair, user);
		(void)fprintf(stderr, "%s\n", output_escape(*detail ? detail : code, cell));
		return EXIT_UNHEALTHY;
	}
	return EXIT_OK;
}

/* Calls for each key of the ledger; a line that is torn is no key. */
static int each_key(int (*visit)(const char *user, const char *keypair))
{
	cleanup_close int directory = -1;
	cleanup_free char *text = NULL;
	size_t size;

	int r = file_open_directory(AT_FDCWD, "/" PATH_STATE "/plugin/authorized-keys", &directory);
	if (r == 0)
		r = file_read(directory, "ledger", LEDGER_MAX, &text, &size);
	if (r == -ENOENT)
		return EXIT_OK;
	if (r < 0)
		return trouble("the ledger of keys", r);
	int code = EXIT_OK;
	for (const char *line = text; code == EXIT_OK && *line;) {
		cleanup_json cJSON *key = NULL;
		const char *user, *keypair;
		size_t length = strcspn(line, "\n");
		if (json_parse_object(line, length, &key) == 0 && json_get_string(key, "user", &user) == 0 &&
			json_get_string(key, "keypair", &keypair) == 0)
			code = visit(user, keypair);
		line += length + (line[length] == '\n');
	}
	return code;
}

/* What stays and would make every machine of the image one. */
static void warn_of_name(void)
{
	char error[CONFIG_ERROR_MAX], cell[OUTPUT_CELL_MAX];
	cleanup_close int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_config struct config config = {0};
	const char *name = NULL;

	if (root >= 0 && agent_config_load(root, &config, error) == 0)
		name = config_text(&config, "agent", "instance");
	if (name && strcmp(name, "auto") != 0)
		(void)fprintf(stderr,
			"latchctl: [agent] instance (%s) names every machine of this image %s: take it out\n",
			config_source(&config, "agent", "instance"), output_escape(name, cell));
}

static int print_key(const char *user, const char *keypair)
{
	char cell[OUTPUT_CELL_MAX], other[OUTPUT_CELL_MAX];
	(void)printf("  the key %s of %s\n", output_escape(keypair, cell), output_escape(user, other));
	return EXIT_OK;
}

static int list_text(void)
{
	(void)printf("Goes:\n");
	int code = each_key(print_key);
	for (unsigned i = 0; i < ELEMENTS(places); i++) {
		if (stands(&places[i]))
			(void)printf("  %s/%s: %s\n", places[i].directory, places[i].name, places[i].what);
	}
	(void)printf("  anything else in /%s\nStays:\n", PATH_STATE);
	for (unsigned i = 0; i < ELEMENTS(stays); i++)
		(void)printf("  %s\n", stays[i]);
	return code;
}

static int list_json(bool sealed)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};

	json_begin_object(&writer, NULL);
	json_put_bool(&writer, "sealed", sealed);
	json_begin_array(&writer, "goes");
	for (unsigned i = 0; i < ELEMENTS(places); i++) {
		char path[256];
		(void)snprintf(path, sizeof(path), "%s/%s", places[i].directory, places[i].name);
		if (stands(&places[i]))
			json_put_string(&writer, NULL, path);
	}
	json_end_array(&writer);
	json_begin_array(&writer, "stays");
	for (unsigned i = 0; i < ELEMENTS(stays); i++)
		json_put_string(&writer, NULL, stays[i]);
	json_end_array(&writer);
	json_end_object(&writer);
	if (buffer_status(&text) < 0)
		return EXIT_TROUBLE;
	(void)printf("%s\n", text.bytes);
	return EXIT_OK;
}

/* So that no latchkey-apply of a rescue or a killed latchkeyd is at work. */
static int lock_state(int *ret_lock)
{
	cleanup_close int directory = -1;

	int r = file_open_directory(AT_FDCWD, "/" PATH_STATE, &directory);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	cleanup_close int lock = sys.openat(directory, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	*ret_lock = steal_descriptor(&lock);
	return 0;
}

int seal_run(struct client *client, const struct options *options)
{
	cleanup_close int lock = -1;
	bool running;
	(void)client;

	if (geteuid() != 0) {
		(void)fprintf(stderr, "latchctl: seal is root's\n");
		return EXIT_DENIED;
	}
	warn_of_name();
	if (options->list)
		return options->json ? list_json(false) : list_text();
	int r = is_running(&running);
	if (r < 0)
		return trouble("/proc", r);
	if (running || (r = lock_state(&lock)) < 0) {
		(void)fprintf(stderr, "latchctl: the agent runs%s: systemctl stop latchkeyd latchkey-net\n",
			running ? ", or latchkey-apply is at work" : " (its lock is held)");
		return EXIT_UNHEALTHY;
	}
	int code = options->yes || options->json ? EXIT_OK : list_text();
	if (code != EXIT_OK)
		return code;
	if (!options->yes && !input_confirm("Seal this machine?"))
		return EXIT_USAGE;
	code = each_key(unbind);
	if (code != EXIT_OK)
		return code;
	for (unsigned i = 0; i < ELEMENTS(places); i++) {
		r = remove_place(&places[i]);
		if (r < 0)
			return trouble(places[i].what, r);
	}
	r = remove_the_rest();
	if (r < 0)
		return trouble("/" PATH_STATE, r);
	if (options->json)
		return list_json(true);
	(void)printf("Sealed: the next start of the agent is that of a new instance.\n");
	return EXIT_OK;
}
