/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One command for many instances (--targets): each in a process of its own, some at a time, the canaries first. A line
 * for each as it ends, a summary, and one exit code for scripts.
 */
#pragma once

#include "console/cli/arguments.h"

/* CLI_OK when all of them ended well; the code that all others have in common, else CLI_FAILED. */
enum cli_exit targets_run(struct cli *cli, const struct arguments *arguments);
