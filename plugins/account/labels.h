/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SELinux labels of what is new (what replaces a file gets that file's, lib/attributes.h). A home's label depends on
 * the policy's own patterns of paths, which only its tools can match: restorecon(8) gives it to new homes, as useradd
 * does through libselinux, which this program does not link. What another DIR's disk has lost is left to its next
 * start.
 */
#pragma once

#include <stdbool.h>

#include "lib/cleanup.h"

#define LABELS_HOMES_MAX 64u /* paths of one command line; more homes, more runs */

struct labels {
	char **homes;
	unsigned count;
};

void labels_free(struct labels *labels);
/* A home that was built just now. -ENOMEM. */
int labels_add_home(struct labels *labels, const char *path) MUST_CHECK;
/* On the host, where labels are in force, the homes get theirs. A failure is logged: the next relabelling mends it. */
void labels_restore_homes(struct labels *labels, bool is_host);
/*
 * A disk with labels whose account files were replaced by a kernel that could not label them: /.autorelabel asks its
 * own system to, or sshd could not read them after the next start.
 */
void labels_ask_for_relabelling(int root, int etc);
