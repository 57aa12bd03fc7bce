/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/targets.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "console/cli/output.h"
#include "console/cli/state.h"
#include "console/cli/target_list.h"
#include "lib/file.h"

#define PARALLEL_DEFAULT 16u  /* they mostly wait; what they sign and put goes one by one, for they share the state */
#define PARALLEL_MAX 64u      /* processes of about 8 MB */
#define OUTPUT_MAX (4u << 20) /* of one target; what is beyond is cut */
#define REASON_MAX 300u
#define NAMED_MAX 20u /* of those not done, for people; JSON has all */

enum stream { STREAM_OUTPUT, STREAM_ERROR, STREAMS };

/* One target at work. */
struct worker {
	pid_t process; /* 0: free */
	const char *instance;
	int streams[STREAMS]; /* -1: at its end */
	struct buffer texts[STREAMS];
	bool cut; /* its output is longer than OUTPUT_MAX */
};

struct fleet {
	struct cli *cli;
	const struct arguments *arguments;
	struct target_list list;
	size_t next, limit, canaries; /* the next to start; up to where; how many canaries */
	size_t parallel, running, ended, good, changed, awaiting, skipped;
	size_t codes[CLI_LOCAL + 1]; /* how many ended so */
	bool pause, pause_always;    /* at a canary that failed; at any */
	bool stopped, interrupted;
	bool is_change; /* answers with one result, of which a line is told */
	int signals, done;
	sigset_t before;
	struct worker workers[PARALLEL_MAX];
};

static enum cli_exit failed(const char *what, int error)
{
	complain("%s: %s", what, strerror(-error));
	return CLI_LOCAL;
}

/* --- options ----------------------------------------------------------------------------------------------------- */

static enum cli_exit read_list(const char *path, bool may_be_missing, struct target_list *ret_list)
{
	cleanup_free char *text = NULL;
	unsigned line = 0;
	size_t size;

	int r = strcmp(path, "-") == 0 ? file_read_descriptor(STDIN_FILENO, TARGETS_FILE_MAX, &text, &size)
				       : file_read(AT_FDCWD, path, TARGETS_FILE_MAX, &text, &size);
	if (r == -ENOENT && may_be_missing)
		return CLI_OK;
	if (r == 0 && strlen(text) != size) {
		complain("%s is no text", path);
		return CLI_USAGE;
	}
	if (r == 0)
		r = target_list_parse(text, ret_list, &line);
	if (r == -EBADMSG)
		complain("%s:%u: not one instance id", path, line);
	else if (r == -E2BIG)
		complain("%s:%u: more than %u instances", path, line, TARGETS_MAX);
	else if (r < 0)
		complain("%s: %s", path, strerror(-r));
	return r < 0 ? CLI_USAGE : CLI_OK;
}

/* The command in words: what --done was begun for. No option of these commands is a secret. */
static void put_command(const struct arguments *arguments, struct buffer *text)
{
	buffer_append_format(text, "# latchkey %s", arguments->subcommand->words);
	for (unsigned i = 1; i < arguments->count; i++)
		buffer_append_format(text, " %s", arguments->positional[i]);
	for (unsigned i = 0; i < arguments->option_count; i++) {
		const struct argument_option *option = &arguments->options[i];
		if (option->is_field)
			buffer_append_format(text, " --%.*s=%s", (int)option->name_size, option->name,
				option->value ? option->value : "true");
	}
	buffer_append_text(text, "\n");
	for (size_t i = 0; text->bytes && i + 1 < text->size; i++) {
		if ((unsigned char)text->bytes[i] < 0x20)
			text->bytes[i] = '?';
	}
}

/* Who has it already is left out, and the file is opened for those to come. */
static enum cli_exit open_done(struct fleet *fleet)
{
	const char *path = arguments_option(fleet->arguments, "done");
	cleanup_target_list struct target_list done = {0};
	cleanup_buffer struct buffer command = {0};
	cleanup_free char *text = NULL;
	size_t size = 0;

