/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of lib/file that takes the place of a file while others write to it. The new file gets the name first; then
 * nobody reaches the old one by its name any more, and what it was given since it was read can be carried over. Only
 * where the file system cannot exchange names (NFS) is there a moment in which another's write is lost.
 */
#pragma once

#include "lib/file.h"

/*
 * As file_read_descriptor, and not in the middle of what somebody writes: who has emptied it to write it anew is waited
 * for a moment. Else what stood there before would be taken for what comes late.
 */
int file_shared_read(int descriptor, size_t limit, char **ret_bytes, size_t *ret_size) MUST_CHECK;
/*
 * Puts `temporary`, open as `descriptor` and written as `is`, in the place of `name`, read through `old` (or -1) as
 * `was`. -EAGAIN: that is not what stands there, and it stands again. The temporary name is the caller's to remove on
 * failure, but for *ret_kept: then it is the only one of somebody's file.
 */
int file_shared_swap(int directory, const char *temporary, int descriptor, const struct file_reading *is,
	const char *name, int old, const struct file_reading *was, bool *ret_kept) MUST_CHECK;
