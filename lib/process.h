/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running another program: absolute path, argv array, empty environment, own process group, deadline. Never a shell.
 * The program's file must be owned by root and not writable by others (else -EPERM). See execve(2), capset(2).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buffer.h"
#include "lib/sandbox.h"

#define PROCESS_ERROR_MAX 8192u /* of standard error kept; the rest is read and dropped */
#define PROCESS_CAPABILITIES_KEEP UINT64_MAX

struct process {
	const char *path;
	const char *const *argv;        /* NULL-terminated, argv[0] included */
	const char *const *environment; /* NULL: empty */
	int working_directory;          /* descriptor, or -1: "/" */
	const void *input;              /* on descriptor 0 */
	size_t input_size;
	size_t output_limit;   /* of standard output; more is -EFBIG */
	unsigned timeout_ms;   /* then SIGKILL to the whole group and -ETIMEDOUT */
	uint64_t capabilities; /* set exactly, with no_new_privs; PROCESS_CAPABILITIES_KEEP leaves both alone */
	bool switch_user;      /* become uid and gid with no other group */
	uid_t uid;
	gid_t gid;
	const struct sandbox *sandbox; /* NULL: none; needs no_new_privs, as capabilities has it */
	bool inherit_error;            /* standard error is ours; otherwise captured */
	const int *inherit;            /* further descriptors passed as 3, 4, … */
	unsigned inherit_count;
};

struct process_result {
	int status; /* as waitpid(2) */
	struct buffer output, error;
};

/* 0 when the program ran and ended (look at status), or negative errno when it could not run or was killed. */
int process_run(const struct process *process, struct process_result *ret_result) MUST_CHECK;
/* True when it exited by itself with that code. */
bool process_exited(const struct process_result *result, int code);
void process_result_free(struct process_result *result);
#define cleanup_process_result CLEANUP(process_result_free)
