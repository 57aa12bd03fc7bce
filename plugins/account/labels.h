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

#define LABELS_PATHS_MAX 64u /* of one command line; more homes, more runs */

/* Where labels are in force; a failure is logged, the next relabelling mends it. At most LABELS_PATHS_MAX paths. */
void labels_restore(const char *const *paths, unsigned count);
/*
 * A disk with labels whose account files were replaced by a kernel that could not label them: /.autorelabel asks its
 * own system to, or sshd could not read them after the next start.
 */
void labels_ask_for_relabelling(int root, int etc);
