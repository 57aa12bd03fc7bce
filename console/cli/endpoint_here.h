/* SPDX-License-Identifier: Apache-2.0 */
/* A latchkey-endpoint of the operator's own, its database in his state directory, for a first try. */
#pragma once

#include "console/cli/cli.h"

#define ENDPOINT_PORT 8470
#define ENDPOINT_ADDRESS_SIZE 64u

/* ADDRESS:PORT of this machine as that host sees it. */
enum cli_exit endpoint_address_for(const char *host, char ret_address[ENDPOINT_ADDRESS_SIZE]);
/* Makes its database and a token, and keeps the token. */
enum cli_exit endpoint_make(struct cli *cli);
/* Starts it where nobody answers at cli->settings.endpoint yet; it goes on when we end. pid 0: one answered already. */
enum cli_exit endpoint_start(struct cli *cli, const char *address, int *ret_pid);
