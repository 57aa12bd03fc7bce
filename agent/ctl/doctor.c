/* SPDX-License-Identifier: Apache-2.0 */
/* latchctl doctor: can this user log in, what is in the way, what would be typed against it. */
#include <stdio.h>
#include <string.h>

#include "agent/ctl/input.h"
#include "agent/ctl/output.h"
#include "agent/ctl/verdict.h"
#include "lib/sshkey.h"

/* A public key's file, - for standard input, or the fingerprint itself. */
static int read_fingerprint(const char *operand, char ret_fingerprint[SSHKEY_FINGERPRINT_SIZE])
{
	cleanup_free char *bytes = NULL;
	cleanup_sshkey struct sshkey key = {0};
	char detail[DETAIL_MAX + 1], cell[OUTPUT_CELL_MAX];
	unsigned char digest[SSHKEY_DIGEST_SIZE];
	size_t size;

	if (sshkey_read_fingerprint(operand, digest) == 0) {
		(void)snprintf(ret_fingerprint, SSHKEY_FINGERPRINT_SIZE, "%s", operand);
		return EXIT_OK;
	}
	int code = input_read(operand, SSHKEY_LINE_MAX, &bytes, &size);
	if (code != EXIT_OK)
		return code;
	if (sshkey_parse(bytes, size, &key, detail) != CODE_OK) {
		(void)fprintf(stderr, "latchctl: %s: ", output_escape(operand, cell));
		(void)fprintf(stderr, "%s\n", output_escape(detail, cell));
		return EXIT_BAD_INPUT;
	}
	sshkey_fingerprint(key.blob, key.blob_size, ret_fingerprint);
	return EXIT_OK;
}

int doctor_run(struct client *client, const struct options *options)
{
	char fingerprint[SSHKEY_FINGERPRINT_SIZE];
	struct verdict verdict;
	(void)client;

	int code = verdict_may_ask(options->operand);
	if (code != EXIT_OK)
		return code;
	if (options->from && !input_is_address(options->from))
		return EXIT_USAGE;
	if (options->key)
		code = read_fingerprint(options->key, fingerprint);
	if (code == EXIT_OK)
		code = verdict_ask(options->operand, options->from, options->key ? fingerprint : NULL, &verdict);
	if (code != EXIT_OK)
		return code;
	if (options->json) {
		cleanup_buffer struct buffer text = {0};
		struct json_writer writer = {&text, false};
		verdict_write(&verdict, &writer, NULL);
		if (buffer_status(&text) < 0)
			return EXIT_TROUBLE;
		(void)printf("%s\n", text.bytes);
	} else {
		verdict_print(&verdict);
	}
	return verdict_can(&verdict) ? EXIT_OK : EXIT_UNHEALTHY;
}
