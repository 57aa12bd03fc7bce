/* SPDX-License-Identifier: Apache-2.0 */
/* A Varlink client for one service: blocking, one call at a time. */
#pragma once

#include "lib/json.h"

#define CLIENT_TIMEOUT_S 10 /* of one answer; monitor waits for ever */
#define CLIENT_REPLY_MAX (64u << 20)

struct client {
	int descriptor;
	struct buffer in; /* received, not yet taken */
};

/* -ENOENT or -ECONNREFUSED: the agent does not run. */
int client_open(const char *path, struct client *ret_client) MUST_CHECK;
void client_close(struct client *client);
#define cleanup_client CLEANUP(client_close)
/* parameters: the text of a JSON object, or NULL. */
int client_send(struct client *client, const char *method, const char *parameters, bool more) MUST_CHECK;
/* The next reply, {"parameters":…} or {"error":…}; -ECONNRESET at the end, -EBADMSG, -EAGAIN after the timeout. */
int client_receive(struct client *client, cJSON **ret_reply) MUST_CHECK;