	if (!path)
		return CLI_OK;
	if (arguments_option(fleet->arguments, "dry-run")) {
		complain("--done is for what is done, and a --dry-run does nothing");
		return CLI_USAGE;
	}
	put_command(fleet->arguments, &command);
	if (buffer_status(&command) < 0)
		return failed(path, -ENOMEM);
	int r = file_read(AT_FDCWD, path, TARGETS_FILE_MAX, &text, &size);
	if (r < 0 && r != -ENOENT)
		return failed(path, r);
	if (size > 0 && (size < command.size || memcmp(text, command.bytes, command.size) != 0)) {
		complain("%s was begun for another command: %.*s", path, (int)strcspn(text, "\n"), text);
		return CLI_USAGE;
	}
	enum cli_exit read = read_list(path, true, &done);
	if (read != CLI_OK)
		return read;
	fleet->skipped = target_list_remove(&fleet->list, &done);
	fleet->done = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fleet->done < 0)
		return failed(path, -errno);
	if (size == 0)
		r = file_write_all(fleet->done, command.bytes, command.size);
	else if (text[size - 1] != '\n') /* killed within a line, whose instance is done once more */
		r = file_write_all(fleet->done, "\n", 1);
	else
		r = 0;
	return r < 0 ? failed(path, r) : CLI_OK;
}

static enum cli_exit read_options(struct fleet *fleet)
{
	const struct arguments *arguments = fleet->arguments;
	const char *canary = arguments_option(arguments, "canary"), *pause = arguments_option(arguments, "pause-on"),
		   *parallel = arguments_option(arguments, "parallel");

	enum cli_exit r = read_list(arguments_option(arguments, "targets"), false, &fleet->list);
	if (r == CLI_OK)
		r = open_done(fleet);
	if (r != CLI_OK)
		return r;
	fleet->limit = fleet->list.count;
	if (pause && strcmp(pause, "failed") != 0 && strcmp(pause, "never") != 0) {
		complain("--pause-on is failed or never");
		return CLI_USAGE;
	}
	fleet->pause = !pause || strcmp(pause, "failed") == 0;
	fleet->pause_always = pause && fleet->pause;
	if (canary && arguments_option(arguments, "no-wait")) {
		complain("--canary looks at results, and --no-wait waits for none");
		return CLI_USAGE;
	}
	if (canary && target_list_share(canary, fleet->list.count, &fleet->canaries) < 0) {
		complain("--canary is a count, or a part such as 10%%");
		return CLI_USAGE;
	}
	if (canary)
		fleet->limit = fleet->canaries;
	fleet->parallel = PARALLEL_DEFAULT;
	if (parallel && (target_list_share(parallel, PARALLEL_MAX + 1, &fleet->parallel) < 0 || strchr(parallel, '%') ||
				fleet->parallel > PARALLEL_MAX)) {
		complain("--parallel is a number from 1 to %u", PARALLEL_MAX);
		return CLI_USAGE;
	}
	return CLI_OK;
}

/* --- one target -------------------------------------------------------------------------------------------------- */

