/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/input.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "agent/ctl/ctl.h"
#include "agent/ctl/output.h"
#include "lib/file.h"

int input_read(const char *name, size_t limit, char **ret_bytes, size_t *ret_size)
{
	cleanup_close int descriptor = -1;
	char cell[OUTPUT_CELL_MAX];
	int r = 0;

	if (strcmp(name, "-") != 0) {
		descriptor = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		r = descriptor < 0 ? -errno : 0;
	}
	if (r == 0)
		r = file_read_descriptor(descriptor < 0 ? STDIN_FILENO : descriptor, limit, ret_bytes, ret_size);
	if (r == 0)
		return EXIT_OK;
	(void)fprintf(stderr, "latchctl: %s: %s\n", output_escape(name, cell), strerror(-r));
	return EXIT_BAD_INPUT;
}

bool input_is_address(const char *text)
{
	unsigned char address[16];

	if (inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1)
		return true;
	(void)fprintf(stderr, "latchctl: --from wants an IP address\n");
	return false;
}

bool input_confirm(const char *question)
{
	char line[16] = "";

	if (!isatty(STDIN_FILENO)) {
		(void)fprintf(stderr, "latchctl: nobody is there to be asked: --yes\n");
		return false;
	}
	(void)fprintf(stderr, "%s [yes/no] ", question);
	if (fgets(line, sizeof(line), stdin) && strcmp(line, "yes\n") == 0)
		return true;
	(void)fprintf(stderr, "latchctl: nothing was done\n");
	return false;
}
