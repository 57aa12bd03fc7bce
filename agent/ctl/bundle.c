/* SPDX-License-Identifier: Apache-2.0 */
/* latchctl bundle: what somebody who helps would ask for, as one text without keys, passwords or tokens. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "agent/ctl/ctl.h"
#include "agent/ctl/input.h"
#include "agent/ctl/output.h"
#include "agent/ctl/redact.h"
#include "lib/allowed_signers.h"
#include "lib/file.h"
#include "lib/paths.h"
#include "lib/process.h"
#include "lib/sys.h"

#define SECTIONS_MAX 64u
#define SECTION_MAX (256u << 10) /* of a longer one its end */
#define FILE_MAX (8u << 20)
#define ENTRIES_MAX 4096u
#define PROGRAM_TIMEOUT_MS 20000u

struct section {
	char *name; /* owned */
	size_t size;
};

struct bundle {
	struct section sections[SECTIONS_MAX];
	unsigned count;
	struct buffer text;
	char *secret; /* the enrol secret's word, or NULL */
};

static void bundle_free(struct bundle *bundle)
{
	for (unsigned i = 0; i < bundle->count; i++)
		free(bundle->sections[i].name);
	buffer_free(&bundle->text);
	free(bundle->secret);
}

/* Everything that goes in comes through here, and so through the redaction. */
static void add(struct bundle *bundle, const char *name, const char *bytes, size_t size)
{
	const char *const secrets[] = {bundle->secret, NULL};
	cleanup_buffer struct buffer clean = {0};
	size_t before = bundle->text.size;

	if (bundle->count == SECTIONS_MAX)
		return;
	/* Redacted before it is cut: the rest of a cut block would not be known for one. */
	redact(bytes, size, secrets, &clean);
	if (buffer_status(&clean) < 0) {
		bundle->text.failed = true;
		return;
	}
	size_t skipped = clean.size > SECTION_MAX ? clean.size - SECTION_MAX : 0;
	buffer_append_format(&bundle->text, "==== %s%s\n", name, skipped ? " (its end)" : "");
	buffer_append(&bundle->text, clean.bytes + skipped, clean.size - skipped);
	bundle->sections[bundle->count].name = strdup(name);
	bundle->sections[bundle->count].size = bundle->text.size - before;
	bundle->count += bundle->sections[bundle->count].name != NULL;
}

static void add_error(struct bundle *bundle, const char *name, int r)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "cannot be read: %s", strerror(-r));
	if (r != -ENOENT)
		add(bundle, name, text, strlen(text));
}

static void add_file(struct bundle *bundle, const char *directory_path, const char *file)
{
	cleanup_close int directory = -1;
	cleanup_free char *bytes = NULL;
	char name[512];
	size_t size = 0;

	(void)snprintf(name, sizeof(name), "%s/%s", directory_path, file);
	int r = file_open_directory(AT_FDCWD, directory_path, &directory);
	if (r == 0)
		r = file_read(directory, file, FILE_MAX, &bytes, &size);
	if (r < 0)
		add_error(bundle, name, r);
	else
		add(bundle, name, bytes, size);
}