/* The command for one instance, as if it had been typed alone; never returns. */
static void work(struct fleet *fleet, const char *instance, const int *streams, pid_t parent)
{
	struct arguments arguments = *fleet->arguments;
	struct cli *cli = fleet->cli;

	/* Whoever ends the whole ends its parts; each of them leaves whole files. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent)
		_exit(CLI_LOCAL);
	int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(streams[STREAM_OUTPUT], STDOUT_FILENO) < 0 ||
		dup2(streams[STREAM_ERROR], STDERR_FILENO) < 0 || sigprocmask(SIG_SETMASK, &fleet->before, NULL) < 0)
		_exit(CLI_LOCAL);
	arguments.positional[0] = instance;
	cli->json = cli->json || fleet->is_change;
	enum cli_exit r = state_lock(cli);
	if (r == CLI_OK)
		r = arguments.subcommand->run(cli, &arguments);
	_exit((int)output_finish(r));
}

static int start(struct fleet *fleet, struct worker *worker)
{
	int pairs[STREAMS][2] = {{-1, -1}, {-1, -1}}, r = 0;
	const char *instance = fleet->list.names[fleet->next];
	pid_t parent = getpid();

	for (unsigned i = 0; r == 0 && i < STREAMS; i++)
		r = pipe2(pairs[i], O_CLOEXEC) < 0 ? -errno : 0;
	(void)fflush(stdout);
	pid_t process = r == 0 ? fork() : -1;
	if (r == 0 && process < 0)
		r = -errno;
	if (process == 0)
		work(fleet, instance, (const int[]){pairs[STREAM_OUTPUT][1], pairs[STREAM_ERROR][1]}, parent);
	for (unsigned i = 0; i < STREAMS; i++) {
		if (pairs[i][1] >= 0)
			(void)close(pairs[i][1]);
		if (r < 0 && pairs[i][0] >= 0)
			(void)close(pairs[i][0]);
	}
	if (r < 0)
		return r;
	*worker = (struct worker){
		.process = process, .instance = instance, .streams = {pairs[STREAM_OUTPUT][0], pairs[STREAM_ERROR][0]}};
	fleet->next++;
	fleet->running++;
	return 0;
}

/* The last thing that it complained of, without the program's name. */
static void take_reason(const struct worker *worker, char ret_reason[REASON_MAX])
{
	const char *text = worker->texts[STREAM_ERROR].bytes, *last = "";

	for (const char *at = text; at && *at; at += strcspn(at, "\n") + (at[strcspn(at, "\n")] == '\n')) {
		if (strncmp(at, "latchkey: ", 10) == 0)
			last = at + 10;
		else if (*last == '\0')
			last = at;
	}
	(void)snprintf(ret_reason, REASON_MAX, "%.*s", (int)strcspn(last, "\n"), last);
}

/* The line of its output that is a result, or NULL. */
static cJSON *find_result(const struct worker *worker)
{
	const char *text = worker->texts[STREAM_OUTPUT].bytes, *status;
	cJSON *found = NULL;

	for (const char *at = text; at && *at; at += strcspn(at, "\n") + (at[strcspn(at, "\n")] == '\n')) {
		cJSON *root = NULL;
		if (json_parse_object(at, strcspn(at, "\n"), &root) < 0)
			continue;
		if (json_get_string(root, "status", &status) == 0) {
			cJSON_Delete(found);
			found = root;
		} else {
			cJSON_Delete(root);
		}
	}
	return found;
}

static const char *text_of(const cJSON *object, const char *name)
{
	const char *text = "";
	(void)!json_get_string(object, name, &text);
	return text;
}

static void tell_json(const struct fleet *fleet, const struct worker *worker, const cJSON *result, int code)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};
	char reason[REASON_MAX];

	if (result || (!fleet->is_change && worker->texts[STREAM_OUTPUT].size > 0)) {
		(void)fputs(worker->texts[STREAM_OUTPUT].bytes, stdout);
		return;
	}
	take_reason(worker, reason);
	json_begin_object(&writer, NULL);
	json_put_string(&writer, "instance", worker->instance);
	json_put_string(&writer, "status", "error");
	json_put_integer(&writer, "exit", code);
	json_put_string(&writer, "detail", reason);
	json_end_object(&writer);
	if (buffer_status(&text) == 0)
		(void)printf("%s\n", text.bytes);
}

static void tell(const struct fleet *fleet, const struct worker *worker, const cJSON *result, int code)
{
	cleanup_buffer struct buffer text = {0};
	char reason[REASON_MAX];
	bool changed = false;

	if (!fleet->is_change && worker->texts[STREAM_OUTPUT].size > 0)
		buffer_append(&text, worker->texts[STREAM_OUTPUT].bytes, worker->texts[STREAM_OUTPUT].size - 1);
	else
		buffer_append_format(&text, "%s: ", worker->instance);
	take_reason(worker, reason);
	if (result) {
		const char *status = text_of(result, "status"), *code_text = text_of(result, "code"),
			   *detail = text_of(result, "detail");
		(void)!json_get_bool(result, "changed", &changed);
		buffer_append_text(&text, status);
		if (*code_text && strcmp(code_text, status) != 0)
			buffer_append_format(&text, " %s", code_text);
		if (strcmp(code_text, "ok") == 0)
			buffer_append_text(&text, changed ? ", changed" : ", nothing to change");
		if (*detail)
			buffer_append_format(&text, ": %s", detail);
	} else if (code != CLI_OK) {
		buffer_append_format(&text, "%s%s (exit %d)",
			!fleet->is_change && worker->texts[STREAM_OUTPUT].size > 0 ? "\n  " : "", reason, code);
	}
	output_text(&text);
}

