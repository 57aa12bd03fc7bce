/* SPDX-License-Identifier: Apache-2.0 */
/* Running the installed sshd to ask it: -T -C, -t, -V. Repairs what only keeps it from answering, see sshd_ask_run. */
#pragma once

#include <stdbool.h>

#include "lib/cleanup.h"
#include "lib/process.h"
#include "lib/sshd_config.h"

/* The path of the installed sshd, or NULL. */
const char *sshd_ask_program(void);
/*
 * Runs sshd with up to SSHD_ASK_ARGUMENTS_MAX arguments (NULL-terminated). Where it stops because /run/sshd is missing
 * (before the first start of this boot) the directory is made, and where no host key exists a throw-away one is made in
 * `state`; then it is asked again. 0 and how it ended, or negative errno; -ENOENT: no sshd.
 */
#define SSHD_ASK_ARGUMENTS_MAX 40u
int sshd_ask_run(int state, const char *const *arguments, struct process_result *ret_result) MUST_CHECK;
/* `sshd -t` with these options (NULL-terminated), as sshd_test. */
enum sshd_validity sshd_ask_validity(int state, char *const *options, char ret_detail[SSHD_DETAIL_MAX + 1]);
/* The first line of what a program said, printable. */
void sshd_ask_words(const struct process_result *result, char ret_detail[SSHD_DETAIL_MAX + 1]);
/* Finds OpenSSH_MAJOR.MINOR in a text. */
int sshd_ask_parse_version(const char *text, unsigned *ret_major, unsigned *ret_minor) MUST_CHECK;
