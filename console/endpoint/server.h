/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server on one epoll loop: libmicrohttpd without threads, held requests, and the signals that end it. */
#pragma once

#include "console/endpoint/request.h"

/* Takes the listening socket. Runs until SIGTERM or SIGINT: 0, or negative errno. */
int server_run(struct server *server, int listening) MUST_CHECK;
