/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening what sshd would open: links are followed, but below a root directory that is not "/" they never lead out of
 * it (openat2 with RESOLVE_IN_ROOT; where the kernel has none, no link is followed there). Read only.
 */
#pragma once

#include <stdbool.h>

#include "lib/cleanup.h"
#include "lib/sshd_scan.h"

/* `path` is absolute, as seen from root. 0 or negative errno. */
int sshd_open_below(int root, const char *path, int flags, int *ret_descriptor) MUST_CHECK;
/* The bytes of a regular file, as file_read_descriptor; -EINVAL for anything else. */
int sshd_read_below(int root, const char *path, size_t limit, char **ret_bytes, size_t *ret_size) MUST_CHECK;
/* True when the last component is a link that leads nowhere. */
bool sshd_is_dangling(int root, const char *path);
/* Fills everything but the path from a status; NULL: missing. */
void sshd_file_identify(const struct stat *status, struct sshd_file *ret_file);
/* Whether what stands at the file's path now is still what was identified. An overlay never is. */
bool sshd_file_is_unchanged(int root, const struct sshd_file *file);