/* One line that is written over, where somebody looks at it. */
static void show_progress(const struct fleet *fleet)
{
	if (!isatty(STDERR_FILENO) || fleet->cli->json)
		return;
	(void)fprintf(stderr, "\r\033[K%zu of %zu done, %zu failed, %zu running", fleet->ended, fleet->list.count,
		fleet->ended - fleet->good, fleet->running);
}

static void clear_progress(const struct fleet *fleet)
{
	if (isatty(STDERR_FILENO) && !fleet->cli->json)
		(void)fputs("\r\033[K", stderr);
}

static void remember_done(struct fleet *fleet, const char *instance)
{
	char line[132];

	if (fleet->done < 0)
		return;
	int size = snprintf(line, sizeof(line), "%s\n", instance);
	int r = file_write_all(fleet->done, line, (size_t)size);
	if (r == 0 && fdatasync(fleet->done) < 0)
		r = -errno;
	if (r < 0)
		complain("--done: %s", strerror(-r));
}

/* What was cut ends with its last whole line, and is said to be. */
static void end_cut(struct worker *worker, int *code)
{
	struct buffer *text = &worker->texts[STREAM_OUTPUT];

	if (!worker->cut)
		return;
	while (text->size > 0 && text->bytes[text->size - 1] != '\n')
		text->bytes[--text->size] = '\0';
	complain("%s: more than %u MiB of output: cut", worker->instance, OUTPUT_MAX >> 20);
	if (*code == CLI_OK)
		*code = CLI_LOCAL;
}

static void end(struct fleet *fleet, struct worker *worker)
{
	bool changed = false;
	int status = 0;

	while (waitpid(worker->process, &status, 0) < 0 && errno == EINTR)
		;
	int code = WIFEXITED(status) && WEXITSTATUS(status) <= CLI_LOCAL ? WEXITSTATUS(status) : CLI_LOCAL;
	if (fleet->interrupted && WIFSIGNALED(status)) {
		code = CLI_TIMEOUT;
		buffer_append_format(&worker->texts[STREAM_ERROR],
			"\nlatchkey: interrupted; what was sent stands, and latchkey results %s --wait tells\n",
			worker->instance);
	}
	end_cut(worker, &code);
	cleanup_json cJSON *result = fleet->is_change ? find_result(worker) : NULL;
	fleet->running--;
	fleet->ended++;
	fleet->codes[code]++;
	fleet->good += code == CLI_OK;
	(void)!json_get_bool(result, "changed", &changed);
	fleet->changed += changed;
	fleet->awaiting += strcmp(text_of(result, "code"), "awaiting_confirm") == 0;
	if (code == CLI_OK)
		remember_done(fleet, worker->instance);
	clear_progress(fleet);
	/* On a terminal the updated line tells of those that went well. */
	if (fleet->cli->json)
		tell_json(fleet, worker, result, code);
	else if (!fleet->is_change || code != CLI_OK || !isatty(STDOUT_FILENO))
		tell(fleet, worker, result, code);
	(void)fflush(stdout);
	if (code != CLI_OK && fleet->pause_always)
		fleet->stopped = true;
	for (unsigned i = 0; i < STREAMS; i++)
		buffer_free(&worker->texts[i]);
	*worker = (struct worker){0};
}

/* --- all of them ------------------------------------------------------------------------------------------------- */

