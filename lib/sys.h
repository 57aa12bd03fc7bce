/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of system operations. Every change of a file goes through it, so that fault injection and the crash
 * simulator (preset `fault`, lib/sys_fault.c) drive the same code that ships. Semantics are those of the system calls:
 * -1 and errno on failure.
 */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>

struct system_operations {
	int (*openat)(int directory, const char *name, int flags, mode_t mode);
	ssize_t (*read)(int descriptor, void *bytes, size_t size);
	ssize_t (*write)(int descriptor, const void *bytes, size_t size);
	int (*fstat)(int descriptor, struct stat *status);
	int (*fstatat)(int directory, const char *name, struct stat *status, int flags);
	int (*fsync)(int descriptor);
	int (*fdatasync)(int descriptor);
	int (*syncfs)(int descriptor);
	int (*fchown)(int descriptor, uid_t uid, gid_t gid);
	int (*fchmod)(int descriptor, mode_t mode);
	int (*ftruncate)(int descriptor, off_t size);
	int (*fallocate)(int descriptor, int mode, off_t offset, off_t size);
	int (*mkdirat)(int directory, const char *name, mode_t mode);
	int (*renameat2)(
		int old_directory, const char *old_name, int new_directory, const char *new_name, unsigned flags);
	int (*unlinkat)(int directory, const char *name, int flags);
	int (*linkat)(int old_directory, const char *old_name, int new_directory, const char *new_name, int flags);
	int (*symlinkat)(const char *target, int directory, const char *name);
	int (*fsetxattr)(int descriptor, const char *name, const void *value, size_t size, int flags);
	int (*fremovexattr)(int descriptor, const char *name);
};

extern const struct system_operations sys;
