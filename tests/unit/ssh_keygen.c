/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/ssh_keygen.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/file.h"
#include "lib/process.h"

int workshop_open(void **state)
{
	struct workshop *workshop = calloc(1, sizeof(*workshop));
	assert_non_null(workshop);
	(void)snprintf(workshop->path, sizeof(workshop->path), "%s", "/tmp/latchkey-test.XXXXXX");
	assert_non_null(mkdtemp(workshop->path));
	workshop->directory = open(workshop->path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	assert_true(workshop->directory >= 0);
	*state = workshop;
	return 0;
}

int workshop_close(void **state)
{
	struct workshop *workshop = *state;
	cleanup_names char **names = NULL;
	size_t count;

	assert_int_equal(file_list(workshop->directory, ".", 1000, &names, &count), 0);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(unlinkat(workshop->directory, names[i], 0), 0);
	(void)close(workshop->directory);
	assert_int_equal(rmdir(workshop->path), 0);
	free(workshop);
	return 0;
}

bool workshop_run(const struct workshop *workshop, const char *const *arguments, const char *input, size_t input_size,
	struct buffer *output)
{
	cleanup_process_result struct process_result result = {0};
	const char *argv[32] = {"ssh-keygen"};

	for (size_t i = 0; arguments[i]; i++) {
		assert_true(i + 2 < ELEMENTS(argv));
		argv[i + 1] = arguments[i];
	}
	const struct process process = {
		.path = "/usr/bin/ssh-keygen",
		.argv = argv,
		.working_directory = workshop->directory,
		.input = input,
		.input_size = input_size,
		.output_limit = 1u << 20,
		.timeout_ms = 60000,
		.capabilities = PROCESS_CAPABILITIES_KEEP,
	};
	assert_int_equal(process_run(&process, &result), 0);
	if (output)
		buffer_append(output, result.output.bytes, result.output.size);
	return process_exited(&result, 0);
}

void workshop_write(const struct workshop *workshop, const char *name, const void *bytes, size_t size)
{
	assert_int_equal(file_replace_simple(workshop->directory, name, bytes, size, 0600), 0);
}

char *workshop_read(const struct workshop *workshop, const char *name, size_t *ret_size)
{
	char *bytes;
	assert_int_equal(file_read(workshop->directory, name, 1u << 20, &bytes, ret_size), 0);
	return bytes;
}
