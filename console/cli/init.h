/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of `latchkey init`, for quickstart as well. Whoever returns anything but CLI_OK has said why. */
#pragma once

#include "console/cli/arguments.h"
#include "lib/buffer.h"

/* Checks and keeps the URL; NULL is refused. */
enum cli_exit init_endpoint(struct cli *cli, const char *url);
/* Asks for the endpoint's token, or reads it from --token-fd, and keeps it. */
enum cli_exit init_token(struct cli *cli, const struct arguments *arguments);
/* Signing key, settings and the operator's own list; the line for instances, newline included. */
enum cli_exit init_finish(struct cli *cli, const struct arguments *arguments, struct buffer *ret_line);
/*
 * Lets the instance register: adds it at the endpoint, or has a new secret made where it did not register yet. The
 * secret (free), or NULL when it has registered.
 */
enum cli_exit instance_enrol(struct cli *cli, const char *instance, char **ret_secret);