static void read_stream(struct worker *worker, unsigned stream)
{
	struct buffer *text = &worker->texts[stream];
	char bytes[16384];

	ssize_t size = read(worker->streams[stream], bytes, sizeof(bytes));
	if (size < 0 && errno == EINTR)
		return;
	if (size <= 0) {
		(void)close(worker->streams[stream]);
		worker->streams[stream] = -1;
	} else if (!worker->cut && text->size + (size_t)size <= OUTPUT_MAX) {
		buffer_append(text, bytes, (size_t)size);
	} else {
		worker->cut = true; /* nothing behind it either: half a line is no JSON, and two halves are a lie */
	}
}

static void interrupt(struct fleet *fleet)
{
	struct signalfd_siginfo signal;

	if (read(fleet->signals, &signal, sizeof(signal)) != (ssize_t)sizeof(signal))
		return;
	fleet->stopped = fleet->interrupted = true;
	for (unsigned i = 0; i < PARALLEL_MAX; i++) {
		if (fleet->workers[i].process > 0)
			(void)kill(fleet->workers[i].process, SIGTERM);
	}
}

static int wait_for_some(struct fleet *fleet)
{
	struct pollfd polled[1 + PARALLEL_MAX * STREAMS] = {{.fd = fleet->signals, .events = POLLIN}};

	for (unsigned i = 0; i < PARALLEL_MAX * STREAMS; i++) {
		const struct worker *worker = &fleet->workers[i / STREAMS];
		polled[i + 1] = (struct pollfd){
			.fd = worker->process > 0 ? worker->streams[i % STREAMS] : -1, .events = POLLIN};
	}
	if (poll(polled, ELEMENTS(polled), -1) < 0)
		return errno == EINTR ? 0 : -errno;
	if (polled[0].revents)
		interrupt(fleet);
	for (unsigned i = 0; i < PARALLEL_MAX * STREAMS; i++) {
		if (polled[i + 1].revents)
			read_stream(&fleet->workers[i / STREAMS], i % STREAMS);
	}
	for (unsigned i = 0; i < PARALLEL_MAX; i++) {
		struct worker *worker = &fleet->workers[i];
		if (worker->process > 0 && worker->streams[STREAM_OUTPUT] < 0 && worker->streams[STREAM_ERROR] < 0)
			end(fleet, worker);
	}
	return 0;
}

/* The canaries are through. */
static void judge_canaries(struct fleet *fleet)
{
	size_t bad = fleet->ended - fleet->good, left = fleet->list.count - fleet->limit;
	char answer[16] = "";

	clear_progress(fleet);
	if (bad == 0 || !fleet->pause) {
		note("canaries: %zu went well, %zu failed; going on with the other %zu", fleet->good, bad, left);
		fleet->limit = fleet->list.count;
		return;
	}
	if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO) &&
		strcmp(arguments_option(fleet->arguments, "targets"), "-") != 0) {
		(void)fprintf(stderr, "%zu of %zu canaries failed. Go on with the other %zu all the same (yes/no)? ",
			bad, fleet->ended, left);
		if (fgets(answer, sizeof(answer), stdin) && strcmp(answer, "yes\n") == 0) {
			fleet->limit = fleet->list.count;
			return;
		}
	}
	fleet->stopped = true;
}

static int run_all(struct fleet *fleet)
{
	int r = 0;

	while (r == 0 && (fleet->running > 0 || (fleet->next < fleet->limit && !fleet->stopped))) {
		for (unsigned i = 0; r == 0 && i < fleet->parallel; i++) {
			if (fleet->workers[i].process == 0 && fleet->next < fleet->limit && !fleet->stopped)
				r = start(fleet, &fleet->workers[i]);
		}
		show_progress(fleet);
		if (r == 0)
			r = wait_for_some(fleet);
		if (fleet->running == 0 && fleet->next == fleet->limit && fleet->limit < fleet->list.count &&
			!fleet->stopped)
			judge_canaries(fleet);
	}
	clear_progress(fleet);
	return r;
}

