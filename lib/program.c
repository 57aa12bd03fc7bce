/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

int program_begin(void)
{
	const struct rlimit no_core = {0, 0};
	int descriptor;

	do {
		descriptor = open("/dev/null", O_RDWR);
		if (descriptor < 0)
			return -errno;
	} while (descriptor <= STDERR_FILENO);
	(void)close(descriptor);
	(void)umask(0);
	if (setrlimit(RLIMIT_CORE, &no_core) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	if (clearenv() != 0)
		return -ENOMEM;
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -errno;
	return 0;
}
