/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator reads: lines for people on standard output, or with --json one JSON object a line. */
#pragma once

#include "console/cli/change.h"

/* "keys.bind alice web (1f2e…)": for lists. */
void output_command(struct buffer *text, const cJSON *command);
void output_sent(const struct cli *cli, const struct change *change);
/* One result with who can now log in; `words` is the command as output_command has it, or NULL when it is not known. */
void output_result(const struct cli *cli, const char *instance, const char *words, const cJSON *result);
/* A line for people: texts of an instance go to a terminal, so whatever that could act on is replaced. */
void output_text(struct buffer *text);
/* One JSON object as a line. */
void output_json(const cJSON *root);
/* At the end: what was printed is out. Else CLI_LOCAL, said, unless something worse was. */
enum cli_exit output_finish(enum cli_exit r);

/*
 * Waits for the change's result and prints it: CLI_OK, CLI_FAILED, CLI_TIMEOUT. A lost endpoint is asked again until
 * the time is over. awaiting_confirm ends the wait well.
 */
enum cli_exit output_wait(struct cli *cli, const struct arguments *arguments, struct change *change);
