/* SPDX-License-Identifier: Apache-2.0 */
/* latchctl explain: a client's `ssh -v` read from the other side, then what this machine says of that user and each
 * key. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "agent/ctl/input.h"
#include "agent/ctl/output.h"
#include "agent/ctl/ssh_log.h"
#include "agent/ctl/verdict.h"
#include "lib/field.h"
#include "lib/file.h"

static const char *const key_states[] = {
	[SSH_LOG_KEY_OFFERED] = "not accepted",
	[SSH_LOG_KEY_ACCEPTED] = "accepted",
	[SSH_LOG_KEY_NO_ALGORITHM] = "no common signature algorithm",
};

/* 1: the host key of the log is this machine's, 0: it is not, -1: it cannot be told. */
static int is_this_machine(const struct ssh_log *log)
{
	cleanup_close int directory = -1;
	cleanup_names char **names = NULL;
	size_t count;
	int answer = -1;

	if (!*log->host_key || file_open_directory(AT_FDCWD, "/etc/ssh", &directory) < 0 ||
		file_list(directory, ".", 1024, &names, &count) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		cleanup_sshkey struct sshkey key = {0};
		cleanup_free char *bytes = NULL;
		char detail[DETAIL_MAX + 1], fingerprint[SSHKEY_FINGERPRINT_SIZE];
		const char *ending = strrchr(names[i], '.');
		size_t size;
		if (strncmp(names[i], "ssh_host_", 9) != 0 || !ending || strcmp(ending, ".pub") != 0 ||
			file_read(directory, names[i], SSHKEY_LINE_MAX, &bytes, &size) < 0 ||
			sshkey_parse(bytes, size, &key, detail) != CODE_OK)
			continue;
		sshkey_fingerprint(key.blob, key.blob_size, fingerprint);
		if (strcmp(fingerprint, log->host_key) == 0)
			return 1;
		answer = 0;
	}
	return answer;
}

static void print_log(const struct ssh_log *log, int here)
{
	char cell[OUTPUT_CELL_MAX], other[OUTPUT_CELL_MAX];

	(void)printf("%s wanted to log in to ", *log->user ? output_escape(log->user, cell) : "Somebody");
	(void)printf("%s", *log->host ? output_escape(log->host, cell) : "some host");
	(void)printf("%s%s\n", *log->server ? ", which runs " : "", output_escape(log->server, other));
	if (here == 0)
		(void)printf("  The host key %s is none of this machine's (/etc/ssh/ssh_host_*_key.pub): the client "
			     "spoke to "
			     "another one.\n",
			log->host_key);
	for (unsigned i = 0; i < log->key_count; i++)
		(void)printf("  offered %s: %s\n", log->keys[i].fingerprint, key_states[log->keys[i].state]);
	if (*log->methods)
		(void)printf("  sshd took: %s\n", output_escape(log->methods, cell));
	for (unsigned i = 0; i < SSH_LOG_FINDINGS; i++) {
		if (i != log->end && log->found & (UINT32_C(1) << i))
			(void)printf("  %s: %s\n    %s\n", ssh_log_code(i), ssh_log_sentence(i), ssh_log_advice(i));
	}
	if (log->end < SSH_LOG_FINDINGS)
		(void)printf("  it ended with %s: %s\n    %s\n", ssh_log_code(log->end), ssh_log_sentence(log->end),
			ssh_log_advice(log->end));
	else
		(void)printf("  How it ended is not in the text.\n");
}

static void write_finding(struct json_writer *writer, unsigned finding)
{
	json_begin_object(writer, NULL);
	json_put_string(writer, "code", ssh_log_code(finding));
	json_put_string(writer, "sentence", ssh_log_sentence(finding));
	json_put_string(writer, "advice", ssh_log_advice(finding));
	json_end_object(writer);
}

/* Texts of the client's go through the same escape as on a terminal: they need not be UTF-8. */
static void write_log(const struct ssh_log *log, int here, struct json_writer *writer)
{
	char cell[OUTPUT_CELL_MAX];

	json_put_string(writer, "user", output_escape(log->user, cell));
	json_put_string(writer, "host", output_escape(log->host, cell));
	json_put_string(writer, "server", output_escape(log->server, cell));
	json_put_string(writer, "host_key", log->host_key);
	if (here >= 0)
		json_put_bool(writer, "this_machine", here);
	json_put_string(writer, "methods", output_escape(log->methods, cell));
	json_begin_array(writer, "keys");
	for (unsigned i = 0; i < log->key_count; i++) {
		json_begin_object(writer, NULL);
		json_put_string(writer, "fingerprint", log->keys[i].fingerprint);
		json_put_string(writer, "state", key_states[log->keys[i].state]);
		json_end_object(writer);
	}
	json_end_array(writer);
	json_begin_array(writer, "findings");
	for (unsigned i = 0; i < SSH_LOG_FINDINGS; i++) {
		if (log->found & (UINT32_C(1) << i))
			write_finding(writer, i);
	}
	json_end_array(writer);
	json_put_string(writer, "ended", log->end < SSH_LOG_FINDINGS ? ssh_log_code(log->end) : "");
}

/* Without a key that was offered: of any key and of the password. */
static int judge(const struct ssh_log *log, const char *from, bool json, struct json_writer *writer)
{
	unsigned count = log->key_count ? log->key_count : 1;

	for (unsigned i = 0; i < count; i++) {
		struct verdict verdict;
		int code = verdict_ask(log->user, from, log->key_count ? log->keys[i].fingerprint : NULL, &verdict);
		if (code != EXIT_OK)
			return code;
		if (json) {
			verdict_write(&verdict, writer, NULL);
			continue;
		}
		(void)printf("\n");
		verdict_print(&verdict);
	}
	return EXIT_OK;
}

int explain_run(struct client *client, const struct options *options)
{
	cleanup_buffer struct buffer out = {0};
	struct json_writer writer = {&out, false};
	cleanup_free char *bytes = NULL;
	struct ssh_log log;
	size_t size;
	(void)client;

	if (options->from && !input_is_address(options->from))
		return EXIT_USAGE;
	int code = input_read(options->operand, SSH_LOG_SIZE_MAX, &bytes, &size);
	if (code != EXIT_OK)
		return code;
	ssh_log_read(bytes, size, &log);
	if (!log.is_client && log.end == SSH_LOG_FINDINGS) {
		(void)fprintf(stderr, "latchctl: this is no output of ssh -v\n");
		return EXIT_BAD_INPUT;
	}
	int here = is_this_machine(&log);
	json_begin_object(&writer, NULL);
	write_log(&log, here, &writer);
	json_begin_array(&writer, "verdicts");
	if (!options->json)
		print_log(&log, here);
	code = here != 0 && field_is_user(log.user) ? judge(&log, options->from, options->json, &writer) : EXIT_OK;
	json_end_array(&writer);
	json_end_object(&writer);
	if (buffer_status(&out) < 0)
		return EXIT_TROUBLE;
	if (options->json)
		(void)printf("%s\n", out.bytes);
	return code;
}