static void add_files(struct bundle *bundle, const char *directory)
{
	cleanup_names char **names = NULL;
	size_t count;

	if (file_list(AT_FDCWD, directory, ENTRIES_MAX, &names, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		add_file(bundle, directory, names[i]);
}

static void add_program(struct bundle *bundle, const char *name, const char *const *argv)
{
	cleanup_process_result struct process_result result = {0};
	const struct process process = {.path = argv[0],
		.argv = argv,
		.working_directory = -1,
		.output_limit = FILE_MAX,
		.timeout_ms = PROGRAM_TIMEOUT_MS,
		.capabilities = PROCESS_CAPABILITIES_KEEP};

	int r = process_run(&process, &result);
	if (r < 0)
		add_error(bundle, name, r);
	else if (result.output.size > 0)
		add(bundle, name, result.output.bytes, result.output.size);
	else
		add(bundle, name, result.error.bytes ? result.error.bytes : "", result.error.size);
}

static void add_versions(struct bundle *bundle)
{
	cleanup_buffer struct buffer text = {0};
	struct utsname system;

	buffer_append_format(&text, "latchkey %s\n", LATCHKEY_VERSION);
	if (uname(&system) == 0)
		buffer_append_format(&text, "%s %s %s\n", system.sysname, system.release, system.machine);
	if (buffer_status(&text) == 0)
		add(bundle, "versions", text.bytes, text.size);
}

/* Names and fingerprints; no key, public as it is. */
static void add_signers(struct bundle *bundle)
{
	char reason[ALLOWED_SIGNERS_REASON_MAX] = "";
	cleanup_allowed_signers struct allowed_signers signers = {0};
	cleanup_buffer struct buffer text = {0};
	cleanup_close int directory = -1;
	cleanup_free char *bytes = NULL;
	unsigned line = 0;
	size_t size;

	if (file_open_directory(AT_FDCWD, "/" PATH_CONFIGURATION, &directory) < 0 ||
		file_read(directory, "allowed_signers", ALLOWED_SIGNERS_SIZE_MAX, &bytes, &size) < 0)
		return;
	if (allowed_signers_parse(bytes, size, &signers, &line, reason) < 0)
		buffer_append_format(&text, "refused: line %u: %s\n", line, reason);
	for (size_t i = 0; i < signers.count; i++)
		buffer_append_format(&text, "%s %s for %s\n", signers.entries[i].name, signers.entries[i].fingerprint,
			signers.entries[i].principals);
	if (buffer_status(&text) == 0)
		add(bundle, "/" PATH_CONFIGURATION "/allowed_signers (fingerprints)", text.bytes, text.size);
}

/* What there is, not what is in it. */
static void list_state(const char *path, unsigned depth, struct buffer *text)
{
	cleanup_close int directory = -1;
	cleanup_names char **names = NULL;
	struct stat status;
	char below[512];
	size_t count;

	if (depth == 4 || file_open_directory(AT_FDCWD, path, &directory) < 0 ||
		file_list(directory, ".", ENTRIES_MAX, &names, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		if (sys.fstatat(directory, names[i], &status, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		(void)snprintf(below, sizeof(below), "%s/%s", path, names[i]);
		buffer_append_format(text, "%06o %u %lld %lld %s\n", (unsigned)status.st_mode, (unsigned)status.st_uid,
			(long long)status.st_size, (long long)status.st_mtime, below);
		if (S_ISDIR(status.st_mode))
			list_state(below, depth + 1, text);
	}
}

static void read_secret(struct bundle *bundle)
{
	cleanup_close int directory = -1;
	size_t size;

	if (file_open_directory(AT_FDCWD, "/" PATH_CONFIGURATION, &directory) < 0 ||
		file_read(directory, "enrol", 4096, &bundle->secret, &size) < 0)
		return;
	bundle->secret[strcspn(bundle->secret, " \t\r\n")] = '\0';
}

static void collect(struct bundle *bundle)
{
	static const char *const sshd[] = {PATH_SSHD, "-T", NULL};
	static const char *const log[] = {"/usr/bin/journalctl", "--no-pager", "--quiet", "--lines=1000",
		"--output=short-iso", "--unit=latchkeyd.service", "--unit=latchkey-net.service", NULL};
	cleanup_buffer struct buffer state = {0};

	read_secret(bundle);
	add_versions(bundle);
	add_file(bundle, "/usr/lib", "os-release"); /* in /etc it is a link to this */
	add_file(bundle, PATH_RUN, "view");
	add_file(bundle, "/" PATH_CONFIGURATION, "latchkey.conf");
	add_files(bundle, "/" PATH_CONFIGURATION "/latchkey.conf.d");
	add_file(bundle, "/" PATH_CONFIGURATION, "policy.conf");
	add_files(bundle, "/" PATH_CONFIGURATION "/policy.conf.d");
	add_signers(bundle);
	add_files(bundle, "/" PATH_STATE "/history");
	list_state("/" PATH_STATE, 0, &state);
	list_state(PATH_RUN, 0, &state);
	if (buffer_status(&state) == 0)
		add(bundle, "files of the agent (mode, owner, size, time)", state.bytes, state.size);
	add_program(bundle, "sshd -T", sshd);
	add_program(bundle, "journalctl", log);
}

static int write_out(const struct bundle *bundle, const char *name)
{
	int r;

	if (strcmp(name, "-") == 0) {
		r = file_write_all(STDOUT_FILENO, bundle->text.bytes, bundle->text.size);
	} else {
		/* Never over anything, never through a link. */
		cleanup_close int descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		r = descriptor < 0 ? -errno : file_write_all(descriptor, bundle->text.bytes, bundle->text.size);
	}
	if (r < 0) {
		char cell[OUTPUT_CELL_MAX];
		(void)fprintf(stderr, "latchctl: %s: %s\n", output_escape(name, cell), strerror(-r));
		return EXIT_TROUBLE;
	}
	return EXIT_OK;
}

static int preview_json(const struct bundle *bundle, const char *name)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};
	char cell[OUTPUT_CELL_MAX];

	json_begin_object(&writer, NULL);
	json_put_string(&writer, "file", output_escape(name, cell));
	json_begin_array(&writer, "sections");
	for (unsigned i = 0; i < bundle->count; i++) {
		json_begin_object(&writer, NULL);
		json_put_string(&writer, "name", bundle->sections[i].name);
		json_put_integer(&writer, "size", (int64_t)bundle->sections[i].size);
		json_end_object(&writer);
	}
	json_end_array(&writer);
	json_end_object(&writer);
	if (buffer_status(&text) < 0)
		return EXIT_TROUBLE;
	(void)printf("%s\n", text.bytes);
	return EXIT_OK;
}

int bundle_run(struct client *client, const struct options *options)
{
	CLEANUP(bundle_free) struct bundle bundle = {0};
	char name[64], cell[OUTPUT_CELL_MAX];
	(void)client;

	if (geteuid() != 0) {
		(void)fprintf(stderr, "latchctl: bundle is root's\n");
		return EXIT_DENIED;
	}
	(void)snprintf(name, sizeof(name), "latchkey-bundle-%lld.txt", (long long)time(NULL));
	const char *output = options->output ? options->output : name;
	if (options->json && strcmp(output, "-") == 0)
		return EXIT_USAGE;
	collect(&bundle);
	if (buffer_status(&bundle.text) < 0)
		return EXIT_TROUBLE;
	(void)fprintf(stderr, "What goes into %s, without keys, passwords and tokens:\n", output_escape(output, cell));
	for (unsigned i = 0; i < bundle.count; i++)
		(void)fprintf(
			stderr, "  %7zu  %s\n", bundle.sections[i].size, output_escape(bundle.sections[i].name, cell));
	if (!options->yes && !input_confirm("Write it?"))
		return EXIT_USAGE;
	int code = write_out(&bundle, output);
	return code == EXIT_OK && options->json ? preview_json(&bundle, output) : code;
}
