/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sys.h"

#include <sys/xattr.h>
#include <unistd.h>

/* open(2) is variadic; the table's member is not. */
static int call_openat(int directory, const char *name, int flags, mode_t mode)
{
	return openat(directory, name, flags, mode);
}

const struct system_operations sys = {
	.openat = call_openat,
	.read = read,
	.write = write,
	.fstat = fstat,
	.fstatat = fstatat,
	.fsync = fsync,
	.fdatasync = fdatasync,
	.syncfs = syncfs,
	.fchown = fchown,
	.fchmod = fchmod,
	.ftruncate = ftruncate,
	.fallocate = fallocate,
	.mkdirat = mkdirat,
	.renameat2 = renameat2,
	.unlinkat = unlinkat,
	.linkat = linkat,
	.symlinkat = symlinkat,
	.fsetxattr = fsetxattr,
	.fremovexattr = fremovexattr,
};
