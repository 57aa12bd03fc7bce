/* SPDX-License-Identifier: Apache-2.0 */
/* What every program of ours does before anything else. libc only. */
#pragma once

/*
 * Opens closed standard descriptors on /dev/null, sets umask 0 (modes are exact at creation), forbids core dumps and
 * ptrace (PR_SET_DUMPABLE 0, RLIMIT_CORE 0), clears the environment, resets SIGPIPE to ignored. 0 or negative errno.
 */
int program_begin(void);