static void summarise_json(const struct fleet *fleet)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};

	json_begin_object(&writer, NULL);
	json_begin_object(&writer, "summary");
	json_put_integer(&writer, "targets", (int64_t)(fleet->list.count + fleet->skipped));
	json_put_integer(&writer, "done_before", (int64_t)fleet->skipped);
	json_put_integer(&writer, "ok", (int64_t)fleet->good);
	json_put_integer(&writer, "changed", (int64_t)fleet->changed);
	json_put_integer(&writer, "awaiting_confirm", (int64_t)fleet->awaiting);
	json_put_integer(&writer, "failed", (int64_t)(fleet->ended - fleet->good));
	json_begin_array(&writer, "not_done");
	for (size_t i = fleet->next; i < fleet->list.count; i++)
		json_put_string(&writer, NULL, fleet->list.names[i]);
	json_end_array(&writer);
	json_end_object(&writer);
	json_end_object(&writer);
	if (buffer_status(&text) == 0)
		(void)printf("%s\n", text.bytes);
}

static void summarise(const struct fleet *fleet)
{
	cleanup_buffer struct buffer text = {0};
	size_t left = fleet->list.count - fleet->next;

	buffer_append_format(&text, "%zu targets: %zu ok", fleet->list.count + fleet->skipped, fleet->good);
	if (fleet->is_change)
		buffer_append_format(&text, " (%zu changed)", fleet->changed);
	buffer_append_format(&text, ", %zu failed", fleet->ended - fleet->good);
	if (fleet->skipped > 0)
		buffer_append_format(&text, ", %zu done before", fleet->skipped);
	if (left > 0)
		buffer_append_format(&text, ", %zu not begun%s:", left,
			fleet->interrupted ? ", for you stopped it" : ", for others failed");
	for (size_t i = 0; i < left && i < NAMED_MAX; i++)
		buffer_append_format(&text, " %s", fleet->list.names[fleet->next + i]);
	if (left > NAMED_MAX)
		buffer_append_format(&text, " and %zu more", left - NAMED_MAX);
	if (buffer_status(&text) == 0)
		note("%s", text.bytes);
	if (fleet->awaiting > 0)
		note("%zu of them go back by themselves: try a login, then run latchkey sshd confirm --targets FILE",
			fleet->awaiting);
}

/* What they have in common, so that a script sees a dead endpoint as one; else that not all went well. */
static enum cli_exit verdict(const struct fleet *fleet)
{
	if (fleet->interrupted || fleet->next < fleet->list.count)
		return CLI_FAILED;
	for (unsigned code = CLI_FAILED; code <= CLI_LOCAL; code++) {
		if (fleet->codes[code] > 0)
			return fleet->codes[code] == fleet->ended - fleet->good ? (enum cli_exit)code : CLI_FAILED;
	}
	return CLI_OK;
}

static enum cli_exit run(struct fleet *fleet)
{
	sigset_t ending;

	enum cli_exit r = read_options(fleet);
	if (r != CLI_OK)
		return r;
	(void)sigemptyset(&ending);
	(void)sigaddset(&ending, SIGINT);
	(void)sigaddset(&ending, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &ending, &fleet->before) < 0)
		return failed("signals", -errno);
	fleet->signals = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fleet->signals < 0)
		return failed("signals", -errno);
	state_unlock(fleet->cli); /* each of them takes it for itself */
	int error = run_all(fleet);
	if (error < 0)
		r = failed("not all could be started", error);
	if (fleet->cli->json)
		summarise_json(fleet);
	else
		summarise(fleet);
	return r == CLI_OK ? verdict(fleet) : r;
}

enum cli_exit targets_run(struct cli *cli, const struct arguments *arguments)
{
	struct fleet fleet = {.cli = cli,
		.arguments = arguments,
		.is_change = (arguments->subcommand->groups & OPTION_CHANGE) != 0,
		.signals = -1,
		.done = -1};

	enum cli_exit r = run(&fleet);
	/* Only after an error is anything still at work; PDEATHSIG ends it with us. */
	for (unsigned i = 0; i < PARALLEL_MAX; i++) {
		for (unsigned j = 0; j < STREAMS; j++)
			buffer_free(&fleet.workers[i].texts[j]);
	}
	if (fleet.signals >= 0)
		(void)close(fleet.signals);
	if (fleet.done >= 0)
		(void)close(fleet.done);
	target_list_free(&fleet.list);
	return r;
}
