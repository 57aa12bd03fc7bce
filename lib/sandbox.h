/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel is told to refuse this process and whatever it starts: system calls by seccomp(2) filters of our own
 * (a dozen instructions of BPF need no library), writes by Landlock. All of it needs no_new_privs, and none of it is
 * ever taken back.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/cleanup.h"

#define SANDBOX_TREES_MAX 12u   /* what a manifest names under "writes" and our own */
#define SANDBOX_FAMILIES_MAX 4u /* of sockets */

struct sandbox {
	int families[SANDBOX_FAMILIES_MAX]; /* the socket families that remain; others are EAFNOSUPPORT */
	unsigned family_count;
	bool confines_writes; /* by Landlock, to these trees; one that is not there may be made */
	const char *trees[SANDBOX_TREES_MAX];
	unsigned tree_count;
};

/*
 * For programs that run as root: the calls that no work of ours needs (mounts, modules, namespaces, tracing, BPF, keys,
 * clocks, …) are EPERM, sockets and writes as the sandbox says. A kernel without seccomp or Landlock is no error:
 * sandbox_missing names it.
 */
int sandbox_enter(const struct sandbox *sandbox) MUST_CHECK;
/* For latchkeyd and latchkey-apply: the same, with the sockets that any manifest may name and writes everywhere. */
int sandbox_enter_root(void) MUST_CHECK;
/* What latchkey-net needs for its endpoint, beside the calls of its loop. */
enum sandbox_network {
	SANDBOX_SOCKETS, /* an address or a local socket: no file at all */
	SANDBOX_NAMES,   /* libcurl opens files for reading and makes threads, for a name or a certificate */
	SANDBOX_FILES,   /* the endpoint is a directory: files for reading and watches, but no socket of the internet */
};
/* For latchkey-net: all other calls are EPERM. */
int sandbox_enter_network(enum sandbox_network needs) MUST_CHECK;
/* What this kernel lacks, for status; NULL when it has both. */
const char *sandbox_missing(void);
